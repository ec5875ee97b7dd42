"""Tables of blobs, files and datasets."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from dsx.catalog.schema.base import LIVE, Name, Number, metadata

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("crc32", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("damaged", BigInteger),
    Column("damage", Text),
    Index(
        "blobs_damaged",
        "digest",
        sqlite_where=text("damaged IS NOT NULL"),
        postgresql_where=text("damaged IS NOT NULL"),
    ),
)
"""``created``: when its bytes were last sealed. ``damaged``: when they were found wrong or missing.

``damage`` is the problem found; both are null again once the right bytes are stored.
"""


hub = Table(
    "hub",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("renewed", BigInteger, nullable=False),
)
"""The identity of this catalog. ``renewed``: when ``generation`` last grew.

``generation`` is at least that of the blobs' label, unless this catalog is older than they are.
"""


scrubs = Table(
    "scrubs",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("holder", String(36)),
    Column("held_until", BigInteger, nullable=False),
    Column("requested", BigInteger),
    Column("begun", BigInteger),
    Column("ended", BigInteger),
    Column("position", Text, nullable=False),
    Column("checked", BigInteger, nullable=False),
    Column("checked_bytes", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    Column("last", JSON),
)
"""The progress of the scrub. ``holder``: the process that runs it, until ``held_until``.

``position``: the last item checked. ``last``: the figures of the previous cycle.
"""


files = Table(
    "files",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("file", String(36), nullable=False),
    Column("version", Integer, nullable=False),
    Column("latest", Boolean(create_constraint=False), nullable=False),
    Column("owner", Name, nullable=False),
    Column("name", Name, nullable=False),
    Column("category", Name, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), ForeignKey("blobs.digest"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("trashed", BigInteger),
    Column("expires", BigInteger),
    Index("files_file", "file", "version", unique=True),
    Index("files_sha256", "sha256"),
    Index("files_owner", "owner", "size"),
    Index(
        "files_live_name", "owner", "name", unique=True, sqlite_where=LIVE, postgresql_where=LIVE
    ),
    Index(
        "files_trashed",
        "owner",
        "trashed",
        "number",
        sqlite_where=text("trashed IS NOT NULL"),
        postgresql_where=text("trashed IS NOT NULL"),
    ),
    Index(
        "files_expires",
        "expires",
        sqlite_where=text("trashed IS NOT NULL"),
        postgresql_where=text("trashed IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# No foreign key: only live files have rows here, and only files in the trash are ever purged.


file_labels = Table(
    "file_labels",
    metadata,
    Column("file", String(36), primary_key=True),
    Column("label", Name, primary_key=True),
    Column("owner", Name, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("name", Name, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("file_labels_created", "owner", "label", "created", "number"),
    Index("file_labels_name", "owner", "label", "name", "number"),
    Index("file_labels_size", "owner", "label", "size", "number"),
)


datasets = Table(
    "datasets",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("place", String(128), nullable=False),
    Column("name", Name, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("scanned", BigInteger),
    Column("seconds", Float, nullable=False),
    Column("settled", Boolean(create_constraint=False), nullable=False),
    Column("followed", BigInteger),
    Column("root", Text, nullable=False),
    Column("directory", Text, nullable=False),
    Column("trouble", Text),
    Column("left_out", JSON, nullable=False),
    Index("datasets_place", "place", "name", unique=True),
    sqlite_autoincrement=True,
)
"""``place``: the data directory of the hubs that have the dataset's directory."""


dataset_files = Table(
    "dataset_files",
    metadata,
    Column("dataset", BigInteger, primary_key=True, autoincrement=False),
    Column("path", Name, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("stamp", String(16), nullable=False),
    Column("hash", String(32), nullable=False),
    Column("sha256", String(64)),
    Column("damaged", BigInteger),
    Index(
        "dataset_files_pending",
        "dataset",
        "path",
        sqlite_where=text("sha256 IS NULL"),
        postgresql_where=text("sha256 IS NULL"),
    ),
)
"""``stamp``: a hash of a file's inode and change time, which nobody can set.

``damaged``: when its bytes were found changed although none of these had.
"""


tombstones = Table(
    "tombstones",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("due", BigInteger, nullable=False),
    Column("begun", BigInteger),
    Index("tombstones_due", "due"),
)
"""Blobs to be removed from the store: from when on, and when a removal began."""
