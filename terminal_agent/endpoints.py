"""Routes of the local API. The guard has already decided who may call them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from terminal_agent.agent import Agent
from terminal_agent.caller import LEASE, LINK, PROGRAM, Link
from terminal_agent.device_schemas import DeviceView, IdCardRequest, IdCardView, ScanRequest, ScanView
from terminal_agent.id_cards import id_card_view
from terminal_agent.log_in import LogInAnswer, LogInRequest, log_in
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
from terminal_agent.settlement_schemas import SettlementsView
from terminal_agent.waiting import watched

HEARTBEAT_S = 15
_DEFAULT_READ = ReadRequest()
_DEFAULT_ID_CARD = IdCardRequest()
_DEFAULT_SCAN = ScanRequest()
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
    registry = _agent(request).registry
    return [ReaderView.of(reader, registry) for reader in registry.all()]


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
    "/v1/log-ins",
    summary="Sign a log-in with the card's certificate after its PIN, which the holder types at the terminal",
    responses=_problems(404, 409, 422, 502, 504),
    tags=["cards"],
)
async def card_log_in(request: Request, body: LogInRequest) -> LogInAnswer:
    """The guard has checked the origin, which becomes part of what is signed."""
    driver, link = _agent(request).driver, Link()
    LINK.set(link)
    asked = log_in(driver, body, request.headers.get("origin", ""))
    return await watched(request, asked, partial(driver.gone, link))


@router.get("/v1/devices", summary="All configured devices with state and health", tags=["devices"])
async def devices(request: Request) -> list[DeviceView]:
    agent = _agent(request)
    return [DeviceView.of(device, is_simulated=agent.settings.simulated) for device in agent.device_list()]


@router.post(
    "/v1/id-card/read",
    summary="Read the ID card on the ID-card module, waiting for one",
    responses=_problems(404, 409, 422, 502, 503, 504),
    tags=["devices"],
)
async def id_card(request: Request, body: Annotated[IdCardRequest, Body()] = _DEFAULT_ID_CARD) -> IdCardView:
    return id_card_view(await _agent(request).devices.read_id_card(body.wait_s))


@router.post(
    "/v1/scanner/wait",
    summary="The next code the QR scanner sees, waiting a bounded time",
    responses=_problems(404, 422),
    tags=["devices"],
)
async def scan(request: Request, body: Annotated[ScanRequest, Body()] = _DEFAULT_SCAN) -> ScanView:
    found = await _agent(request).devices.wait_scan(body.timeout_s)
    return ScanView(text=found.text if found else None, at=found.at if found else None)


@router.get(
    "/v1/settlements",
    summary="Medical settlements of this terminal, interrupted ones and what became of them",
    tags=["cards"],
)
async def settlements(request: Request) -> SettlementsView:
    return await _agent(request).driver.settlements.views()


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
    """With X-OneCard-Lease, the lease needs no renewal while this stream is open, and ends with it.

    `Last-Event-ID` replays what was missed; `resync` says that too much was, and the state must be read anew."""

    agent, lease, page = _agent(request), LEASE.get(), PROGRAM.get()
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if lease:
        agent.leases.find(lease)
    subscription = agent.hub.subscribe(last_event_id)

    async def stream() -> AsyncIterator[ServerSentEvent]:
        with agent.leases.bound(lease) if lease else nullcontext():
            async for event in subscription:
                if not agent.may_call(page, token):
                    return
                yield ServerSentEvent(data=_json(event.data), event=event.name, id=event.id, retry=RECONNECT_MS)
                if lease and not agent.leases.is_live(lease):
                    return

    return EventSourceResponse(stream(), ping=HEARTBEAT_S, headers={"Cache-Control": "no-store"})
