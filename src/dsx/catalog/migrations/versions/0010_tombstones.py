"""Blobs that are to be removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table of tombstones."""
    op.create_table(
        "tombstones",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("begun", sa.BigInteger()),
    )
    op.create_index("tombstones_due", "tombstones", ["due"])
