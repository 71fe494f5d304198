"""A client with a region sees and touches that region only, whichever way it asks."""

from __future__ import annotations

from typing import Any

import pytest

from cardlib.client_auth import ClientKey
from tests.issuance.conftest import REGION, Centre, application, atr, ok, refused, reset

ELSEWHERE = "130000"
JWK = ClientKey.generate("x").public_jwk()
UNLIMITED = {
    "GET /healthz",
    "GET /v1/catalog",
    "GET /metrics",  # counts without region
    "POST /v1/ecard-codes/validate",  # a card is honoured outside its province
}


@pytest.fixture
async def beijing(centre: Centre) -> dict[str, str]:
    """A card, an open application with its session, stock and a terminal in Beijing; a client of Hebei looks on."""
    await centre.register("hebei", ("operator", "terminal", "wallet"), ELSEWHERE)
    await centre.register("beijing", ("terminal",), REGION)
    await centre.stock(blanks=3, numbers=3)
    card = await centre.issue(1)
    application_id = ok(await centre.apply(2), 201)["id"]
    session = ok(await centre.start(application_id, atr(2)), 201)["batch"]["session_id"]
    return {
        "application_id": application_id,
        "card_number": card["card_number"],
        "client_id": "beijing",
        "ecard_no": card["ecard_no"],
        "session_id": session,
    }


async def test_every_route_refuses_or_hides_what_lies_elsewhere(centre: Centre, beijing: dict[str, str]) -> None:
    client = {"id": "new", "name": "n", "roles": ["terminal"], "region": REGION, "public_jwk": JWK}
    personalization = {"kind": "personalization", "atr": atr(2), "application_id": beijing["application_id"]}
    bodies: dict[str, dict[str, Any]] = {
        "POST /v1/applications": application(3),
        "POST /v1/applications/{application_id}/write-off": {"reset_information": reset(2), "reason": "x"},
        "POST /v1/applications/{application_id}/reject": {"reason": "x"},
        "POST /v1/blanks": {"delivery": "d", "region": REGION, "reset_information": [reset(9)]},
        "POST /v1/card-numbers": {"region": REGION, "body_from": "A0001000", "count": 1},
        "POST /v1/card-sessions": personalization,
        "POST /v1/card-sessions/{session_id}/responses": {
            "session_id": beijing["session_id"],
            "sequence": 1,
            "responses": ["9000"],
        },
        "POST /v1/clients": client,
        "POST /v1/clients/{client_id}/suspend": {},
        "POST /v1/ecards/{ecard_no}/codes": {"scene": "payment"},
    }
    lists = {"GET /v1/audit", "GET /v1/clients", "GET /v1/stock"}
    reads = {"GET /v1/applications/{application_id}", "GET /v1/cards/{card_number}", "GET /v1/ecards/{ecard_no}"}
    paths = centre.app.openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert routes == bodies.keys() | lists | reads | UNLIMITED
    hebei = centre.as_("hebei")
    for route in sorted(lists):
        text = (await hebei.get(route.removeprefix("GET "))).text
        seen = [secret for secret in (*beijing.values(), REGION, reset(1)) if secret in text]
        assert seen == [], route
    for route in sorted(bodies.keys() | reads):
        method, path = route.split(" ")
        headers = {"Idempotency-Key": "from-elsewhere"}
        answer = await hebei.request(method, path.format(**beijing), headers=headers, json=bodies.get(route))
        refused(answer, "CLIENT_FORBIDDEN", 403)
    initialization = {"kind": "initialization", "atr": atr(3), "region": REGION}
    refused(await hebei.post("/v1/card-sessions", json=initialization), "CLIENT_FORBIDDEN", 403)


async def test_region_shows_its_own(centre: Centre, beijing: dict[str, str]) -> None:
    await centre.register("district", ("operator", "wallet"), REGION)
    district = centre.as_("district")
    assert ok(await district.get("/v1/stock")) == ok(await centre.as_("operator").get("/v1/stock"))
    acts = {entry["act"] for entry in ok(await district.get("/v1/audit", params={"limit": 500}))}
    assert {"stock.deliver", "stock.reserve", "application.submit", "card.enable", "ecard.create"} <= acts
    assert {client["id"] for client in ok(await district.get("/v1/clients"))} == {"beijing", "district"}
    path = f"/v1/ecards/{beijing['ecard_no']}/codes"
    code = ok(await district.post(path, json={"scene": "identity"}), 201)["code"]
    await centre.register("hospital", ("verifier",), ELSEWHERE)
    body = {"code": code, "scene": "identity"}
    assert ok(await centre.as_("hospital").post("/v1/ecard-codes/validate", json=body))["region"] == REGION


async def test_only_an_operator_of_everywhere_makes_a_verifier(centre: Centre) -> None:
    await centre.register("hebei", ("operator",), ELSEWHERE)
    body = {"id": "new", "name": "n", "roles": ["wallet", "verifier"], "region": ELSEWHERE, "public_jwk": JWK}
    refused(await centre.as_("hebei").post("/v1/clients", json=body), "CLIENT_FORBIDDEN", 403)
    ok(await centre.as_("hebei").post("/v1/clients", json=body | {"roles": ["wallet"]}), 201)
    ok(await centre.as_("operator").post("/v1/clients", json=body | {"id": "new-2"}), 201)
