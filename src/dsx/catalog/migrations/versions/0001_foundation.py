"""Blobs, files with versions and tags, and the index of datasets in place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    rule = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=rule, postgresql_where=rule)


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("crc32", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
    )
    _files()
    _file_labels()
    op.create_table(
        "datasets",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("scanned", sa.BigInteger()),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "dataset_files",
        sa.Column("dataset", NAME, primary_key=True),
        sa.Column("path", NAME, primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64)),
    )
    _index("dataset_files_pending", "dataset_files", ["dataset", "path"], "sha256 IS NULL")


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("file", sa.String(36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("category", NAME, nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("blobs.digest"), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("trashed", sa.BigInteger()),
        sa.Column("expires", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_index("files_file", "files", ["file", "version"], unique=True)
    op.create_index("files_sha256", "files", ["sha256"])
    live = "latest AND trashed IS NULL"
    _index("files_live_name", "files", ["owner", "name"], live, unique=True)
    _index("files_trashed", "files", ["owner", "trashed", "number"], "trashed IS NOT NULL")


def _file_labels() -> None:
    op.create_table(
        "file_labels",
        sa.Column("file", sa.String(36), primary_key=True),
        sa.Column("label", NAME, primary_key=True),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
    )
    for sort in ("created", "name", "size"):
        columns = ["owner", "label", sort, "number"]
        op.create_index(f"file_labels_{sort}", "file_labels", columns)


def downgrade() -> None:
    """Drop them."""
    for table in ("file_labels", "files", "blobs", "dataset_files", "datasets"):
        op.drop_table(table)
