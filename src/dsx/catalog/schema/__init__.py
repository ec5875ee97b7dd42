"""The tables. SQLite and PostgreSQL have the same; `migrations/` creates and changes them."""

from dsx.catalog.schema import accounts, content, transfers
from dsx.catalog.schema.base import metadata

__all__ = ["accounts", "content", "metadata", "transfers"]
