"""What a chunk of work gets and gives: the same for rosters, outgoing files and return files.

A chunk is prepared from what is stored, outside of any writing transaction and off the event loop; then it is applied
in one transaction that also moves the job's cursor. A chunk prepared from an older cursor is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from issuance.production.files import Cursor, FileStore, RawLine
from issuance.production.models import BatchRow, FileRow, JobRow, RejectRow
from issuance.production.profiles import LineError, Parsed, Profile
from issuance.production.repository import ProductionRepository
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.unit import Unit

CHUNK = 2000
"""Lines of one transaction: a tenth of a second of work, and short enough to lose without regret."""


@dataclass(slots=True)
class Task:
    """One job with what it works on, as its chunk found it."""

    services: Services
    job: JobRow
    batch: BatchRow
    file: FileRow
    profile: Profile


@dataclass(slots=True)
class Chunk:
    """What was prepared: `done` lines, the cursor behind them, and whatever the work needs to apply them."""

    done: int
    cursor: dict[str, Any]
    is_last: bool
    content: Any = None
    refused: list[tuple[int, Parsed]] = field(default_factory=list)


class Work(Protocol):
    async def prepare(self, task: Task) -> Chunk: ...

    async def apply(self, unit: Unit, task: Task, chunk: Chunk) -> None:
        """Store the chunk. May raise ProblemError: then the job is stuck with that failure, and nothing is stored."""
        ...

    async def finish(self, unit: Unit, task: Task) -> None:
        """After the last chunk, in its transaction."""
        ...


async def read_chunk(task: Task) -> tuple[list[RawLine], Cursor]:
    """The next lines of an incoming file; the header is left out, and not checked here."""
    async with task.services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        cursor = Cursor(**task.job.cursor) if task.job.cursor else Cursor()
        lines, cursor = await FileStore(session, task.services.sealer).lines(task.file, cursor, CHUNK)
    return [line for line in lines if line.number > 1], cursor


async def read_header(unit: Unit, file: FileRow) -> bytes:
    lines, _ = await FileStore(unit.session, unit.services.sealer).lines(file, Cursor(), 1)
    return lines[0].data if lines else b""


async def keep_rejects(unit: Unit, file: FileRow, refused: Sequence[tuple[int, Parsed]]) -> None:
    """Every reason of every refused line, by the line's number in the file."""
    rows = [
        {
            "file_id": file.id,
            "line_number": number,
            "ordinal": ordinal,
            "sequence": parsed.sequence,
            "column": error.column,
            "rule": error.rule,
            "limits": error.limits,
        }
        for number, parsed in refused
        for ordinal, error in enumerate(parsed.errors)
    ]
    await ProductionRepository(unit.session).add_all(RejectRow, rows)
    file.refused += len(refused)


def refusal(parsed: Parsed, *errors: LineError) -> Parsed:
    return Parsed(parsed.values, [*parsed.errors, *errors])
