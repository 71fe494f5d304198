"""Rows of the jobs that look after personal data."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class PrivacyJobRow(Base):
    """How far a job is: `reseal:table.column` with key version, cursor and count, `retention` with its last day."""

    __tablename__ = "privacy_jobs"

    name: Mapped[str] = mapped_column(String(96), primary_key=True)
    state: Mapped[dict[str, Any]] = mapped_column(JSON)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
