"""Places, the ledger of cards and its counts; batches of production with lines, files and work.

Cards that were there before get the depot of their region and an opening entry each region and kind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
RUNNING = sa.text("state = 'running'")
# Plain DDL: with its reference in the column itself SQLite need not build the table anew.
CARD_COLUMNS = (
    "kind VARCHAR(16) DEFAULT 'blank' NOT NULL CONSTRAINT ck_blanks_kind"
    " CHECK (kind IN ('blank', 'pre_printed', 'finished'))",
    "place_id VARCHAR(32) CONSTRAINT fk_blanks_place_id_stock_places REFERENCES stock_places (id)",
    "transfer_id VARCHAR(32) CONSTRAINT fk_blanks_transfer_id_stock_transfers REFERENCES stock_transfers (id)",
)
LEDGER = ("stock_ledger", "stock_ledger_items")
OPENING = (
    "INSERT INTO stock_places (id, kind, name, region, parent_id, state, version, updated_by, created_at, updated_at)"
    " SELECT 'depot-' || region, 'depot', region || ' 库', region, NULL, 'open', 1, 'onecard-system',"
    " CURRENT_TIMESTAMP, CURRENT_TIMESTAMP FROM blanks GROUP BY region",
    "UPDATE blanks SET place_id = 'depot-' || region WHERE state <> 'used'",
    "INSERT INTO stock_ledger (at, day, place_id, kind, act, quantity, reference, reason, actor)"
    " SELECT CURRENT_TIMESTAMP, CURRENT_DATE, place_id, CASE WHEN state = 'spoiled' THEN state ELSE kind END,"
    " 'receive', count(*), 'opening', '', 'onecard-system' FROM blanks WHERE place_id IS NOT NULL"
    " GROUP BY place_id, CASE WHEN state = 'spoiled' THEN state ELSE kind END",
    "INSERT INTO stock_ledger_items (entry_id, card) SELECT l.id, b.reset_information FROM stock_ledger l JOIN blanks b"
    " ON b.place_id = l.place_id AND CASE WHEN b.state = 'spoiled' THEN b.state ELSE b.kind END = l.kind",
)
SQLITE_APPEND_ONLY = """
CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table}
BEGIN SELECT RAISE(ABORT, 'the ledger of stock is append-only'); END
"""
POSTGRESQL_REFUSE = """
CREATE FUNCTION stock_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger of stock is append-only'; END $$
"""
POSTGRESQL_APPEND_ONLY = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION stock_ledger_refuse()
"""


def upgrade() -> None:
    _create_places()
    _create_ledger()
    _change_cards()
    _create_batches()
    _create_files()
    _create_lines()
    for statement in OPENING:
        op.execute(statement)
    _protect_ledger()


def downgrade() -> None:
    """A ledger is not dropped by a tool."""
    raise RuntimeError("stock and production have no way back: restore a backup instead")


def _change_cards() -> None:
    for column in CARD_COLUMNS:
        op.execute(f"ALTER TABLE blanks ADD COLUMN {column}")
    op.create_index("ix_blanks_place", "blanks", ["place_id", "kind", "state"])
    op.create_index(op.f("ix_blanks_transfer_id"), "blanks", ["transfer_id"])
    with op.batch_alter_table("card_numbers") as batch:
        batch.drop_constraint(op.f("ck_card_numbers_state"), type_="check")
        batch.drop_constraint(op.f("ck_card_numbers_holder"), type_="check")
        batch.create_check_constraint(
            op.f("ck_card_numbers_state"), "state IN ('free', 'reserved', 'used', 'locked', 'void')"
        )
        batch.create_check_constraint(
            op.f("ck_card_numbers_holder"), "(state IN ('free', 'locked', 'void')) = (application_id IS NULL)"
        )


def _protect_ledger() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute(POSTGRESQL_REFUSE)
    for table in LEDGER:
        if is_sqlite:
            for act in ("UPDATE", "DELETE"):
                op.execute(SQLITE_APPEND_ONLY.format(table=table, act=act))
        else:
            op.execute(POSTGRESQL_APPEND_ONLY.format(table=table))


def _create_places() -> None:
    op.create_table(
        "stock_places",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("parent_id", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('depot', 'outlet')", name=op.f("ck_stock_places_kind")),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_stock_places_state")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["stock_places.id"], name=op.f("fk_stock_places_parent_id_stock_places")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_places")),
    )
    op.create_index(op.f("ix_stock_places_region"), "stock_places", ["region"], unique=False)
    op.create_table(
        "stock_transfers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("from_place", sa.String(length=32), nullable=False),
        sa.Column("to_place", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=256), nullable=False),
        sa.Column("sent_by", sa.String(length=64), nullable=False),
        sa.Column("updated_by", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('sent', 'received', 'short', 'settled')", name=op.f("ck_stock_transfers_state")),
        sa.CheckConstraint("from_place <> to_place", name=op.f("ck_stock_transfers_places")),
        sa.ForeignKeyConstraint(
            ["from_place"], ["stock_places.id"], name=op.f("fk_stock_transfers_from_place_stock_places")
        ),
        sa.ForeignKeyConstraint(
            ["to_place"], ["stock_places.id"], name=op.f("fk_stock_transfers_to_place_stock_places")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_transfers")),
    )
    op.create_index(op.f("ix_stock_transfers_from_place"), "stock_transfers", ["from_place"], unique=False)
    op.create_index(op.f("ix_stock_transfers_to_place"), "stock_transfers", ["to_place"], unique=False)


def _create_ledger() -> None:
    op.create_table(
        "stock_ledger",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("place_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=256), nullable=False),
        sa.Column("transfer_id", sa.String(length=32), nullable=True),
        sa.Column("first_witness", sa.String(length=64), nullable=True),
        sa.Column("second_witness", sa.String(length=64), nullable=True),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "kind IN ('blank', 'pre_printed', 'finished', 'spoiled')", name=op.f("ck_stock_ledger_kind")
        ),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_stock_ledger_quantity")),
        sa.ForeignKeyConstraint(["place_id"], ["stock_places.id"], name=op.f("fk_stock_ledger_place_id_stock_places")),
        sa.ForeignKeyConstraint(
            ["transfer_id"], ["stock_transfers.id"], name=op.f("fk_stock_ledger_transfer_id_stock_transfers")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_ledger")),
    )
    op.create_index("ix_stock_ledger_balance", "stock_ledger", ["place_id", "kind", "day"], unique=False)
    op.create_table(
        "stock_ledger_items",
        sa.Column(
            "entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("card", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(["card"], ["blanks.reset_information"], name=op.f("fk_stock_ledger_items_card_blanks")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["stock_ledger.id"], name=op.f("fk_stock_ledger_items_entry_id_stock_ledger")
        ),
        sa.PrimaryKeyConstraint("entry_id", "card", name=op.f("pk_stock_ledger_items")),
    )
    op.create_index(op.f("ix_stock_ledger_items_card"), "stock_ledger_items", ["card"], unique=False)
    op.create_table(
        "stock_counts",
        sa.Column("place_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.CheckConstraint("source IN ('closing', 'stocktake')", name=op.f("ck_stock_counts_source")),
        sa.ForeignKeyConstraint(["place_id"], ["stock_places.id"], name=op.f("fk_stock_counts_place_id_stock_places")),
        sa.PrimaryKeyConstraint("place_id", "kind", "day", name=op.f("pk_stock_counts")),
    )


def _create_batches() -> None:
    op.create_table(
        "production_batches",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("generation", sa.String(length=3), nullable=False),
        sa.Column("apply_type", sa.String(length=2), nullable=False),
        sa.Column("make_type", sa.String(length=2), nullable=False),
        sa.Column("mark", sa.String(length=1), nullable=False),
        sa.Column("unit_code", sa.String(length=32), nullable=False),
        sa.Column("unit_name", sa.String(length=64), nullable=False),
        sa.Column("depot_id", sa.String(length=32), nullable=False),
        sa.Column("has_certificates", sa.Boolean(), nullable=False),
        sa.Column("profiles", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("updated_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["clients.id"], name=op.f("fk_production_batches_created_by_clients")),
        sa.ForeignKeyConstraint(
            ["depot_id"], ["stock_places.id"], name=op.f("fk_production_batches_depot_id_stock_places")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_production_batches")),
    )
    op.create_index(op.f("ix_production_batches_region"), "production_batches", ["region"], unique=False)


def _create_files() -> None:
    op.create_table(
        "production_files",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("batch_id", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("direction", sa.String(length=3), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("known", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(length=256), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("direction IN ('out', 'in')", name=op.f("ck_production_files_direction")),
        sa.CheckConstraint(
            "state IN ('open', 'whole', 'done', 'repeated', 'refused')", name=op.f("ck_production_files_state")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["production_batches.id"], name=op.f("fk_production_files_batch_id_production_batches")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_production_files")),
    )
    op.create_index("ix_production_files_batch", "production_files", ["batch_id", "stage", "direction"], unique=False)
    op.create_table(
        "production_parts",
        sa.Column("file_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("line_ends", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["production_files.id"], name=op.f("fk_production_parts_file_id_production_files")
        ),
        sa.PrimaryKeyConstraint("file_id", "number", name=op.f("pk_production_parts")),
    )
    op.create_table(
        "production_rejects",
        sa.Column("file_id", sa.String(length=32), nullable=False),
        sa.Column("line_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("column", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["production_files.id"], name=op.f("fk_production_rejects_file_id_production_files")
        ),
        sa.PrimaryKeyConstraint("file_id", "line_number", "ordinal", name=op.f("pk_production_rejects")),
    )
    op.create_index("ix_production_rejects_sequence", "production_rejects", ["file_id", "sequence"], unique=False)
    op.create_table(
        "production_jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("batch_id", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("file_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("phase", sa.String(length=8), nullable=False),
        sa.Column("cursor", sa.JSON(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("busy_ms", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.String(length=256), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("clerk", sa.String(length=64), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("kind IN ('roster', 'send', 'return')", name=op.f("ck_production_jobs_kind")),
        sa.CheckConstraint("state IN ('running', 'stuck', 'done', 'refused')", name=op.f("ck_production_jobs_state")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["production_batches.id"], name=op.f("fk_production_jobs_batch_id_production_batches")
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["production_files.id"], name=op.f("fk_production_jobs_file_id_production_files")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_production_jobs")),
    )
    op.create_index(op.f("ix_production_jobs_batch_id"), "production_jobs", ["batch_id"], unique=False)
    op.create_index("ix_production_jobs_state", "production_jobs", ["state", "updated_at"], unique=False)
    op.create_index(
        "uq_production_jobs_running",
        "production_jobs",
        ["batch_id"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )


def _create_lines() -> None:
    op.create_table(
        "production_lines",
        sa.Column("batch_id", sa.String(length=16), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("card_number", sa.String(length=9), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("match", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed_bank", sa.LargeBinary(), nullable=True),
        sa.Column("certificate", sa.String(length=64), nullable=True),
        sa.Column("reset_information", sa.String(length=26), nullable=True),
        sa.Column("identification_code", sa.String(length=32), nullable=True),
        sa.Column("key_version", sa.Integer(), nullable=True),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("expiry_date", sa.Date(), nullable=True),
        sa.Column("box", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_production_lines_application_id_applications")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["production_batches.id"], name=op.f("fk_production_lines_batch_id_production_batches")
        ),
        sa.ForeignKeyConstraint(
            ["card_number"], ["card_numbers.number"], name=op.f("fk_production_lines_card_number_card_numbers")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_production_lines_person_id_persons")),
        sa.ForeignKeyConstraint(
            ["reset_information"],
            ["blanks.reset_information"],
            name=op.f("fk_production_lines_reset_information_blanks"),
        ),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_production_lines")),
    )
    op.create_index("ix_production_lines_application", "production_lines", ["application_id"], unique=False)
    op.create_index(op.f("ix_production_lines_card_number"), "production_lines", ["card_number"], unique=False)
    op.create_index(
        op.f("ix_production_lines_reset_information"), "production_lines", ["reset_information"], unique=False
    )
    op.create_table(
        "production_entries",
        sa.Column("batch_id", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("sent_in", sa.String(length=32), nullable=False),
        sa.Column("returned_in", sa.String(length=32), nullable=True),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("sealed_reason", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("outcome IN ('unsent', 'sent', 'ok', 'failed')", name=op.f("ck_production_entries_outcome")),
        sa.ForeignKeyConstraint(
            ["batch_id", "line"],
            ["production_lines.batch_id", "production_lines.line"],
            name=op.f("fk_production_entries_batch_id_line_production_lines"),
        ),
        sa.ForeignKeyConstraint(
            ["returned_in"], ["production_files.id"], name=op.f("fk_production_entries_returned_in_production_files")
        ),
        sa.ForeignKeyConstraint(
            ["sent_in"], ["production_files.id"], name=op.f("fk_production_entries_sent_in_production_files")
        ),
        sa.PrimaryKeyConstraint("batch_id", "stage", "line", name=op.f("pk_production_entries")),
    )
