"""A client with a region sees and touches that region only, whichever way it asks."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from cardlib.client_auth import ClientKey
from cardlib.identity import card_number_check
from simulators.portrait import Portrait
from tests.issuance.conftest import REGION, Centre, application, atr, ok, refused, reset
from tests.issuance.phone import Phone
from tests.issuance.production import BatchDesk, roster
from tests.issuance.staff import Staff
from tests.issuance.test_collection import NAMED, NEWBORN

ELSEWHERE = "130000"
DEPOT = f"depot-{REGION}"
JWK = ClientKey.generate("x").public_jwk()
UNLIMITED = {
    "GET /healthz",
    "GET /v1/audit/head",  # fingerprints of the whole log, of nobody's entries
    "GET /v1/audit/consistency",
    "POST /v1/token",  # of verifiers, who are not limited
    "GET /v1/catalog",
    "POST /v1/catalog/what",
    "GET /v1/distribution/metadata/{name}",  # one repository for all regions
    "GET /v1/distribution/targets/{path}",
    "GET /v1/distribution/targets/blocklist/{name}",
    "GET /v1/publications",
    "POST /v1/publications",
    "GET /metrics",  # counts without region
    "POST /v1/ecard-codes/validate",  # a card is honoured outside its province
    "POST /ecard/v1/qrcode/valid",
    "POST /ecard/v1/bus",
    "POST /v1/codes/recognise",
    "POST /v1/consent-requests",  # consents are between one holder and one recipient, see consents/test_consents
    "GET /v1/consent-requests/{consent_id}",
    "POST /v1/consents/{consent_id}/data",
    "POST /v1/photos",  # its region stands in the query, see test_photos
    "POST /v1/stock/days/{day}/close",  # of the places served
    "GET /v1/bank/reconciliations/{reconciliation_id}/differences",  # those of the regions served, see test_bank
    "POST /v1/hsm/basic-information",
    "POST /v1/hsm/authentications",  # to read; to write is refused, see test_hsm_route
    "POST /v1/hsm/debits",
    "POST /v1/hsm/debits/{number}/outcome",  # of the caller's own orders
    "POST /v1/terminals/records",  # of the caller's own journal
    "POST /v1/terminals/heartbeats",  # of the caller itself
    "POST /v1/terminals/diagnoses",
    "POST /v1/terminals/registrations",  # of nobody yet; the code says where
}
TESTED_THERE = {
    "POST /v1/progress",  # open to everybody, see test_progress
    "POST /v1/person-files",  # see test_person_file
    "POST /v1/person-searches",  # see test_privacy_jobs
    "POST /v1/reveals",
    *(f"GET /v1/{name}" for name in ("alerts", "alerts/{alert_id}", "charts/{name}.svg", "queues", "queues/{queue}")),
    *(f"GET /v1/{name}" for name in ("statistics", "statistics/export", "statistics/stock")),  # see test_supervision
    "POST /v1/alerts/{alert_id}/acknowledge",
    "POST /v1/relying-parties/{client_id}/suspend",  # see relying_parties/test_attacks
    "PUT /v1/relying-parties/{client_id}/keys",
    *(f"{route} /v1/login-denials" for route in ("GET", "POST")),  # one for all regions, see log_ins/test_attacks
    "POST /v1/login-denials/remove",
    *(f"GET /v1/terminals{path}" for path in ("", "/{client_id}/reconciliation")),  # see test_terminal_records
    *(f"GET /v1/terminals/{path}" for path in ("states", "{client_id}", "{client_id}/diagnosis")),  # see test_fleet
    *(f"POST /v1/terminals/{{client_id}}/{act}" for act in ("lock", "unlock", "diagnosis-orders")),
    "POST /v1/terminals/invitations",
    "GET /v1/self-service",  # of persons whose cards lie in the kiosk's region, see self_service/
    *(f"POST /v1/self-service/{what}" for what in ("holders", "acts", "successions", "continuations")),
    *(f"POST /v1/self-service/{what}" for what in ("records", "codes")),
    *(f"POST /v1/self-service/log-ins{what}" for what in ("", "/look")),
    *(f"GET /v1/journeys/{path}" for path in ("days/{day}", "purses/{face_number}")),  # see test_journeys
    *(f"{method} /v1/relying-parties/{{client_id}}/channel" for method in ("POST", "DELETE")),  # log_ins/test_channels
    *(f"{method} /v1/login-upstreams/national/keys" for method in ("PUT", "DELETE")),  # log_ins/test_national
}


@pytest.fixture
async def beijing(centre: Centre) -> dict[str, str]:
    """A card, an open application with its session, stock and a terminal in Beijing; a client of Hebei looks on."""
    await centre.register("hebei", ("operator", "terminal", "wallet", "bank"), ELSEWHERE)
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
    entry = str(ok(await operator.get("/v1/audit", params={"subject": f"card:{card['card_number']}"}))[0]["id"])
    staff = Staff(centre)
    office = await staff.office("北京")
    clerk = await staff.made("li", "collector", office="北京")
    return {
        "entry_id": entry,
        "office_id": str(office),
        "clerk_id": clerk["clerk"]["id"],
        "depot_id": DEPOT,
        "blank": reset(1),
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


def _by_region() -> dict[str, dict[str, Any]]:
    """What names the region itself."""
    client = {"id": "new", "name": "n", "roles": ["terminal"], "region": REGION, "public_jwk": JWK}
    pin_card = {
        "identification_code": f"{REGION}D1560000050000A1FFFFFFFF00",
        "card_number": "A00000011",
        "reset_information": reset(7),
    }
    return {
        "POST /v1/applications": application(3),
        "POST /v1/newborns": NEWBORN,
        "POST /v1/blanks": {"delivery": "d", "region": REGION, "reset_information": [reset(9)]},
        "POST /v1/card-numbers": {"region": REGION, "body_from": "A0001000", "count": 1},
        "POST /v1/stock/places": {"id": "outlet-2", "kind": "outlet", "name": "n", "region": REGION},
        "POST /v1/offices": {"kind": "region", "region": REGION, "name_zh": "n"},
        "POST /v1/production/batches": {"region": REGION},
        "POST /v1/clients": client,
        "POST /v1/relying-parties": {"id": "p", "name": "n", "region": REGION, "redirect_uris": ["https://a.example/"]},
        "POST /v1/bank/reconciliations": {},
        "POST /v1/hsm/pin-commands": {"card": pin_card, "step": f"03|STK|{'A1' * 8}|8424000004||"},
    }


def _by_id(ids: dict[str, str]) -> dict[str, Any]:
    """What names a thing, in the path or in the body."""
    number, place = ids["card_number"], ids["place_id"]
    session = {"session_id": ids["session_id"], "sequence": 1}
    cards = {"place_id": ids["depot_id"], "cards": [ids["blank"]]}
    found: dict[str, Any] = {
        "POST /v1/applications/{application_id}/write-off": {"reset_information": reset(2), "reason": "x"},
        "POST /v1/applications/{application_id}/reject": {"reason": "x"},
        "POST /v1/applications/{application_id}/photo": {"photo_id": "0" * 32},
        "POST /v1/applications/{application_id}/identity-check": {},
        "POST /v1/applications/{application_id}/next-action": {"action": "resume"},
        "POST /v1/photos/{photo_id}/confirm": {"is_face_good": True},
        "POST /v1/newborns/{newborn_id}/registration": NAMED,
        "POST /v1/card-numbers/changes": {"act": "void", "numbers": [number], "reason": "x"},
        "POST /v1/stock/places/{place_id}/close": {"version": 1, "reason": "x"},
        "POST /v1/stock/transfers": {"from_place": ids["depot_id"], "to_place": place, "kind": "blank"}
        | {"cards": [ids["blank"]]},
        "POST /v1/stock/transfers/{transfer_id}/receipt": {"version": 1},
        "POST /v1/stock/transfers/{transfer_id}/settlement": {"version": 1, "outcome": "lost", "reason": "x"},
        "POST /v1/stock/spoils": cards | {"kind": "blank", "reason": "x"},
        "POST /v1/stock/destructions": cards | {"witnesses": ["a", "b"]},
        "POST /v1/stock/returns": cards | {"reason": "x"},
        "POST /v1/stock/stocktakes": cards | {"kind": "blank", "reason": "x"},
        "POST /v1/production/batches/{batch_id}/applications": {"version": 1, "applications": ["0" * 32]},
        "POST /v1/production/batches/{batch_id}/stages/{stage}/send": {"version": 1},
        "POST /v1/production/batches/{batch_id}/files/{stage}": {"name": "x"},
        "POST /v1/production/batches/{batch_id}/hand-out": {"version": 1, "place_id": place},
        "POST /v1/production/batches/{batch_id}/release": {"version": 1},
        "PUT /v1/production/files/{file_id}/parts/{number}": {},
        "POST /v1/production/files/{file_id}/complete": {},
        "POST /v1/production/jobs/{job_id}/resume": {},
        "POST /v1/production/cards/{card_number}/collect": {"place_id": place},
        "POST /v1/card-sessions": {
            "kind": "personalization",
            "atr": atr(2),
            "application_id": ids["application_id"],
        },
        "POST /v1/card-sessions/{session_id}/responses": session | {"responses": ["9000"]},
        "POST /v1/card-sessions/{session_id}/print-reports": session
        | {"job_id": "0" * 32, "status": "printed", "failure": None},
        "POST /v1/clients/{client_id}/suspend": {},
        "POST /v1/clients/{client_id}/bus-keys": {"cipher": "sm4-cbc"},
        "DELETE /v1/clients/{client_id}/bus-keys": {},
        "POST /v1/found-cards": {"card_number": number, "outlet": "x"},
        "POST /v1/found-cards/{found_id}/hand-back": {},
        "POST /v1/found-cards/{found_id}/destroy": {},
        "POST /v1/outbox/{message_id}/retry": {},
        "POST /v1/bank/notices": {"notice_id": "n", "card_number": number, "event": "lose"},
        "POST /v1/offices/{office_id}/close": {},
        "POST /v1/clerks": {"login": "new", "name": "n", "office_id": int(ids["office_id"]), "roles": ["collector"]},
        "POST /v1/clerks/{clerk_id}/change": {"version": 1, "reason": "x"},
        "POST /v1/clerks/{clerk_id}/reset": {},
        "POST /v1/clerks/{clerk_id}/sessions/end": {},
        "POST /v1/clerks/{clerk_id}/unbind": {},
    }
    card = "POST /v1/cards/{card_number}"
    found |= {f"{card}/{act}": {} for act in ("enable", "release", "lock", "unlock", "cancel", "renewals", "account")}
    found |= {
        f"{card}/loss": {"kind": "formal"},
        f"{card}/replacements": {"cause": "damaged"},
        f"{card}/holder": {"ethnic_group": "11"},
        f"{card}/holder-end": {"cause": "death"},
    }
    purse = {"identification_code": "0" * 32, "issuer": "09990100FFFFFFFF", "serial": "0" * 20}
    found["PUT /v1/cards/{card_number}/purse"] = purse
    batch, file = "/v1/production/batches/{batch_id}", "/v1/production/files/{file_id}"
    reads = {batch, *(f"{batch}/{part}" for part in ("lines", "files", "jobs"))}
    reads |= {f"{file}/parts/{{number}}", f"{file}/rejects", "/v1/photos/{photo_id}", "/v1/photos/{photo_id}/image"}
    reads |= {"/v1/newborns/{newborn_id}", "/v1/applications/{application_id}"}
    reads |= {"/v1/cards/{card_number}", "/v1/cards/{card_number}/history", "/v1/offices/{office_id}"}
    reads |= {"/v1/clerks/{clerk_id}", "/v1/clerks/{clerk_id}/sessions", "/v1/audit/{entry_id}/proof"}
    return found | dict.fromkeys(f"GET {path}" for path in reads)


LISTS = {
    "GET /v1/applications/stuck",
    "GET /v1/approvals",
    "GET /v1/audit",
    "GET /v1/bank/reconciliations",
    "GET /v1/card-numbers",
    "GET /v1/cards",
    "GET /v1/clerks",
    "GET /v1/clients",
    "GET /v1/found-cards",
    "GET /v1/hsm/debits",
    "GET /v1/offices",
    "GET /v1/outbox",
    "GET /v1/production/batches",
    "GET /v1/relying-parties",
    "GET /v1/stock",
    *(f"GET /v1/stock/{name}" for name in ("places", "transfers", "movements", "balance")),
}
MISSING = {
    "application_id": "0" * 32,
    "batch_id": "1300002601050001",
    "blank": reset(999),
    "card_number": "E0000999" + card_number_check("E0000999"),
    "clerk_id": "0" * 32,
    "client_id": "nobody",
    "depot_id": "depot-9",
    "ecard_no": "0" * 32,
    "entry_id": "9999999",
    "file_id": "0" * 32,
    "found_id": "999",
    "job_id": "0" * 32,
    "message_id": "0" * 32,
    "newborn_id": "0" * 32,
    "office_id": "999",
    "photo_id": "0" * 32,
    "place_id": "outlet-9",
    "session_id": "0" * 32,
    "transfer_id": "0" * 32,
}


async def test_every_route_is_sorted(centre: Centre) -> None:
    """A new route says here how it keeps regions apart; those under /v1/staff are clerks' own, see test_staff_acts."""
    routes = _routes(centre)
    clerks = {route for route in routes if route.split(" ")[1].startswith("/v1/staff")}
    sorted_here = _by_region().keys() | _by_id(MISSING).keys() | LISTS | UNLIMITED | TESTED_THERE
    assert routes - clerks - _of_phones(centre) == sorted_here - _of_phones(centre)


def _routes(centre: Centre) -> set[str]:
    paths = centre.app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}


def _of_phones(centre: Centre) -> set[str]:
    """Of the holder's own electronic card, with the phone's proof."""
    return {route for route in _routes(centre) if route.split(" ")[1].startswith("/v1/ecards")}


async def test_without_the_phone_nothing_of_an_electronic_card(centre: Centre, beijing: dict[str, str]) -> None:
    """Whether it is there or not, here or elsewhere; with a phone see tests/issuance/ecards/test_proof.py."""
    routes = sorted(_of_phones(centre) - {"POST /v1/ecards"})
    assert len(routes) >= 16
    await centre.register("here", ("wallet",), REGION)
    for route in routes:
        method, path = route.split(" ")
        for ecard_no in (beijing["ecard_no"], MISSING["ecard_no"]):
            url = re.sub(r"\{\w+\}", "0" * 32, path.replace("{ecard_no}", ecard_no))
            for client in ("hebei", "here"):
                headers = {"Idempotency-Key": "from-elsewhere"}
                answer = await centre.as_(client).request(method, url, json={}, headers=headers)
                refused(answer, "DEVICE_PROOF_INVALID", 401)


async def test_what_lies_elsewhere_is_answered_like_what_is_not_there(centre: Centre, beijing: dict[str, str]) -> None:
    hebei = centre.as_("hebei")
    for route in sorted(LISTS):
        text = (await hebei.get(route.removeprefix("GET "))).text
        seen = [secret for secret in (*beijing.values(), REGION, reset(1)) if len(secret) > 3 and secret in text]
        assert seen == [], route
    for route, body in sorted(_by_region().items()):
        method, path = route.split(" ")
        headers = {"Idempotency-Key": "from-elsewhere"}
        refused(await hebei.request(method, path, headers=headers, json=body), "CLIENT_FORBIDDEN", 403)
    for route in sorted(_by_id(MISSING)):
        elsewhere, missing = [await _ask(hebei, route, ids) for ids in (beijing, MISSING)]
        assert elsewhere == missing, route
        assert missing[0] == 404, route
    initialization = {"kind": "initialization", "atr": atr(3), "region": REGION}
    refused(await hebei.post("/v1/card-sessions", json=initialization), "CLIENT_FORBIDDEN", 403)


async def _ask(client: httpx.AsyncClient, route: str, ids: dict[str, str]) -> tuple[int, str]:
    """Status and body, in which the ids that were sent are blotted out."""
    method, path = route.split(" ")
    headers = {"Idempotency-Key": f"from-elsewhere-{ids['client_id']}"}
    answer = await client.request(
        method, path.format(stage="bank", number="0", **ids), headers=headers, json=_by_id(ids)[route]
    )
    text = answer.text
    for value in ids.values():
        text = text.replace(value, "…") if len(value) > 3 else text
    return answer.status_code, text


async def test_region_shows_its_own(centre: Centre, beijing: dict[str, str]) -> None:
    await centre.register("district", ("operator", "wallet"), REGION)
    district = centre.as_("district")
    assert ok(await district.get("/v1/stock")) == ok(await centre.as_("operator").get("/v1/stock"))
    acts = {entry["act"] for entry in ok(await district.get("/v1/audit", params={"limit": 500}))}
    assert {"stock.deliver", "stock.reserve", "application.submit", "card.enable", "ecard.create"} <= acts
    assert {client["id"] for client in ok(await district.get("/v1/clients"))} == {"beijing", "district"}
    phone = Phone(centre, "district")
    await phone.sign_up(1, beijing["card_number"])
    code = ok(await phone.post("codes", {"scene": "identity"}), 201)["code"]
    await centre.register("hospital", ("verifier",), ELSEWHERE)
    body = {"code": code, "scene": "identity"}
    assert ok(await centre.as_("hospital").post("/v1/ecard-codes/validate", json=body))["region"] == REGION


async def test_only_an_operator_of_everywhere_makes_a_verifier(centre: Centre) -> None:
    await centre.register("hebei", ("operator",), ELSEWHERE)
    body = {"id": "new", "name": "n", "roles": ["wallet", "verifier"], "region": ELSEWHERE, "public_jwk": JWK}
    refused(await centre.as_("hebei").post("/v1/clients", json=body), "CLIENT_FORBIDDEN", 403)
    ok(await centre.as_("hebei").post("/v1/clients", json=body | {"roles": ["wallet"]}), 201)
    ok(await centre.as_("operator").post("/v1/clients", json=body | {"id": "new-2"}), 201)
