"""Persons are found by name (keyed SM3, filled by a job); how far the jobs about personal data are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("persons", sa.Column("name_index", sa.LargeBinary(length=32), nullable=True))
    op.add_column("persons", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_persons_name_index"), "persons", ["name_index"], unique=False)
    op.create_table(
        "privacy_jobs",
        sa.Column("name", sa.String(length=96), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_privacy_jobs")),
    )


def downgrade() -> None:
    op.drop_table("privacy_jobs")
    op.drop_index(op.f("ix_persons_name_index"), table_name="persons")
    op.drop_column("persons", "erased_at")
    op.drop_column("persons", "name_index")
