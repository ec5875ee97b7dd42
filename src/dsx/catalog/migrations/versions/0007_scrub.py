"""Damaged blobs, and how far the search for them is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what is known of damage, and the progress of the scrub."""
    op.add_column("blobs", sa.Column("damaged", sa.BigInteger()))
    op.add_column("blobs", sa.Column("damage", sa.Text()))
    found = sa.text("damaged IS NOT NULL")
    op.create_index(
        "blobs_damaged", "blobs", ["digest"], sqlite_where=found, postgresql_where=found
    )
    op.create_table(
        "scrubs",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("holder", sa.String(36)),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.Column("requested", sa.BigInteger()),
        sa.Column("begun", sa.BigInteger()),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("checked_bytes", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.JSON()),
    )
