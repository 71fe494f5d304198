"""What a terminal's journal took along of the one whose place it took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("terminal_journals", sa.Column("carried", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("terminal_journals", "carried")
