"""Rows of card sessions and of their exchanges."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_RUNNING = text("state = 'running'")


class CardSessionRow(RegionScoped, Base):
    """`sequence` is that of the batch sent last. A card and an application have at most one running session."""

    __tablename__ = "card_sessions"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('initialization', 'personalization', 'rewrite', 'pin_reset', 'pin_unblock')", name="kind"
        ),
        CheckConstraint("state IN ('running', 'done', 'failed', 'superseded')", name="state"),
        Index(
            "uq_card_sessions_application",
            "application_id",
            unique=True,
            sqlite_where=_RUNNING,
            postgresql_where=_RUNNING,
        ),
        Index(
            "uq_card_sessions_card",
            "reset_information",
            unique=True,
            sqlite_where=_RUNNING,
            postgresql_where=_RUNNING,
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    application_id: Mapped[str | None] = mapped_column(ForeignKey("applications.id"))
    card_number: Mapped[str | None] = mapped_column(String(9))
    reset_information: Mapped[str] = mapped_column(String(26))
    region: Mapped[str] = mapped_column(String(6))
    generation: Mapped[str] = mapped_column(String(3))
    sealed_order: Mapped[bytes] = mapped_column(LargeBinary)
    sequence: Mapped[int]
    failure: Mapped[str | None] = mapped_column(String(64))
    can_print: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ExchangeRow(Base):
    """One answered batch: the card's responses and the reply they got, both sealed."""

    __tablename__ = "card_session_exchanges"

    session_id: Mapped[str] = mapped_column(ForeignKey("card_sessions.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sealed_responses: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_reply: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
