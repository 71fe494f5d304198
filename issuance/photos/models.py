"""Rows of photos."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, Date, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import AcceptedElsewhere


class PhotoRow(AcceptedElsewhere, Base):
    """A photo that fits the profile of `region`. `confirmed_by`: the clerk who looked where no face could be checked.

    `person_id` is set by the first application that takes it, and stays.
    """

    __tablename__ = "photos"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    region: Mapped[str] = mapped_column(String(6))
    accepted_region: Mapped[str | None] = mapped_column(String(6))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("persons.id"), index=True)
    sealed_jpeg: Mapped[bytes] = mapped_column(LargeBinary)
    taken_on: Mapped[date] = mapped_column(Date)
    measures: Mapped[dict[str, Any]] = mapped_column(JSON)
    confirmed_by: Mapped[str | None] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
