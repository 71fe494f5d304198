"""Routes about catalog and block list. They answer from what lies here; only a fetch touches the network."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from apps_catalog.question import CatalogAnswers, CatalogQuestion
from terminal_agent.catalog.blocked import BlockView
from terminal_agent.catalog.desk import CatalogDesk
from terminal_agent.catalog.schemas import BlockQuestion, CatalogState
from terminal_agent.endpoints import _agent, _problems

router = APIRouter(tags=["catalog"], responses=_problems("default"))


def _desk(request: Request) -> CatalogDesk:
    return _agent(request).catalog


def _answer(content: dict[str, Any]) -> Response:
    return Response(
        json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), media_type="application/json"
    )


async def _state(request: Request) -> CatalogState:
    desk = _desk(request)
    return CatalogState.of(desk, await desk.catalog())


@router.get(
    "/v1/catalog",
    summary="What a card can do in a region, as the central service answers it",
    responses=_problems(400, 422),
    response_class=Response,
)
async def what_can(
    request: Request,
    region: Annotated[str, Query(pattern="^[0-9]{6}$", description="Where the card is to be used")],
    holder_region: Annotated[str | None, Query(pattern="^[0-9]{6}$", description="Where it was issued")] = None,
    domain: Annotated[str | None, Query(max_length=64)] = None,
    carrier: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    catalog = await _desk(request).catalog()
    items = catalog.what_can(region, holder_region=holder_region, domain=domain, carrier=carrier)
    return _answer(catalog.to_json(items))


@router.get("/v1/catalog/state", summary="How old catalog and block list are, and what is wrong with them")
async def state(request: Request) -> CatalogState:
    return await _state(request)


@router.post(
    "/v1/catalog/what",
    summary="What can I do with my card there: yes, depends or no for every item, with the reasons",
    responses=_problems(400, 422),
    response_model=CatalogAnswers,
)
async def what(request: Request, body: CatalogQuestion) -> Response:
    return _answer(body.answer(await _desk(request).catalog()))


@router.post(
    "/v1/catalog/fetch",
    summary="Ask the publisher now instead of at the next turn; how things stand then",
    responses=_problems(504),
)
async def fetch(request: Request) -> CatalogState:
    await _desk(request).fetch_now()
    return await _state(request)


@router.post(
    "/v1/block-list/look",
    summary="Whether a card is reported lost or cancelled, and what this kind of terminal does then",
    responses=_problems(422),
)
async def look(request: Request, body: BlockQuestion) -> BlockView:
    return _desk(request).look(body.kind, body.number, offline=body.offline)
