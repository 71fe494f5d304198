"""Clerks: who gave them access, browsers they logged in from, tries by network; who changed what waits for review.

Newborns: receipt numbers.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from issuance.progress.receipts import new_receipt_number

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

APPLIED = "SELECT applications.receipt_number FROM applications WHERE applications.id = newborns.application_id"
ASKED = "SELECT clerks.access_by FROM clerks WHERE clerks.login = clerk_approvals.asked_by"


def upgrade() -> None:
    op.add_column("clerks", sa.Column("access_by", sa.String(64), nullable=False, server_default=""))
    op.execute("UPDATE clerks SET access_by = created_by")
    op.add_column("clerk_approvals", sa.Column("access_by", sa.String(64), nullable=False, server_default=""))
    op.execute(f"UPDATE clerk_approvals SET access_by = COALESCE(({ASKED}), '')")  # noqa: S608  # constants
    op.add_column("clerk_sessions", sa.Column("browser_hash", sa.LargeBinary(32), nullable=True))
    op.add_column("clerk_sessions", sa.Column("browser_failed", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_clerk_sessions_browser_hash", "clerk_sessions", ["browser_hash"], unique=True)
    op.add_column("application_reviews", sa.Column("changed_by", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "log_in_tries",
        sa.Column("network", sa.String(40), primary_key=True),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
    )
    _number_newborns()


def _number_newborns() -> None:
    """Those who wait get a number of their year, the others that of their application."""
    op.add_column("newborns", sa.Column("receipt_number", sa.String(16), nullable=False, server_default=""))
    op.execute(f"UPDATE newborns SET receipt_number = COALESCE(({APPLIED}), '')")  # noqa: S608  # constants
    connection, table = op.get_bind(), sa.table("newborns", *map(sa.column, ("id", "receipt_number", "created_at")))
    for key, at in connection.execute(sa.select(table.c.id, table.c.created_at).where(table.c.receipt_number == "")):
        number = new_receipt_number(_aware(at))
        connection.execute(sa.update(table).where(table.c.id == key).values(receipt_number=number))
    op.create_index("uq_newborns_receipt_number", "newborns", ["receipt_number"], unique=True)


def _aware(at: datetime | str) -> datetime:
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def downgrade() -> None:
    op.drop_index("uq_newborns_receipt_number", "newborns")
    op.drop_column("newborns", "receipt_number")
    op.drop_table("log_in_tries")
    op.drop_column("application_reviews", "changed_by")
    op.drop_index("ix_clerk_sessions_browser_hash", "clerk_sessions")
    for table, column in (
        ("clerk_sessions", "browser_failed"),
        ("clerk_sessions", "browser_hash"),
        ("clerk_approvals", "access_by"),
        ("clerks", "access_by"),
    ):
        op.drop_column(table, column)
