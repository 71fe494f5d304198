"""Rows of the audit trail; triggers of the migration refuse UPDATE and DELETE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class AuditRow(Base):
    """`subject` is a kind and an id (`card:A00000011`); `detail` holds codes and counts, nothing personal.

    `region` is that of the subject, of a refusal that of the refused client; it decides which operators may read it.
    """

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(64))
    clerk: Mapped[str] = mapped_column(String(64), default="")
    act: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(96), index=True)
    application_id: Mapped[str | None] = mapped_column(String(32), index=True)
    region: Mapped[str | None] = mapped_column(String(6))
    outcome: Mapped[str] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
