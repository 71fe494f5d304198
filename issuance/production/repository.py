"""Queries over batches, lines and work; whatever touches many rows is one statement over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.applications.models import ApplicationRow, ApplicationStepRow
from issuance.cards.models import CardRow, PersonEndRow, SuccessionRow
from issuance.database import ROW_LOCK, Base, refresh_statistics
from issuance.persons.models import PersonRow
from issuance.production.models import BatchRow, EntryRow, FileRow, JobRow, LineRow, RejectRow
from issuance.production.states import Outcome, Stage
from issuance.scope import unscoped
from issuance.stock.models import BlankRow, CardNumberRow, LedgerItemRow

Ready = tuple[LineRow, bytes, str]
"""A line, its person's sealed data and its card class."""
_OPEN = ("submitted", "checked", "reserved", "personalized", "verified")


class ProductionRepository:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    # -- rows by the thousand -----------------------------------------------------------------------------------------

    async def add_all(self, row_type: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
        """Every row has the same keys."""
        if rows:
            await self._session.execute(insert(_table(row_type)), list(rows))

    async def change_all(
        self,
        row_type: type[Base],
        keys: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        clears: Sequence[str] = (),
    ) -> None:
        """Set the other values of each row where its keys are; every row has the same keys and values.

        `clears` are set to null, and may be keys.
        """
        if not rows:
            return
        table = _table(row_type)
        changed = [name for name in rows[0] if name not in keys]
        values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in changed} | dict.fromkeys(clears)
        statement = update(table).where(*(table.c[key] == bindparam(f"k_{key}") for key in keys)).values(values)
        bound = [{f"k_{key}": row[key] for key in keys} | {f"v_{name}": row[name] for name in changed} for row in rows]
        await self._session.execute(statement, bound)

    async def refresh_statistics(self) -> None:
        """Of the tables that a job fills."""
        filled = (PersonRow, ApplicationRow, CardNumberRow, BlankRow, LineRow, EntryRow, LedgerItemRow)
        await refresh_statistics(self._session, *filled)

    # -- batches ------------------------------------------------------------------------------------------------------

    async def batch(self, batch_id: str, *, is_locking: bool = True) -> BatchRow | None:
        lock = ROW_LOCK if is_locking else None
        return await self._session.get(BatchRow, batch_id, with_for_update=lock, populate_existing=is_locking)

    async def batches_of_day(self, prefix: str) -> int:
        """The highest sequence among the ids that begin so."""
        last = await self._session.scalar(select(func.max(BatchRow.id)).where(BatchRow.id.startswith(prefix)))
        return 0 if last is None else int(last[len(prefix) :])

    def listed(self, region_prefix: str, state: str | None) -> Select[BatchRow]:
        query = select(BatchRow).where(BatchRow.region.startswith(region_prefix))
        return query if state is None else query.where(BatchRow.state == state)

    async def line_states(self, batch_id: str) -> dict[str, int]:
        query = select(LineRow.state, func.count()).where(LineRow.batch_id == batch_id).group_by(LineRow.state)
        return {row[0]: row[1] for row in await self._session.execute(query)}

    async def outcomes(self, batch_id: str) -> dict[tuple[str, str], int]:
        """Lines by stage and outcome."""
        query = (
            select(EntryRow.stage, EntryRow.outcome, func.count())
            .where(EntryRow.batch_id == batch_id)
            .group_by(EntryRow.stage, EntryRow.outcome)
        )
        return {(stage, outcome): count for stage, outcome, count in await self._session.execute(query)}

    async def unread(self, batch_id: str, stage: str) -> int:
        """Sent lines whose only returns were refused."""
        named = (
            select(RejectRow.sequence)
            .join(FileRow, FileRow.id == RejectRow.file_id)
            .where(FileRow.batch_id == batch_id, FileRow.stage == stage)
        )
        query = select(func.count()).where(
            EntryRow.batch_id == batch_id,
            EntryRow.stage == stage,
            EntryRow.outcome == Outcome.SENT.value,
            EntryRow.line.in_(named),
        )
        return await self._session.scalar(query) or 0

    def lines_listed(self, batch_id: str, state: str | None) -> Select[LineRow]:
        query = select(LineRow).where(LineRow.batch_id == batch_id)
        return query if state is None else query.where(LineRow.state == state)

    async def finished_line(self, card_number: str) -> LineRow | None:
        """The line whose card of this number waits for its holder; locked."""
        query = select(LineRow).where(LineRow.card_number == card_number, LineRow.state == "finished")
        found: LineRow | None = await self._session.scalar(query.with_for_update(key_share=True))
        return found

    def finished_at(self, batch_id: str, place_id: str, boxes: Sequence[str]) -> Select[str]:
        """Finished cards of the batch that lie at the place, in these boxes or in all."""
        lines = select(LineRow.reset_information).where(LineRow.batch_id == batch_id, LineRow.state == "finished")
        if boxes:
            lines = lines.where(LineRow.box.in_(boxes))
        return select(BlankRow.reset_information).where(
            BlankRow.place_id == place_id, BlankRow.reset_information.in_(lines)
        )

    # -- lines of a stage ---------------------------------------------------------------------------------------------

    async def sendable(self, batch_id: str, previous: Stage | None, after: int, count: int) -> list[Ready]:
        """Lines that the stage takes over, in their order."""
        query = (
            select(LineRow, PersonRow.sealed, ApplicationRow.card_class)
            .join(PersonRow, PersonRow.id == LineRow.person_id)
            .join(ApplicationRow, ApplicationRow.id == LineRow.application_id)
            .where(LineRow.batch_id == batch_id, LineRow.line > after, *self._ready(previous))
            .order_by(LineRow.line)
            .limit(count)
        )
        return [(line, sealed, card_class) for line, sealed, card_class in await self._session.execute(query)]

    async def sendable_count(self, batch_id: str, previous: Stage | None) -> int:
        query = select(func.count()).where(LineRow.batch_id == batch_id, *self._ready(previous))
        return await self._session.scalar(query) or 0

    def _ready(self, previous: Stage | None) -> list[ColumnElement[bool]]:
        """Good in the stage before; a stage is sent once, so none of them can be in this one yet."""
        conditions: list[ColumnElement[bool]] = [LineRow.state != "released"]
        if previous is not None:
            good = exists().where(
                EntryRow.batch_id == LineRow.batch_id,
                EntryRow.line == LineRow.line,
                EntryRow.stage == previous.value,
                EntryRow.outcome == Outcome.OK.value,
            )
            conditions.append(good)
        return conditions

    async def entries(
        self, batch_id: str, stage: Stage, lines: Iterable[int]
    ) -> dict[int, tuple[LineRow, EntryRow, bytes]]:
        """By line: the line, what the stage said of it so far, and the index of its person's number."""
        query = (
            select(LineRow, EntryRow, PersonRow.number_index)
            .join(EntryRow, (EntryRow.batch_id == LineRow.batch_id) & (EntryRow.line == LineRow.line))
            .join(PersonRow, PersonRow.id == LineRow.person_id)
            .where(LineRow.batch_id == batch_id, EntryRow.stage == stage.value, LineRow.line.in_(lines))
        )
        return {line.line: (line, entry, index) for line, entry, index in await self._session.execute(query)}

    # -- what a roster meets ------------------------------------------------------------------------------------------

    async def persons_of(self, indexes: Sequence[bytes]) -> dict[bytes, str]:
        """Ids of the persons known, by the index of their number; locked, in one order for everybody."""
        query = (
            select(PersonRow.number_index, PersonRow.id)
            .where(PersonRow.number_index.in_(indexes))
            .order_by(PersonRow.id)
            .with_for_update(key_share=True)
        )
        return {row[0]: row[1] for row in await self._session.execute(query)}

    async def with_open_application(self, persons: Sequence[str]) -> set[str]:
        query = select(ApplicationRow.person_id).where(
            ApplicationRow.person_id.in_(persons), ApplicationRow.state.in_(_OPEN)
        )
        with unscoped(self._session, why="a person has one open application in all regions together"):
            return set(await self._session.scalars(query))

    async def with_live_card(self, persons: Sequence[str]) -> set[str]:
        query = select(CardRow.person_id).where(CardRow.person_id.in_(persons), CardRow.state != "9")
        with unscoped(self._session, why="a person has one live card in all regions together"):
            return set(await self._session.scalars(query))

    async def dead(self, persons: Sequence[str]) -> set[str]:
        query = select(PersonEndRow.person_id).where(
            PersonEndRow.person_id.in_(persons), PersonEndRow.reason == "death"
        )
        return set(await self._session.scalars(query))

    async def applications(self, ids: Sequence[str]) -> list[tuple[ApplicationRow, bytes]]:
        """Locked, each with its person's sealed data."""
        query = (
            select(ApplicationRow, PersonRow.sealed)
            .join(PersonRow, PersonRow.id == ApplicationRow.person_id)
            .where(ApplicationRow.id.in_(ids))
            .order_by(ApplicationRow.id)
            .with_for_update(key_share=True, of=ApplicationRow)
        )
        return [(row, sealed) for row, sealed in await self._session.execute(query)]

    async def keeping_number(self, ids: Sequence[str]) -> set[str]:
        """Those whose card takes the number of the one before (同号换卡); numbers of batches are new ones."""
        query = select(SuccessionRow.application_id).where(
            SuccessionRow.application_id.in_(ids), SuccessionRow.keeps_number.is_(True)
        )
        return set(await self._session.scalars(query))

    async def free_numbers(self, region: str, count: int) -> list[str]:
        """The lowest free numbers of a pool, locked."""
        query = (
            select(CardNumberRow.number)
            .where(CardNumberRow.region == region, CardNumberRow.state == "free")
            .order_by(CardNumberRow.number)
            .limit(count)
            .with_for_update(skip_locked=True)
        )
        with unscoped(self._session, why="the pool of a province serves its districts"):
            return list(await self._session.scalars(query))

    async def blanks(self, reset_information: Sequence[str]) -> dict[str, BlankRow]:
        query = select(BlankRow).where(BlankRow.reset_information.in_(reset_information))
        rows = await self._session.scalars(query.order_by(BlankRow.reset_information).with_for_update(key_share=True))
        return {row.reset_information: row for row in rows}

    # -- lines that leave a batch -------------------------------------------------------------------------------------

    async def lines_to_release(self, batch_id: str, states: Sequence[str], count: int) -> list[LineRow]:
        query = select(LineRow).where(LineRow.batch_id == batch_id, LineRow.state.in_(states)).order_by(LineRow.line)
        return list(await self._session.scalars(query.limit(count)))

    async def were_in(self, batch_id: str, stage: Stage, lines: Sequence[int]) -> set[int]:
        """Those of the lines that were sent to the stage."""
        query = select(EntryRow.line).where(
            EntryRow.batch_id == batch_id,
            EntryRow.stage == stage.value,
            EntryRow.outcome != Outcome.UNSENT.value,
            EntryRow.line.in_(lines),
        )
        return set(await self._session.scalars(query))

    async def add_steps(self, steps: Sequence[tuple[str, str, str]], at: datetime, detail: str) -> None:
        """Rows of the applications' journal: application, step, status."""
        rows = [
            {"application_id": application, "step": step, "status": status, "at": at, "detail": detail}
            for application, step, status in steps
        ]
        await self.add_all(ApplicationStepRow, rows)

    # -- work ---------------------------------------------------------------------------------------------------------

    async def next_job(self) -> str | None:
        """The running work that waited longest."""
        query = select(JobRow.id).where(JobRow.state == "running").order_by(JobRow.updated_at, JobRow.id).limit(1)
        found: str | None = await self._session.scalar(query)
        return found

    async def job(self, job_id: str) -> JobRow | None:
        return await self._session.get(JobRow, job_id)

    async def claim(self, job_id: str) -> JobRow | None:
        """Locked; None while somebody else is at it."""
        query = select(JobRow).where(JobRow.id == job_id).with_for_update(skip_locked=True)
        found: JobRow | None = await self._session.scalar(query.execution_options(populate_existing=True))
        return found

    async def job_of(self, file_id: str) -> JobRow | None:
        found: JobRow | None = await self._session.scalar(select(JobRow).where(JobRow.file_id == file_id))
        return found

    async def jobs(self, batch_id: str) -> list[JobRow]:
        query = select(JobRow).where(JobRow.batch_id == batch_id).order_by(JobRow.started_at, JobRow.id)
        return list(await self._session.scalars(query))

    async def running(self, batch_id: str) -> JobRow | None:
        query = select(JobRow).where(JobRow.batch_id == batch_id, JobRow.state.in_(("running", "stuck")))
        found: JobRow | None = await self._session.scalar(query.limit(1))
        return found

    # -- files --------------------------------------------------------------------------------------------------------

    async def file(self, file_id: str, *, is_locking: bool = False) -> FileRow | None:
        return await self._session.get(FileRow, file_id, with_for_update=ROW_LOCK if is_locking else None)

    async def files(self, batch_id: str) -> list[FileRow]:
        query = select(FileRow).where(FileRow.batch_id == batch_id).order_by(FileRow.created_at, FileRow.id)
        return list(await self._session.scalars(query))

    async def twin(self, file: FileRow) -> FileRow | None:
        """The file with the same bytes that was taken in before."""
        query = select(FileRow).where(
            FileRow.batch_id == file.batch_id,
            FileRow.stage == file.stage,
            FileRow.direction == "in",
            FileRow.digest == file.digest,
            FileRow.state == "done",
        )
        found: FileRow | None = await self._session.scalar(query.limit(1))
        return found

    def rejects_listed(self, file_id: str) -> Select[RejectRow]:
        return select(RejectRow).where(RejectRow.file_id == file_id)


def _table(row_type: type[Base]) -> Table:
    table = row_type.__table__
    assert isinstance(table, Table)
    return table
