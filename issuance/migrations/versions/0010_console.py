"""What the console keeps: which applications another clerk has to look at, and who did; locked screens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    op.create_table(
        "application_reviews",
        sa.Column("application_id", sa.String(32), sa.ForeignKey("applications.id"), primary_key=True),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("collected_by", sa.String(64), nullable=False),
        sa.Column("collected_at_office", sa.String(128), nullable=False),
        sa.Column("collected_at", TIME, nullable=False),
        sa.Column("reviewed_by", sa.String(64), nullable=True),
        sa.Column("reviewed_at", TIME, nullable=True),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'accepted', 'returned')", name="state"),
    )
    op.create_index(
        "ix_application_reviews_waiting",
        "application_reviews",
        ["collected_at", "application_id"],
        sqlite_where=WAITING,
        postgresql_where=WAITING,
    )
    op.create_index("ix_audit_entries_clerk", "audit_entries", ["clerk", "id"])
    op.add_column("clerk_sessions", sa.Column("locked_at", TIME, nullable=True))


def downgrade() -> None:
    op.drop_column("clerk_sessions", "locked_at")
    op.drop_index("ix_audit_entries_clerk", "audit_entries")
    op.drop_table("application_reviews")
