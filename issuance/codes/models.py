"""Rows of the uses of codes (用码记录)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class EcardUseRow(Base):
    """A code that was accepted. It is known only by its SM3, which the table takes once: whatever the one-time store
    has forgotten, no code is accepted a second time.

    `request_digest` names the request that was answered, null for uses from before there was one. `act`: what the code
    was presented for. `use_id` orders uses of one moment. `sign_no` is null where the phone is not known.
    """

    __tablename__ = "ecard_uses"
    __table_args__ = (
        CheckConstraint("scene IN ('identity', 'payment', 'login')", name="scene"),
        Index("ix_ecard_uses_holder", "ecard_no", "at", "use_id"),
    )

    code_digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    use_id: Mapped[str] = mapped_column(String(32))
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"))
    sign_no: Mapped[str | None] = mapped_column(String(32))
    scene: Mapped[str] = mapped_column(String(16))
    act: Mapped[str] = mapped_column(String(16))
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    amount_fen: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    request_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))


class BusPartnerRow(Base):
    """A client that speaks the encrypted envelope of the field's bus; a client without a row does not."""

    __tablename__ = "bus_partners"
    __table_args__ = (CheckConstraint("cipher IN ('sm4-cbc', 'aes-ecb')", name="cipher"),)

    access_key: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"), unique=True)
    cipher: Mapped[str] = mapped_column(String(8))
    sealed_keys: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
