"""What instant issue keeps: who owns an unfinished case, what came back from a card, fees at the fee system."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
OPEN_CASE = sa.text("case_step IS NOT NULL")
STATUSES = "'started', 'done', 'stuck', 'failed', 'undone', 'skipped'"


def upgrade() -> None:
    with op.batch_alter_table("application_steps") as batch:
        batch.drop_constraint(op.f("ck_application_steps_status"), type_="check")
        batch.create_check_constraint(op.f("ck_application_steps_status"), f"status IN ({STATUSES})")
    for name, kind in (
        ("case_step", sa.String(16)),
        ("case_reason", sa.String(64)),
        ("case_owner", sa.String(64)),
        ("case_deadline", TIME),
    ):
        op.add_column("applications", sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_applications_case",
        "applications",
        ["case_deadline", "id"],
        sqlite_where=OPEN_CASE,
        postgresql_where=OPEN_CASE,
    )
    op.execute("ALTER TABLE card_sessions ADD COLUMN can_print BOOLEAN DEFAULT false NOT NULL")
    op.create_table(
        "application_returns",
        sa.Column("application_id", sa.String(32), sa.ForeignKey("applications.id"), primary_key=True),
        sa.Column("reset_information", sa.String(26), nullable=False),
        sa.Column("card_number", sa.String(9), nullable=False),
        sa.Column("identification_code", sa.String(32), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("print_job", sa.String(32), nullable=False),
        sa.Column("print_state", sa.String(16), nullable=False),
        sa.Column("read_at", TIME, nullable=False),
        sa.Column("returned_at", TIME, nullable=True),
        sa.CheckConstraint("print_state IN ('ordered', 'printed', 'skipped')", name="print_state"),
    )
    op.create_table(
        "application_payments",
        sa.Column("application_id", sa.String(32), sa.ForeignKey("applications.id"), primary_key=True),
        sa.Column("amount_fen", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("updated_by", sa.String(64), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('registering', 'registered', 'cancelling', 'cancelled')", name="state"),
    )


def downgrade() -> None:
    """Cases and payments are not dropped by a tool."""
    raise RuntimeError("instant issue has no way back: restore a backup instead")
