"""Tables of uploads and tasks, and of what each owner stores."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    text,
)

from dsx.catalog.schema.base import Name, metadata

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", Name, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("name", Name),
    Column("category", Name, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("only_if_absent", Boolean(create_constraint=False), nullable=False),
    Column("length", BigInteger),
    Column("received", JSON, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("expected", JSON, nullable=False),
    Column("notes", JSON, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("challenge", String(64)),
    Column("digest", String(64)),
    Column("crc32", BigInteger),
    Column("version", BigInteger),
    Column("via", String(36), nullable=False, server_default=""),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("staging_id", String(36)),
    Column("counted", BigInteger, nullable=False, server_default="0"),
    Column("due", Boolean(create_constraint=False), nullable=False, server_default=false()),
    Index("uploads_state", "state", "expires"),
    Index("uploads_owner", "owner", "state", "id"),
    Index("uploads_digest", "digest"),
)
"""``reserved``: bytes of space reserved and not yet received.

``digest`` and ``crc32``: of the whole, noted before it is sealed, so that a crash between sealing
and commit loses nothing. ``staging_id``: the staging directory that has the bytes; null before the
first. ``via``: the limited token that began it; empty: another credential. ``counted``: bytes that
count against the owner's quota. ``due``: to be finished once its task, which is paused, is resumed.
"""


usage = Table(
    "usage",
    metadata,
    Column("owner", Name, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("staged", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("uploads", BigInteger, nullable=False),
    Column("tasks", BigInteger, nullable=False, server_default="0"),
    Index(
        "usage_reserved",
        "reserved",
        sqlite_where=text("reserved > 0"),
        postgresql_where=text("reserved > 0"),
    ),
)
"""Usage per owner: see `dsx.catalog.usage`. Kept by triggers on files and uploads."""


upload_parts = Table(
    "upload_parts",
    metadata,
    Column("final", String(36), ForeignKey("uploads.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("partial", String(36), nullable=False),
    Index("upload_parts_partial", "partial"),
)


chunk_sets = Table(
    "chunk_sets",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("final", String(36), nullable=False),
    Column("kept", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("staging_id", String(36)),
    Index("chunk_sets_expires", "expires"),
)
"""Files in chunks. ``final``: id of the upload that joins the chunks, once all are there.

``kept``: when the expiry of the chunks' own uploads was last extended.
"""


chunks = Table(
    "chunks",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("upload", String(36), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)
"""The partial upload of each chunk. Rows outlive it, to recognize repeated chunks."""


writers = Table(
    "writers",
    metadata,
    Column("token", String(32), primary_key=True),
    Column("upload", String(36), nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("stop", BigInteger, nullable=False),
    Column("asked", Boolean(create_constraint=False), nullable=False),
    Index("writers_upload", "upload"),
)
"""Writers of uploads and their bytes. ``asked``: a newer writer asks this one to yield."""


tasks = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", Name, nullable=False),
    Column("kind", String(8)),
    Column("state", String(9), nullable=False),
    Column("name", Name, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("message", Text),
    Column("subject", JSON, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("begun", BigInteger),
    Index("tasks_owner", "owner", "id"),
    Index("tasks_created", "owner", "created", "id"),
    Index("tasks_expires", "expires"),
    Index("tasks_updated", "owner", "updated"),
)
"""``begun``: when the transfer was first seen to run, if there is a time limit."""
