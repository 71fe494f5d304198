"""`/v1/production/…`: batches, files, work, and the cards that come of them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response, status

from cardlib.wire import HexId
from issuance.idempotency import RequiredKey, once
from issuance.paging import Page, PageQuery
from issuance.production.files import MAX_PARTS
from issuance.production.handling import HandlingService
from issuance.production.schemas import (
    Applications,
    BatchId,
    BatchRequest,
    BatchSummary,
    BatchView,
    Collected,
    Collection,
    Completed,
    FileView,
    HandedOut,
    HandOut,
    JobView,
    LineView,
    NewFile,
    Order,
    PartKept,
    RejectView,
    Released,
    StageName,
)
from issuance.production.service import BatchService
from issuance.production.states import BatchState, LineState, Stage
from issuance.stock.schemas import CardNumber
from issuance.unit import AttendedUnit, OperatorUnit, RecordedOperatorUnit

router = APIRouter(prefix="/v1/production", tags=["production"])
BatchPath = Annotated[BatchId, Path()]
FilePath = Annotated[HexId, Path()]
PartNumber = Annotated[int, Path(ge=0, le=MAX_PARTS - 1)]
_BYTES: Final[dict[str, Any]] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "…"}
}


@router.post("/batches", status_code=status.HTTP_201_CREATED, summary="Make a batch")
async def create_batch(request: BatchRequest, unit: OperatorUnit, key: RequiredKey, response: Response) -> BatchView:
    async def make() -> BatchView:
        return await BatchService(unit).create(request)

    return await once(unit, response, "batches", key, request, BatchView, make)


@router.get("/batches", summary="List batches, newest first")
async def list_batches(
    unit: OperatorUnit, page: PageQuery, state: Annotated[BatchState | None, Query()] = None
) -> Page[BatchSummary]:
    return await BatchService(unit).find(state, page)


@router.get("/batches/{batch_id}", summary="Show a batch with exact counts of every stage")
async def view_batch(batch_id: BatchPath, unit: OperatorUnit) -> BatchView:
    return await BatchService(unit).view(batch_id)


@router.get("/batches/{batch_id}/lines", summary="List the cards of a batch")
async def list_lines(
    batch_id: BatchPath, unit: OperatorUnit, page: PageQuery, state: Annotated[LineState | None, Query()] = None
) -> Page[LineView]:
    return await BatchService(unit).lines(batch_id, state, page)


@router.post("/batches/{batch_id}/applications", summary="Put waiting applications into a batch")
async def add_applications(
    batch_id: BatchPath, order: Applications, unit: OperatorUnit, key: RequiredKey, response: Response
) -> BatchView:
    async def make() -> BatchView:
        return await BatchService(unit).add_applications(batch_id, order)

    return await once(unit, response, f"batch-applications:{batch_id}", key, order, BatchView, make)


@router.post(
    "/batches/{batch_id}/stages/{stage}/send",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Have the file of a stage written",
)
async def send_stage(
    batch_id: BatchPath, stage: StageName, order: Order, unit: OperatorUnit, key: RequiredKey, response: Response
) -> JobView:
    async def make() -> JobView:
        return await BatchService(unit).send(batch_id, Stage(stage), order)

    return await once(unit, response, f"batch-send:{batch_id}:{stage}", key, order, JobView, make)


@router.post(
    "/batches/{batch_id}/files/{stage}",
    status_code=status.HTTP_201_CREATED,
    summary="Begin a roster or a return file",
)
async def open_file(
    batch_id: BatchPath,
    stage: Literal["roster", "bank", "ca", "factory", "keys"],
    request: NewFile,
    unit: OperatorUnit,
    key: RequiredKey,
    response: Response,
) -> FileView:
    async def make() -> FileView:
        return await BatchService(unit).open_file(batch_id, stage, request)

    return await once(unit, response, f"batch-file:{batch_id}:{stage}", key, request, FileView, make)


@router.get("/batches/{batch_id}/files", summary="List the files of a batch")
async def list_files(batch_id: BatchPath, unit: OperatorUnit) -> list[FileView]:
    return await BatchService(unit).files(batch_id)


@router.get("/batches/{batch_id}/jobs", summary="Show the work on a batch with rate and time left")
async def list_jobs(batch_id: BatchPath, unit: OperatorUnit) -> list[JobView]:
    return await BatchService(unit).jobs(batch_id)


@router.post("/jobs/{job_id}/resume", summary="Go on with stuck work")
async def resume_job(job_id: FilePath, unit: OperatorUnit) -> JobView:
    return await BatchService(unit).resume(job_id)


@router.put(
    "/files/{file_id}/parts/{number}",
    summary="Bring one part of a file: 524288 bytes, the last one less",
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
)
async def put_part(file_id: FilePath, number: PartNumber, request: Request, unit: OperatorUnit) -> PartKept:
    return await BatchService(unit).put_part(file_id, number, await request.body())


@router.post(
    "/files/{file_id}/complete",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Take a file in whose parts are all there",
)
async def complete_file(file_id: FilePath, unit: OperatorUnit) -> Completed:
    return await BatchService(unit).complete(file_id)


@router.get(
    "/files/{file_id}/parts/{number}",
    summary="Fetch one part of an outgoing file",
    response_class=Response,
    responses={200: {"content": _BYTES}},
)
async def fetch_part(file_id: FilePath, number: PartNumber, unit: RecordedOperatorUnit) -> Response:
    data = await BatchService(unit).part(file_id, number)
    return Response(data, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


@router.get("/files/{file_id}/rejects", summary="List refused lines with column, reason and remedy")
async def list_rejects(file_id: FilePath, unit: OperatorUnit, page: PageQuery) -> Page[RejectView]:
    return await BatchService(unit).rejects(file_id, page)


@router.post("/batches/{batch_id}/hand-out", summary="Send finished cards to an outlet")
async def hand_out(
    batch_id: BatchPath, order: HandOut, unit: OperatorUnit, key: RequiredKey, response: Response
) -> HandedOut:
    async def make() -> HandedOut:
        return await HandlingService(unit).hand_out(batch_id, order)

    return await once(unit, response, f"hand-out:{batch_id}", key, order, HandedOut, make)


@router.post("/batches/{batch_id}/release", summary="Let applications go whose lines failed or are missing")
async def release(
    batch_id: BatchPath, order: Order, unit: OperatorUnit, key: RequiredKey, response: Response
) -> Released:
    async def make() -> Released:
        return await HandlingService(unit).release(batch_id, order)

    return await once(unit, response, f"release:{batch_id}", key, order, Released, make)


@router.post("/cards/{card_number}/collect", summary="Hand a finished card to its holder and enable it")
async def collect(
    card_number: Annotated[CardNumber, Path()],
    order: Collection,
    unit: AttendedUnit,
    key: RequiredKey,
    response: Response,
) -> Collected:
    async def make() -> Collected:
        return await HandlingService(unit).collect(card_number, order)

    return await once(unit, response, f"collect:{card_number}", key, order, Collected, make)
