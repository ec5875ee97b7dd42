"""Files of datasets whose bytes have changed by themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add when damage was found."""
    op.add_column("dataset_files", sa.Column("damaged", sa.BigInteger()))
