"""Systems that people log in to with the electronic card, and what these systems hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
HASH = sa.LargeBinary(32)


def upgrade() -> None:
    op.create_table(
        "login_relying_parties",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("sector", sa.String(255), nullable=False),
        sa.Column("redirect_uris", sa.JSON(), nullable=False),
        sa.Column("logout_uris", sa.JSON(), nullable=False),
        sa.Column("auth_method", sa.String(32), nullable=False),
        sa.Column("secret_hash", HASH, nullable=True),
        sa.Column("grant_types", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("signing_algorithm", sa.String(8), nullable=False),
        sa.Column("needs_pushed_requests", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="status"),
    )
    op.create_table(
        "login_pushed_requests",
        sa.Column("reference_hash", HASH, primary_key=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("login_relying_parties.id"), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
    )
    op.create_index("ix_login_pushed_requests_expires_at", "login_pushed_requests", ["expires_at"])
    op.create_table(
        "login_grants",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("login_relying_parties.id"), nullable=False),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("acr", sa.String(64), nullable=False),
        sa.Column("amr", sa.JSON(), nullable=False),
        sa.Column("nonce", sa.String(512), nullable=False),
        sa.Column("auth_time", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
    )
    op.create_index("ix_login_grants_ecard_no", "login_grants", ["ecard_no"])
    op.create_index("ix_login_grants_ends_at", "login_grants", ["ends_at"])
    op.create_table(
        "login_codes",
        sa.Column("code_hash", HASH, primary_key=True),
        sa.Column("grant_id", sa.String(32), sa.ForeignKey("login_grants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("redirect_uri", sa.String(2048), nullable=False),
        sa.Column("code_challenge", sa.String(43), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
    )
    op.create_index("ix_login_codes_grant_id", "login_codes", ["grant_id"])
    op.create_table(
        "login_refresh_tokens",
        sa.Column("token_hash", HASH, primary_key=True),
        sa.Column("grant_id", sa.String(32), sa.ForeignKey("login_grants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("used_at", TIME, nullable=True),
    )
    op.create_index("ix_login_refresh_tokens_grant_id", "login_refresh_tokens", ["grant_id"])
    op.create_table(
        "login_device_codes",
        sa.Column("device_code_hash", HASH, primary_key=True),
        sa.Column("user_code_hash", HASH, unique=True, nullable=False),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("login_relying_parties.id"), nullable=False),
        sa.Column("scope", sa.String(255), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("grant_id", sa.String(32), sa.ForeignKey("login_grants.id", ondelete="CASCADE"), nullable=True),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("asked_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'opened', 'granted', 'denied', 'used')", name="state"),
    )
    op.create_index("ix_login_device_codes_grant_id", "login_device_codes", ["grant_id"])
    op.create_index("ix_login_device_codes_expires_at", "login_device_codes", ["expires_at"])


def downgrade() -> None:
    for table in (
        "login_device_codes",
        "login_refresh_tokens",
        "login_codes",
        "login_grants",
        "login_pushed_requests",
        "login_relying_parties",
    ):
        op.drop_table(table)
