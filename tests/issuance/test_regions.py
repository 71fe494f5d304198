"""A client with a region sees and touches that region only, whichever way it asks."""

from __future__ import annotations

from typing import Any

import pytest

from cardlib.client_auth import ClientKey
from simulators.portrait import Portrait
from tests.issuance.conftest import REGION, Centre, application, atr, ok, refused, reset
from tests.issuance.production import BatchDesk, roster
from tests.issuance.test_collection import NAMED, NEWBORN

ELSEWHERE = "130000"
DEPOT = f"depot-{REGION}"
JWK = ClientKey.generate("x").public_jwk()
UNLIMITED = {
    "GET /healthz",
    "GET /v1/catalog",
    "GET /metrics",  # counts without region
    "POST /v1/ecard-codes/validate",  # a card is honoured outside its province
    "POST /v1/photos",  # its region stands in the query, see test_photos
    "POST /v1/stock/days/{day}/close",  # of the places served
    "POST /v1/production/cards/{card_number}/collect",  # see test_production
    "GET /v1/bank/reconciliations/{reconciliation_id}/differences",  # those of the regions served, see test_bank
    "POST /v1/hsm/basic-information",
    "POST /v1/hsm/authentications",  # to read; to write is refused, see test_hsm_route
    "POST /v1/hsm/debits",
    "POST /v1/hsm/debits/{number}/outcome",  # of the caller's own orders
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
    operator = centre.as_("operator")
    headers = {"Idempotency-Key": "beijing-key", "Content-Type": "image/jpeg"}
    query = {"region": REGION, "taken_on": "2026-01-04"}
    photo = ok(await operator.post("/v1/photos", content=Portrait().jpeg(), params=query, headers=headers), 201)
    headers = {"Idempotency-Key": "beijing-key"}
    newborn = ok(await operator.post("/v1/newborns", json=NEWBORN, headers=headers), 201)
    place = {"id": "outlet-1", "kind": "outlet", "name": "n", "region": REGION}
    ok(await operator.post("/v1/stock/places", json=place, headers=headers), 201)
    sending = {"from_place": f"depot-{REGION}", "to_place": "outlet-1", "kind": "blank", "cards": [reset(3)]}
    transfer = ok(await operator.post("/v1/stock/transfers", json=sending, headers=headers), 201)
    handed_in = {"card_number": card["card_number"], "outlet": "hall-3"}
    found = ok(await operator.post("/v1/found-cards", json=handed_in, headers=headers), 201)
    (message,) = ok(await operator.get("/v1/outbox", params={"topic": "notice.card_found"}))["items"]
    desk = BatchDesk(centre)
    await desk.create()
    work = ok(await desk.upload("roster", roster(1)), 202)["job"]
    return {
        "found_id": str(found["id"]),
        "message_id": message["message_id"],
        "place_id": "outlet-1",
        "transfer_id": transfer["id"],
        "batch_id": desk.id,
        "file_id": work["file_id"],
        "job_id": work["id"],
        "photo_id": photo["id"],
        "newborn_id": newborn["id"],
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
        "POST /v1/applications/{application_id}/photo": {"photo_id": "0" * 32},
        "POST /v1/applications/{application_id}/identity-check": {},
        "POST /v1/photos/{photo_id}/confirm": {"is_face_good": True},
        "POST /v1/newborns": NEWBORN,
        "POST /v1/newborns/{newborn_id}/registration": NAMED,
        "POST /v1/blanks": {"delivery": "d", "region": REGION, "reset_information": [reset(9)]},
        "POST /v1/card-numbers": {"region": REGION, "body_from": "A0001000", "count": 1},
        "POST /v1/card-numbers/changes": {"act": "void", "numbers": [beijing["card_number"]], "reason": "x"},
        "POST /v1/stock/places": {"id": "outlet-2", "kind": "outlet", "name": "n", "region": REGION},
        "POST /v1/stock/places/{place_id}/close": {"version": 1, "reason": "x"},
        "POST /v1/stock/transfers": {"from_place": DEPOT, "to_place": "outlet-1", "kind": "blank", "cards": [reset(3)]},
        "POST /v1/stock/transfers/{transfer_id}/receipt": {"version": 1},
        "POST /v1/stock/transfers/{transfer_id}/settlement": {"version": 1, "outcome": "lost", "reason": "x"},
        "POST /v1/stock/spoils": {"place_id": DEPOT, "kind": "blank", "cards": [reset(3)], "reason": "x"},
        "POST /v1/stock/destructions": {"place_id": DEPOT, "cards": [reset(3)], "witnesses": ["a", "b"]},
        "POST /v1/stock/returns": {"place_id": DEPOT, "cards": [reset(1)], "reason": "x"},
        "POST /v1/stock/stocktakes": {"place_id": DEPOT, "kind": "blank", "cards": [], "reason": "x"},
        "POST /v1/production/batches": {"region": REGION},
        "POST /v1/production/batches/{batch_id}/applications": {"version": 1, "applications": ["0" * 32]},
        "POST /v1/production/batches/{batch_id}/stages/{stage}/send": {"version": 1},
        "POST /v1/production/batches/{batch_id}/files/{stage}": {"name": "x"},
        "POST /v1/production/batches/{batch_id}/hand-out": {"version": 1, "place_id": "outlet-1"},
        "POST /v1/production/batches/{batch_id}/release": {"version": 1},
        "PUT /v1/production/files/{file_id}/parts/{number}": {},
        "POST /v1/production/files/{file_id}/complete": {},
        "POST /v1/production/jobs/{job_id}/resume": {},
        "POST /v1/card-sessions": personalization,
        "POST /v1/card-sessions/{session_id}/responses": {
            "session_id": beijing["session_id"],
            "sequence": 1,
            "responses": ["9000"],
        },
        "POST /v1/card-sessions/{session_id}/print-reports": {
            "session_id": beijing["session_id"],
            "sequence": 1,
            "job_id": "0" * 32,
            "status": "printed",
            "failure": None,
        },
        "POST /v1/applications/{application_id}/next-action": {"action": "resume"},
        "POST /v1/clients": client,
        "POST /v1/clients/{client_id}/suspend": {},
        "POST /v1/ecards/{ecard_no}/codes": {"scene": "payment"},
        "POST /v1/hsm/pin-commands": {
            "card": {
                "identification_code": f"{REGION}D1560000050000A1FFFFFFFF00",
                "card_number": "A00000011",
                "reset_information": reset(7),
            },
            "step": f"03|STK|{'A1' * 8}|8424000004||",
        },
    }
    card = "POST /v1/cards/{card_number}"
    bodies |= {f"{card}/{act}": {} for act in ("enable", "release", "lock", "unlock", "cancel", "renewals", "account")}
    bodies |= {
        f"{card}/loss": {"kind": "formal"},
        f"{card}/replacements": {"cause": "damaged"},
        f"{card}/holder": {"ethnic_group": "11"},
        f"{card}/holder-end": {"cause": "death"},
        "POST /v1/found-cards": {"card_number": beijing["card_number"], "outlet": "x"},
        "POST /v1/found-cards/{found_id}/hand-back": {},
        "POST /v1/found-cards/{found_id}/destroy": {},
        "POST /v1/outbox/{message_id}/retry": {},
        "POST /v1/bank/reconciliations": {},
        "POST /v1/bank/notices": {"notice_id": "n", "card_number": beijing["card_number"], "event": "lose"},
    }
    lists = {"GET /v1/audit", "GET /v1/clients", "GET /v1/hsm/debits", "GET /v1/stock"}
    reads = {
        "GET /v1/photos/{photo_id}",
        "GET /v1/photos/{photo_id}/image",
        "GET /v1/newborns/{newborn_id}",
    } | {"GET /v1/applications/{application_id}", "GET /v1/cards/{card_number}", "GET /v1/ecards/{ecard_no}"}
    lists |= {"GET /v1/cards", "GET /v1/found-cards", "GET /v1/outbox", "GET /v1/bank/reconciliations"}
    reads |= {"GET /v1/cards/{card_number}/history"}
    lists |= {"GET /v1/applications/stuck", "GET /v1/card-numbers", "GET /v1/production/batches"}
    lists |= {f"GET /v1/stock/{name}" for name in ("places", "transfers", "movements", "balance")}
    batch, file = "/v1/production/batches/{batch_id}", "/v1/production/files/{file_id}"
    reads |= {f"GET {batch}", *(f"GET {batch}/{part}" for part in ("lines", "files", "jobs"))}
    reads |= {f"GET {file}/parts/{{number}}", f"GET {file}/rejects"}
    paths = centre.app.openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert routes == bodies.keys() | lists | reads | UNLIMITED
    hebei = centre.as_("hebei")
    for route in sorted(lists):
        text = (await hebei.get(route.removeprefix("GET "))).text
        seen = [secret for secret in (*beijing.values(), REGION, reset(1)) if len(secret) > 2 and secret in text]
        assert seen == [], route
    for route in sorted(bodies.keys() | reads):
        method, path = route.split(" ")
        headers = {"Idempotency-Key": "from-elsewhere"}
        place = path.format(stage="bank", number="0", **beijing)
        answer = await hebei.request(method, place, headers=headers, json=bodies.get(route))
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
