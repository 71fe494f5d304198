"""The ministry's scan protocol: channels that speak it to us, and the national platform that we speak it to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "login_channels",
        sa.Column("client_id", sa.String(64), sa.ForeignKey("login_relying_parties.id"), primary_key=True),
        sa.Column("channel_no", sa.String(10), nullable=False),
        sa.Column("access_no", sa.String(10), nullable=False),
        *_bus_keys(),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("cipher IN ('sm4-cbc', 'aes-ecb')", name="cipher"),
        sa.UniqueConstraint("access_key"),
        sa.UniqueConstraint("channel_no", "access_no"),
    )
    op.create_table(
        "login_upstream_keys",
        sa.Column("upstream", sa.String(16), primary_key=True),
        *_bus_keys(),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("cipher IN ('sm4-cbc', 'aes-ecb')", name="cipher"),
    )
    op.create_table(
        "login_upstream_codes",
        _login_id(),
        sa.Column("sealed_code", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )
    op.create_table(
        "login_upstream_answers",
        _login_id(),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("way", sa.String(8), nullable=False),
        sa.Column("answer_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("answered_at", TIME, nullable=False),
        sa.Column("agreed_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
        sa.CheckConstraint("way IN ('code', 'redirect')", name="way"),
    )


def _bus_keys() -> tuple[sa.Column[str], sa.Column[str], sa.Column[bytes]]:
    return (
        sa.Column("access_key", sa.String(64), nullable=False),
        sa.Column("cipher", sa.String(8), nullable=False),
        sa.Column("sealed_keys", sa.LargeBinary(), nullable=False),
    )


def _login_id() -> sa.Column[str]:
    return sa.Column("login_id", sa.String(32), sa.ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)


def downgrade() -> None:
    for name in ("login_upstream_answers", "login_upstream_codes", "login_upstream_keys", "login_channels"):
        op.drop_table(name)
