"""`/v1/catalog`: open to everyone, cacheable."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.responses import JSONResponse

from apps_catalog.question import CatalogAnswers, CatalogQuestion
from issuance.unit import services_of

router = APIRouter(prefix="/v1/catalog", tags=["catalog"])
_MAX_AGE_S = 300
_EXAMPLE = {"version": "2026.01", "items": [{"id": "medical.settle", "region": "110000"}]}


@router.get(
    "",
    summary="What a card can do in a region",
    responses={
        200: {"content": {"application/json": {"example": _EXAMPLE}}},
        304: {"description": "The caller's copy is current"},
    },
)
async def what_can(
    request: Request,
    region: Annotated[str, Query(pattern="^[0-9]{6}$", description="Where the card is to be used")],
    holder_region: Annotated[str | None, Query(pattern="^[0-9]{6}$", description="Where it was issued")] = None,
    domain: Annotated[str | None, Query(max_length=64)] = None,
    carrier: Annotated[str | None, Query(max_length=64)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    catalog = await services_of(request).catalogs.current()
    items = catalog.what_can(region, holder_region=holder_region, domain=domain, carrier=carrier)
    body = json.dumps(catalog.to_json(items), ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": f"public, max-age={_MAX_AGE_S}"}
    known = {entry.strip().removeprefix("W/") for entry in (if_none_match or "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post(
    "/what",
    summary="What a holder like this can do with the card there, every item with its reasons; nothing is kept",
    response_model=CatalogAnswers,
)
async def what(question: CatalogQuestion, request: Request) -> JSONResponse:
    catalog = await services_of(request).catalogs.current(question.on)
    return JSONResponse(question.answer(catalog))
