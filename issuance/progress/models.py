"""Rows of tries to ask about an application."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base


class ProgressTryRow(Base):
    """How often the check did not fit on `day` (China), for one receipt number that exists."""

    __tablename__ = "progress_tries"

    receipt_number: Mapped[str] = mapped_column(String(16), primary_key=True)
    day: Mapped[date] = mapped_column(Date)
    tries: Mapped[int]
