"""Which limited token began an upload."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the token; what was begun before is in reach of tokens without limits only."""
    via = sa.Column("via", sa.String(36), nullable=False, server_default="")
    op.add_column("uploads", via)
