"""Rows of reviews."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_WAITING = text("state = 'waiting'")


class ReviewRow(RegionScoped, Base):
    """One for each application that a clerk collected; `collected_at_office` is the path of that clerk's office.

    `changed_by`: who has changed since what waits.
    """

    __tablename__ = "application_reviews"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'accepted', 'returned')", name="state"),
        Index(
            "ix_application_reviews_waiting",
            "collected_at",
            "application_id",
            sqlite_where=_WAITING,
            postgresql_where=_WAITING,
        ),
    )

    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), primary_key=True)
    region: Mapped[str] = mapped_column(String(6))
    state: Mapped[str] = mapped_column(String(8))
    collected_by: Mapped[str] = mapped_column(String(64))
    collected_at_office: Mapped[str] = mapped_column(String(128))
    collected_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_by: Mapped[list[str]] = mapped_column(JSON, default=list)
    reviewed_by: Mapped[str | None] = mapped_column(String(64))
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(String(256), default="")

    @property
    def authors(self) -> frozenset[str]:
        """Whose work waits: none of them accepts it."""
        return frozenset({self.collected_by, *self.changed_by})
