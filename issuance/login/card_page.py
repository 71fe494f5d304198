"""What the log-in page's script asks for a card in this computer's reader; the card itself is the local agent's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response

from issuance.clerks.access import CSRF_HEADER
from issuance.login.browsers import LoginId, demand_own_page, found
from issuance.login.card import CardAnswer, challenge, prove
from issuance.login.transactions import Browser
from issuance.login.unit import login_unit
from issuance.unit import services_of

router = APIRouter()
Token = Annotated[str, Header(alias=CSRF_HEADER)]


@router.post("/{login_id}/card/challenge")
async def ask(request: Request, login_id: LoginId, token: Token = "") -> Response:
    services, secret = services_of(request), Browser.of(request).secret
    demand_own_page(request, secret, token)
    transaction = await found(services, login_id, secret)
    async with login_unit(services) as unit:
        return JSONResponse({"text": await challenge(unit, transaction, secret)})


@router.post("/{login_id}/card")
async def answer(request: Request, login_id: LoginId, body: CardAnswer, token: Token = "") -> Response:
    services, secret = services_of(request), Browser.of(request).secret
    demand_own_page(request, secret, token)
    transaction = await found(services, login_id, secret)
    async with login_unit(services) as unit:
        await prove(unit, transaction, secret, body)
    return Response(status_code=204)
