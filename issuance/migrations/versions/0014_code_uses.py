"""Uses of codes; codes themselves live in the one-time store. What verifiers may accept and be told; the bus."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
_USES = (
    "INSERT INTO ecard_uses (code_digest, use_id, ecard_no, scene, act, client_id, at)"
    " SELECT digest, {use_id}, ecard_no, scene, 'validate', used_by, used_at FROM ecard_codes"
    " WHERE state = 'used' AND used_by IS NOT NULL AND used_at IS NOT NULL"
)
_USE_ID = {
    "sqlite": "lower(substr(hex(digest), 1, 32))",
    "postgresql": "substr(encode(digest, 'hex'), 1, 32)",
}


def upgrade() -> None:
    op.create_table(
        "ecard_uses",
        sa.Column("code_digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("use_id", sa.String(32), nullable=False),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("sign_no", sa.String(32), nullable=True),
        sa.Column("scene", sa.String(16), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.id"), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("request_digest", sa.LargeBinary(32), nullable=True),
        sa.CheckConstraint("scene IN ('identity', 'payment', 'login')", name="scene"),
    )
    op.execute(_USES.format(use_id=_USE_ID[op.get_bind().dialect.name]))
    op.create_index("ix_ecard_uses_holder", "ecard_uses", ["ecard_no", "at", "use_id"])
    op.drop_table("ecard_codes")
    op.create_table(
        "bus_partners",
        sa.Column("access_key", sa.String(32), primary_key=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.id"), nullable=False, unique=True),
        sa.Column("cipher", sa.String(8), nullable=False),
        sa.Column("sealed_keys", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("cipher IN ('sm4-cbc', 'aes-ecb')", name="cipher"),
    )
    op.add_column("clients", sa.Column("scenes", sa.JSON(), nullable=True))
    op.add_column("clients", sa.Column("items", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_table("bus_partners")
    op.drop_column("clients", "items")
    op.drop_column("clients", "scenes")
    op.create_table(
        "ecard_codes",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("scene", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("used_by", sa.String(64), sa.ForeignKey("clients.id"), nullable=True),
        sa.CheckConstraint("scene IN ('identity', 'payment', 'login')", name="scene"),
        sa.CheckConstraint("state IN ('live', 'used', 'cancelled')", name="state"),
    )
    op.execute(
        "INSERT INTO ecard_codes (digest, ecard_no, scene, state, issued_at, expires_at, used_at, used_by)"
        " SELECT code_digest, ecard_no, scene, 'used', at, at, at, client_id FROM ecard_uses"
    )
    op.create_index(op.f("ix_ecard_codes_expires_at"), "ecard_codes", ["expires_at"])
    op.create_index("ix_ecard_codes_holder", "ecard_codes", ["ecard_no", "scene", "state"])
    op.drop_table("ecard_uses")
