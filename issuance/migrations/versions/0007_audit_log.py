"""The tree over the audit trail: seals, places, leaves, subtrees, signed heads; what waits for its place.

Every entry that is there already waits to be taken into the tree, without a seal.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PROTECTED = ("audit_leaves", "audit_nodes", "audit_heads")
SQLITE_REFUSE = """
CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table}
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
SQLITE_NO_REPLACE = """
CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
"""
SAME = {
    "audit_leaves": "sequence = NEW.sequence OR entry_id = NEW.entry_id",
    "audit_nodes": "level = NEW.level AND position = NEW.position",
    "audit_heads": "size = NEW.size",
}
SQLITE_QUEUE = """
CREATE TRIGGER audit_entries_queue AFTER INSERT ON audit_entries
BEGIN INSERT INTO audit_pending (entry_id) VALUES (NEW.id); END
"""
POSTGRESQL_REFUSE = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()
"""
POSTGRESQL_QUEUE = (
    """
CREATE FUNCTION audit_entries_queue() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO audit_pending (entry_id) VALUES (NEW.id); RETURN NULL; END $$
""",
    """
CREATE TRIGGER audit_entries_queue AFTER INSERT ON audit_entries
FOR EACH ROW EXECUTE FUNCTION audit_entries_queue()
""",
)


def upgrade() -> None:
    op.add_column("audit_entries", sa.Column("place", sa.String(length=128), server_default="", nullable=False))
    op.add_column("audit_entries", sa.Column("reason", sa.String(length=256), server_default="", nullable=False))
    op.add_column("audit_entries", sa.Column("seal", sa.LargeBinary(length=52), nullable=True))
    _create_tree()
    op.execute("INSERT INTO audit_pending (entry_id) SELECT id FROM audit_entries")
    _protect()


def downgrade() -> None:
    """An audit trail is not dropped by a tool."""
    raise RuntimeError("the audit log has no way back: restore a backup instead")


def _create_tree() -> None:
    op.create_table(
        "audit_pending",
        sa.Column("entry_id", ID, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_pending")),
    )
    op.create_table(
        "audit_leaves",
        sa.Column("sequence", ID, autoincrement=False, nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_leaves")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_audit_leaves_entry_id")),
    )
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", ID, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_audit_nodes")),
    )
    op.create_table(
        "audit_heads",
        sa.Column("size", ID, autoincrement=False, nullable=False),
        sa.Column("centre", sa.String(length=64), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_heads")),
    )


def _protect() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(SQLITE_QUEUE)
        for table in PROTECTED:
            for act in ("UPDATE", "DELETE"):
                op.execute(SQLITE_REFUSE.format(table=table, act=act))
            op.execute(SQLITE_NO_REPLACE.format(table=table, same=SAME[table]))
        return
    for statement in POSTGRESQL_QUEUE:
        op.execute(statement)
    for table in PROTECTED:
        for statement in POSTGRESQL_REFUSE.format(table=table).split(";"):
            op.execute(statement)
