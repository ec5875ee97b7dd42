"""Tasks are listed newest first: their ids say nothing of when they were made."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Index what they are listed by."""
    op.create_index("tasks_created", "tasks", ["owner", "created", "id"])
