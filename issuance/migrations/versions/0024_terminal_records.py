"""Journals of terminals, their records, and what becomes of these: uses of cards, and takings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
KEYED = sa.text("key IS NOT NULL")
REFUSED = sa.text("failure IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "terminal_journals",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("follows", sa.String(32), nullable=True),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("head_sequence", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("head_signature", sa.LargeBinary(64), nullable=False),
        sa.Column("told_sequence", sa.BigInteger(), nullable=False),
        sa.Column("clock_error_ms", sa.BigInteger(), nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("heard_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_terminal_journals_client_id_clients"),
        sa.PrimaryKeyConstraint("id", name="pk_terminal_journals"),
    )
    op.create_index("ix_terminal_journals_client", "terminal_journals", ["client_id", "began_at"])
    op.create_table(
        "terminal_records",
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key", sa.String(32), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("failure", sa.String(64), nullable=True),
        sa.Column("detail", sa.String(128), nullable=True),
        sa.ForeignKeyConstraint(
            ["journal_id"], ["terminal_journals.id"], name="fk_terminal_records_journal_id_terminal_journals"
        ),
        sa.PrimaryKeyConstraint("journal_id", "sequence", name="pk_terminal_records"),
    )
    op.create_index(
        "uq_terminal_records_key",
        "terminal_records",
        ["client_id", "key"],
        unique=True,
        sqlite_where=KEYED,
        postgresql_where=KEYED,
    )
    op.create_index("ix_terminal_records_day", "terminal_records", ["client_id", "day"])
    op.create_index(
        "ix_terminal_records_refused",
        "terminal_records",
        ["client_id", "received_at"],
        sqlite_where=REFUSED,
        postgresql_where=REFUSED,
    )
    op.create_index("ix_terminal_records_received_at", "terminal_records", ["received_at"])
    op.create_table(
        "card_uses",
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("card_number", sa.String(9), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["card_number"], ["cards.card_number"], name="fk_card_uses_card_number_cards"),
        sa.PrimaryKeyConstraint("journal_id", "sequence", name="pk_card_uses"),
    )
    op.create_index("ix_card_uses_card", "card_uses", ["card_number", "at"])
    op.create_index("ix_card_uses_at", "card_uses", ["at"])
    op.create_table(
        "takings",
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("terminal", sa.String(12), nullable=False),
        sa.Column("number", sa.String(8), nullable=False),
        sa.Column("time", sa.String(14), nullable=False),
        sa.Column("identification_code", sa.String(32), nullable=False),
        sa.Column("card_number", sa.String(16), nullable=False),
        sa.Column("account_fen", sa.BigInteger(), nullable=False),
        sa.Column("self_paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("pooling_fen", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("tac", sa.String(8), nullable=True),
        sa.CheckConstraint("outcome IN ('done', 'logged', 'void', 'unresolved')", name="ck_takings_outcome"),
        sa.PrimaryKeyConstraint("journal_id", "sequence", name="pk_takings"),
    )
    op.create_index("uq_takings_transaction", "takings", ["terminal", "number", "time"], unique=True)
    op.create_index("ix_takings_day", "takings", ["client_id", "day"])


def downgrade() -> None:
    for table in ("takings", "card_uses", "terminal_records", "terminal_journals"):
        op.drop_table(table)
