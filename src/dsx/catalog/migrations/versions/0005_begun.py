"""When a transfer began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the instant at which a task's transfer was first seen to run."""
    op.add_column("tasks", sa.Column("begun", sa.BigInteger()))
