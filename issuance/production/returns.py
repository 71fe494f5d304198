"""Taking a return file (回盘) in: every line is checked by itself; the good ones are taken, each bad one is told why.

A first pass only compares, where the stage took lines in before: a file that says something else about a line that was
taken is refused whole, before anything changes. Lines that were refused, failed or missing may come corrected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from issuance.problems import ProblemError
from issuance.production.enrolment import match_of
from issuance.production.files import RawLine
from issuance.production.models import EntryRow, LineRow
from issuance.production.profiles import LineError, Parsed
from issuance.production.repository import ProductionRepository
from issuance.production.results import RESULTS, Accepted, Entry, Result
from issuance.production.states import LineState, Outcome, Stage, returned
from issuance.production.work import Chunk, Task, keep_rejects, read_chunk, refusal
from issuance.unit import Unit

COMPARE, TAKE = "compare", "take"


class ReturnChangedError(ProblemError):
    """The file contradicts what was taken in before."""

    def __init__(self, count: int, first: int) -> None:
        super().__init__(
            "RETURN_CHANGED", f"{count} lines that were taken in say something else now, first line {first}"
        )


@dataclass(frozen=True, slots=True)
class Read:
    number: int
    parsed: Parsed
    digest: bytes


class ReturnWork:
    async def prepare(self, task: Task) -> Chunk:
        lines, cursor = await read_chunk(task)
        reads = await asyncio.to_thread(self._read, task, lines)
        return Chunk(len(lines), cursor.to_json(), cursor.part >= task.file.parts, reads)

    async def apply(self, unit: Unit, task: Task, chunk: Chunk) -> None:
        """Raises ReturnChangedError in the comparing pass."""
        reads: list[Read] = chunk.content
        known = await self._known(unit, task, reads)
        if task.job.phase == COMPARE:
            self._compare(task, reads, known)
            if chunk.is_last:
                self._begin_taking(task, chunk)
            return
        open_lines, refused = self._sort_out(unit, task, reads, known)
        result: Result = RESULTS[Stage(task.job.stage)]
        accepted, more = await result.take(unit, task.batch, task.file, task.profile.incoming, open_lines)
        await self._store(unit, task, accepted)
        await keep_rejects(unit, task.file, [*refused, *more])
        task.file.accepted += len(accepted)

    async def finish(self, unit: Unit, task: Task) -> None:
        task.file.state = "done"
        if task.file.accepted or task.file.known:
            task.batch.state = returned(Stage(task.job.stage)).value
        detail = {name: getattr(task.file, name) for name in ("lines", "accepted", "known", "refused")}
        await unit.audit(
            "production.returned",
            f"batch:{task.batch.id}",
            region=task.batch.region,
            detail=detail | {"stage": task.job.stage, "file": task.file.id},
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _read(self, task: Task, lines: Sequence[RawLine]) -> list[Read]:
        """In a thread."""
        layout, sealer = task.profile.incoming, task.services.sealer
        return [
            Read(line.number, layout.parse(line.data), sealer.index("production_return", line.data.hex()))
            for line in lines
        ]

    async def _known(self, unit: Unit, task: Task, reads: Sequence[Read]) -> dict[int, Entry]:
        numbers = {read.parsed.sequence for read in reads} - {None}
        found = await ProductionRepository(unit.session).entries(
            task.batch.id, Stage(task.job.stage), [number for number in numbers if number is not None]
        )
        return {number: Entry(*row) for number, row in found.items() if row[1].outcome != Outcome.UNSENT.value}

    def _compare(self, task: Task, reads: Sequence[Read], known: dict[int, Entry]) -> None:
        changed = [read.number for read in reads if self._contradicts(read, known)]
        if changed:
            raise ReturnChangedError(len(changed), changed[0])

    def _contradicts(self, read: Read, known: dict[int, Entry]) -> bool:
        """A line taken as good stands; one that does not read well says nothing."""
        entry = None if read.parsed.sequence is None else known.get(read.parsed.sequence)
        if entry is None or read.parsed.errors or entry.entry.outcome != Outcome.OK.value:
            return False
        return entry.entry.digest != read.digest

    def _begin_taking(self, task: Task, chunk: Chunk) -> None:
        task.job.phase = TAKE
        chunk.cursor, chunk.is_last = {}, False

    def _sort_out(
        self, unit: Unit, task: Task, reads: Sequence[Read], known: dict[int, Entry]
    ) -> tuple[list[tuple[Read, Entry]], list[tuple[int, Parsed]]]:
        """Lines to take, and lines refused; those that were taken before exactly so are only counted."""
        layout = task.profile.incoming
        seen: set[int] = set()
        good: list[tuple[Read, Entry]] = []
        refused: list[tuple[int, Parsed]] = []
        for read in reads:
            parsed, number = read.parsed, read.parsed.sequence
            if parsed.errors or number is None:
                refused.append((read.number, parsed))
                continue
            entry = known.get(number)
            if entry is None:
                refused.append((read.number, refusal(parsed, LineError(layout.title("sequence"), "file_unknown_line"))))
                continue
            if number in seen or entry.entry.returned_in == task.file.id:
                error = LineError(layout.title("sequence"), "file_duplicate_line")
                refused.append((read.number, refusal(parsed, error)))
                continue
            seen.add(number)
            if entry.entry.digest == read.digest:
                task.file.known += 1
                continue
            error_of = self._difference(unit, task, parsed, entry)
            if entry.line.state == LineState.RELEASED:
                error_of = LineError(layout.title("sequence"), "file_line_left")
            if error_of is None:
                good.append((read, entry))
            else:
                refused.append((read.number, refusal(parsed, error_of)))
        return good, refused

    def _difference(self, unit: Unit, task: Task, parsed: Parsed, entry: Entry) -> LineError | None:
        """Which column is not what was sent; a line must bring card number, number and name as far as it has them."""
        layout, values, sealer = task.profile.incoming, parsed.values, unit.services.sealer
        if values.get("card_number") != entry.line.card_number:
            return LineError(layout.title("card_number"), "file_differs")
        number = values.get("social_security_number")
        if number is not None and sealer.index("social_security_number", number) != entry.number_index:
            return LineError(layout.title("social_security_number"), "file_differs")
        name = values.get("name")
        if number is None or name is None:
            return None
        match = match_of(sealer, task.batch.id, entry.line.line, entry.line.card_number, number, name)
        return None if match == entry.line.match else LineError(layout.title("name"), "file_differs")

    async def _store(self, unit: Unit, task: Task, accepted: Sequence[Accepted]) -> None:
        repository = ProductionRepository(unit.session)
        await repository.change_all(
            EntryRow,
            ["batch_id", "stage", "line"],
            [
                {
                    "batch_id": task.batch.id,
                    "stage": task.job.stage,
                    "line": one.line,
                    "outcome": one.outcome.value,
                    "returned_in": task.file.id,
                    "digest": one.digest,
                    "sealed_reason": one.sealed_reason,
                }
                for one in accepted
            ],
        )
        by_shape: dict[tuple[str, ...], list[dict[str, object]]] = {}
        for one in accepted:
            values = one.values | {"state": one.state.value}
            by_shape.setdefault(tuple(sorted(values)), []).append(
                values | {"batch_id": task.batch.id, "line": one.line}
            )
        for rows in by_shape.values():
            await repository.change_all(LineRow, ["batch_id", "line"], rows)
