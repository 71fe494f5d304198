"""Batch production: the list, one batch with its stages and exact counts, its cards, and what is done with it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from sqlalchemy import select
from starlette.responses import Response

from cardlib.identity import mask_name
from cardlib.wire import HexId
from issuance.applications.models import ApplicationRow
from issuance.applications.schemas import ApplicationState
from issuance.clerks.acts import Act
from issuance.console.acting import attempt
from issuance.console.forms import Form, parse
from issuance.console.holders import Holder, holder_of, shown_card
from issuance.console.lists import following, rows_of, tabs
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.stock import place_choices
from issuance.console.words import words
from issuance.paging import PageQuery, PageRequest, fetch_page
from issuance.persons.models import PersonRow
from issuance.production.handling import HandlingService
from issuance.production.profiles import ROSTER, load_profiles
from issuance.production.schemas import (
    Applications,
    BatchId,
    BatchRequest,
    BatchView,
    HandedOut,
    HandOut,
    JobView,
    Order,
    Released,
)
from issuance.production.service import BatchService
from issuance.production.states import BATCH_CODES, BatchState, LineState, Stage, before, returned, sent, stages_of
from issuance.unit import Unit

router = APIRouter(prefix="/batches")
Reading = Annotated[Page, page_for(Act.PRODUCTION_READ)]
Running = Annotated[Page, page_for(Act.PRODUCTION_RUN)]
Releasing = Annotated[Page, page_for(Act.PRODUCTION_RELEASE)]
BatchPath = Annotated[BatchId, Path()]
HANDED: Final = "handed_out"
_STATES = tuple(state.value for state in BatchState)


def progress(batch: BatchView) -> tuple[list[str], int]:
    """Names of the steps of a batch, and which one it is at, from 1."""
    stages = [stage.value for stage in stages_of(batch.has_certificates)]
    names = ["created", *stages, HANDED]
    if batch.state == BatchState.CREATED:
        return names, 1
    if batch.state == BatchState.HANDED_OUT:
        return names, len(names) + 1
    stage, _, word = batch.state.rpartition("_")
    return names, names.index(stage) + (1 if word == "sent" else 2)


def to_send(batch: BatchView) -> str:
    """The stage whose file may be written now, empty for none."""
    for stage in stages_of(batch.has_certificates):
        previous = before(stage, has_certificates=batch.has_certificates)
        if batch.state == (BatchState.CREATED if previous is None else returned(previous)):
            return stage.value
    return ""


def to_receive(batch: BatchView) -> list[str]:
    """Stages that a file may come in for now."""
    if batch.state == BatchState.CREATED:
        return [ROSTER]
    return [stage.value for stage in stages_of(batch.has_certificates) if batch.state in (sent(stage), returned(stage))]


# -- lists ------------------------------------------------------------------------------------------------------------


@router.get("")
async def find(page: Reading, asked: PageQuery, state: str = "") -> Response:
    state = state if state in _STATES else ""
    async with page.desk.unit(is_reading=True) as unit:
        found = await BatchService(unit).find(state or None, rows_of(asked))
    known, place = words(page.language)["batch"], 1 if page.language == "zh" else 2
    choices = [("", known["every_state"]), *((code.value, texts[place]) for code, texts in BATCH_CODES.items())]
    return page.show(
        "batches.html",
        rows=found.items,
        state=state,
        states=choices,
        state_word=lambda code: BATCH_CODES[BatchState(code)][place],
        following=following("/batches", found.next_cursor, state=state),
    )


@router.get("/new")
async def ask_new(page: Running) -> Response:
    return await _new(page)


async def _new(page: Page, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        places = await place_choices(unit)
    name = "name_zh" if page.language == "zh" else "name_en"
    profiles: dict[str, list[tuple[str, str]]] = {}
    for profile in load_profiles(page.desk.services.settings.formats_path).values():
        profiles.setdefault(profile.stage, []).append((profile.id, getattr(profile, name)))
    return page.show(
        "batch_new.html",
        depots=[(place.id, place.name) for place in places if place.kind == "depot"],
        profiles={stage: choices for stage, choices in profiles.items() if len(choices) > 1},
        **context,
    )


@router.post("/new")
async def make(page: Running) -> Response:
    form = await Form.of(page.request)

    def read() -> BatchRequest:
        names = ("region", "generation", "apply_type", "make_type", "mark", "unit_code", "unit_name", "depot_id")
        return parse(BatchRequest, form.nested(*names, "has_certificates", "profiles"))

    async def run(unit: Unit, order: BatchRequest) -> BatchView:
        return await BatchService(unit).create(order)

    done = await attempt(page, form, "batches", read, BatchView, run)
    if isinstance(done, Refusal):
        return await _new(page, form=form, refusal=done)
    return page.go(f"/batches/{done.id}", said="batch.said_new")


# -- one batch --------------------------------------------------------------------------------------------------------


@router.get("/{batch_id}")
async def show(batch_id: BatchPath, page: Reading) -> Response:
    return await show_batch(page, batch_id)


async def show_batch(page: Page, batch_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        service = BatchService(unit)
        batch = await service.view(batch_id)
        files = await service.files(batch_id)
        jobs = await service.jobs(batch_id)
        places = await place_choices(unit) if page.viewer.may(Act.PRODUCTION_RUN) else []
    names, current = progress(batch)
    is_busy = any(job.state in ("running", "stuck") for job in jobs)
    return page.show(
        "batch.html",
        batch=batch,
        files=files,
        jobs=jobs,
        is_working=any(job.state == "running" for job in jobs),
        names=names,
        current=current,
        send_stage="" if is_busy else to_send(batch),
        receive_stages=[] if is_busy else to_receive(batch),
        outlets=[(place.id, place.name) for place in places if place.id != batch.depot_id],
        may_hand_out=batch.state in (BatchState.KEYS_RETURNED, BatchState.HANDED_OUT)
        and bool(batch.by_state.get("finished")),
        **context,
    )


@router.get("/{batch_id}/lines")
async def lines(batch_id: BatchPath, page: Reading, asked: PageQuery, state: str = "") -> Response:
    known = words(page.language)["batch"]
    state = state if state in {one.value for one in LineState} else ""
    async with page.desk.unit(is_reading=True) as unit:
        batch = await BatchService(unit).view(batch_id)
        found = await BatchService(unit).lines(batch_id, state or None, rows_of(asked, 50))
    choices = [("", known["every_line"]), *((code, known[f"line_{code}"]) for code in batch.by_state)]
    path = f"/batches/{batch_id}/lines"
    return page.show(
        "batch_lines.html",
        batch=batch,
        rows=found.items,
        shown_card=shown_card,
        tabs=tabs(path, "state", state, choices),
        counts=batch.by_state,
        following=following(path, found.next_cursor, state=state),
    )


# -- acts on a batch --------------------------------------------------------------------------------------------------


@router.post("/{batch_id}/send/{stage}")
async def send(batch_id: BatchPath, stage: Stage, page: Running) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, order: Order) -> JobView:
        return await BatchService(unit).send(batch_id, stage, order)

    done = await attempt(
        page, form, f"batch-send:{batch_id}:{stage}", lambda: parse(Order, form.nested("version")), JobView, run
    )
    if isinstance(done, Refusal):
        return await show_batch(page, batch_id, form=form, refusal=done)
    return page.go(f"/batches/{batch_id}", said="batch.said_send")


@router.post("/{batch_id}/hand-out")
async def hand_out(batch_id: BatchPath, page: Running) -> Response:
    form = await Form.of(page.request)

    def read() -> HandOut:
        boxes = form.get("boxes").replace(",", " ").replace("，", " ").split()
        return parse(HandOut, form.nested("version", "place_id") | {"boxes": boxes})

    async def run(unit: Unit, order: HandOut) -> HandedOut:
        return await HandlingService(unit).hand_out(batch_id, order)

    done = await attempt(page, form, f"hand-out:{batch_id}", read, HandedOut, run)
    if isinstance(done, Refusal):
        return await show_batch(page, batch_id, form=form, refusal=done)
    return page.go(f"/stock/transfers/{done.transfer_id}", said="batch.said_handed")


@router.post("/{batch_id}/release")
async def release(batch_id: BatchPath, page: Releasing) -> Response:
    form = await Form.of(page.request)

    async def run(unit: Unit, order: Order) -> Released:
        return await HandlingService(unit).release(batch_id, order)

    done = await attempt(page, form, f"release:{batch_id}", lambda: parse(Order, form.nested("version")), Released, run)
    if isinstance(done, Refusal):
        return await show_batch(page, batch_id, form=form, refusal=done)
    return page.go(f"/batches/{batch_id}", said="batch.said_released")


@router.post("/jobs/{job_id}/resume")
async def resume(job_id: HexId, page: Running) -> Response:
    async with page.desk.unit() as unit:
        job = await BatchService(unit).resume(job_id)
    return page.go(f"/batches/{job.batch_id}", said="batch.said_resumed")


# -- applications into a batch ----------------------------------------------------------------------------------------


@router.get("/{batch_id}/applications")
async def ask_applications(batch_id: BatchPath, page: Running, asked: PageQuery) -> Response:
    return await _applications(page, batch_id, asked)


async def _applications(page: Page, batch_id: str, asked: PageRequest, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        batch = await BatchService(unit).view(batch_id)
        query = select(ApplicationRow).where(
            ApplicationRow.state == ApplicationState.CHECKED,
            ApplicationRow.region == batch.region,
            ApplicationRow.generation == batch.generation,
        )
        columns = [ApplicationRow.created_at, ApplicationRow.id]
        found, cursor = await fetch_page(unit.session, query, columns, rows_of(asked, 50))
        rows = await _with_holders(unit, found)
    path = f"/batches/{batch_id}/applications"
    follows = following(path, cursor)
    return page.show(
        "batch_applications.html", batch=batch, rows=rows, following=follows, mask_name=mask_name, **context
    )


async def _with_holders(unit: Unit, found: list[ApplicationRow]) -> list[tuple[ApplicationRow, Holder]]:
    persons = [row.person_id for row in found]
    await unit.session.scalars(select(PersonRow).where(PersonRow.id.in_(persons)))  # into the session, for holder_of
    return [(row, await holder_of(unit, row.person_id)) for row in found]


@router.post("/{batch_id}/applications")
async def add_applications(batch_id: BatchPath, page: Running) -> Response:
    form = await Form.of(page.request)
    chosen = [name.removeprefix("take_") for name in form.values if name.startswith("take_")]

    async def run(unit: Unit, order: Applications) -> BatchView:
        return await BatchService(unit).add_applications(batch_id, order)

    def read() -> Applications:
        return parse(Applications, form.nested("version") | {"applications": chosen})

    done = await attempt(page, form, f"batch-applications:{batch_id}", read, BatchView, run)
    if isinstance(done, Refusal):
        return await _applications(page, batch_id, PageRequest(), form=form, refusal=done)
    return page.go(f"/batches/{batch_id}", said="batch.said_added")
