"""Rows of consents, from the request to the end, and of their uses."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_ID = BigInteger().with_variant(Integer, "sqlite")


class ConsentRow(RegionScoped, Base):
    """`sealed_terms` holds purpose, explanation, recipient and the signed text; null once it is forgotten.

    `text_digest` is the SM3 of that text; `public_key` (02 or 03, X) and `signature` (r, s) are the phone's. `entries`
    counts the audit entries about it: each bears its number. Time ends it without a change of `state`.
    """

    __tablename__ = "consents"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'refused', 'live', 'revoked')", name="state"),
        Index("ix_consents_holder", "ecard_no", "asked_at", "id"),
        Index("ix_consents_recipient", "client_id", "ecard_no"),
        Index("ix_consents_end", "ends_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"))
    region: Mapped[str] = mapped_column(String(6))
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    state: Mapped[str] = mapped_column(String(16))
    items: Mapped[list[str]] = mapped_column(JSON)
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answer_by: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sealed_terms: Mapped[bytes | None] = mapped_column(LargeBinary)
    text_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    sign_no: Mapped[str | None] = mapped_column(String(32))
    public_key: Mapped[bytes | None] = mapped_column(LargeBinary(33))
    signature: Mapped[bytes | None] = mapped_column(LargeBinary(64))
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    entries: Mapped[int]
    uses: Mapped[int]


class ConsentUseRow(Base):
    """One answer that was given."""

    __tablename__ = "consent_uses"
    __table_args__ = (Index("ix_consent_uses_consent", "consent_id", "id"),)

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    consent_id: Mapped[str] = mapped_column(ForeignKey("consents.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    items: Mapped[list[str]] = mapped_column(JSON)
