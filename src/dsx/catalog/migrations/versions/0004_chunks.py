"""Files that come in chunks of any size."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of chunks."""
    op.create_table(
        "chunk_sets",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("final", sa.String(36), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
    )
    op.create_index("chunk_sets_expires", "chunk_sets", ["expires"])
    op.create_table(
        "chunks",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("upload", sa.String(36), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
