"""What was published for terminals last, and when the next round is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "publications",
        sa.Column("part", sa.String(24), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("published_at", TIME, nullable=True),
        sa.Column("full_at", TIME, nullable=True),
        sa.Column("valid_until", TIME, nullable=True),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(48), nullable=False),
        sa.PrimaryKeyConstraint("part", name="pk_publications"),
    )
    _index("ix_cards_not_normal", "cards", ["state", "card_number", "identification_code"], "state <> '1'")
    _index("ix_ecards_not_active", "ecards", ["ecard_no"], "state <> 'active'")


def downgrade() -> None:
    op.drop_index("ix_ecards_not_active", "ecards")
    op.drop_index("ix_cards_not_normal", "cards")
    op.drop_table("publications")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    """What is blocked is found without reading every card."""
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
