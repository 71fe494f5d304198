"""Rows of a log-in, a table and a life of its own for each stage, so that none can be skipped.

Request (ten minutes) → claim by one phone (two minutes) → approval (one minute until it is handed out).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime


class LoginRow(Base):
    """What a relying party asked for, in one browser, which `browser_hash` is the SM3 of a secret of.

    `number` is on its screen. `ended_as` is written once, at `ended_at`; `handed_at` is when the outcome went to the
    relying party.
    """

    __tablename__ = "logins"
    __table_args__ = (
        CheckConstraint("ended_as IN ('approved', 'refused', 'wrong_number', 'cancelled')", name="ended_as"),
        CheckConstraint("number BETWEEN 10 AND 99", name="number"),
        Index("ix_logins_expires_at", "expires_at"),
        Index("ix_logins_ended_at", "ended_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64))
    browser_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_request: Mapped[bytes] = mapped_column(LargeBinary)
    number: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_as: Mapped[str | None] = mapped_column(String(16))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    handed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoginClaimRow(Base):
    """The phone that scanned it, and what it was shown: `text` is what the phone signs, but for the number."""

    __tablename__ = "login_claims"

    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"))
    sign_no: Mapped[str] = mapped_column(String(32))
    choices: Mapped[list[int]] = mapped_column(JSON)
    sealed_text: Mapped[bytes] = mapped_column(LargeBinary)
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginCardChallengeRow(Base):
    """What a card is to sign, while the page that asked for it waits (three minutes)."""

    __tablename__ = "login_card_challenges"

    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)
    sealed_text: Mapped[bytes] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginCardProofRow(Base):
    """`signature` (r, s) by the key of the card's `certificate` (DER) over the challenge; `text_digest` is its SM3."""

    __tablename__ = "login_card_proofs"

    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)
    card_number: Mapped[str] = mapped_column(ForeignKey("cards.card_number"))
    certificate: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))
    text_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    claims: Mapped[list[str]] = mapped_column(JSON)
    proved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginApprovalRow(Base):
    """`signature` (r, s) of the phone's `public_key` (02 or 03, X) over text and number; `text_digest` is their SM3."""

    __tablename__ = "login_approvals"

    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), primary_key=True)
    ecard_no: Mapped[str] = mapped_column(ForeignKey("ecards.ecard_no"))
    sign_no: Mapped[str] = mapped_column(String(32))
    public_key: Mapped[bytes] = mapped_column(LargeBinary(33))
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))
    text_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    claims: Mapped[list[str]] = mapped_column(JSON)
    approved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
