"""Rows of the office tree."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import OfficeScoped, RegionScoped


class OfficeRow(RegionScoped, OfficeScoped, Base):
    """`office` is its own path, the ids from the top down (`/1/4/`): what begins with it lies below. It never changes.

    The region of an office lies in that of the office above it. Where `takes_password` is false, no clerk of the office
    or those below logs in by password.
    """

    __tablename__ = "offices"
    __table_args__ = (
        CheckConstraint("kind IN ('region', 'office', 'outlet', 'depot')", name="kind"),
        CheckConstraint("status IN ('open', 'closed')", name="status"),
        Index("ix_offices_parent", "parent_id", "id"),
        Index(
            "ix_offices_without_password",
            "office",
            sqlite_where=text("takes_password IS 0"),
            postgresql_where=text("takes_password IS false"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("offices.id"))
    office: Mapped[str] = mapped_column(String(128), unique=True)
    kind: Mapped[str] = mapped_column(String(8))
    region: Mapped[str] = mapped_column(String(6))
    name_zh: Mapped[str] = mapped_column(String(64))
    name_en: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(8))
    takes_password: Mapped[bool] = mapped_column(default=True)
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
