"""Terminals as machines: one-time codes, how each is, and its diagnosis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "terminal_invitations",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("code_index", sa.LargeBinary(32), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("profile", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("client_id", sa.String(64), nullable=True),
        sa.Column("again", sa.Integer(), nullable=False),
        sa.Column("again_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_terminal_invitations"),
        sa.UniqueConstraint("code_index", name="uq_terminal_invitations_code_index"),
    )
    op.create_table(
        "terminals",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("profile", sa.String(16), nullable=False),
        sa.Column("device_number", sa.String(32), nullable=False),
        sa.Column("registered_at", TIME, nullable=False),
        sa.Column("heard_at", TIME, nullable=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("clock_error_ms", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat", sa.JSON(), nullable=True),
        sa.Column("locked_at", TIME, nullable=True),
        sa.Column("locked_by", sa.String(64), nullable=True),
        sa.Column("lock_reason", sa.String(128), nullable=True),
        sa.Column("lock_contact", sa.String(128), nullable=True),
        sa.Column("diagnosis_order", sa.String(32), nullable=True),
        sa.CheckConstraint("state IN ('new', 'ok', 'trouble', 'locked', 'off')", name="ck_terminals_state"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_terminals_client_id_clients"),
        sa.PrimaryKeyConstraint("client_id", name="pk_terminals"),
    )
    op.create_index("ix_terminals_heard", "terminals", ["region", "heard_at"])
    op.create_table(
        "terminal_states",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["terminals.client_id"], name="fk_terminal_states_client_id_terminals"),
        sa.PrimaryKeyConstraint("client_id", "at", name="pk_terminal_states"),
    )
    op.create_table(
        "terminal_diagnoses",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("region", sa.String(6), nullable=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["terminals.client_id"], name="fk_terminal_diagnoses_client_id_terminals"
        ),
        sa.PrimaryKeyConstraint("client_id", name="pk_terminal_diagnoses"),
    )


def downgrade() -> None:
    for table in ("terminal_diagnoses", "terminal_states", "terminals", "terminal_invitations"):
        op.drop_table(table)
