"""Personal data: sealed where it rests, masked where it shows, absent from logs."""

from __future__ import annotations

import logging

import pytest

from issuance.sealing import Sealer
from tests.issuance.conftest import SECRET_NAME, SECRET_NUMBER, Centre, both_engines, ok, refused, reset
from tests.issuance.phone import PASSWORD, Phone


@both_engines
async def test_no_personal_data_in_database_or_logs(centre: Centre, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await centre.stock()
    person = {"name": SECRET_NAME, "social_security_number": SECRET_NUMBER, "birth_date": "19900101"}
    key = "privacy-check-1"
    items = {"DF01EF05": {"21": "保密路9号"}}
    application_id = ok(await centre.apply(1, person=person, items=items, key=key), 201)["id"]
    await centre.apply(1, person=person, key="privacy-check-2")
    await centre.apply(1, person=person | {"birth_date": "x"}, key="privacy-check-3")
    reply = ok(await centre.start(application_id, f"3B6D0000{reset(1)}"), 201)
    failed = await centre.run(reply, "6F00")  # the fake script raises an error that quotes the name
    assert failed["failure"] == "INTERNAL"
    result = (await centre.run(ok(await centre.start(application_id, f"3B6D0000{reset(1)}"), 201)))["result"]
    phone, verifier = Phone(centre), centre.as_("verifier")
    await phone.sign_up(1, result["card_number"], name=SECRET_NAME, social_security_number=SECRET_NUMBER)
    code = ok(await phone.post("codes", {"scene": "identity"}), 201)["code"]
    busi_seq = await phone.busi_seq("payment")
    body = {"code": code, "scene": "identity"}
    ok(await verifier.post("/v1/ecard-codes/validate", json=body, headers={"Idempotency-Key": "validation"}))
    stored = centre.store.stored()
    logged = caplog.text.encode() + b"".join(repr(record.__dict__).encode() for record in caplog.records)
    spoken = (code, busi_seq, f'"{PASSWORD}"')
    for secret in (SECRET_NAME, SECRET_NUMBER, SECRET_NUMBER[6:], "19900101", "保密路", *spoken):
        for form in (secret.encode(), secret.encode("gb18030"), secret.encode().hex().encode(), repr(secret).encode()):
            assert form not in stored, secret
            assert form not in logged, secret
    assert b'"route": "/v1/applications"' in logged


async def test_card_number_is_not_logged(centre: Centre, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="issuance")
    refused(await centre.as_("operator").get("/v1/cards/A00000011"), "NOT_FOUND", 404)
    assert "/v1/cards/{card_number}" in caplog.text
    assert "A00000011" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("issuance"))


@both_engines
async def test_sealed_data_belongs_to_its_row(centre: Centre) -> None:
    for serial in (1, 2):
        ok(await centre.apply(serial), 201)
    (_, one), (second, _) = centre.store.sql("SELECT id, sealed FROM persons")
    centre.store.sql("UPDATE persons SET sealed = :one WHERE id = :second", one=one, second=second)
    ((application_id,),) = centre.store.sql("SELECT id FROM applications WHERE person_id = :second", second=second)
    answer = await centre.as_("operator").get(f"/v1/applications/{application_id}")
    assert answer.status_code == 500
    assert answer.json()["detail"] == ""


async def test_index_tells_kinds_apart(centre: Centre) -> None:
    sealer = Sealer(centre.keys)
    assert sealer.index("a", "1") == sealer.index("a", "1") != sealer.index("b", "1")
