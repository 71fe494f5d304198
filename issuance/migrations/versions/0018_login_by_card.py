"""Log-ins by the physical card: grants are of a card, and of an electronic one where that was used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
_CARD_OF_GRANT = "SELECT card_number FROM ecards WHERE ecards.ecard_no = login_grants.ecard_no"


def upgrade() -> None:
    with op.batch_alter_table("login_grants") as batch:
        batch.add_column(sa.Column("card_number", sa.String(9), nullable=True))
        batch.create_foreign_key(op.f("fk_login_grants_card_number_cards"), "cards", ["card_number"], ["card_number"])
        batch.alter_column("ecard_no", existing_type=sa.String(32), nullable=True)
    op.execute(f"UPDATE login_grants SET card_number = ({_CARD_OF_GRANT})")  # noqa: S608 - nothing from outside
    with op.batch_alter_table("login_grants") as batch:
        batch.alter_column("card_number", existing_type=sa.String(9), nullable=False)
    op.create_index("ix_login_grants_card_number", "login_grants", ["card_number"])
    op.create_table(
        "login_card_challenges",
        sa.Column("login_id", sa.String(32), sa.ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sealed_text", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )
    op.create_table(
        "login_card_proofs",
        sa.Column("login_id", sa.String(32), sa.ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("card_number", sa.String(9), sa.ForeignKey("cards.card_number"), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("text_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("proved_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )


def downgrade() -> None:
    """Log-ins by card fit into no earlier table."""
    raise RuntimeError("log-ins by card have no way back: restore a backup instead")
