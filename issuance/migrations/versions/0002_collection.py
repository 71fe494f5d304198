"""What collection stores: photos, the request side of applications, joint applications of newborns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
# Plain DDL: with its reference in the column itself SQLite need not build the table anew.
APPLICATION_COLUMNS = (
    "kind VARCHAR(24) DEFAULT 'new' NOT NULL",
    "channel VARCHAR(8) DEFAULT 'counter' NOT NULL",
    "accepted_region VARCHAR(6)",
    "delivery VARCHAR(8) DEFAULT 'counter' NOT NULL",
    "with_ecard BOOLEAN DEFAULT true NOT NULL",
    "photo_id VARCHAR(32) CONSTRAINT fk_applications_photo_id_photos REFERENCES photos (id)",
)


def upgrade() -> None:
    op.create_table(
        "photos",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("persons.id"), nullable=True),
        sa.Column("sealed_jpeg", sa.LargeBinary(), nullable=False),
        sa.Column("taken_on", sa.Date(), nullable=False),
        sa.Column("measures", sa.JSON(), nullable=False),
        sa.Column("confirmed_by", sa.String(64), nullable=True),
        sa.Column("created_by", sa.String(64), sa.ForeignKey("clients.id"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("ix_photos_person_id", "photos", ["person_id"])
    for column in APPLICATION_COLUMNS:
        op.execute(f"ALTER TABLE applications ADD COLUMN {column}")
    op.add_column("applications", sa.Column("sealed_parties", sa.LargeBinary(), nullable=True))
    op.create_table(
        "newborns",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("certificate_index", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("region", sa.String(6), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("application_id", sa.String(32), sa.ForeignKey("applications.id"), nullable=True),
        sa.Column("deadline", TIME, nullable=False),
        sa.Column("created_by", sa.String(64), sa.ForeignKey("clients.id"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'applied')", name=op.f("ck_newborns_state")),
    )


def downgrade() -> None:
    """Photos and applications are not dropped by a tool."""
    raise RuntimeError("collection has no way back: restore a backup instead")
