"""Rows of batches, their lines, what each stage said about a line, the files and the work on them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Date, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.scope import RegionScoped

_RUNNING = text("state = 'running'")


class BatchRow(RegionScoped, Base):
    """`id` is region, day and a sequence, as file names carry it; `profiles` names the file profile of each stage."""

    __tablename__ = "production_batches"
    __table_args__ = (Index("ix_production_batches_state", "state", "updated_at", "id"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    region: Mapped[str] = mapped_column(String(6), index=True)
    generation: Mapped[str] = mapped_column(String(3))
    apply_type: Mapped[str] = mapped_column(String(2))
    make_type: Mapped[str] = mapped_column(String(2))
    mark: Mapped[str] = mapped_column(String(1))
    unit_code: Mapped[str] = mapped_column(String(32))
    unit_name: Mapped[str] = mapped_column(String(64))
    depot_id: Mapped[str] = mapped_column(ForeignKey("stock_places.id"))
    has_certificates: Mapped[bool]
    profiles: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    lines: Mapped[int]
    version: Mapped[int]
    created_by: Mapped[str] = mapped_column(ForeignKey("clients.id"))
    updated_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LineRow(Base):
    """One card of a batch. `match` is a keyed digest of number, card number and name: what a return line must repeat.

    `sealed_bank` holds the bank's part: bank, card and account number; `key_version` the set its keys proved to be of.
    Here and in `EntryRow` no index but the key begins with the batch: before it has statistics PostgreSQL might take
    that one for a change by key, and read the whole batch for every line.
    """

    __tablename__ = "production_lines"
    __table_args__ = (Index("ix_production_lines_application", "application_id"),)

    batch_id: Mapped[str] = mapped_column(ForeignKey("production_batches.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    application_id: Mapped[str] = mapped_column(ForeignKey("applications.id"))
    person_id: Mapped[str] = mapped_column(ForeignKey("persons.id"))
    card_number: Mapped[str] = mapped_column(ForeignKey("card_numbers.number"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    match: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_bank: Mapped[bytes | None] = mapped_column(LargeBinary)
    certificate: Mapped[str | None] = mapped_column(String(64))
    reset_information: Mapped[str | None] = mapped_column(ForeignKey("blanks.reset_information"), index=True)
    identification_code: Mapped[str | None] = mapped_column(String(32))
    key_version: Mapped[int | None]
    issue_date: Mapped[date | None] = mapped_column(Date)
    expiry_date: Mapped[date | None] = mapped_column(Date)
    box: Mapped[str | None] = mapped_column(String(32))


class EntryRow(Base):
    """A line in one stage: the file it was sent in, and the one its return was taken from.

    `digest` (keyed) is of the return line that was taken; the partner's words about a failure rest sealed.
    """

    __tablename__ = "production_entries"
    __table_args__ = (
        ForeignKeyConstraint(["batch_id", "line"], ["production_lines.batch_id", "production_lines.line"]),
        CheckConstraint("outcome IN ('unsent', 'sent', 'ok', 'failed')", name="outcome"),
    )

    batch_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    stage: Mapped[str] = mapped_column(String(8), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    outcome: Mapped[str] = mapped_column(String(8))
    sent_in: Mapped[str] = mapped_column(ForeignKey("production_files.id"))
    returned_in: Mapped[str | None] = mapped_column(ForeignKey("production_files.id"))
    digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    sealed_reason: Mapped[bytes | None] = mapped_column(LargeBinary)


class FileRow(Base):
    """A file to or from a partner; its bytes rest sealed in parts. `digest` is SHA-256 over the parts' SHA-256."""

    __tablename__ = "production_files"
    __table_args__ = (
        CheckConstraint("direction IN ('out', 'in')", name="direction"),
        CheckConstraint("state IN ('open', 'whole', 'done', 'repeated', 'refused')", name="state"),
        Index("ix_production_files_batch", "batch_id", "stage", "direction"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("production_batches.id"))
    stage: Mapped[str] = mapped_column(String(8))
    direction: Mapped[str] = mapped_column(String(3))
    profile: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(8))
    parts: Mapped[int]
    size: Mapped[int]
    lines: Mapped[int]
    digest: Mapped[str | None] = mapped_column(String(64))
    accepted: Mapped[int]
    known: Mapped[int]
    refused: Mapped[int]
    problem: Mapped[str] = mapped_column(String(256))
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PartRow(Base):
    """A run of a file's bytes. `digest` is SHA-256 of them, `line_ends` counts the LF among them."""

    __tablename__ = "production_parts"

    file_id: Mapped[str] = mapped_column(ForeignKey("production_files.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int]
    line_ends: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class RejectRow(Base):
    """Why a line of an incoming file was refused: one row per reason. `sequence` when the line could be told."""

    __tablename__ = "production_rejects"
    __table_args__ = (Index("ix_production_rejects_sequence", "file_id", "sequence"),)

    file_id: Mapped[str] = mapped_column(ForeignKey("production_files.id"), primary_key=True)
    line_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sequence: Mapped[int | None]
    column: Mapped[str] = mapped_column(String(64))
    rule: Mapped[str] = mapped_column(String(64))
    limits: Mapped[dict[str, Any]] = mapped_column(JSON)


class JobRow(Base):
    """Long work on one batch, done in chunks; a batch has one at a time. `cursor` is where the next chunk begins."""

    __tablename__ = "production_jobs"
    __table_args__ = (
        CheckConstraint("kind IN ('roster', 'send', 'return')", name="kind"),
        CheckConstraint("state IN ('running', 'stuck', 'done', 'refused')", name="state"),
        Index("uq_production_jobs_running", "batch_id", unique=True, sqlite_where=_RUNNING, postgresql_where=_RUNNING),
        Index("ix_production_jobs_state", "state", "updated_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("production_batches.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    stage: Mapped[str] = mapped_column(String(8))
    file_id: Mapped[str] = mapped_column(ForeignKey("production_files.id"))
    state: Mapped[str] = mapped_column(String(8))
    phase: Mapped[str] = mapped_column(String(8))
    cursor: Mapped[dict[str, Any]] = mapped_column(JSON)
    total: Mapped[int]
    done: Mapped[int]
    busy_ms: Mapped[int]
    failure: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(String(256))
    actor: Mapped[str] = mapped_column(String(64))
    clerk: Mapped[str] = mapped_column(String(64))
    region: Mapped[str | None] = mapped_column(String(6))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
