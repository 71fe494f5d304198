"""Electronic cards on phones: links, the holder's password, family members; numbers of channels."""

from __future__ import annotations

import json
import secrets

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ACTIVE = sa.text("state = 'active'")
LIVE = sa.text("state IN ('asked', 'active')")


def upgrade() -> None:
    _number_channels()
    with op.batch_alter_table("ecards") as batch:
        batch.drop_constraint(op.f("ck_ecards_state"), type_="check")
        batch.create_check_constraint(
            op.f("ck_ecards_state"), "state IN ('active', 'suspended', 'authorised', 'locked', 'cancelled')"
        )
        batch.add_column(sa.Column("password_hash", sa.String(160), nullable=True))
        batch.add_column(sa.Column("password_epoch", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("wrong_at", sa.JSON(), nullable=False, server_default="[]"))
        batch.add_column(sa.Column("password_locked_until", TIME, nullable=True))
    op.create_table(
        "ecard_links",
        sa.Column("sign_no", sa.String(32), primary_key=True),
        sa.Column("sign_seq", sa.String(20), nullable=False, unique=True),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False, index=True),
        sa.Column("client_id", sa.String(64), sa.ForeignKey("clients.id"), nullable=False),
        sa.Column("public_key", sa.LargeBinary(33), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("signed_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("state IN ('active', 'unlinked', 'replaced')", name="state"),
    )
    op.create_index(
        "uq_ecard_links_active",
        "ecard_links",
        ["ecard_no", "client_id"],
        unique=True,
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    )
    op.create_table(
        "ecard_family",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("ecard_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False, index=True),
        sa.Column("member_no", sa.String(32), sa.ForeignKey("ecards.ecard_no"), nullable=False, index=True),
        sa.Column("relation", sa.String(8), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("sealed_portrait", sa.LargeBinary(), nullable=True),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.CheckConstraint("relation IN ('parent', 'child', 'spouse', 'other')", name="relation"),
        sa.CheckConstraint("state IN ('asked', 'active', 'refused', 'ended')", name="state"),
    )
    op.create_index(
        "uq_ecard_family_live",
        "ecard_family",
        ["ecard_no", "member_no"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )


def downgrade() -> None:
    """What holders set up on their phones is not dropped by a tool."""
    raise RuntimeError("links of electronic cards have no way back: restore a backup instead")


def _number_channels() -> None:
    with op.batch_alter_table("clients") as batch:
        batch.add_column(sa.Column("channel_no", sa.String(10), nullable=True))
        batch.create_unique_constraint(op.f("uq_clients_channel_no"), ["channel_no"])
    connection = op.get_bind()
    for client_id, roles in connection.execute(sa.text("SELECT id, roles FROM clients")).all():
        if "wallet" in (json.loads(roles) if isinstance(roles, str) else roles):
            connection.execute(
                sa.text("UPDATE clients SET channel_no = :number WHERE id = :id"),
                {"number": f"{secrets.randbelow(9 * 10**9) + 10**9}", "id": client_id},
            )
