"""Refusals in the audit log can be found apart from changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Index them by number."""
    refused = sa.text("outcome = 'refused'")
    op.create_index(
        "audit_refused", "audit", ["number"], sqlite_where=refused, postgresql_where=refused
    )
