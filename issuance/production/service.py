"""Batches: made, filled, sent from stage to stage, handed out; every step checked against the batch's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from issuance.applications.payments import Payments
from issuance.applications.schemas import ApplicationState
from issuance.clock import CHINA
from issuance.database import add_unless_taken
from issuance.input_rules import field_error
from issuance.paging import Page, PageRequest, page_of
from issuance.persons.repository import person_context
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError, bad_input
from issuance.production import jobs
from issuance.production.enrolment import Applicant, enrol
from issuance.production.files import PART_BYTES, FileStore, new_file
from issuance.production.models import BatchRow, FileRow, JobRow, LineRow, RejectRow
from issuance.production.profiles import ROSTER, Profile, ProfileError, load_profiles
from issuance.production.repository import ProductionRepository
from issuance.production.schemas import (
    Applications,
    BatchRequest,
    BatchSummary,
    BatchView,
    Completed,
    FileView,
    JobView,
    LineView,
    NewFile,
    Order,
    PartKept,
    RejectView,
)
from issuance.production.sending import file_name
from issuance.production.states import BatchState, Stage, before, returned, sent, stages_of
from issuance.production.views import batch_view, file_view, job_view, line_view, reject_view, summary
from issuance.production.work import read_header
from issuance.reviews.service import Reviews
from issuance.stock.ledger import StockLedger
from issuance.unit import Unit

_ID_TRIES = 5


class BatchService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._repository = ProductionRepository(unit.session)

    # -- batches ------------------------------------------------------------------------------------------------------

    async def create(self, request: BatchRequest) -> BatchView:
        """Raises REGION_UNKNOWN, NOT_FOUND for a depot or profile, INPUT_INVALID for a profile of another stage."""
        unit = self._unit
        unit.services.rules.pack(request.region)
        unit.caller.demand_region(request.region)
        for stage, profile_id in request.profiles.model_dump().items():
            if self._profile(profile_id).stage != stage:
                raise bad_input(field_error(f"body.profiles.{stage}", "profile_stage"))
        depot = await StockLedger(unit).place(request.depot_id, request.region)
        row = BatchRow(
            **request.model_dump(mode="json", exclude={"depot_id"}),
            depot_id=depot.id,
            state=BatchState.CREATED.value,
            lines=0,
            version=1,
            created_by=unit.caller.client_id,
            updated_by=unit.by,
            created_at=unit.now,
            updated_at=unit.now,
        )
        await self._add(row)
        detail = {"unit": row.unit_code, "apply_type": row.apply_type, "make_type": row.make_type}
        await self._audit("production.create", row, detail)
        return await self.view_of(row)

    async def find(self, state: str | None, page: PageRequest) -> Page[BatchSummary]:
        query = self._repository.listed(self._unit.caller.region_prefix, state)
        return await page_of(self._unit.session, query, [BatchRow.id], page, summary, is_descending=True)

    async def view(self, batch_id: str) -> BatchView:
        return await self.view_of(await self.batch(batch_id, is_locking=False))

    async def view_of(self, row: BatchRow) -> BatchView:
        unread = {
            stage.value: await self._repository.unread(row.id, stage.value) for stage in stages_of(row.has_certificates)
        }
        return batch_view(
            row, await self._repository.line_states(row.id), await self._repository.outcomes(row.id), unread
        )

    async def add_applications(self, batch_id: str, order: Applications) -> BatchView:
        """Those that wait for a card in the batch's region, all or none.

        Raises APPLICATION_STATE, CARD_MISMATCH, PAYMENT_PENDING, PAYMENT_REFUSED.
        """
        batch = await self.batch(batch_id, version=order.version)
        await self._demand(batch, BatchState.CREATED)
        found = await self._repository.applications(sorted(set(order.applications)))
        if len(found) != len(set(order.applications)):
            raise ProblemError("NOT_FOUND", "one of the applications does not exist", subject=f"batch:{batch.id}")
        keeping = await self._repository.keeping_number(order.applications)
        payments, reviews = Payments(self._unit), Reviews(self._unit)
        applicants = []
        for row, sealed in found:
            if row.id in keeping:
                raise ProblemError("APPLICATION_STATE", "it keeps its card number", application_id=row.id)
            if row.state != ApplicationState.CHECKED:
                raise ProblemError("APPLICATION_STATE", f"application {row.id} is {row.state}", application_id=row.id)
            if (row.region, row.generation) != (batch.region, batch.generation):
                raise ProblemError("CARD_MISMATCH", "the application is for another region", application_id=row.id)
            person = PersonData.model_validate(self._unit.services.sealer.unseal(sealed, person_context(row.person_id)))
            await payments.demand(row)
            await reviews.demand(row)
            applicants.append(Applicant(row.id, row.person_id, person))
        await enrol(self._unit, batch, applicants)
        self._touch(batch)
        await self._audit("production.add", batch, {"lines": len(applicants)})
        await self._unit.session.flush()
        return await self.view_of(batch)

    async def lines(self, batch_id: str, state: str | None, page: PageRequest) -> Page[LineView]:
        batch = await self.batch(batch_id, is_locking=False)
        query = self._repository.lines_listed(batch.id, state)
        return await page_of(self._unit.session, query, [LineRow.line], page, line_view)

    # -- files --------------------------------------------------------------------------------------------------------

    async def send(self, batch_id: str, stage: Stage, order: Order) -> JobView:
        """Have the file of a stage written. Raises BATCH_STATE, CONFLICT."""
        batch = await self.batch(batch_id, version=order.version)
        await self._demand(batch, *self._may_send(batch, stage))
        profile = self._profile(batch.profiles[stage.value])
        if profile.outgoing is None:
            raise ProfileError(f"profile {profile.id} has no outgoing file")
        previous = before(stage, has_certificates=batch.has_certificates)
        total = await self._repository.sendable_count(batch.id, previous)
        if not total:
            raise ProblemError("BATCH_STATE", f"no line is ready for {stage}", subject=f"batch:{batch.id}")
        name = file_name(profile.outgoing, batch.id, profile.partner, self._unit.now)
        file = new_file(self._unit, batch.id, stage.value, "out", profile.id, name)
        return await self._start(batch, "send", stage.value, file, total)

    async def open_file(self, batch_id: str, stage: str, request: NewFile) -> FileView:
        """A roster or a return file begins.

        Raises BATCH_STATE when the stage waits for none, INPUT_INVALID for a roster of people who would have to pay.
        """
        batch = await self.batch(batch_id)
        await self._demand(batch, *self._may_receive(stage))
        if stage == ROSTER and self._unit.rules(batch.region).fees_fen.new:
            raise bad_input(field_error("path.stage", "roster_fee"))
        file = new_file(self._unit, batch.id, stage, "in", batch.profiles[stage], request.name)
        self._unit.session.add(file)
        await self._unit.session.flush()
        await self._audit("production.file", batch, {"file": file.id, "stage": stage})
        return file_view(file)

    async def put_part(self, file_id: str, number: int, data: bytes) -> PartKept:
        file, _ = await self.file(file_id, is_locking=True)
        if (file.direction, file.state) != ("in", "open"):
            raise ProblemError("CONFLICT", f"the file is {file.state}", subject=f"file:{file.id}")
        if not data:
            raise bad_input(field_error("body", "file_empty"))
        if len(data) > PART_BYTES:
            raise bad_input(field_error("body", "file_part_size", expected=PART_BYTES))
        is_new = await FileStore(self._unit.session, self._unit.services.sealer).put(file, number, data)
        return PartKept(number=number, size=len(data), is_new=is_new)

    async def complete(self, file_id: str) -> Completed:
        """All parts are there: take the file in, unless the same bytes were taken in before; asked again, only tell.

        Raises INPUT_INVALID for gaps, odd sizes or other titles than the profile's.
        """
        file, batch = await self.file(file_id, is_locking=True)
        if (file.direction, file.state) != ("in", "open"):
            begun = await self._repository.job_of(file.id)
            return Completed(file=file_view(file), job=None if begun is None else job_view(begun))
        store = FileStore(self._unit.session, self._unit.services.sealer)
        await store.check_sizes(file.id)
        await store.measure(file)
        twin = await self._repository.twin(file)
        if twin is not None:
            file.state, file.known = "repeated", file.lines
            file.problem = f"the same file was taken in as {twin.id}; nothing changed"
            await self._audit("production.repeated", batch, {"file": file.id, "twin": twin.id})
            return Completed(file=file_view(file), job=None)
        await self._demand(batch, *self._may_receive(file.stage))
        layout = self._profile(file.profile).incoming
        if not layout.is_header(await read_header(self._unit, file)):
            raise bad_input(field_error("path.file_id", "file_titles", expected=layout.encoding.upper()))
        file.state = "whole"
        counts = await self._repository.outcomes(batch.id)
        has_taken = any(counts.get((file.stage, outcome)) for outcome in ("ok", "failed"))
        kind = ROSTER if file.stage == ROSTER else "return"
        job = await self._start(batch, kind, file.stage, file, file.lines, compares=has_taken and kind == "return")
        return Completed(file=file_view(file), job=job)

    async def files(self, batch_id: str) -> list[FileView]:
        batch = await self.batch(batch_id, is_locking=False)
        return [file_view(row) for row in await self._repository.files(batch.id)]

    async def part(self, file_id: str, number: int) -> bytes:
        """Bytes of a whole outgoing file; who fetched them is on record."""
        file, batch = await self.file(file_id)
        if (file.direction, file.state) != ("out", "whole"):
            raise ProblemError("CONFLICT", "only a file that is whole is given out", subject=f"file:{file.id}")
        await self._audit("production.fetch", batch, {"file": file.id, "part": number})
        return await FileStore(self._unit.session, self._unit.services.sealer).part(file.id, number)

    async def rejects(self, file_id: str, page: PageRequest) -> Page[RejectView]:
        file, _ = await self.file(file_id)
        query = self._repository.rejects_listed(file.id)
        columns = [RejectRow.line_number, RejectRow.ordinal]
        return await page_of(self._unit.session, query, columns, page, reject_view)

    # -- work ---------------------------------------------------------------------------------------------------------

    async def jobs(self, batch_id: str) -> list[JobView]:
        batch = await self.batch(batch_id, is_locking=False)
        return [job_view(row) for row in await self._repository.jobs(batch.id)]

    async def resume(self, job_id: str) -> JobView:
        """Go on with stuck work from its cursor; other work is only told."""
        row = await self._repository.claim(job_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such work")
        batch = await self.batch(row.batch_id, of="work")
        if row.state != "stuck":
            return job_view(row)
        row.state, row.failure, row.detail, row.updated_at = "running", None, "", self._unit.now
        await self._audit("production.resume", batch, {"job": row.id})
        return job_view(row)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def batch(
        self, batch_id: str, *, version: int | None = None, is_locking: bool = True, of: str = "batch"
    ) -> BatchRow:
        """Raises NOT_FOUND, CONFLICT when it is not the version the caller saw."""
        row = await self._repository.batch(batch_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", f"no such {of}", subject=f"batch:{batch_id}")
        if version is not None and row.version != version:
            raise ProblemError(
                "CONFLICT",
                f"{row.updated_by} made it {row.state} (version {row.version})",
                subject=f"batch:{row.id}",
            )
        return row

    async def file(self, file_id: str, *, is_locking: bool = False) -> tuple[FileRow, BatchRow]:
        row = await self._repository.file(file_id, is_locking=is_locking)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such file", subject=f"file:{file_id}")
        return row, await self.batch(row.batch_id, is_locking=False, of="file")

    async def _add(self, row: BatchRow) -> None:
        prefix = f"{row.region}{self._unit.now.astimezone(CHINA):%y%m%d}"
        for _ in range(_ID_TRIES):
            row.id = f"{prefix}{await self._repository.batches_of_day(prefix) + 1:04d}"
            if len(row.id) == 16 and await add_unless_taken(self._unit.session, row):
                return
        raise ProblemError("CONFLICT", "batches of this region are being made at this moment")

    async def _start(
        self, batch: BatchRow, kind: str, stage: str, file: FileRow, total: int, *, compares: bool = False
    ) -> JobView:
        self._unit.session.add(file)
        await self._unit.session.flush()
        job: JobRow = await jobs.start(self._unit, batch, kind, stage, file, total, compares=compares)
        self._touch(batch)
        await self._audit("production.start", batch, {"kind": kind, "stage": stage, "file": file.id})
        return job_view(job)

    async def _demand(self, batch: BatchRow, *states: BatchState) -> None:
        """The batch is in one of `states` and nobody works on it."""
        subject = f"batch:{batch.id}"
        if batch.state not in states:
            raise ProblemError("BATCH_STATE", f"the batch is {batch.state}", subject=subject)
        busy = await self._repository.running(batch.id)
        if busy is not None:
            raise ProblemError("BATCH_STATE", f"{busy.kind} {busy.stage} is {busy.state}", subject=subject)

    def _may_send(self, batch: BatchRow, stage: Stage) -> tuple[BatchState, ...]:
        if stage not in stages_of(batch.has_certificates):
            return ()
        previous = before(stage, has_certificates=batch.has_certificates)
        return (BatchState.CREATED if previous is None else returned(previous),)

    def _may_receive(self, stage: str) -> tuple[BatchState, ...]:
        if stage == ROSTER:
            return (BatchState.CREATED,)
        return (sent(Stage(stage)), returned(Stage(stage)))

    def _profile(self, profile_id: str) -> Profile:
        profile = load_profiles(self._unit.services.settings.formats_path).get(profile_id)
        if profile is None:
            raise ProblemError("NOT_FOUND", f"no file profile {profile_id}")
        return profile

    def _touch(self, batch: BatchRow) -> None:
        batch.version += 1
        batch.updated_by, batch.updated_at = self._unit.by, self._unit.now

    async def _audit(self, act: str, batch: BatchRow, detail: Mapping[str, Any]) -> None:
        await self._unit.audit(act, f"batch:{batch.id}", region=batch.region, detail=dict(detail))
