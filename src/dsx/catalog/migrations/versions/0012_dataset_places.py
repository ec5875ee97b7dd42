"""Indexes of datasets by place, and what tells a file from one that replaced it.

What was indexed is dropped: the next scan finds it again, and reads it once more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables anew."""
    op.drop_table("dataset_files")
    op.drop_table("datasets")
    op.create_table(
        "datasets",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("place", sa.String(128), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("scanned", sa.BigInteger()),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("followed", sa.BigInteger()),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("trouble", sa.Text()),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("datasets_place", "datasets", ["place", "name"], unique=True)
    op.create_table(
        "dataset_files",
        sa.Column("dataset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("path", NAME, primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64)),
    )
    rule = sa.text("sha256 IS NULL")
    op.create_index(
        "dataset_files_pending",
        "dataset_files",
        ["dataset", "path"],
        sqlite_where=rule,
        postgresql_where=rule,
    )
