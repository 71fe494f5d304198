"""Rows of the catalog's versions, of their files, of what was changed in drafts, and of what the provinces said."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class CatalogVersionRow(Base):
    """All provinces share it. `base` is the version it began from, `again` the older one whose content it repeats.

    `revision` counts the changes of a draft. A version that is handed in rests; taken back and handed in once more,
    it begins another `round`, and what was said in earlier ones counts no more. `manifest`: SM3 of each file.
    """

    __tablename__ = "catalog_versions"
    __table_args__ = (
        CheckConstraint("state IN ('draft', 'review', 'released', 'dropped')", name="state"),
        Index("ix_catalog_versions_effective", "state", "effective"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[str] = mapped_column(String(16), unique=True)
    base: Mapped[str] = mapped_column(String(16))
    again: Mapped[str | None] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(String(400))
    state: Mapped[str] = mapped_column(String(8))
    revision: Mapped[int] = mapped_column(default=0)
    round: Mapped[int] = mapped_column(default=0)
    manifest: Mapped[dict[str, str]] = mapped_column(JSON)
    drafted_by: Mapped[str] = mapped_column(String(64))
    access_by: Mapped[str] = mapped_column(String(64), default="")
    drafted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    handed_in_by: Mapped[str | None] = mapped_column(String(64))
    handed_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    released_by: Mapped[str | None] = mapped_column(String(64))
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    effective: Mapped[date | None]


class CatalogFileRow(Base):
    __tablename__ = "catalog_files"

    version_id: Mapped[str] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class CatalogEditRow(Base):
    """One change of a draft, or its being handed in. `before`: the fields an item had, where it concerned one.

    `access_by`: who had given the clerk access by then.
    """

    __tablename__ = "catalog_edits"

    version_id: Mapped[str] = mapped_column(ForeignKey("catalog_versions.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(64))
    access_by: Mapped[str] = mapped_column(String(64), default="")
    act: Mapped[str] = mapped_column(String(16))
    items: Mapped[list[str]] = mapped_column(JSON)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class CatalogReviewRow(Base):
    """What a clerk of one province said of a version as it was in that round."""

    __tablename__ = "catalog_reviews"
    __table_args__ = (Index("ix_catalog_reviews_version", "version_id", "round"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("catalog_versions.id"))
    round: Mapped[int]
    province: Mapped[str] = mapped_column(String(6))
    accepts: Mapped[bool]
    by: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(String(400))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
