"""Routes of the pairings: a page asks, a person answers at `/pair`, and may take it back."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import Field

from terminal_agent.caller import PROGRAM
from terminal_agent.endpoints import _agent, _problems
from terminal_agent.lease_endpoints import PlainName
from terminal_agent.pairing import Pairing
from terminal_agent.schemas import Body, _example
from terminal_agent.waiting import unless_gone

router = APIRouter(responses=_problems("default"))


class PairingRequest(Body):
    """`name` is how the page calls itself; the person sees it beside the origin. `wait_s`: time for the answer."""

    model_config = _example(name="临江市政务服务 / City services", wait_s=60)

    name: PlainName
    wait_s: float = Field(default=60, ge=1, le=120)


class PairingAnswer(Body):
    """`token` goes in `Authorization: Bearer`; null where this caller needs none."""

    model_config = _example(token="b1Yw0c5l3uQ2mS0o9mB1kKq8r2a7T6v5x4Z3y2W1V0U", origin="https://hall.example")  # noqa: S106

    token: str | None
    origin: str | None


class PairingView(Body):
    """One page that may call since a person agreed."""

    model_config = _example(
        id="5f0c2b7e9a1d", origin="https://hall.example", name="临江市政务服务", created="2026-11-22T05:00:00Z"
    )

    id: str
    origin: str
    name: str
    created: datetime

    @classmethod
    def of(cls, pairing: Pairing) -> PairingView:
        return cls(**pairing.model_dump(exclude={"token_hash"}))


@router.post(
    "/v1/pairings",
    status_code=201,
    summary="Ask the person at this terminal to pair the calling page; waits for the answer",
    responses=_problems(403, 422, 429),
    tags=["pairings"],
)
async def pair(request: Request, body: PairingRequest) -> PairingAnswer:
    agent, origin = _agent(request), PROGRAM.get()
    if not agent.origins.needs_pairing(origin):
        return PairingAnswer(token=None, origin=origin or None)
    token = await unless_gone(request, agent.pairings.ask(origin, body.name, body.wait_s))
    return PairingAnswer(token=token, origin=origin)


@router.get("/v1/pairings", summary="All pairings; not for pages of others", tags=["pairings"])
async def pairings(request: Request) -> list[PairingView]:
    return [PairingView.of(pairing) for pairing in _agent(request).pairings.all()]


@router.delete(
    "/v1/pairings/{pairing_id}",
    summary="Take a pairing back: its token is refused from now on; not for pages of others",
    responses=_problems(404),
    tags=["pairings"],
)
async def revoke(request: Request, pairing_id: str) -> PairingView:
    return PairingView.of(_agent(request).revoke(pairing_id))
