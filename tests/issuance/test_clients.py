"""Callers: every request signed by a registered key, spent once, within role and region."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from cardlib.client_auth import ClientKey
from issuance.app import create_app
from issuance.clients.directory import UsedNonce
from issuance.clients.service import bootstrap_client
from issuance.problems import ProblemError
from issuance.settings import Settings
from tests.issuance.conftest import REGION, Centre, ClockedAuth, application, both_engines, ok, refused, reset

JWK = ClientKey.generate("x").public_jwk()


def _routes(centre: Centre) -> list[tuple[str, str]]:
    paths = centre.app.openapi()["paths"]
    return [(method.upper(), path) for path, operations in paths.items() for method in operations]


def _filled(path: str) -> str:
    known = {"card_number": "A00000011", "client_id": "x", "stage": "bank", "number": "0", "day": "2026-01-05"}
    return re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], "0" * 32), path)


OPEN = {
    "/healthz",
    "/v1/catalog",
    "/v1/catalog/what",
    "/v1/distribution/metadata/{name}",
    "/v1/distribution/targets/{path}",
    "/v1/progress",
    "/v1/terminals/registrations",
    "/ecard/v1/bus",
}
STAFF = "/v1/staff/"


async def test_every_endpoint_but_two_needs_an_assertion(centre: Centre) -> None:
    tried = 0
    for method, path in _routes(centre):
        if path not in OPEN and not path.startswith(STAFF):
            url = _filled(path)
            refused(await centre.anyone().request(method, url, json={}), "CLIENT_UNKNOWN", 401)
            tried += 1
    assert tried >= 15


async def test_every_endpoint_of_clerks_but_log_in_needs_a_session(centre: Centre) -> None:
    """A client's key opens none of them."""
    for method, path in _routes(centre):
        if path.startswith(STAFF) and path != "/v1/staff/log-in":
            url = f"https://centre{_filled(path)}"
            refused(await centre.as_("operator").request(method, url, json={}), "SESSION_ENDED", 401)


AT_THE_COUNTER = {
    "GET /v1/applications/stuck",
    "GET /v1/applications/{application_id}",
    "GET /v1/cards",
    "GET /v1/cards/{card_number}",
    "GET /v1/cards/{card_number}/history",
    "GET /v1/found-cards",
    "GET /v1/hsm/debits",
    "GET /v1/terminals/{client_id}/reconciliation",
    "GET /v1/newborns/{newborn_id}",
    "GET /v1/photos/{photo_id}",
    "GET /v1/photos/{photo_id}/image",
    "POST /v1/applications",
    "POST /v1/applications/{application_id}/identity-check",
    "POST /v1/applications/{application_id}/next-action",
    "POST /v1/applications/{application_id}/photo",
    "POST /v1/applications/{application_id}/write-off",
    "POST /v1/cards/{card_number}/account",
    "POST /v1/cards/{card_number}/cancel",
    "POST /v1/cards/{card_number}/enable",
    "POST /v1/cards/{card_number}/holder",
    "POST /v1/cards/{card_number}/loss",
    "POST /v1/cards/{card_number}/release",
    "POST /v1/cards/{card_number}/renewals",
    "POST /v1/cards/{card_number}/replacements",
    "POST /v1/found-cards",
    "POST /v1/found-cards/{found_id}/destroy",
    "POST /v1/found-cards/{found_id}/hand-back",
    "POST /v1/newborns",
    "POST /v1/newborns/{newborn_id}/registration",
    "POST /v1/photos",
    "POST /v1/photos/{photo_id}/confirm",
    "POST /v1/production/cards/{card_number}/collect",
    "PUT /v1/cards/{card_number}/purse",
}
WITH_A_CARD = {
    "POST /v1/card-sessions",
    "POST /v1/card-sessions/{session_id}/print-reports",
    "POST /v1/card-sessions/{session_id}/responses",
    "POST /v1/hsm/authentications",
    "POST /v1/hsm/basic-information",
    "POST /v1/hsm/debits",
    "POST /v1/hsm/debits/{number}/outcome",
    "POST /v1/hsm/pin-commands",
    "GET /v1/self-service",
    "POST /v1/self-service/acts",
    "POST /v1/self-service/codes",
    "POST /v1/self-service/continuations",
    "POST /v1/self-service/holders",
    "POST /v1/self-service/log-ins",
    "POST /v1/self-service/log-ins/look",
    "POST /v1/self-service/records",
    "POST /v1/self-service/successions",
    "POST /v1/terminals/diagnoses",
    "POST /v1/terminals/heartbeats",
    "POST /v1/terminals/records",
}
ROLES_OF = {
    **{key: {"operator", "terminal"} for key in AT_THE_COUNTER},
    **{key: {"terminal"} for key in WITH_A_CARD},
    "POST /v1/bank/notices": {"bank"},
    "POST /v1/ecard-codes/validate": {"verifier"},
    "POST /v1/token": {"verifier"},
    "POST /v1/codes/recognise": {"verifier"},
    "POST /v1/consent-requests": {"verifier"},
    "GET /v1/consent-requests/{consent_id}": {"verifier"},
    "POST /v1/consents/{consent_id}/data": {"verifier"},
    "POST /ecard/v1/qrcode/valid": {"verifier"},
    "GET /v1/distribution/targets/blocklist/{name}": {"operator", "terminal", "verifier"},
}
"""Who may call what; operators alone where nothing is said."""


async def test_every_endpoint_by_role(centre: Centre) -> None:
    await centre.register("bank", ("bank",))
    wrong = []
    for method, path in _routes(centre):
        if path in OPEN or path.startswith(STAFF):
            continue
        of_a_holder = path.startswith("/v1/ecards")  # with the phone's proof, see tests/issuance/ecards
        allowed = {"wallet"} if of_a_holder else ROLES_OF.get(f"{method} {path}", {"operator"})
        for role in ("operator", "terminal", "wallet", "verifier", "bank"):
            answer = await centre.as_(role).request(method, _filled(path), json={})
            is_refused = answer.status_code == 403 and answer.json()["code"] == "CLIENT_FORBIDDEN"
            if is_refused is (role in allowed):
                wrong.append((f"{method} {path}", role))
    assert wrong == []


@both_engines
async def test_replay_is_refused(centre: Centre) -> None:
    key = centre.client_keys["operator"]
    token = key.assertion("GET", "/v1/stock", b"", centre.clock().timestamp())
    headers = {"Authorization": f"Bearer {token}"}
    ok(await centre.anyone().get("/v1/stock", headers=headers))
    refused(await centre.anyone().get("/v1/stock", headers=headers), "REQUEST_REPLAYED", 409)
    centre.clock.advance(89)
    refused(await centre.anyone().get("/v1/stock", headers=headers), "REQUEST_REPLAYED", 409)
    centre.clock.advance(1)
    refused(await centre.anyone().get("/v1/stock", headers=headers), "REQUEST_EXPIRED", 401)


async def test_refused_request_spends_its_assertion(centre: Centre) -> None:
    key = centre.client_keys["operator"]
    path = f"/v1/applications/{'0' * 32}"
    headers = {"Authorization": f"Bearer {key.assertion('GET', path, b'', centre.clock().timestamp())}"}
    refused(await centre.anyone().get(path, headers=headers), "NOT_FOUND", 404)
    refused(await centre.anyone().get(path, headers=headers), "REQUEST_REPLAYED", 409)


async def test_assertion_of_another_body_path_or_key(centre: Centre) -> None:
    key, now = centre.client_keys["operator"], centre.clock().timestamp()
    forged = ClientKey.generate("operator")
    for token in (
        key.assertion("POST", "/v1/blanks", b"{}", now),
        key.assertion("POST", "/v1/card-numbers", b'{"a":1}', now),
        forged.assertion("POST", "/v1/blanks", b'{"a":1}', now),
        ClientKey.generate("nobody").assertion("POST", "/v1/blanks", b'{"a":1}', now),
        "x.y.z",
    ):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = await centre.anyone().post("/v1/blanks", content=b'{"a":1}', headers=headers)
        refused(answer, "CLIENT_UNKNOWN", 401)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_encoded_path_and_query_are_signed_as_sent(centre: Centre) -> None:
    ok(await centre.as_("operator").get("/v1/audit?subject=card%3AA00000011&limit=5"))
    refused(await centre.as_("operator").get("/v1/cards/A%30000001-1"), "NOT_FOUND", 404)


@both_engines
async def test_register_and_suspend(centre: Centre) -> None:
    new = ClientKey.generate("kiosk-1")
    body = {
        "id": "kiosk-1",
        "name": "自助机",
        "roles": ["terminal"],
        "region": "120000",
        "public_jwk": new.public_jwk(),
    }
    operator = centre.as_("operator")
    created = ok(await operator.post("/v1/clients", json=body), 201)
    assert created["status"] == "active"
    assert ok(await operator.post("/v1/clients", json=body), 201) == created
    refused(await operator.post("/v1/clients", json=body | {"public_jwk": JWK}), "CONFLICT", 409)
    for own in ("console", "onecard-system"):  # else a client could act, and be recorded, as the service
        refused(await operator.post("/v1/clients", json=body | {"id": own}), "CONFLICT", 409)
    assert "kiosk-1" in {client["id"] for client in ok(await operator.get("/v1/clients"))}
    centre.client_keys["kiosk-1"] = new
    refused(await centre.as_("kiosk-1").get("/v1/stock"), "CLIENT_FORBIDDEN", 403)
    assert ok(await operator.post("/v1/clients/kiosk-1/suspend"))["status"] == "suspended"
    refused(await centre.as_("kiosk-1").get("/v1/stock"), "CLIENT_UNKNOWN", 401)
    refused(await operator.post("/v1/clients", json=body), "CONFLICT", 409)
    assert "suspended" in refused(await operator.post("/v1/clients", json=body), "CONFLICT", 409)["detail"]
    refused(await operator.post("/v1/clients/nobody/suspend"), "NOT_FOUND", 404)
    refused(await operator.post(f"/v1/clients/{'y' * 65}/suspend"), "INPUT_INVALID", 422)


async def test_operator_cannot_suspend_itself(centre: Centre) -> None:
    refused(await centre.as_("operator").post("/v1/clients/operator/suspend"), "CONFLICT", 409)
    ok(await centre.as_("operator").get("/v1/clients"))


async def test_private_half_is_not_accepted_silently(centre: Centre) -> None:
    body = {"id": "k", "name": "k", "roles": ["terminal"], "public_jwk": {"kty": "oct", "k": "AAAA"}}
    refused(await centre.as_("operator").post("/v1/clients", json=body), "INPUT_INVALID", 422)


@both_engines
async def test_region_limits_a_client(centre: Centre) -> None:
    await centre.register("tianjin", ("operator", "terminal"), "120000")
    await centre.register("district-1", ("operator",), "110105")
    tianjin, district = centre.as_("tianjin"), centre.as_("district-1")
    body = {"delivery": "d", "region": REGION, "reset_information": [reset(1)]}
    refused(await tianjin.post("/v1/blanks", json=body), "CLIENT_FORBIDDEN", 403)
    refused(await district.post("/v1/blanks", json=body), "CLIENT_FORBIDDEN", 403)
    ok(await tianjin.post("/v1/blanks", json=body | {"region": "120101"}), 201)
    ok(
        await district.post(
            "/v1/blanks", json=body | {"region": "110105", "delivery": "e", "reset_information": [reset(2)]}
        ),
        201,
    )
    created = ok(await centre.apply(1), 201)
    refused(await tianjin.get(f"/v1/applications/{created['id']}"), "NOT_FOUND", 404)
    headers = {"Idempotency-Key": "from-tianjin"}
    refused(await tianjin.post("/v1/applications", json=application(2), headers=headers), "CLIENT_FORBIDDEN", 403)
    wide = {"id": "w", "name": "w", "roles": ["operator"], "public_jwk": JWK}
    refused(await tianjin.post("/v1/clients", json=wide), "CLIENT_FORBIDDEN", 403)
    ok(await tianjin.post("/v1/clients", json=wide | {"region": "120101"}), 201)
    refused(await tianjin.post("/v1/clients/operator/suspend"), "NOT_FOUND", 404)


async def test_clerk_is_recorded(centre: Centre) -> None:
    body = {"delivery": "d9", "region": REGION, "reset_information": [reset(1)]}
    operator = centre.as_("operator")
    ok(await operator.post("/v1/blanks", json=body, headers={"X-Clerk": "clerk-07"}), 201)
    (entry,) = ok(await operator.get("/v1/audit", params={"subject": "delivery:d9"}))
    assert (entry["clerk"], entry["actor"]) == ("clerk-07", "operator")
    bad = await operator.post("/v1/blanks", json=body, headers={"X-Clerk": "a b"})
    refused(bad, "INPUT_INVALID", 400)


@pytest.mark.parametrize(
    ("signed", "sent"),
    [
        ({}, {"X-Clerk": "somebody-else"}),
        ({"X-Clerk": "clerk-07"}, {"X-Clerk": "somebody-else"}),
        ({"X-Clerk": "clerk-07"}, {}),
        ({}, {"Idempotency-Key": "another-key"}),
        ({"Idempotency-Key": "chosen-key"}, {"Idempotency-Key": "another-key"}),
        ({"Idempotency-Key": "chosen-key"}, {}),
    ],
)
async def test_headers_on_the_way_cannot_be_changed(
    centre: Centre, signed: dict[str, str], sent: dict[str, str]
) -> None:
    auth = ClockedAuth(centre.client_keys["operator"], centre.clock)
    request = httpx.Request("GET", "http://centre/v1/stock", headers=signed)
    next(auth.auth_flow(request))
    headers = {"Authorization": request.headers["Authorization"]}
    refused(await centre.anyone().get("/v1/stock", headers=headers | sent), "CLIENT_UNKNOWN", 401)
    request = httpx.Request("GET", "http://centre/v1/stock", headers=signed)
    next(auth.auth_flow(request))
    headers = {"Authorization": request.headers["Authorization"]}
    ok(await centre.anyone().get("/v1/stock", headers=headers | signed))


async def test_assertion_for_another_centre(centre: Centre) -> None:
    settings = Settings(database_url=centre.url, centre_id="other-centre")
    other = create_app(settings, centre.keys, clock=centre.clock, catalog=centre.app.state.services.catalog)
    key = centre.client_keys["operator"]
    for audience, accepted in (("onecard-issuance", False), ("other-centre", True)):
        auth = ClockedAuth(dataclasses.replace(key, audience=audience), centre.clock)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(other), base_url="http://other", auth=auth
        ) as client:
            answer = await client.get("/v1/stock")
            _ = ok(answer) if accepted else refused(answer, "CLIENT_UNKNOWN", 401)
    await other.state.services.database.close()


class HeldRequest:
    """A request whose body is held open until `release` is set."""

    def __init__(self, centre: Centre, path: str, token: str) -> None:
        self.is_waiting, self.release = asyncio.Event(), asyncio.Event()
        self.status = 0
        self._app = centre.app
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"authorization", f"Bearer {token}".encode()), (b"transfer-encoding", b"chunked")],
        }

    async def run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self.is_waiting.set()
        await self.release.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


async def test_held_body_does_not_keep_an_assertion_alive(centre: Centre) -> None:
    key = centre.client_keys["operator"]
    held = HeldRequest(centre, "/v1/clients", key.assertion("GET", "/v1/clients", b"", centre.clock().timestamp()))
    task = asyncio.create_task(held.run())
    await held.is_waiting.wait()
    centre.clock.advance(3600)
    held.release.set()
    await task
    assert held.status == 401


async def test_nonce_outlives_a_request_that_waited_for_the_database(centre: Centre) -> None:
    clients, now = centre.app.state.services.clients, centre.clock()
    expires_at = now + timedelta(seconds=90)
    for nonce, moment in (("a" * 16, now), ("b" * 16, now + timedelta(seconds=120))):
        assert await clients.use_nonce(UsedNonce("operator", nonce, expires_at, moment))
    assert not await clients.use_nonce(UsedNonce("operator", "a" * 16, expires_at, now))


async def test_body_must_arrive_in_time(centre: Centre) -> None:
    settings = Settings(database_url=centre.url, body_timeout_s=0.05)
    centre.old_apps.append(centre.app)
    centre.app = create_app(settings, centre.keys, clock=centre.clock, catalog=centre.app.state.services.catalog)
    key = centre.client_keys["operator"]
    held = HeldRequest(centre, "/v1/clients", key.assertion("GET", "/v1/clients", b"", centre.clock().timestamp()))
    async with asyncio.timeout(30):
        await held.run()
    assert held.status == 408

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    headers = {"Content-Type": "application/json"}
    client = httpx.AsyncClient(transport=httpx.ASGITransport(centre.app), base_url="http://centre")
    refused(await client.post("/v1/blanks", content=drip(), headers=headers), "TIMEOUT", 408)


@both_engines
async def test_bootstrap_is_idempotent_and_guards_the_id(centre: Centre) -> None:
    key = ClientKey.generate("first")
    for _ in range(2):
        view = await bootstrap_client(centre.url, "first", key.public_jwk(), clock=centre.clock)
        assert view.roles == ("operator",)
    with pytest.raises(ProblemError, match="CONFLICT"):
        await bootstrap_client(centre.url, "first", JWK, clock=centre.clock)


async def test_body_limit(centre: Centre) -> None:
    big = b'{"x": "' + b"a" * (1 << 20) + b'"}'
    headers = {"Content-Type": "application/json"}
    refused(await centre.as_("operator").post("/v1/blanks", content=big, headers=headers), "INPUT_INVALID", 413)

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"a" * 65536

    client = httpx.AsyncClient(transport=httpx.ASGITransport(centre.app), base_url="http://centre")
    refused(await client.post("/v1/blanks", content=drip(), headers=headers), "INPUT_INVALID", 413)


async def test_clock_of_the_terminal_is_wrong(centre: Centre) -> None:
    auth = ClockedAuth(centre.client_keys["operator"], type(centre.clock)())
    centre.clock.advance(600)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(centre.app), base_url="http://centre", auth=auth)
    refused(await client.get("/v1/stock"), "REQUEST_EXPIRED", 401)
