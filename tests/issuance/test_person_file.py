"""One card, one person, one file: all of it, masked, recorded, and of the own region only."""

from __future__ import annotations

from typing import Any

from tests.issuance.conftest import Centre, application, atr, both_engines, ok, refused
from tests.issuance.phone import Phone
from tests.issuance.supervision import statements

REASON = "holder asks at the counter"
BUDGET = 18


async def _read(centre: Centre, subject: str, *, by: str = "operator") -> Any:
    return await centre.as_(by).post("/v1/person-files", json={"subject": subject, "reason": REASON})


async def _life(centre: Centre) -> dict[str, Any]:
    """A card that was issued, used by code, lost for a while and released."""
    await centre.stock()
    made = ok(await centre.apply(1, person={"telephone": "13900001234"}), 201)
    outcome = await centre.run(ok(await centre.start(made["id"], atr(1)), 201))
    card = outcome["result"]["card_number"]
    phone = Phone(centre)
    await phone.sign_up(1, card)
    code = ok(await phone.post("codes", {"scene": "identity"}), 201)
    used = {"code": code["code"], "scene": "identity"}
    ok(await centre.as_("verifier").post("/v1/ecard-codes/validate", json=used))
    for act, body in (("loss", {"kind": "temporary"}), ("release", {})):
        headers = {"Idempotency-Key": f"{act}-0001"}
        ok(await centre.as_("operator").post(f"/v1/cards/{card}/{act}", json=body, headers=headers))
    return made | {"card_number": card}


@both_engines
async def test_everything_about_a_holder(centre: Centre) -> None:
    made = await _life(centre)
    await _read(centre, f"card:{made['card_number']}")
    file = ok(await _read(centre, f"card:{made['card_number']}"))
    assert [card["card_number"] for card in file["cards"]] == [made["card_number"]]
    ecard = file["cards"][0]["ecard"]
    assert (ecard["state"], [(link["channel"], link["state"]) for link in ecard["links"]]) == (
        "active",
        [("wallet", "active")],
    )
    assert [one["receipt_number"] for one in file["applications"]] == [made["receipt_number"]]
    (loss,) = file["losses"]
    assert (loss["kind"], loss["end_zh"]) == ("lose_temporarily", "解除临时挂失")
    assert {"issue", "lose_temporarily", "release"} <= {event["act"] for event in file["events"]}
    assert [(use["way"], use["by"]) for use in file["uses"]] == [("code", "verifier")]
    assert {"application.submit", "card.enable", "person.file"} <= {entry["act"] for entry in file["audit"]}
    for subject in (f"application:{made['id']}", f"receipt:{made['receipt_number']}", f"person:{file['person_id']}"):
        assert ok(await _read(centre, subject))["person_id"] == file["person_id"]


async def test_it_is_masked_and_reading_is_recorded(centre: Centre) -> None:
    made = await _life(centre)
    answer = await _read(centre, f"card:{made['card_number']}")
    person = application(1)["person"]
    for hidden in (person["name"], person["social_security_number"], "13900001234"):
        assert hidden not in answer.text
    assert answer.json()["telephone"] == "139****1234"
    subject = f"person:{answer.json()['person_id']}"
    (entry,) = ok(await centre.as_("operator").get("/v1/audit", params={"subject": subject}))
    assert (entry["act"], entry["reason"]) == ("person.file", REASON)


async def test_another_region_finds_nobody(centre: Centre) -> None:
    await centre.register("hebei", ("operator",), "130000")
    made = await _life(centre)
    person = ok(await _read(centre, f"card:{made['card_number']}"))["person_id"]
    subjects = (f"card:{made['card_number']}", f"application:{made['id']}", f"person:{person}")
    missing = await _read(centre, "card:A99999999", by="hebei")
    refused(missing, "NOT_FOUND", 404)
    for subject in subjects:
        assert (await _read(centre, subject, by="hebei")).text == missing.text


async def test_a_reason_is_needed(centre: Centre) -> None:
    body = {"subject": "card:A00000011", "reason": ""}
    assert (await centre.as_("operator").post("/v1/person-files", json=body)).status_code == 422
    assert (await centre.as_("terminal").post("/v1/person-files", json=body | {"reason": REASON})).status_code == 403


async def test_statements_of_a_file(centre: Centre) -> None:
    made = await _life(centre)
    with statements(centre) as seen:
        ok(await _read(centre, f"card:{made['card_number']}"))
    assert len(seen) <= BUDGET + 6, seen
