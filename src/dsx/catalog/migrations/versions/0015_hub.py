"""Whose catalog it is, to tell that blobs belong to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the identity of the hub, which is given at its next start."""
    op.create_table(
        "hub",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("renewed", sa.BigInteger(), nullable=False),
    )
