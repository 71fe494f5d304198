"""Rows of the audit trail and of the tree over it; triggers of the migrations refuse UPDATE and DELETE.

Only `audit_pending` loses rows: a trigger adds every new entry to it, the sequencer takes it out again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_ID = BigInteger().with_variant(Integer, "sqlite")


class AuditRow(RegionScoped, Base):
    """`subject` is a kind and an id (`card:A00000011`); `detail` holds codes and counts, nothing personal.

    `region` is that of the subject, of a refusal that of the refused client; it decides which operators may read it.
    `place` is the path of the office, `reason` what a person gave as one. `seal` is the MAC made when the entry was
    (`issuance.audit.seal`), null before the tree was there and for clients registered on the server itself.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (Index("ix_audit_entries_clerk", "clerk", "id"),)

    id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(64))
    clerk: Mapped[str] = mapped_column(String(64), default="")
    act: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(96), index=True)
    application_id: Mapped[str | None] = mapped_column(String(32), index=True)
    region: Mapped[str | None] = mapped_column(String(6))
    place: Mapped[str] = mapped_column(String(128), default="", server_default="")
    outcome: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(256), default="", server_default="")
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    seal: Mapped[bytes | None] = mapped_column(LargeBinary(52))


class PendingRow(Base):
    """An entry that waits for its place in the tree."""

    __tablename__ = "audit_pending"

    entry_id: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=False)


class LeafRow(Base):
    """Place `sequence`, from 0, of the tree; `hash` is SM3(00 || entry)."""

    __tablename__ = "audit_leaves"

    sequence: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(_ID, unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class NodeRow(Base):
    """A complete subtree at level 8, 16 …: 256, 65,536 … leaves."""

    __tablename__ = "audit_nodes"

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class HeadRow(Base):
    """A signed root of the first `size` leaves. `at` is the text that was signed; `frontier` the hashes of the
    complete subtrees, the largest first, whose fold is the root."""

    __tablename__ = "audit_heads"

    size: Mapped[int] = mapped_column(_ID, primary_key=True, autoincrement=False)
    centre: Mapped[str] = mapped_column(String(64))
    root: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[str] = mapped_column(String(27))
    key_version: Mapped[int]
    frontier: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))
