"""Uploads, their writers, and tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of transfers."""
    _uploads()
    op.create_table(
        "upload_parts",
        sa.Column("final", sa.String(36), sa.ForeignKey("uploads.id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("partial", sa.String(36), nullable=False),
    )
    op.create_index("upload_parts_partial", "upload_parts", ["partial"])
    op.create_table(
        "writers",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("upload", sa.String(36), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("stop", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
    )
    op.create_index("writers_upload", "writers", ["upload"])
    _tasks()


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("name", NAME),
        sa.Column("category", NAME, nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("only_if_absent", sa.Boolean(), nullable=False),
        sa.Column("length", sa.BigInteger()),
        sa.Column("received", sa.JSON(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("expected", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("challenge", sa.String(64)),
        sa.Column("digest", sa.String(64)),
        sa.Column("crc32", sa.BigInteger()),
        sa.Column("version", sa.BigInteger()),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
    )
    op.create_index("uploads_state", "uploads", ["state", "expires"])
    op.create_index("uploads_owner", "uploads", ["owner", "state", "id"])
    op.create_index("uploads_digest", "uploads", ["digest"])


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("kind", sa.String(8)),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger()),
        sa.Column("message", sa.Text()),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
    )
    op.create_index("tasks_owner", "tasks", ["owner", "id"])
    op.create_index("tasks_expires", "tasks", ["expires"])
    op.create_index("tasks_updated", "tasks", ["owner", "updated"])
