"""What taps and rides come to, kept as they are booked; indexes for what is left to look up among them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

KEY = ("clock_day", "client_id", "day", "journal_id", "region", "outcome", "standing", "why", "is_free", "product")
OPEN = "standing = 'open'"
PARTIAL = {
    "ix_transit_taps_lost": (["clock_day", "client_id"], "standing NOT IN ('booked', 'executed', 'foreign')"),
    "ix_transit_taps_moved": (["day", "clock_day"], "day <> clock_day"),
    "ix_transit_taps_exit": (["entry_psam", "entry_time"], "entry_psam IS NOT NULL"),
}
FREE = "amount_fen = 0 AND fare_fen > 0"
ADD = """
INSERT INTO transit_sums ({key}, catalog_item, count, fen, fare_fen, last_sequence)
SELECT clock_day, client_id, day, journal_id, coalesce(region, ''), {outcome}, standing, {why}, {free}, product, {item},
       count(*), sum(amount_fen), sum(fare_fen), max(sequence)
FROM {table}
GROUP BY clock_day, client_id, day, journal_id, coalesce(region, ''), {group} standing, {free}, product
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # A service of the former version may be booking: what it commits later would not be in the sums.
        op.execute("LOCK TABLE transit_taps, transit_rides IN ACCESS EXCLUSIVE MODE")
    op.create_table(
        "transit_sums",
        sa.Column("clock_day", sa.Date(), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("journal_id", sa.String(32), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("standing", sa.String(16), nullable=False),
        sa.Column("why", sa.String(16), nullable=False),
        sa.Column("is_free", sa.Boolean(), nullable=False),
        sa.Column("product", sa.String(64), nullable=False),
        sa.Column("catalog_item", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("fare_fen", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, "catalog_item", name="pk_transit_sums"),
    )
    op.create_index("ix_transit_sums_day", "transit_sums", ["day", "client_id"])
    for statement in recount():
        op.execute(statement)
    for name, (columns, condition) in PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, "transit_taps", columns, sqlite_where=where, postgresql_where=where)
    index_open("standing", "serial")
    op.drop_index("ix_transit_taps_clock_day", "transit_taps")
    op.drop_index("ix_transit_rides_day", "transit_rides")
    op.drop_index("ix_transit_rides_clock_day", "transit_rides")


def downgrade() -> None:
    op.create_index("ix_transit_taps_clock_day", "transit_taps", ["clock_day", "client_id"])
    op.create_index("ix_transit_rides_clock_day", "transit_rides", ["clock_day", "client_id"])
    op.create_index("ix_transit_rides_day", "transit_rides", ["day", "client_id"])
    for name in PARTIAL:
        op.drop_index(name, "transit_taps")
    index_open("serial")
    op.drop_table("transit_sums")


def recount() -> list[str]:
    """The statements that fill the table from what is booked."""
    why, item = "coalesce(why, '')", "coalesce(catalog_item, '')"
    of_taps = {"outcome": "outcome", "why": why, "item": item, "group": f"outcome, {why}, {item},"}
    of_rides = {"outcome": "'code'", "why": "''", "item": "''", "group": ""}
    tables = ("transit_taps", of_taps), ("transit_rides", of_rides)
    return [ADD.format(key=", ".join(KEY), table=table, free=FREE, **names) for table, names in tables]


def index_open(*columns: str) -> None:
    """By the standing too: SQLite takes the index that knows most, and the other one has all that a purse ever did."""
    op.drop_index("ix_transit_taps_open", "transit_taps")
    where = sa.text(OPEN)
    op.create_index("ix_transit_taps_open", "transit_taps", columns, sqlite_where=where, postgresql_where=where)
