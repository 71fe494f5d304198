"""Keys of relying parties, log-ins asked for at a counter, what a holder's log-ins told, and who may not log in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
HASH = sa.LargeBinary(32)
PARTIES = "login_relying_parties"


def upgrade() -> None:
    op.add_column(PARTIES, sa.Column("jwks", sa.JSON(), nullable=True))
    op.add_column(PARTIES, sa.Column("needs_signed_requests", sa.Boolean(), nullable=False, server_default=sa.false()))
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(PARTIES, "needs_signed_requests", server_default=None)
    op.create_table(
        "login_assertions",
        sa.Column("assertion_hash", HASH, primary_key=True),
        sa.Column("expires_at", TIME, nullable=False),
    )
    op.create_index("ix_login_assertions_expires_at", "login_assertions", ["expires_at"])
    op.create_table(
        "login_backchannel_requests",
        sa.Column("request_hash", HASH, primary_key=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey(f"{PARTIES}.id"), nullable=False),
        sa.Column("login_id", sa.String(32), sa.ForeignKey("logins.id", ondelete="CASCADE"), nullable=False),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=True),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("grant_id", sa.String(32), sa.ForeignKey("login_grants.id", ondelete="CASCADE"), nullable=True),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("asked_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'granted', 'denied', 'used')", name="state"),
    )
    for column in ("login_id", "ecard_no", "grant_id"):
        op.create_index(f"ix_login_backchannel_requests_{column}", "login_backchannel_requests", [column])
    op.create_table(
        "login_uses",
        sa.Column("use_id", sa.String(32), primary_key=True),
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), nullable=False),
        sa.Column("sign_no", sa.String(32), nullable=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey(f"{PARTIES}.id"), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("acr", sa.String(64), nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_index("ix_login_uses_holder", "login_uses", ["card_number", "at", "use_id"])
    op.create_table(
        "login_denials",
        sa.Column("entry", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )


def downgrade() -> None:
    for table in ("login_denials", "login_uses", "login_backchannel_requests", "login_assertions"):
        op.drop_table(table)
    with op.batch_alter_table(PARTIES) as batch:
        batch.drop_column("needs_signed_requests")
        batch.drop_column("jwks")
