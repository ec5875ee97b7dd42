"""Which staging directory has the bytes of an upload."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the identity of the staging directory to uploads and sets of chunks.

    Of what is under way it is not known: whoever has the stage goes on with it.
    """
    for table in ("uploads", "chunk_sets"):
        op.add_column(table, sa.Column("staging_id", sa.String(36)))
