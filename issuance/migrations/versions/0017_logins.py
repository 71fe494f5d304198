"""Log-ins: the request, the phone that took it, its approval."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "logins",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("browser_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed_request", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_as", sa.String(16), nullable=True),
        sa.Column("handed_at", TIME, nullable=True),
        sa.CheckConstraint("ended_as IN ('approved', 'refused', 'wrong_number', 'cancelled')", name="ended_as"),
        sa.CheckConstraint("number BETWEEN 10 AND 99", name="number"),
    )
    op.create_index("ix_logins_expires_at", "logins", ["expires_at"])
    op.create_table(
        "login_claims",
        _login_id(),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("sign_no", sa.String(32), nullable=False),
        sa.Column("choices", sa.JSON(), nullable=False),
        sa.Column("sealed_text", sa.LargeBinary(), nullable=False),
        sa.Column("claimed_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )
    op.create_table(
        "login_approvals",
        _login_id(),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("sign_no", sa.String(32), nullable=False),
        sa.Column("public_key", sa.LargeBinary(33), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("text_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("approved_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )


def _login_id() -> sa.Column[str]:
    """An outdated log-in takes its stages along."""
    return sa.Column("login_id", sa.String(32), sa.ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)


def downgrade() -> None:
    for name in ("login_approvals", "login_claims", "logins"):
        op.drop_table(name)
