"""Supervision: receipt numbers, when applications ended, indexes of work queues and statistics, alerts, tries."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from issuance.progress.receipts import new_receipt_number

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
FINAL = ("enabled", "rejected", "written_off")
CHUNK = 5000
INDEXES: tuple[tuple[str, str, list[str], str], ...] = (
    (
        "ix_applications_open",
        "applications",
        ["state", "created_at", "id", "region"],
        "state NOT IN ('enabled', 'rejected', 'written_off')",
    ),
    (
        "ix_applications_case",
        "applications",
        ["case_deadline", "id", "region", "office", "case_reason", "case_step"],
        "case_step IS NOT NULL",
    ),
    ("ix_applications_created", "applications", ["created_at", "region", "office"], ""),
    (
        "ix_applications_ended",
        "applications",
        ["ended_at", "region", "state", "office", "created_at"],
        "ended_at IS NOT NULL",
    ),
    ("ix_cards_person", "cards", ["person_id"], ""),
    ("ix_card_accounts_opening", "card_accounts", ["since", "card_number"], "state = 'opening'"),
    ("ix_card_rewrites_asked", "card_rewrites", ["asked_at", "card_number"], ""),
    ("ix_found_cards_card", "found_cards", ["card_number"], ""),
    ("ix_found_cards_queue", "found_cards", ["keep_until", "id"], "state = 'kept'"),
    ("ix_newborns_queue", "newborns", ["deadline", "id"], "state = 'waiting'"),
    (
        "ix_blanks_finished",
        "blanks",
        ["place_id", "updated_at", "reset_information"],
        "kind = 'finished' AND state = 'reserved'",
    ),
    ("ix_stock_ledger_spoiled", "stock_ledger", ["day", "place_id"], "act = 'spoil' AND kind = 'spoiled'"),
    ("ix_card_numbers_left", "card_numbers", ["region"], "state = 'free'"),
    ("ix_production_batches_state", "production_batches", ["state", "updated_at", "id"], ""),
)


def upgrade() -> None:
    _change_applications()
    op.drop_index("ix_applications_case", "applications")
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    _create_alerts()
    op.create_table(
        "progress_tries",
        sa.Column("receipt_number", sa.String(16), primary_key=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    """Applicants hold their receipt numbers."""
    raise RuntimeError("supervision has no way back: restore a backup instead")


def _change_applications() -> None:
    op.add_column("applications", sa.Column("office", sa.String(128), nullable=True))
    op.add_column("applications", sa.Column("receipt_number", sa.String(16), nullable=False, server_default=""))
    op.add_column("applications", sa.Column("ended_at", TIME, nullable=True))
    table = sa.table("applications", sa.column("state"), sa.column("updated_at"), sa.column("ended_at"))
    op.execute(sa.update(table).where(table.c.state.in_(FINAL)).values(ended_at=table.c.updated_at))
    _number_applications()
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("applications", "receipt_number", server_default=None)
    op.create_index("uq_applications_receipt_number", "applications", ["receipt_number"], unique=True)


def _number_applications() -> None:
    """Applications from before get a number of their year; two that fell on the same one would stop the migration."""
    connection = op.get_bind()
    table = sa.table(
        "applications",
        sa.column("id", sa.String),
        sa.column("receipt_number", sa.String),
        sa.column("created_at", TIME),
    )
    wanted = sa.select(table.c.id, table.c.created_at).where(table.c.receipt_number == "").limit(CHUNK)
    change = sa.update(table).where(table.c.id == sa.bindparam("key")).values(receipt_number=sa.bindparam("number"))
    while rows := connection.execute(wanted).all():
        connection.execute(change, [{"key": key, "number": new_receipt_number(_aware(at))} for key, at in rows])


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("rule", sa.String(48), nullable=False),
        sa.Column("subject", sa.String(96), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("office", sa.String(128), nullable=True),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("worst", sa.Float(), nullable=False),
        sa.Column("bound", sa.Float(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("raised_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("severity IN ('info', 'warn', 'bad')", name=op.f("ck_alerts_severity")),
        sa.CheckConstraint("state IN ('raised', 'acknowledged', 'over')", name=op.f("ck_alerts_state")),
    )
    going = sa.text("state <> 'over'")
    op.create_index(
        "uq_alerts_going", "alerts", ["rule", "subject"], unique=True, sqlite_where=going, postgresql_where=going
    )
    op.create_index("ix_alerts_state", "alerts", ["state", "id"])
    op.create_table(
        "alert_events",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("alert_id", ID, sa.ForeignKey("alerts.id"), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("note", sa.String(256), nullable=False),
        sa.CheckConstraint("act IN ('raised', 'acknowledged', 'over')", name=op.f("ck_alert_events_act")),
    )
    op.create_index("ix_alert_events_alert", "alert_events", ["alert_id", "id"])
    op.create_table(
        "alert_rounds",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("next_at", TIME, nullable=False),
    )
