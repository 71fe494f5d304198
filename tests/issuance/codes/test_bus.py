"""The field's interface and the bus's envelope, against a partner's own program."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuance.codes.envelope import BusKeys, EnvelopeError
from tests.issuance.codes.partner import Partner
from tests.issuance.codes.stand import show
from tests.issuance.conftest import Centre, ok, refused
from tests.issuance.phone import Phone

PLAIN, KEYS = "/ecard/v1/qrcode/valid", "/v1/clients/verifier/bus-keys"
ciphers = pytest.mark.parametrize("cipher", ["sm4-cbc", "aes-ecb"])


async def partner(centre: Centre, cipher: str) -> Partner:
    made = ok(await centre.as_("operator").post(KEYS, json={"cipher": cipher}), 201)
    return Partner(centre, **made)


@pytest.mark.parametrize("busi_type", ["01", "02", "03", "04"])
async def test_plain_as_the_field_has_it(centre: Centre, phone: Phone, busi_type: str) -> None:
    centre.store.sql("UPDATE clients SET items = '[\"name\", \"social_security_number\"]' WHERE id = 'verifier'")
    code = (await show(phone, "payment" if busi_type == "02" else "identity"))["code"]
    body = {"qrCode": code, "busiType": busi_type, "channelNo": "1234567890"}
    answer = ok(await centre.as_("verifier").post(PLAIN, json=body))
    assert (answer["msgCode"], answer["msg"]) == ("000000", "成功")
    result = answer["result"]
    assert (result["esscNo"], result["signLevel"], result["aab301"]) == (phone.ecard_no, "2", "110000")
    if busi_type == "02":
        assert not {"name", "idcard"} & result.keys()
    else:
        assert (result["name"], result["idcard"][:6]) == ("测试一", "990100")
    again = ok(await centre.as_("verifier").post(PLAIN, json=body))
    assert (again["msgCode"], again["result"]) == ("700", {"code": "CODE_USED"})
    ((act, outcome),) = centre.store.sql("SELECT act, outcome FROM audit_entries WHERE outcome = 'CODE_USED'")
    assert (act, outcome) == (f"POST {PLAIN}", "CODE_USED")
    assert ok(await phone.get("uses"))["items"][0]["act"] == f"field.{busi_type}"


async def test_the_level_without_an_account_is_one(centre: Centre, phone: Phone) -> None:
    """As after a replacement, until the new account is open."""
    centre.store.sql("UPDATE card_accounts SET state = 'closed'")
    body = {"qrCode": (await show(phone))["code"], "busiType": "01"}
    assert ok(await centre.as_("verifier").post("/ecard/v1/qrcode/valid", json=body))["result"]["signLevel"] == "1"


async def test_plain_without_registration(centre: Centre, phone: Phone) -> None:
    """Masked, no number; and a caller that is none gets a problem, not an answer."""
    body = {"qrCode": (await show(phone))["code"], "busiType": "01"}
    refused(await centre.anyone().post(PLAIN, json=body), "CLIENT_UNKNOWN", 401)
    refused(await centre.as_("wallet").post(PLAIN, json=body), "CLIENT_FORBIDDEN", 403)
    result = ok(await centre.as_("verifier").post(PLAIN, json=body))["result"]
    assert result["name"] == "测*一"
    assert "idcard" not in result


@ciphers
async def test_envelope(centre: Centre, phone: Phone, cipher: str) -> None:
    bus = await partner(centre, cipher)
    answer = ok(await bus.ask({"qrCode": (await show(phone))["code"], "busiType": "01"}))
    assert answer["msgCode"] == "000000"
    assert bus.decrypt(answer["result"]["encrypt"])["esscNo"] == phone.ecard_no
    unknown = ok(await bus.ask({"qrCode": "OC1.x", "busiType": "01"}))
    assert (unknown["msgCode"], bus.decrypt(unknown["result"]["encrypt"])) == ("700", {"code": "CODE_UNKNOWN"})


@ciphers
async def test_envelope_attacks(centre: Centre, phone: Phone, cipher: str) -> None:
    bus = await partner(centre, cipher)
    code = (await show(phone))["code"]
    security = bus.encrypt(json.dumps({"qrCode": code, "busiType": "01"}).encode())
    good = bus.headers(security)
    other = bus.encrypt(json.dumps({"qrCode": code, "busiType": "02"}).encode())
    refused(await bus.send(other, good), "CLIENT_UNKNOWN", 401)
    for name in good:
        refused(await bus.send(security, good | {name: "x"}), "CLIENT_UNKNOWN", 401)
        rest = {header: value for header, value in good.items() if header != name}
        refused(await bus.send(security, rest), "CLIENT_UNKNOWN", 401)
    refused(await bus.ask({}, _api_name="sign_info"), "NOT_FOUND", 404)
    refused(await bus.ask({}, _api_version="2.0.0"), "NOT_FOUND", 404)
    for value in ({}, [], "x", {"qrCode": code}, {"qrCode": code, "busiType": "05"}):
        refused(await bus.ask(value), "INPUT_INVALID", 400)
    ok(await bus.send(security, good))
    refused(await bus.send(security, good), "REQUEST_REPLAYED", 409)
    centre.clock.advance(301)
    refused(await bus.send(security, good), "REQUEST_EXPIRED", 401)
    stale = bus.headers(security, _api_timestamp=str(round((centre.clock().timestamp() + 301) * 1000)))
    refused(await bus.send(security, stale), "REQUEST_EXPIRED", 401)


async def test_keys_end_with_new_ones_suspension_or_revocation(centre: Centre) -> None:
    operator = centre.as_("operator")
    first, second = await partner(centre, "sm4-cbc"), await partner(centre, "aes-ecb")
    ask = {"qrCode": "OC1.x", "busiType": "01"}
    refused(await first.ask(ask), "CLIENT_UNKNOWN", 401)
    ok(await second.ask(ask))
    assert (await operator.delete(KEYS)).status_code == 204
    refused(await second.ask(ask), "CLIENT_UNKNOWN", 401)
    third = await partner(centre, "sm4-cbc")
    assert third.secret.encode() not in centre.store.stored()
    assert bytes.fromhex(third.key) not in centre.store.stored()
    ok(await operator.post("/v1/clients/verifier/suspend"))
    refused(await third.ask(ask), "CLIENT_UNKNOWN", 401)
    refused(await operator.post("/v1/clients/wallet/bus-keys", json={"cipher": "sm4-cbc"}), "NOT_FOUND", 404)


@ciphers
def test_every_bit_of_a_changed_body_is_refused_or_means_nothing(cipher: Any) -> None:
    """The signature keeps these out; what opens wrongly is still one error, and never a crash."""
    keys = BusKeys.new(cipher)
    assert keys.decrypted(keys.encrypted({"a": "值" * 20})) == {"a": "值" * 20}

    @settings(max_examples=100)
    @given(st.binary(max_size=80) | st.text(max_size=80))
    def run(noise: bytes | str) -> None:
        text = noise if isinstance(noise, str) else base64.b64encode(noise).decode()
        with suppress(EnvelopeError):
            assert isinstance(keys.decrypted(text), dict)

    run()
    assert keys.secret not in repr(keys)
    assert keys.key.hex() not in repr(keys)
