"""The tables. SQLite and PostgreSQL get the same ones; `migrations/` makes and changes them."""

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
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()

# Names compare byte by byte in both databases, so that keyset pagination and prefixes agree.
Name = Text().with_variant(Text(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer, "sqlite")

LIVE = text("latest AND trashed IS NULL")
"""The newest version of a file not in the trash; must equal the rule of the partial indexes."""

REFUSED = text("outcome = 'refused'")

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

users = Table(
    "users",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("name", Name, nullable=False),
    Column("key", Name, nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("password", Text),
    Column("subject", Text, unique=True),
    Column("quota_bytes", BigInteger),
    Column("quota_files", BigInteger),
    Column("disabled", Boolean(create_constraint=False), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""``key``: the name for comparisons. ``subject``: the user's id at the OIDC provider."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", Name, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("places", JSON, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("used", BigInteger),
    Index("tokens_owner", "owner", "kind", "id"),
)
"""``hash``: SHA-256 of the secret, which has 256 random bits and thus needs no salt."""

shares = Table(
    "shares",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", Name, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("value", Name, nullable=False),
    Column("grantee", String(36)),
    Column("hash", String(64), unique=True),
    Column("password", Text),
    Column("downloads", Integer),
    Column("downloaded", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Index("shares_owner", "owner", "id"),
    Index("shares_grantee", "grantee", "owner"),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("due", BigInteger, nullable=False),
    Column("begun", BigInteger),
    Index("tombstones_due", "due"),
)
"""Blobs to be removed from the store: from when on, and when a removal began."""

link_downloads = Table(
    "link_downloads",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("share", String(36), nullable=False),
    Column("item", String(64), nullable=False),
    Column("recipient", String(64), nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("active", Integer, nullable=False),
    Column("complete", Boolean(create_constraint=False), nullable=False),
    Column("sent", JSON, nullable=False),
    Column("broken", JSON, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Index("link_downloads_recipient", "share", "recipient", "seen"),
    Index("link_downloads_seen", "seen"),
)
"""Downloads by links with a download limit: at most as many rows as the limit."""

known_sources = Table(
    "known_sources",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("seen", BigInteger, nullable=False),
    Index("known_sources_name", "name", "seen"),
    Index("known_sources_seen", "seen"),
)
"""Hashes of names and their sign-in addresses, whose failures are not counted with strangers."""

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("retires", BigInteger),
)
"""``sealed``: the key, encrypted with the hub's secret key. ``retires``: when it expires."""

attempts = Table(
    "attempts",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("failed", Integer, nullable=False),
    Column("since", BigInteger, nullable=False),
    Index("attempts_since", "since"),
)
"""Counts of failed sign-ins since an instant, by a hash of what they have in common."""

departed = Table(
    "departed",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", Name, nullable=False),
    Column("key", Name, nullable=False),
    Index("departed_key", "key"),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("principal", Name, nullable=False),
    Column("via", String(36), nullable=False),
    Column("address", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", String(8), nullable=False),
    Column("details", JSON, nullable=False),
    Index("audit_at", "at"),
    Index("audit_principal", "principal", "number"),
    Index("audit_refused", "number", sqlite_where=REFUSED, postgresql_where=REFUSED),
    sqlite_autoincrement=True,
)
