"""`/.well-known/openid-configuration` and `/oidc/…`: errors have the names of the RFCs, and are never problem details.

They describe themselves by the discovery document and are not in the OpenAPI description.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse, Response

from cardlib.failures import FailureCode
from issuance.direct import PlainRoute
from issuance.login import discovery
from issuance.login.answers import DEVICE_DONE as DEVICE_DONE_PATH
from issuance.login.answers import response_url
from issuance.login.backchannel import ask_holder, read_asking
from issuance.login.devices import DEVICE_PATH, authorize_device, opened
from issuance.login.grants import BackchannelGrant, CodeGrant, DeviceGrant, RefreshGrant, spend_codes
from issuance.login.held import end_session, introspect, take_back, user_info
from issuance.login.live import grants_with_persons
from issuance.login.notices import (
    BUSY,
    DEVICE_ASKS,
    DEVICE_DONE,
    DEVICE_UNKNOWN,
    LOGGED_OUT,
    LOGOUT_WRONG,
    REQUEST_WRONG,
    notice_page,
)
from issuance.login.requests import push, read_request
from issuance.login.server import Answer, Asked, LoginServer, answer_of, serve
from issuance.login.signing import TokenError
from issuance.login.tokens import ACCESS_TYPE
from issuance.login.transactions import Browser, begin, open_transaction
from issuance.login.unit import LoginUnit, login_unit
from issuance.login.ways import ways_for
from issuance.middleware import log_unexpected
from issuance.problems import ProblemError, code_of
from issuance.services import Services
from issuance.unit import services_of

router = APIRouter(include_in_schema=False)
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 64
_OPEN: Final = {"Access-Control-Allow-Origin": "*"}
"""Pages of relying parties without a server ask from elsewhere; no cookie counts at these endpoints."""
_PREFLIGHT: Final = _OPEN | {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "3600",
}
_STATUS: Final = {"server_error": HTTPStatus.INTERNAL_SERVER_ERROR, "access_denied": HTTPStatus.FORBIDDEN}
_KEYS_KEPT: Final = {"Cache-Control": "public, max-age=300"} | _OPEN


# -- who this is ------------------------------------------------------------------------------------------------------


@router.get("/.well-known/openid-configuration")
@router.get("/.well-known/oauth-authorization-server")
async def configuration(request: Request) -> Response:
    services = services_of(request)
    acr_values = [way.acr for way in ways_for(services, ())]
    return JSONResponse(discovery.document(services.settings.login_issuer, acr_values), headers=_KEYS_KEPT)


@router.get(discovery.KEYS)
async def public_keys(request: Request) -> Response:
    return await _keys(request, "ES256", "RS256")


@router.get(discovery.SM2_KEYS)
async def public_sm2_keys(request: Request) -> Response:
    return await _keys(request, "SM2-SM3")


async def _keys(request: Request, *algorithms: str) -> Response:
    keys = await asyncio.to_thread(services_of(request).login_keys.public_keys, algorithms)
    return JSONResponse(keys, headers=_KEYS_KEPT)


@router.options(discovery.TOKEN)
@router.options(discovery.USER_INFO)
@router.options(discovery.REVOKE)
async def preflight() -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)


# -- browsers ---------------------------------------------------------------------------------------------------------


@router.get(discovery.AUTHORIZE)
@router.post(discovery.AUTHORIZE)
async def authorize(request: Request) -> Response:
    """To the log-in page. A request whose address is not proved to be the relying party's goes nowhere."""
    return await _shown(request, partial(_authorize, request))


async def _authorize(request: Request) -> Response:
    services = services_of(request)
    try:
        parameters = await _parameters(request)
    except OAuth2Error as error:
        return _refused(services, error)
    asked = Asked(services.settings.login_issuer, parameters, method=request.method)
    return await services.login_units.run(services, partial(_opened, request, asked))


async def _opened(request: Request, asked: Asked, unit: LoginUnit) -> Response:
    try:
        wanted = await unit.session.run_sync(lambda session: read_request(LoginServer(unit, session), asked))
    except OAuth2Error as error:
        return _refused(unit.services, error)
    try:
        return begin(await open_transaction(unit, wanted, Browser.of(request)), request)
    except ProblemError as error:
        parameters = {"error": _name_of(error), "state": wanted.state}
        return RedirectResponse(response_url(unit.services, wanted.redirect_uri, parameters), HTTPStatus.SEE_OTHER)


@router.get(discovery.LOGOUT)
@router.post(discovery.LOGOUT)
async def logout(request: Request) -> Response:
    return await _shown(request, partial(_logout, request))


async def _logout(request: Request) -> Response:
    async with login_unit(services_of(request)) as unit:
        try:
            given = await _parameters(request)
            address = await unit.session.run_sync(lambda session: end_session(LoginServer(unit, session), given))
        except OAuth2Error as error:
            return notice_page(LOGOUT_WRONG, HTTPStatus.BAD_REQUEST, detail=_line(error))
    if address is None:
        return notice_page(LOGGED_OUT)
    state = [("state", given["state"])] if given.get("state") else []
    return RedirectResponse(add_params_to_uri(address, state), HTTPStatus.SEE_OTHER)


@router.get(DEVICE_PATH)
async def device_page(request: Request) -> Response:
    return notice_page(DEVICE_ASKS, asks_code=True, user_code=request.query_params.get("user_code", "")[:16])


@router.post(DEVICE_PATH)
async def open_device(request: Request) -> Response:
    return await _shown(request, partial(_open_device, request))


async def _open_device(request: Request) -> Response:
    async with login_unit(services_of(request)) as unit:
        browser = Browser.of(request)
        try:
            unit.services.login_limits.demand_begin(DEVICE_PATH, browser.address, unit.now)
            wanted = await opened(unit, (await _parameters(request)).get("user_code", ""))
            if wanted is None:
                return notice_page(DEVICE_UNKNOWN, HTTPStatus.BAD_REQUEST, asks_code=True)
            return begin(await open_transaction(unit, wanted, browser), request)
        except OAuth2Error as error:
            return notice_page(DEVICE_UNKNOWN, HTTPStatus.BAD_REQUEST, detail=_line(error), asks_code=True)


@router.get(DEVICE_DONE_PATH)
async def device_done() -> Response:
    return notice_page(DEVICE_DONE)


# -- relying parties --------------------------------------------------------------------------------------------------


@router.post(discovery.TOKEN)
async def token(request: Request) -> Response:
    return await _protocol(request, _tokens)


@router.post(discovery.PAR)
async def pushed(request: Request) -> Response:
    return await _protocol(request, push)


@router.post(discovery.DEVICE_AUTHORIZATION)
async def device_authorization(request: Request) -> Response:
    return await _protocol(request, authorize_device)


@router.post(discovery.BACKCHANNEL)
async def backchannel(request: Request) -> Response:
    """CIBA: have the holder asked. A refusal is stored too: the assertion that came with it is spent."""

    async def answer() -> Response:
        async with login_unit(services_of(request)) as unit:
            try:
                asked = await _asked(unit.services, request)
                asking = await unit.session.run_sync(lambda session: read_asking(LoginServer(unit, session), asked))
                body = await ask_holder(unit, asking, Browser.of(request).address)
            except OAuth2Error as error:
                return _json(_answer_of(error))
            except ProblemError as error:
                return _failed(error)
        return JSONResponse(body, headers=_OPEN | {"Cache-Control": "no-store"})

    return await _guarded(request, answer)


@router.post(discovery.INTROSPECT)
async def introspection(request: Request) -> Response:
    return await _protocol(request, introspect)


@router.post(discovery.REVOKE)
async def revocation(request: Request) -> Response:
    return await _protocol(request, take_back)


@router.get(discovery.USER_INFO)
@router.post(discovery.USER_INFO)
async def userinfo(request: Request) -> Response:
    """Bearer tokens in the header only (RFC 9700, 4.3.2)."""

    async def answer() -> Response:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not bearer:
            return Response(status_code=HTTPStatus.UNAUTHORIZED, headers=_OPEN | {"WWW-Authenticate": "Bearer"})
        services = services_of(request)
        try:
            claims = services.login_keys.decode(bearer, ACCESS_TYPE)
        except TokenError:
            return _token_refused()
        told = partial(_told, claims)
        return await services.login_units.run(services, told, ahead=grants_with_persons, key=str(claims["sid"]))

    return await _guarded(request, answer)


async def _told(claims: dict[str, Any], unit: LoginUnit) -> Response:
    try:
        return JSONResponse(await user_info(unit, claims), headers=_OPEN)
    except TokenError:
        return _token_refused()


def _token_refused() -> Response:
    headers = _OPEN | {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return JSONResponse({"error": "invalid_token"}, HTTPStatus.UNAUTHORIZED, headers)


def _tokens(server: LoginServer, asked: Asked) -> Answer:
    for grant in (CodeGrant, RefreshGrant, DeviceGrant, BackchannelGrant):
        server.register_grant(grant)
    answer: Answer = server.create_token_response(asked)
    return answer


# -- the wire ---------------------------------------------------------------------------------------------------------


async def _protocol(request: Request, act: Callable[[LoginServer, Asked], Answer]) -> Response:
    """One unit of work; an `OAuth2Error` that `act` raises is its answer, stored with what was written before it."""

    def acted(server: LoginServer, asked: Asked) -> Answer:
        try:
            return act(server, asked)
        except OAuth2Error as error:
            return _answer_of(error)

    async def answer() -> Response:
        services = services_of(request)
        try:
            asked = await _asked(services, request)
        except OAuth2Error as error:
            return _json(_answer_of(error))

        async def served(unit: LoginUnit) -> Response:
            return _json(await serve(unit, lambda server: acted(server, asked)))

        if act is _tokens and asked.shows_code:  # what is asked most
            return await services.login_units.run(services, served, lock=asked.lock, ahead=spend_codes, key=asked)
        async with login_unit(services) as unit:
            return await served(unit)

    return await _guarded(request, answer)


async def _guarded(request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
    """What is no fault of the caller has the names OAuth has for it (RFC 6749, 4.1.2.1)."""
    try:
        return await answer()
    except Exception as error:
        log_unexpected(error, request.state.request_id)
        return _failed(error)


def _failed(error: Exception) -> Response:
    name = _name_of(error)
    status = _STATUS.get(name, HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"error": name}, status, _OPEN | {"Cache-Control": "no-store"})


async def _asked(services: Services, request: Request) -> Asked:
    """Raises InvalidRequestError."""
    parameters, proof = await _parameters(request), request.headers.get("Authorization", "")
    address = request.client.host if request.client is not None else ""
    return Asked(services.settings.login_issuer, parameters, proof, address=address)


async def _shown(request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
    """As `_guarded`, for people."""
    try:
        return await answer()
    except Exception as error:
        log_unexpected(error, request.state.request_id)
        return notice_page(BUSY, HTTPStatus.SERVICE_UNAVAILABLE, detail=_name_of(error))


async def _parameters(request: Request) -> dict[str, str]:
    """Of the query of a GET, of the form of a POST. Raises InvalidRequestError (RFC 6749, 3.1: none comes twice)."""
    if request.method == "GET":
        text = request.url.query
    else:
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _FORM:
            raise InvalidRequestError("The body is not a form.")
        try:
            text = (await request.body()).decode("utf-8", "replace")
        except (ProblemError, ClientDisconnect):
            raise InvalidRequestError("The body is too large, too slow or broken off.") from None
    try:
        pairs = parse_qsl(text, keep_blank_values=False, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise InvalidRequestError("The parameters cannot be read.") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidRequestError("A parameter came twice.")
    return dict(pairs)


def _refused(services: Services, error: OAuth2Error) -> Response:
    """Back to the relying party where its address is proved, else a page."""
    if not error.redirect_uri:
        return notice_page(REQUEST_WRONG, HTTPStatus.BAD_REQUEST, detail=_line(error))
    return RedirectResponse(response_url(services, error.redirect_uri, dict(error.get_body())), HTTPStatus.SEE_OTHER)


def _answer_of(error: OAuth2Error) -> Answer:
    return answer_of(*error())


def _json(answer: Answer) -> Response:
    headers = dict(answer.headers) | _OPEN
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    return JSONResponse(dict(answer.body), answer.status, headers)


def _line(error: Any) -> str:
    return f"{error.error}: {error.description}" if error.description else str(error.error)


def _name_of(error: Exception) -> str:
    code = code_of(error)
    if code is FailureCode.LOGIN_DENIED:
        return "access_denied"
    return "server_error" if code is FailureCode.INTERNAL else "temporarily_unavailable"


DIRECT: Final = (
    PlainRoute("GET", discovery.AUTHORIZE, authorize),
    PlainRoute("POST", discovery.TOKEN, token),
    PlainRoute("GET", discovery.USER_INFO, userinfo),
)
"""Of every log-in."""
