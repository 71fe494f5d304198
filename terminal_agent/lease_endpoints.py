"""Routes of the leases: one program drives a reader, others wait in line."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints

from terminal_agent.caller import LEASE, PROGRAM
from terminal_agent.endpoints import _agent, _problems
from terminal_agent.leases import RENEW_S, Lease
from terminal_agent.schemas import _READER, Body, _example
from terminal_agent.waiting import unless_gone

router = APIRouter(responses=_problems("default"))
PATH = "/v1/readers/{name:path}/lease"


PlainName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=40,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$",
    ),
]


class LeaseRequest(Body):
    """`owner` is shown to everybody; `wait_s` how long to stand in line; `max_s` when it ends at the latest."""

    model_config = _example(owner="窗口 3 / counter 3", wait_s=30, max_s=300)

    owner: PlainName
    wait_s: float = Field(default=0, ge=0, le=120)
    max_s: float = Field(default=300, ge=1, le=3600)


class LeaseAnswer(Body):
    """`lease` is a secret: it goes in the header X-OneCard-Lease of each call, never into an address.

    Unless a connection is bound to it (events with the same header), it is renewed within `renew_within_s`.
    """

    model_config = _example(
        lease="b1Yw0c5l3uQ2mS0o9mB1kKq8r2a7T6v5x4Z3y2W1V0U",
        reader=_READER,
        owner="窗口 3 / counter 3",
        since="2026-11-22T05:00:00Z",
        renew_within_s=10,
        seconds_left=300,
    )

    lease: str
    reader: str
    owner: str
    since: str
    renew_within_s: float
    seconds_left: int

    @classmethod
    def of(cls, lease: Lease) -> LeaseAnswer:
        return cls(
            lease=lease.secret,
            reader=lease.reader.name,
            owner=lease.holder.owner,
            since=lease.holder.public()["since"],
            renew_within_s=RENEW_S,
            seconds_left=lease.seconds_left,
        )


@router.post(
    PATH,
    status_code=201,
    summary="Lease a reader, standing in line for it if need be",
    responses=_problems(404, 422, 423),
    tags=["leases"],
)
async def lease(request: Request, name: str, body: LeaseRequest) -> LeaseAnswer:
    """One who leaves the line by closing the connection loses the place."""
    asked = _agent(request).leases.acquire(name, body.owner, PROGRAM.get(), wait_s=body.wait_s, max_s=body.max_s)
    return LeaseAnswer.of(await unless_gone(request, asked))


@router.put(
    PATH,
    summary="Renew the lease whose secret is in X-OneCard-Lease",
    responses=_problems(409),
    tags=["leases"],
)
async def renew(request: Request, name: str) -> LeaseAnswer:
    return LeaseAnswer.of(_agent(request).leases.renew(name, LEASE.get()))


@router.delete(
    PATH,
    status_code=204,
    summary="Give the lease back whose secret is in X-OneCard-Lease",
    responses=_problems(409),
    tags=["leases"],
)
async def release(request: Request, name: str) -> Response:
    _agent(request).leases.release(name, LEASE.get())
    return Response(status_code=204)
