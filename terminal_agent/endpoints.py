"""Routes of the local API. The guard has already decided who may call them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from terminal_agent.agent import Agent
from terminal_agent.problems import MEDIA_TYPE
from terminal_agent.schemas import (
    AgentInfo,
    BasicInformationView,
    CardSessionRequest,
    Health,
    JobStarted,
    JobView,
    ReaderView,
    ReadRequest,
)

HEARTBEAT_S = 15
_DEFAULT_READ = ReadRequest()
RECONNECT_MS = 1000
PROBLEM_SCHEMA = "#/components/schemas/Problem"


def _problems(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM_SCHEMA}}}}
        for status in statuses
        for text in ["Problem details (RFC 9457)" if isinstance(status, str) else HTTPStatus(status).phrase]
    }


router = APIRouter(responses=_problems("default"))


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _agent(request: Request) -> Agent:
    agent: Agent = request.app.state.agent
    return agent


@router.get("/healthz", summary="Whether the agent runs", tags=["agent"])
async def healthz() -> Health:
    return Health()


@router.get("/v1/info", summary="This terminal: version, numbers, ports, running sessions", tags=["agent"])
async def info(request: Request) -> AgentInfo:
    return await _agent(request).info()


@router.get("/v1/readers", summary="All readers with their state", tags=["readers"])
async def readers(request: Request) -> list[ReaderView]:
    return [ReaderView.of(reader) for reader in _agent(request).registry.all()]


@router.post(
    "/v1/readers/{name:path}/basic-information",
    summary="Read the holder's basic information from the card in a reader",
    responses=_problems(404, 409, 422, 502, 504),
    tags=["cards"],
)
async def basic_information(
    request: Request, name: str, body: Annotated[ReadRequest, Body()] = _DEFAULT_READ
) -> BasicInformationView:
    return await _agent(request).desk.read_basic(name, authenticate=body.authenticate, masked=body.masked)


@router.post(
    "/v1/card-sessions",
    status_code=202,
    summary="Start a remote card session with the centre",
    responses=_problems(404, 409, 422, 503),
    tags=["card sessions"],
)
async def start_session(request: Request, response: Response, body: CardSessionRequest) -> JobStarted:
    job = _agent(request).jobs.start(body)
    response.headers["Location"] = f"/v1/card-sessions/{job.id}"
    return JobStarted(job_id=job.id)


@router.get(
    "/v1/card-sessions/{job_id}",
    summary="How a card session stands",
    responses=_problems(404),
    tags=["card sessions"],
)
async def session(request: Request, job_id: str) -> JobView:
    return JobView.of(_agent(request).jobs.get(job_id))


@router.delete(
    "/v1/card-sessions/{job_id}",
    summary="Stop a card session when the batch on the card has ended; a finished one stays as it is",
    responses=_problems(404),
    tags=["card sessions"],
)
async def cancel_session(request: Request, job_id: str) -> JobView:
    return JobView.of(await _agent(request).jobs.cancel(job_id))


@router.get(
    "/v1/events",
    summary="Readers, cards and session progress as Server-Sent Events",
    response_class=EventSourceResponse,
    tags=["events"],
)
async def events(
    request: Request, last_event_id: Annotated[str | None, Header(max_length=64)] = None
) -> EventSourceResponse:
    """`Last-Event-ID` replays what was missed; `resync` says that too much was, and the state must be read anew."""

    subscription = _agent(request).hub.subscribe(last_event_id)

    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for event in subscription:
            yield ServerSentEvent(data=_json(event.data), event=event.name, id=event.id, retry=RECONNECT_MS)

    return EventSourceResponse(stream(), ping=HEARTBEAT_S, headers={"Cache-Control": "no-store"})
