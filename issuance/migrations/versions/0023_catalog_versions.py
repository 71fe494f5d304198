"""Versions of the application catalog: drafts, their files, changes, reviews and releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "catalog_versions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("number", sa.String(16), nullable=False),
        sa.Column("base", sa.String(16), nullable=False),
        sa.Column("again", sa.String(16), nullable=True),
        sa.Column("note", sa.String(400), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("drafted_by", sa.String(64), nullable=False),
        sa.Column("access_by", sa.String(64), nullable=False),
        sa.Column("drafted_at", TIME, nullable=False),
        sa.Column("handed_in_by", sa.String(64), nullable=True),
        sa.Column("handed_in_at", TIME, nullable=True),
        sa.Column("released_by", sa.String(64), nullable=True),
        sa.Column("released_at", TIME, nullable=True),
        sa.Column("effective", sa.Date(), nullable=True),
        sa.CheckConstraint("state IN ('draft', 'review', 'released', 'dropped')", name="state"),
        sa.PrimaryKeyConstraint("id", name="pk_catalog_versions"),
        sa.UniqueConstraint("number", name="uq_catalog_versions_number"),
    )
    op.create_index("ix_catalog_versions_effective", "catalog_versions", ["state", "effective"])
    op.create_table(
        "catalog_files",
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["catalog_versions.id"], name="fk_catalog_files_version_id_catalog_versions"
        ),
        sa.PrimaryKeyConstraint("version_id", "name", name="pk_catalog_files"),
    )
    op.create_table(
        "catalog_edits",
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("access_by", sa.String(64), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"], ["catalog_versions.id"], name="fk_catalog_edits_version_id_catalog_versions"
        ),
        sa.PrimaryKeyConstraint("version_id", "revision", name="pk_catalog_edits"),
    )
    op.create_table(
        "catalog_reviews",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("province", sa.String(6), nullable=False),
        sa.Column("accepts", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("note", sa.String(400), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["catalog_versions.id"], name="fk_catalog_reviews_version_id_catalog_versions"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_catalog_reviews"),
    )
    op.create_index("ix_catalog_reviews_version", "catalog_reviews", ["version_id", "round"])


def downgrade() -> None:
    for table in ("catalog_reviews", "catalog_edits", "catalog_files", "catalog_versions"):
        op.drop_table(table)
