"""Tables of users, credentials, shares and the audit log."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from dsx.catalog.schema.base import REFUSED, Name, Number, metadata

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
