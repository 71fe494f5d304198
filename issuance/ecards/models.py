"""Rows of electronic cards and their codes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class EcardRow(Base):
    """The line form of one physical card. `ecard_no` (esscNo) is 32 hex digits that say nothing about the holder."""

    __tablename__ = "ecards"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'suspended', 'locked', 'cancelled')", name="state"),
        CheckConstraint("level IN (1, 2)", name="level"),
    )

    ecard_no: Mapped[str] = mapped_column(String(32), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"), unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"), index=True)
    level: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EcardCodeRow(Base):
    """A code is known only by its SM3; whoever reads this table cannot show one."""

    __tablename__ = "ecard_codes"
    __table_args__ = (
        CheckConstraint("scene IN ('identity', 'payment', 'login')", name="scene"),
        CheckConstraint("state IN ('live', 'used', 'cancelled')", name="state"),
        Index("ix_ecard_codes_holder", "ecard_no", "scene", "state"),
    )

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"))
    scene: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_by: Mapped[str | None] = mapped_column(ForeignKey("clients.id"))
