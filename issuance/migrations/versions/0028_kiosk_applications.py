"""Which kiosk was given an application that was taken in elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("applications", sa.Column("kiosk", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("applications", "kiosk")
