"""Taps of purses, rides with codes and day's sums of transit terminals; purses of cards; what a TAC was found to be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
OPEN = sa.text("standing = 'open'")


def upgrade() -> None:
    op.create_table(
        "transit_taps",
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("clock_day", sa.Date(), nullable=False),
        sa.Column("psam", sa.String(12), nullable=False),
        sa.Column("number", sa.String(8), nullable=False),
        sa.Column("issuer", sa.String(16), nullable=False),
        sa.Column("serial", sa.String(20), nullable=False),
        sa.Column("city", sa.String(4), nullable=False),
        sa.Column("passenger_class", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("catalog_item", sa.String(64), nullable=True),
        sa.Column("offline", sa.Integer(), nullable=False),
        sa.Column("balance_fen", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("time", sa.String(14), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("algorithm", sa.Integer(), nullable=False),
        sa.Column("tac", sa.String(8), nullable=True),
        sa.Column("is_verified", sa.Boolean(), nullable=True),
        sa.Column("acceptor", sa.String(16), nullable=False),
        sa.Column("place_city", sa.String(4), nullable=False),
        sa.Column("industry", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("station", sa.Integer(), nullable=False),
        sa.Column("entry_psam", sa.String(12), nullable=True),
        sa.Column("entry_line", sa.Integer(), nullable=True),
        sa.Column("entry_station", sa.Integer(), nullable=True),
        sa.Column("entry_time", sa.String(14), nullable=True),
        sa.Column("marked_fen", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("standing", sa.String(16), nullable=False),
        sa.Column("why", sa.String(16), nullable=True),
        sa.CheckConstraint("outcome IN ('paid', 'recovered', 'suspicious', 'void')", name="ck_transit_taps_outcome"),
        sa.CheckConstraint(
            "standing IN ('booked', 'executed', 'foreign', 'open', 'not_executed', 'void', 'repeated', 'refused')",
            name="ck_transit_taps_standing",
        ),
        sa.CheckConstraint("verdict IN ('genuine', 'wrong', 'foreign', 'none')", name="ck_transit_taps_verdict"),
        sa.PrimaryKeyConstraint("journal_id", "sequence", name="pk_transit_taps"),
    )
    op.create_index("ix_transit_taps_clock_day", "transit_taps", ["clock_day", "client_id"])
    op.create_index("ix_transit_taps_day", "transit_taps", ["day", "client_id"])
    op.create_index("ix_transit_taps_open", "transit_taps", ["serial"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("ix_transit_taps_purse", "transit_taps", ["serial", "offline"])
    op.create_index("uq_transit_taps_number", "transit_taps", ["psam", "number", "outcome", "client_id"], unique=True)
    op.create_table(
        "transit_rides",
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("clock_day", sa.Date(), nullable=False),
        sa.Column("platform", sa.String(8), nullable=False),
        sa.Column("issuer", sa.String(8), nullable=False),
        sa.Column("payment_account", sa.String(16), nullable=False),
        sa.Column("card_account", sa.String(20), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("authorised_until", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("time", sa.String(14), nullable=False),
        sa.Column("place_city", sa.String(4), nullable=False),
        sa.Column("industry", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("station", sa.Integer(), nullable=False),
        sa.Column("standing", sa.String(16), nullable=False),
        sa.CheckConstraint("standing IN ('booked', 'refused')", name="ck_transit_rides_standing"),
        sa.PrimaryKeyConstraint("journal_id", "sequence", name="pk_transit_rides"),
    )
    op.create_index("ix_transit_rides_clock_day", "transit_rides", ["clock_day", "client_id"])
    op.create_index("ix_transit_rides_code", "transit_rides", ["code"])
    op.create_index("ix_transit_rides_day", "transit_rides", ["day", "client_id"])
    op.create_table(
        "transit_refusals",
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("clock_day", sa.Date(), nullable=False),
        sa.Column("psam", sa.String(12), nullable=False),
        sa.Column("issuer", sa.String(16), nullable=False),
        sa.Column("serial", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("is_locked", sa.Boolean(), nullable=True),
        sa.Column("time", sa.String(14), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("station", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("journal_id", "sequence", name="pk_transit_refusals"),
    )
    op.create_index("ix_transit_refusals_day", "transit_refusals", ["day", "client_id"])
    op.create_table(
        "transit_days",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("counter", sa.String(32), nullable=False),
        sa.Column("clock_day", sa.Date(), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("statement", sa.BigInteger(), nullable=False),
        sa.Column("is_closed", sa.Boolean(), nullable=False),
        sa.Column("psam", sa.String(12), nullable=False),
        sa.Column("sums", sa.JSON(), nullable=False),
        sa.Column("free", sa.JSON(), nullable=False),
        sa.Column("refusals", sa.JSON(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("client_id", "counter", "clock_day", name="pk_transit_days"),
    )
    op.create_index("ix_transit_days_day", "transit_days", ["clock_day", "client_id"])
    op.create_table(
        "card_purses",
        sa.Column("identification_code", sa.String(32), nullable=False),
        sa.Column("card_number", sa.String(9), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("issuer", sa.String(16), nullable=False),
        sa.Column("serial", sa.String(20), nullable=False),
        sa.Column("told_at", TIME, nullable=False),
        sa.Column("told_by", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["card_number"], ["cards.card_number"], name="fk_card_purses_card_number_cards"),
        sa.PrimaryKeyConstraint("identification_code", name="pk_card_purses"),
    )
    op.create_index("ix_card_purses_card", "card_purses", ["card_number"])
    op.create_index("uq_card_purses_purse", "card_purses", ["serial", "issuer"], unique=True)
    op.add_column("takings", sa.Column("verdict", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("takings", "verdict")
    for table in ("card_purses", "transit_days", "transit_refusals", "transit_rides", "transit_taps"):
        op.drop_table(table)
