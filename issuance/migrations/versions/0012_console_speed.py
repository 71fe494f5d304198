"""Indexes that answer the console's counts by themselves, scope of the caller included; what is counted once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

OPEN = "state NOT IN ('enabled', 'rejected', 'written_off')"
CASE = "case_step IS NOT NULL"
ENDED = "ended_at IS NOT NULL"
LYING = "place_id IS NOT NULL"
FINISHED = "kind = 'finished' AND state = 'reserved'"
_OPEN = ["state", "created_at", "id", "region"]
_CASE = ["case_deadline", "id", "region", "office", "case_reason", "case_step"]
_CREATED = ["created_at", "region", "office"]
_ENDED = ["ended_at", "region", "state", "office", "created_at"]
WIDER: tuple[tuple[str, str, list[str], list[str], str, str], ...] = (
    (
        "ix_applications_open",
        "applications",
        _OPEN,
        [*_OPEN, "accepted_region", "office", "case_step", "case_reason", "case_deadline"],
        OPEN,
        OPEN,
    ),
    ("ix_applications_case", "applications", _CASE, [*_CASE, "accepted_region"], CASE, CASE),
    ("ix_applications_created", "applications", _CREATED, [*_CREATED, "accepted_region"], "", ""),
    ("ix_applications_ended", "applications", _ENDED, [*_ENDED, "accepted_region"], ENDED, ENDED),
    ("ix_blanks_place", "blanks", ["place_id", "kind", "state"], ["place_id", "kind", "state", "region"], "", LYING),
    (
        "ix_stock_ledger_balance",
        "stock_ledger",
        ["place_id", "kind", "day"],
        ["place_id", "day", "kind", "quantity"],
        "",
        "",
    ),
)
"""Name, table, columns before and after, condition before and after."""


def upgrade() -> None:
    for name, table, _, columns, _, condition in WIDER:
        op.drop_index(name, table)
        _create(name, table, columns, condition)
    op.drop_index("ix_blanks_finished", "blanks")
    columns = ["updated_at", "reset_information", "place_id", "region", "application_id"]
    _create("ix_blanks_to_hand_over", "blanks", columns, FINISHED)
    _create("ix_card_numbers_unused", "card_numbers", ["region", "state"], "state <> 'used'")
    op.create_table(
        "card_number_pools",
        sa.Column("region", sa.String(6), primary_key=True),
        sa.Column("given", sa.Integer(), nullable=False),
    )
    op.execute("INSERT INTO card_number_pools SELECT region, count(*) FROM card_numbers GROUP BY region")
    op.create_table(
        "stock_openings",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("place_id", sa.String(32), sa.ForeignKey("stock_places.id"), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("stock_openings")
    op.drop_table("card_number_pools")
    op.drop_index("ix_card_numbers_unused", "card_numbers")
    op.drop_index("ix_blanks_to_hand_over", "blanks")
    _create("ix_blanks_finished", "blanks", ["place_id", "updated_at", "reset_information"], FINISHED)
    for name, table, columns, _, condition, _ in WIDER:
        op.drop_index(name, table)
        _create(name, table, columns, condition)


def _create(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition) if condition else None
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
