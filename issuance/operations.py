"""`/healthz` and `/metrics`."""

from __future__ import annotations

import hmac
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from issuance.clients.auth import act_of, authenticate
from issuance.clients.schemas import Role
from issuance.metrics import CONTENT_TYPE
from issuance.sealing import PERSON_SEAL
from issuance.unit import open_unit, services_of

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "catalog": "2026.01"}]})

    status: Literal["ok"]
    catalog: str


@router.get("/healthz", summary="Whether database, keys and one-time store are there")
async def healthz(request: Request) -> Health:
    services = services_of(request)
    await services.database.ping()
    services.keys.current(PERSON_SEAL.name, PERSON_SEAL.algorithm)
    await services.one_time.ping()
    return Health(status="ok", catalog=(await services.catalogs.current()).version)


@router.get(
    "/metrics",
    summary="Prometheus counters, for the scraper's token or an operator",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": "onecard_issuance_requests_total 1.0"}}}},
)
async def metrics(request: Request) -> Response:
    services = services_of(request)
    token = services.settings.metrics_token
    sent = request.headers.get("Authorization", "")
    if token is None or not hmac.compare_digest(sent.encode(), f"Bearer {token.get_secret_value()}".encode()):
        caller = await authenticate(request, services)
        async with open_unit(services, caller, act_of(request), Role.OPERATOR, is_reading=True):
            pass
    return Response(services.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
