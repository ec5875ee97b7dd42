"""What all tables share."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Integer,
    MetaData,
    Text,
    text,
)

metadata = MetaData()

# Names compare byte by byte in both databases, so that keyset pagination and prefixes agree.
Name = Text().with_variant(Text(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer, "sqlite")

LIVE = text("latest AND trashed IS NULL")
"""The newest version of a file not in the trash; must equal the rule of the partial indexes."""

REFUSED = text("outcome = 'refused'")
