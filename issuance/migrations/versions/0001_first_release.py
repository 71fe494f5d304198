"""Every table of the first release, and the triggers that keep the audit trail as it was written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
RESERVED = sa.text("state = 'reserved'")
RUNNING = sa.text("state = 'running'")
LIVE = sa.text("state <> '9'")
OPEN = sa.text("state NOT IN ('enabled', 'rejected', 'written_off')")

SQLITE_TRIGGER = """
CREATE TRIGGER audit_entries_no_{act} BEFORE {act} ON audit_entries
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
SQLITE_NO_REPLACE = """
CREATE TRIGGER audit_entries_no_replace BEFORE INSERT ON audit_entries
WHEN EXISTS (SELECT 1 FROM audit_entries WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
POSTGRESQL_FUNCTION = """
CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$
"""
POSTGRESQL_TRIGGERS = """
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse();
CREATE TRIGGER audit_entries_no_truncate BEFORE TRUNCATE ON audit_entries
FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()
"""


def upgrade() -> None:
    _create_parties()
    _create_stock_and_applications()
    _create_cards()
    _create_debit_orders()
    _protect_audit()


def downgrade() -> None:
    """There is nothing before the first release; an audit trail is not dropped by a tool."""
    raise RuntimeError("the first release has nothing before it: restore a backup instead")


def _protect_audit() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(SQLITE_TRIGGER.format(act=act))
        # INSERT OR REPLACE deletes without firing DELETE triggers, unless recursive_triggers is on.
        op.execute(SQLITE_NO_REPLACE)
    else:
        op.execute(POSTGRESQL_FUNCTION)
        for statement in POSTGRESQL_TRIGGERS.split(";"):
            op.execute(statement)


def _create_parties() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("clerk", sa.String(length=64), nullable=False),
        sa.Column("act", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=96), nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=True),
        sa.Column("region", sa.String(length=6), nullable=True),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_application_id"), "audit_entries", ["application_id"], unique=False)
    op.create_index(op.f("ix_audit_entries_subject"), "audit_entries", ["subject"], unique=False)
    op.create_table(
        "clients",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=True),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_clients_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
    )
    op.create_table(
        "used_assertions",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_used_assertions_client_id_clients")),
        sa.PrimaryKeyConstraint("client_id", "nonce", name=op.f("pk_used_assertions")),
    )
    op.create_index(op.f("ix_used_assertions_expires_at"), "used_assertions", ["expires_at"], unique=False)
    op.create_table(
        "kept_answers",
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed_answer", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("client_id", "scope", "key", name=op.f("pk_kept_answers")),
    )
    op.create_index(op.f("ix_kept_answers_expires_at"), "kept_answers", ["expires_at"], unique=False)
    op.create_table(
        "persons",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("number_index", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_persons")),
        sa.UniqueConstraint("number_index", name=op.f("uq_persons_number_index")),
    )


def _create_stock_and_applications() -> None:
    op.create_table(
        "blanks",
        sa.Column("reset_information", sa.String(length=26), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("generation", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("delivery", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=256), nullable=True),
        sa.Column("registered_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "(state IN ('in_stock', 'spoiled')) = (application_id IS NULL)", name=op.f("ck_blanks_holder")
        ),
        sa.CheckConstraint("state IN ('in_stock', 'reserved', 'used', 'spoiled')", name=op.f("ck_blanks_state")),
        sa.PrimaryKeyConstraint("reset_information", name=op.f("pk_blanks")),
    )
    op.create_index(op.f("ix_blanks_state"), "blanks", ["state"], unique=False)
    op.create_index(
        "uq_blanks_reserved",
        "blanks",
        ["application_id"],
        unique=True,
        sqlite_where=RESERVED,
        postgresql_where=RESERVED,
    )
    op.create_table(
        "card_numbers",
        sa.Column("number", sa.String(length=9), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=256), nullable=True),
        sa.Column("registered_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "(state IN ('free', 'void')) = (application_id IS NULL)", name=op.f("ck_card_numbers_holder")
        ),
        sa.CheckConstraint("state IN ('free', 'reserved', 'used', 'void')", name=op.f("ck_card_numbers_state")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_card_numbers")),
    )
    op.create_index("ix_card_numbers_free", "card_numbers", ["region", "state", "number"], unique=False)
    op.create_index(
        "uq_card_numbers_reserved",
        "card_numbers",
        ["application_id"],
        unique=True,
        sqlite_where=RESERVED,
        postgresql_where=RESERVED,
    )
    op.create_table(
        "applications",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("generation", sa.String(length=3), nullable=False),
        sa.Column("card_class", sa.String(length=1), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sealed_items", sa.LargeBinary(), nullable=False),
        sa.Column("reset_information", sa.String(length=26), nullable=True),
        sa.Column("card_number", sa.String(length=9), nullable=True),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("expiry_date", sa.Date(), nullable=True),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "state IN ('submitted', 'checked', 'reserved', 'personalized', 'verified', 'enabled', 'rejected',"
            " 'written_off')",
            name=op.f("ck_applications_state"),
        ),
        sa.ForeignKeyConstraint(
            ["card_number"], ["card_numbers.number"], name=op.f("fk_applications_card_number_card_numbers")
        ),
        sa.ForeignKeyConstraint(["created_by"], ["clients.id"], name=op.f("fk_applications_created_by_clients")),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_applications_person_id_persons")),
        sa.ForeignKeyConstraint(
            ["reset_information"], ["blanks.reset_information"], name=op.f("fk_applications_reset_information_blanks")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_applications")),
    )
    op.create_index(op.f("ix_applications_person_id"), "applications", ["person_id"], unique=False)
    op.create_index(
        "uq_applications_open_person",
        "applications",
        ["person_id"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_table(
        "application_steps",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("detail", sa.String(length=512), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("deadline", TIME, nullable=True),
        sa.CheckConstraint(
            "status IN ('started', 'done', 'stuck', 'failed', 'undone')", name=op.f("ck_application_steps_status")
        ),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_application_steps_application_id_applications")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application_steps")),
    )
    op.create_index(op.f("ix_application_steps_application_id"), "application_steps", ["application_id"], unique=False)


def _create_cards() -> None:
    op.create_table(
        "cards",
        sa.Column("card_number", sa.String(length=9), nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("reset_information", sa.String(length=26), nullable=False),
        sa.Column("identification_code", sa.String(length=32), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("generation", sa.String(length=3), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=1), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=False),
        sa.Column("expiry_date", sa.Date(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('0', '1', '2', '3', '4', '9')", name=op.f("ck_cards_state")),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_cards_application_id_applications")
        ),
        sa.ForeignKeyConstraint(
            ["card_number"], ["card_numbers.number"], name=op.f("fk_cards_card_number_card_numbers")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_cards_person_id_persons")),
        sa.ForeignKeyConstraint(
            ["reset_information"], ["blanks.reset_information"], name=op.f("fk_cards_reset_information_blanks")
        ),
        sa.PrimaryKeyConstraint("card_number", name=op.f("pk_cards")),
        sa.UniqueConstraint("application_id", name=op.f("uq_cards_application_id")),
        sa.UniqueConstraint("reset_information", name=op.f("uq_cards_reset_information")),
    )
    op.create_index(
        "uq_cards_live_person", "cards", ["person_id"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.create_table(
        "card_sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=32), nullable=True),
        sa.Column("reset_information", sa.String(length=26), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("generation", sa.String(length=3), nullable=False),
        sa.Column("sealed_order", sa.LargeBinary(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(length=64), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('initialization', 'personalization')", name=op.f("ck_card_sessions_kind")),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'superseded')", name=op.f("ck_card_sessions_state")),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_card_sessions_application_id_applications")
        ),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_card_sessions_client_id_clients")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_sessions")),
    )
    op.create_index(
        "uq_card_sessions_application",
        "card_sessions",
        ["application_id"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.create_index(
        "uq_card_sessions_card",
        "card_sessions",
        ["reset_information"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.create_table(
        "card_session_exchanges",
        sa.Column("session_id", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed_responses", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_reply", sa.LargeBinary(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["card_sessions.id"], name=op.f("fk_card_session_exchanges_session_id_card_sessions")
        ),
        sa.PrimaryKeyConstraint("session_id", "sequence", name=op.f("pk_card_session_exchanges")),
    )
    op.create_table(
        "ecards",
        sa.Column("ecard_no", sa.String(length=32), nullable=False),
        sa.Column("card_number", sa.String(length=9), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('active', 'locked', 'cancelled')", name=op.f("ck_ecards_state")),
        sa.CheckConstraint("level IN (1, 2)", name=op.f("ck_ecards_level")),
        sa.ForeignKeyConstraint(["card_number"], ["cards.card_number"], name=op.f("fk_ecards_card_number_cards")),
        sa.ForeignKeyConstraint(["person_id"], ["persons.id"], name=op.f("fk_ecards_person_id_persons")),
        sa.PrimaryKeyConstraint("ecard_no", name=op.f("pk_ecards")),
        sa.UniqueConstraint("card_number", name=op.f("uq_ecards_card_number")),
    )
    op.create_index(op.f("ix_ecards_person_id"), "ecards", ["person_id"], unique=False)
    op.create_table(
        "ecard_codes",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("ecard_no", sa.String(length=32), nullable=False),
        sa.Column("scene", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("used_by", sa.String(length=64), nullable=True),
        sa.CheckConstraint("scene IN ('identity', 'payment', 'login')", name=op.f("ck_ecard_codes_scene")),
        sa.CheckConstraint("state IN ('live', 'used', 'cancelled')", name=op.f("ck_ecard_codes_state")),
        sa.ForeignKeyConstraint(["ecard_no"], ["ecards.ecard_no"], name=op.f("fk_ecard_codes_ecard_no_ecards")),
        sa.ForeignKeyConstraint(["used_by"], ["clients.id"], name=op.f("fk_ecard_codes_used_by_clients")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_ecard_codes")),
    )
    op.create_index(op.f("ix_ecard_codes_expires_at"), "ecard_codes", ["expires_at"], unique=False)
    op.create_index("ix_ecard_codes_holder", "ecard_codes", ["ecard_no", "scene", "state"], unique=False)


def _create_debit_orders() -> None:
    op.create_table(
        "debit_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("request_index", sa.LargeBinary(length=32), nullable=False),
        sa.Column("region", sa.String(length=6), nullable=False),
        sa.Column("sealed_order", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tac", sa.String(length=8), nullable=True),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'done', 'logged', 'void', 'unresolved')", name=op.f("ck_debit_orders_state")
        ),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_debit_orders_client_id_clients")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_debit_orders")),
        sa.UniqueConstraint("client_id", "request_index", name=op.f("uq_debit_orders_client_id_request_index")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_debit_orders_state_id", "debit_orders", ["state", "id"], unique=False)
