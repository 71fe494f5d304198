"""What holders allow others to know about them, and every use of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.id"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("answer_by", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("sealed_terms", sa.LargeBinary(), nullable=True),
        sa.Column("text_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("sign_no", sa.String(32), nullable=True),
        sa.Column("public_key", sa.LargeBinary(33), nullable=True),
        sa.Column("signature", sa.LargeBinary(64), nullable=True),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'refused', 'live', 'revoked')", name="state"),
    )
    op.create_index("ix_consents_holder", "consents", ["ecard_no", "asked_at", "id"])
    op.create_index("ix_consents_recipient", "consents", ["client_id", "ecard_no"])
    op.create_index("ix_consents_end", "consents", ["ends_at", "id"])
    op.create_table(
        "consent_uses",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("consent_id", sa.String(32), sa.ForeignKey("consents.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
    )
    op.create_index("ix_consent_uses_consent", "consent_uses", ["consent_id", "id"])


def downgrade() -> None:
    op.drop_table("consent_uses")
    op.drop_table("consents")
