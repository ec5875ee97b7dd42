"""Who downloads by a link, and where names have signed in from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables for them."""
    op.create_table(
        "link_downloads",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("share", sa.String(36), nullable=False),
        sa.Column("item", sa.String(64), nullable=False),
        sa.Column("recipient", sa.String(64), nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("complete", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("sent", sa.JSON(), nullable=False),
        sa.Column("broken", sa.JSON(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
    )
    op.create_index("link_downloads_recipient", "link_downloads", ["share", "recipient", "seen"])
    op.create_index("link_downloads_seen", "link_downloads", ["seen"])
    op.create_table(
        "known_sources",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
    )
    op.create_index("known_sources_name", "known_sources", ["name", "seen"])
    op.create_index("known_sources_seen", "known_sources", ["seen"])
