"""Files of a batch: brought in parts by the page's script, fetched whole, refused lines, and the work as it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse, Response, StreamingResponse

from cardlib.wire import HexId
from issuance.console.batches import BatchPath, Reading, Running
from issuance.console.lists import following, rows_of
from issuance.console.live import live
from issuance.console.page import Page
from issuance.paging import PageQuery
from issuance.problems import ProblemError
from issuance.production.files import MAX_PARTS
from issuance.production.schemas import JobView, NewFile
from issuance.production.service import BatchService

router = APIRouter(prefix="/batches")
FilePath = Annotated[HexId, Path()]
PartNumber = Annotated[int, Path(ge=0, le=MAX_PARTS - 1)]
Incoming = Literal["roster", "bank", "ca", "factory", "keys"]
TICK_S: Final = 0.7
TICKS: Final = 60
"""A stream ends by itself, and the browser opens the next: none outlives its clerk's session for long."""


# -- in ---------------------------------------------------------------------------------------------------------------


@router.post("/{batch_id}/files/{stage}", status_code=HTTPStatus.CREATED)
async def open_file(batch_id: BatchPath, stage: Incoming, new: NewFile, page: Running) -> Response:
    """Answers id and size of the parts; the script has taken out of the name what a file's may not have."""
    async with page.desk.unit() as unit:
        file = await BatchService(unit).open_file(batch_id, stage, new)
    return JSONResponse({"id": file.id, "part_bytes": file.part_bytes}, HTTPStatus.CREATED)


@router.put("/files/{file_id}/parts/{number}", status_code=HTTPStatus.NO_CONTENT)
async def put_part(file_id: FilePath, number: PartNumber, page: Running) -> None:
    data = await page.request.body()
    async with page.desk.unit() as unit:
        await BatchService(unit).put_part(file_id, number, data)


@router.post("/files/{file_id}/complete")
async def complete(file_id: FilePath, page: Running) -> Response:
    async with page.desk.unit() as unit:
        done = await BatchService(unit).complete(file_id)
    said = "batch.said_file" if done.job else "batch.said_repeated"
    return JSONResponse({"next": page.go(f"/batches/{done.file.batch_id}", said=said).headers["location"]})


# -- out --------------------------------------------------------------------------------------------------------------


@router.get("/files/{file_id}")
async def fetch(file_id: FilePath, page: Running) -> Response:
    """Part by part; who fetched each is on record."""
    async with page.desk.unit(is_reading=True) as unit:
        file, _ = await BatchService(unit).file(file_id)
        name, parts, size = file.name, file.parts, file.size
        if (file.direction, file.state) != ("out", "whole"):
            raise ProblemError("CONFLICT", "only a file that is whole is given out", subject=f"file:{file.id}")

    async def body() -> AsyncIterator[bytes]:
        for number in range(parts):
            async with page.desk.unit() as unit:
                data = await BatchService(unit).part(file_id, number)
            yield data

    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
    return StreamingResponse(body(), media_type="application/octet-stream", headers=headers)


@router.get("/files/{file_id}/rejects")
async def rejects(file_id: FilePath, page: Reading, asked: PageQuery) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        service = BatchService(unit)
        file, batch = await service.file(file_id)
        found = await service.rejects(file_id, rows_of(asked, 50))
    path = f"/batches/files/{file_id}/rejects"
    return page.show(
        "batch_rejects.html",
        file=file,
        batch=batch,
        rows=found.items,
        following=following(path, found.next_cursor),
    )


# -- work -------------------------------------------------------------------------------------------------------------


@router.get("/{batch_id}/events")
async def events(batch_id: BatchPath, page: Reading) -> Response:
    """Server-sent events: the running work, until there is none; then `end`."""
    async with page.desk.unit(is_reading=True) as unit:
        await BatchService(unit).batch(batch_id, is_locking=False)
    return live(page.request, _events(page, batch_id))


async def _events(page: Page, batch_id: str) -> AsyncIterator[str]:
    for _ in range(TICKS):
        async with page.desk.unit(is_reading=True) as unit:
            jobs = await BatchService(unit).jobs(batch_id)
        running = [job for job in jobs if job.state == "running"]
        if not running:
            yield "event: end\ndata: {}\n\n"
            return
        yield f"data: {json.dumps([_told(job) for job in running])}\n\n"
        await asyncio.sleep(TICK_S)


def _told(job: JobView) -> dict[str, object]:
    return {"id": job.id, "done": job.done, "total": job.total, "rate": round(job.lines_per_s), "eta_s": job.eta_s}
