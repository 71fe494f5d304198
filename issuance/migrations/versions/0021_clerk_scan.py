"""Clerks who log in by scan, offices that take no password, and when a log-in ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("clerks", sa.Column("scan_subject", sa.String(255), nullable=True))
    op.add_column("clerks", sa.Column("scan_bound_at", TIME, nullable=True))
    op.create_index("ix_clerks_scan_subject", "clerks", ["scan_subject"], unique=True)
    op.add_column("clerk_sessions", sa.Column("acr", sa.String(64), nullable=False, server_default=""))
    op.add_column("clerk_sessions", sa.Column("amr", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("clerk_sessions", sa.Column("sealed_id_token", sa.LargeBinary(), nullable=True))
    op.add_column("offices", sa.Column("takes_password", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_index(
        "ix_offices_without_password",
        "offices",
        ["office"],
        sqlite_where=sa.text("takes_password IS 0"),
        postgresql_where=sa.text("takes_password IS false"),
    )
    op.add_column("logins", sa.Column("ended_at", TIME, nullable=True))
    op.create_index("ix_logins_ended_at", "logins", ["ended_at"])
    op.create_index("ix_login_claims_claimed_at", "login_claims", ["claimed_at"])


def downgrade() -> None:
    op.drop_index("ix_login_claims_claimed_at", "login_claims")
    op.drop_index("ix_logins_ended_at", "logins")
    op.drop_column("logins", "ended_at")
    op.drop_index("ix_offices_without_password", "offices")
    op.drop_column("offices", "takes_password")
    for name in ("sealed_id_token", "amr", "acr"):
        op.drop_column("clerk_sessions", name)
    op.drop_index("ix_clerks_scan_subject", "clerks")
    op.drop_column("clerks", "scan_bound_at")
    op.drop_column("clerks", "scan_subject")
