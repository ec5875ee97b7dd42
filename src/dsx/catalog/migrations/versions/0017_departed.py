"""Names of accounts that were deleted, for as long as the audit log has something of theirs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the table; those who left before have their ids only."""
    op.create_table(
        "departed",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("key", _NAME, nullable=False),
    )
    op.create_index("departed_key", "departed", ["key"])
