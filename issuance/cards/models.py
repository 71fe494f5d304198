"""Rows of issued cards."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime

_LIVE = text("state <> '9'")


class CardRow(Base):
    """`state` is 卡应用状态 (aaz502); a person has at most one card that is not cancelled."""

    __tablename__ = "cards"
    __table_args__ = (
        CheckConstraint("state IN ('0', '1', '2', '3', '4', '9')", name="state"),
        Index("uq_cards_live_person", "person_id", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    )

    card_number: Mapped[str] = mapped_column(ForeignKey("card_numbers.number"), primary_key=True)
    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"), unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"))
    reset_information: Mapped[str] = mapped_column(ForeignKey("blanks.reset_information"), unique=True)
    identification_code: Mapped[str] = mapped_column(String(32))
    region: Mapped[str] = mapped_column(String(6))
    generation: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(1))
    issue_date: Mapped[date] = mapped_column(Date)
    expiry_date: Mapped[date] = mapped_column(Date)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
