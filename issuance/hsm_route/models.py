"""Rows of settlement orders."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped


class DebitOrderRow(RegionScoped, Base):
    """`request_index` is keyed over card and step: the same request finds its order again. The card and the amounts
    are sealed, null only inside the transaction that makes the order."""

    __tablename__ = "debit_orders"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'done', 'logged', 'void', 'unresolved')", name="state"),
        UniqueConstraint("client_id", "request_index"),
        Index("ix_debit_orders_state_id", "state", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    request_index: Mapped[bytes] = mapped_column(LargeBinary(32))
    region: Mapped[str] = mapped_column(String(6))
    sealed_order: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16))
    tac: Mapped[str | None] = mapped_column(String(8))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
