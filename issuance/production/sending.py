"""Writing the file of a stage: its lines in the partner's columns, one sealed part per chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cardlib.wire import Message
from issuance.clock import CHINA, add_years, china_date
from issuance.persons.repository import person_context
from issuance.persons.schemas import PersonData
from issuance.production.files import FileStore
from issuance.production.models import EntryRow, LineRow
from issuance.production.profiles import Layout, ProfileError
from issuance.production.repository import ProductionRepository, Ready
from issuance.production.states import Outcome, Stage, before, sent
from issuance.production.work import CHUNK, Chunk, Task
from issuance.scope import EVERYWHERE
from issuance.sealing import Sealer
from issuance.unit import Unit

RESIDENT_DOCUMENT, PERMIT_DOCUMENT = "01", "07"


class BankData(Message):
    """What the bank said about a line."""

    bank: str
    bank_card: str
    account: str


def bank_context(batch_id: str, line: int) -> str:
    return f"production_lines.bank:{batch_id}:{line}"


def key_question(sealer: Sealer, file_id: str, line: int) -> tuple[bytes, bytes]:
    """Challenge and original data of a line's key check: nobody can tell them beforehand, and nothing is stored."""
    secret = sealer.index("production_key_check", f"{file_id}:{line}")
    return secret[:8], secret[8:16]


@dataclass(frozen=True, slots=True)
class Written:
    data: bytes
    entries: list[dict[str, Any]]
    size: int


class SendWork:
    async def prepare(self, task: Task) -> Chunk:
        previous = before(Stage(task.job.stage), has_certificates=task.batch.has_certificates)
        after = int(task.job.cursor.get("line", 0))
        async with task.services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
            rows = await ProductionRepository(session).sendable(task.batch.id, previous, after, CHUNK)
        written = await asyncio.to_thread(self._write, task, rows)
        cursor = {"part": int(task.job.cursor.get("part", 0)) + 1, "line": rows[-1][0].line if rows else after}
        return Chunk(len(rows), cursor, len(rows) < CHUNK, written)

    async def apply(self, unit: Unit, task: Task, chunk: Chunk) -> None:
        written: Written = chunk.content
        part = int(task.job.cursor.get("part", 0))
        if written.data:
            await FileStore(unit.session, unit.services.sealer).put(task.file, part, written.data)
        await ProductionRepository(unit.session).add_all(EntryRow, written.entries)
        task.file.accepted += written.size
        task.file.refused += len(written.entries) - written.size

    async def finish(self, unit: Unit, task: Task) -> None:
        """The file is whole; from now on it can be fetched, and the batch waits for its return."""
        await FileStore(unit.session, unit.services.sealer).measure(task.file)
        task.file.state = "whole"
        task.batch.state = sent(Stage(task.job.stage)).value
        await unit.audit(
            "production.sent",
            f"batch:{task.batch.id}",
            region=task.batch.region,
            detail={"stage": task.job.stage, "file": task.file.id, "lines": task.file.accepted},
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _write(self, task: Task, rows: Sequence[Ready]) -> Written:
        """In a thread. The first part begins with the titles."""
        layout = _outgoing(task)
        pieces = [layout.header] if not task.job.cursor else []
        entries = []
        size = 0
        for row in rows:
            line = row[0]
            data, errors = layout.encode(self._values(task, *row))
            if not errors:
                pieces.append(data)
                size += 1
            entries.append(
                {
                    "batch_id": task.batch.id,
                    "stage": task.job.stage,
                    "line": line.line,
                    "outcome": (Outcome.UNSENT if errors else Outcome.SENT).value,
                    "sent_in": task.file.id,
                }
            )
        return Written(b"".join(pieces), entries, size)

    def _values(self, task: Task, line: LineRow, sealed: bytes, card_class: str) -> dict[str, str]:
        """Every column that any profile may ask for, by key."""
        batch, sealer = task.batch, task.services.sealer
        person = PersonData.model_validate(sealer.unseal(sealed, person_context(line.person_id)))
        issued = china_date(task.job.started_at)
        years = task.services.rules.pack(batch.region).on(issued).validity(card_class)
        values = {
            "sequence": str(line.line),
            "batch": batch.id,
            "region": batch.region,
            "card_number": line.card_number,
            "card_class": card_class,
            "document_type": _document_type(person),
            "unit_code": batch.unit_code,
            "unit_name": batch.unit_name,
            "apply_type": batch.apply_type,
            "make_type": batch.make_type,
            "issue_date": f"{issued:%Y%m%d}",
            "expiry_date": f"{add_years(issued, years):%Y%m%d}",
            "certificate": line.certificate or "",
            "reset_information": line.reset_information or "",
            "identification_code": line.identification_code or "",
            "box": line.box or "",
        }
        values |= {name: text for name, text in person.card_fields().items() if isinstance(text, str)}
        if line.sealed_bank is not None:
            values |= sealer.unseal(line.sealed_bank, bank_context(batch.id, line.line))
        if task.job.stage == Stage.KEYS:
            challenge, original = key_question(sealer, task.file.id, line.line)
            values |= {"challenge": challenge.hex().upper(), "original": original.hex().upper()}
        return values


def _outgoing(task: Task) -> Layout:
    if task.profile.outgoing is None:
        raise ProfileError(f"profile {task.profile.id} has no outgoing file")
    return task.profile.outgoing


def _document_type(person: PersonData) -> str:
    if person.document is not None:
        return person.document.kind.value
    return RESIDENT_DOCUMENT if person.social_security_number[0].isdigit() else PERMIT_DOCUMENT


def file_name(layout: Layout, batch_id: str, partner: str, now: datetime) -> str:
    return layout.file_name.format(batch=batch_id, partner=partner, time=f"{now.astimezone(CHINA):%Y%m%d%H%M%S}")
