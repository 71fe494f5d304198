"""The life cycle of cards: states with versions, history, accounts at the bank, the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
PENDING = sa.text("state = 'pending'")
TEMPORARY = sa.text("temporary_until IS NOT NULL")
KEPT = sa.text("state = 'kept'")


def upgrade() -> None:
    _change_cards()
    _create_card_tables()
    _create_bank_tables()
    _create_outbox()


def downgrade() -> None:
    """The history of cards is not dropped by a tool."""
    raise RuntimeError("the life cycle has no way back: restore a backup instead")


def _check(table: str, name: str, condition: str) -> None:
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
        batch.create_check_constraint(op.f(f"ck_{table}_{name}"), condition)


def _change_cards() -> None:
    with op.batch_alter_table("cards") as batch:
        batch.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("state_since", TIME, nullable=True))
        batch.add_column(sa.Column("state_by", sa.String(64), nullable=False, server_default="unknown"))
        batch.add_column(sa.Column("temporary_until", TIME, nullable=True))
    op.execute("UPDATE cards SET state_since = updated_at")
    with op.batch_alter_table("cards") as batch:
        batch.alter_column("state_since", existing_type=TIME, nullable=False)
        batch.alter_column("version", existing_type=sa.Integer(), server_default=None)
        batch.alter_column("state_by", existing_type=sa.String(64), server_default=None)
    op.create_index(
        "ix_cards_temporary", "cards", ["temporary_until"], sqlite_where=TEMPORARY, postgresql_where=TEMPORARY
    )
    op.create_index("ix_cards_region", "cards", ["region", "card_number"])
    _check("ecards", "state", "state IN ('active', 'suspended', 'locked', 'cancelled')")
    with op.batch_alter_table("card_sessions") as batch:
        batch.add_column(sa.Column("card_number", sa.String(9), nullable=True))
    kinds = "'initialization', 'personalization', 'rewrite', 'pin_reset', 'pin_unblock'"
    _check("card_sessions", "kind", f"kind IN ({kinds})")


def _create_card_tables() -> None:
    op.create_table(
        "card_events",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("old_state", sa.String(16), nullable=False),
        sa.Column("new_state", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.CheckConstraint("side IN ('social', 'financial', 'chip', 'ecard', 'found')", name="side"),
    )
    op.create_index("ix_card_events_card", "card_events", ["card_number", "id"])
    op.create_table(
        "card_successions",
        sa.Column("application_id", sa.String(32), sa.ForeignKey("applications.id"), primary_key=True),
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("keeps_number", sa.Boolean(), nullable=False),
        sa.Column("fee_fen", sa.Integer(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("asked_by", sa.String(64), nullable=False),
        sa.CheckConstraint("reason IN ('lost', 'damaged', 'quality', 'renewal')", name="reason"),
    )
    op.create_index("ix_card_successions_card_number", "card_successions", ["card_number"])
    op.create_table(
        "retired_chips",
        sa.Column("reset_information", sa.String(26), sa.ForeignKey("blanks.reset_information"), primary_key=True),
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), nullable=False),
        sa.Column("identification_code", sa.String(32), nullable=False),
        sa.Column("application_id", sa.String(32), sa.ForeignKey("applications.id"), nullable=False),
        sa.Column("retired_at", TIME, nullable=False),
    )
    op.create_index("ix_retired_chips_card_number", "retired_chips", ["card_number"])
    op.create_table(
        "card_rewrites",
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), primary_key=True),
        sa.Column("sealed_changes", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("asked_by", sa.String(64), nullable=False),
    )
    op.create_table(
        "person_ends",
        sa.Column("person_id", sa.String(32), sa.ForeignKey("persons.id"), primary_key=True),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.CheckConstraint("reason IN ('death', 'exit')", name="reason"),
    )
    _create_found_cards()


def _create_found_cards() -> None:
    op.create_table(
        "found_cards",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("outlet", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("found_at", TIME, nullable=False),
        sa.Column("keep_until", TIME, nullable=False),
        sa.Column("is_overdue", sa.Boolean(), nullable=False),
        sa.Column("registered_by", sa.String(64), nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("ended_by", sa.String(64)),
        sa.CheckConstraint("state IN ('kept', 'returned', 'destroyed')", name="state"),
    )
    op.create_index(
        "uq_found_cards_kept", "found_cards", ["card_number"], unique=True, sqlite_where=KEPT, postgresql_where=KEPT
    )
    op.create_index("ix_found_cards_region", "found_cards", ["region", "id"])


def _create_bank_tables() -> None:
    states = "'none', 'opening', 'inactive', 'active', 'lost', 'frozen', 'closed'"
    op.create_table(
        "card_accounts",
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), primary_key=True),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_before", sa.String(16)),
        sa.Column("is_lost_with_card", sa.Boolean(), nullable=False),
        sa.Column("sealed_account", sa.LargeBinary()),
        sa.Column("operation", sa.String(16)),
        sa.Column("operation_id", sa.String(32)),
        sa.Column("since", TIME, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.CheckConstraint(f"state IN ({states})", name="state"),
    )
    op.create_table(
        "bank_notices",
        sa.Column("notice_id", sa.String(64), primary_key=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.id"), primary_key=True),
        sa.Column("card_number", sa.String(9), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_table(
        "bank_reconciliations",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("day", sa.Date(), unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.Column("compared", sa.Integer(), nullable=False),
        sa.Column("differences", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.CheckConstraint("state IN ('running', 'done', 'failed')", name="state"),
    )
    op.create_table(
        "bank_differences",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("reconciliation_id", ID, sa.ForeignKey("bank_reconciliations.id"), nullable=False),
        sa.Column("card_number", sa.String(9), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("ours", sa.String(16), nullable=False),
        sa.Column("theirs", sa.String(16), nullable=False),
        sa.Column("resolution", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_index("ix_bank_differences_reconciliation", "bank_differences", ["reconciliation_id", "id"])


def _create_outbox() -> None:
    op.create_table(
        "outbox_messages",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.String(32), nullable=False, unique=True),
        sa.Column("topic", sa.String(32), nullable=False),
        sa.Column("key", sa.String(96), nullable=False),
        sa.Column("region", sa.String(6)),
        sa.Column("body", sa.JSON()),
        sa.Column("sealed_body", sa.LargeBinary()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", TIME, nullable=False),
        sa.Column("lease_token", sa.String(32)),
        sa.Column("lease_until", TIME),
        sa.Column("reason", sa.String(64)),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    )
    for name, columns in (("due", ["next_try_at", "id"]), ("order", ["key", "id"])):
        op.create_index(
            f"ix_outbox_messages_{name}",
            "outbox_messages",
            columns,
            sqlite_where=PENDING,
            postgresql_where=PENDING,
        )
    op.create_index("ix_outbox_messages_state", "outbox_messages", ["state", "id"])
