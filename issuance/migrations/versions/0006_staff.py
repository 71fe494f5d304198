"""Offices, clerks, their sessions, acts that wait for a second clerk, and the caller that clerks' pages act as."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _offices()
    _clerks()
    _approvals()
    op.add_column("stock_places", sa.Column("office", sa.String(128), nullable=True))
    for table in ("photos", "newborns"):
        op.add_column(table, sa.Column("accepted_region", sa.String(6), nullable=True))
    clients = sa.table(
        "clients",
        sa.column("id"),
        sa.column("name"),
        sa.column("roles", sa.JSON),
        sa.column("region"),
        sa.column("public_jwk", sa.JSON),
        sa.column("status"),
        sa.column("created_at", TIME),
    )
    console: dict[str, object] = {"id": "console", "name": "经办页面", "roles": [], "region": None, "public_jwk": {}}
    op.bulk_insert(clients, [console | {"status": "suspended", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}])


def _offices() -> None:
    op.create_table(
        "offices",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("parent_id", sa.Integer(), sa.ForeignKey("offices.id"), nullable=True),
        sa.Column("office", sa.String(128), nullable=False, unique=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("name_zh", sa.String(64), nullable=False),
        sa.Column("name_en", sa.String(128), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("kind IN ('region', 'office', 'outlet', 'depot')", name="kind"),
        sa.CheckConstraint("status IN ('open', 'closed')", name="status"),
    )
    op.create_index("ix_offices_parent", "offices", ["parent_id", "id"])


def _clerks() -> None:
    op.create_table(
        "clerks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("login", sa.String(32), nullable=False, unique=True),
        sa.Column("sealed_name", sa.LargeBinary(), nullable=False),
        sa.Column("office_id", sa.Integer(), sa.ForeignKey("offices.id"), nullable=False),
        sa.Column("office", sa.String(128), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.String(160), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("password_until", TIME, nullable=True),
        sa.Column("sealed_totp", sa.LargeBinary(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("locked_until", TIME, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="status"),
    )
    op.create_index("ix_clerks_office", "clerks", ["office", "id"])
    op.create_table(
        "clerk_sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("clerk_id", sa.String(32), sa.ForeignKey("clerks.id"), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("office", sa.String(128), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("address", sa.String(40), nullable=False),
        sa.Column("agent", sa.String(80), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False, index=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("end_reason", sa.String(16), nullable=False),
    )
    op.create_index("ix_clerk_sessions_clerk", "clerk_sessions", ["clerk_id", "created_at"])


def _approvals() -> None:
    op.create_table(
        "clerk_approvals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(96), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("office", sa.String(128), nullable=False),
        sa.Column("sealed_body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_by", sa.String(64), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("decided_by", sa.String(64), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decision", sa.String(200), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'approved', 'refused', 'withdrawn')", name="state"),
    )
    op.create_index("ix_clerk_approvals_list", "clerk_approvals", ["state", "asked_at", "id"])


def downgrade() -> None:
    """Who did what would no longer be known."""
    raise RuntimeError("clerks have no way back: restore a backup instead")
