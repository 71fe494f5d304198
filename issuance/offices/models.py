"""Rows of the office tree."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import OfficeScoped, RegionScoped


class OfficeRow(RegionScoped, OfficeScoped, Base):
    """`office` is its own path, the ids from the top down (`/1/4/`): what begins with it lies below. It never changes.

    The region of an office lies in that of the office above it.
    """

    __tablename__ = "offices"
    __table_args__ = (
        CheckConstraint("kind IN ('region', 'office', 'outlet', 'depot')", name="kind"),
        CheckConstraint("status IN ('open', 'closed')", name="status"),
        Index("ix_offices_parent", "parent_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("offices.id"))
    office: Mapped[str] = mapped_column(String(128), unique=True)
    kind: Mapped[str] = mapped_column(String(8))
    region: Mapped[str] = mapped_column(String(6))
    name_zh: Mapped[str] = mapped_column(String(64))
    name_en: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(8))
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
