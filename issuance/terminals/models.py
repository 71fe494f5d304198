"""Rows of terminals' journals and records, and of what becomes of these."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import JSON, BigInteger, CheckConstraint, Date, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_KEYED = text("key IS NOT NULL")
_REFUSED = text("failure IS NOT NULL")


class TerminalJournalRow(RegionScoped, Base):
    """`head_*` is the last record that is here, with the terminal's signature over it; `told_sequence` the newest that
    the terminal said it has. `follows` is the journal it took the place of, for `reason`; `carried` are the first and
    last of each run of that one's records that it took along. `clock_error_ms`: by how much the terminal's clock was
    ahead when it was last heard of.
    """

    __tablename__ = "terminal_journals"
    __table_args__ = (Index("ix_terminal_journals_client", "client_id", "began_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    region: Mapped[str | None] = mapped_column(String(6))
    follows: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(64))
    carried: Mapped[list[list[int]] | None] = mapped_column(JSON(none_as_null=True))
    head_sequence: Mapped[int] = mapped_column(BigInteger)
    head_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    head_signature: Mapped[bytes] = mapped_column(LargeBinary(64))
    told_sequence: Mapped[int] = mapped_column(BigInteger)
    clock_error_ms: Mapped[int] = mapped_column(BigInteger)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    heard_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TerminalRecordRow(RegionScoped, Base):
    """A record as it was sent, `body` null once it is forgotten. `at` is when it happened, the terminal's clock set
    right as far as can be; `day` that day in China. `key` is null for a record that is here already, from a journal
    that this one took the place of, and for one that cannot be read. `failure` says why it cannot be used.
    """

    __tablename__ = "terminal_records"
    __table_args__ = (
        Index(
            "uq_terminal_records_key",
            "client_id",
            "key",
            unique=True,
            sqlite_where=_KEYED,
            postgresql_where=_KEYED,
        ),
        Index("ix_terminal_records_day", "client_id", "day"),
        Index(
            "ix_terminal_records_refused",
            "client_id",
            "received_at",
            sqlite_where=_REFUSED,
            postgresql_where=_REFUSED,
        ),
    )

    journal_id: Mapped[str] = mapped_column(ForeignKey("terminal_journals.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64))
    region: Mapped[str | None] = mapped_column(String(6))
    day: Mapped[date] = mapped_column(Date)
    kind: Mapped[str] = mapped_column(String(32))
    key: Mapped[str | None] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    body: Mapped[str | None] = mapped_column(Text)
    failure: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str | None] = mapped_column(String(128))


class FromJournal(RegionScoped):
    """A record of a journal of the terminal `client_id`."""

    journal_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64))


class CardUseRow(FromJournal, Base):
    """用卡轨迹: a use of a card of ours at a terminal, wherever that stands. `region` is the card's."""

    __tablename__ = "card_uses"
    __table_args__ = (Index("ix_card_uses_card", "card_number", "at"),)

    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"))
    region: Mapped[str] = mapped_column(String(6))
    act: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class TakingRow(FromJournal, Base):
    """A settlement that a terminal made with its PSAM, of a card of any issuer. `time` and `day` are the terminal's.
    `verdict` on the TAC as in `cardlib.transit_clearing.Verdict`; null of a row from before it was looked at."""

    __tablename__ = "takings"
    __table_args__ = (
        CheckConstraint("outcome IN ('done', 'logged', 'void', 'unresolved')", name="outcome"),
        Index("uq_takings_transaction", "terminal", "number", "time", unique=True),
        Index("ix_takings_day", "client_id", "day"),
    )

    region: Mapped[str | None] = mapped_column(String(6))
    day: Mapped[date] = mapped_column(Date)
    terminal: Mapped[str] = mapped_column(String(12))
    number: Mapped[str] = mapped_column(String(8))
    time: Mapped[str] = mapped_column(String(14))
    identification_code: Mapped[str] = mapped_column(String(32))
    card_number: Mapped[str] = mapped_column(String(16))
    account_fen: Mapped[int] = mapped_column(BigInteger)
    self_paid_fen: Mapped[int] = mapped_column(BigInteger)
    pooling_fen: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(16))
    tac: Mapped[str | None] = mapped_column(String(8))
    verdict: Mapped[str | None] = mapped_column(String(16))
