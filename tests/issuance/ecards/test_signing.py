"""An electronic card comes onto a phone: who may, with what, and what nobody learns by trying."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from issuance.identity.adapters import IdentityAnswer, IdentityOutcome
from issuance.persons.schemas import PersonData
from tests.issuance.conftest import REGION, Centre, atr, both_engines, ok, refused
from tests.issuance.phone import Phone, signed_phone


class Register:
    says = IdentityOutcome.MATCHES

    async def ask(self, person: PersonData) -> IdentityAnswer:
        assert person.name == "测试一"
        return IdentityAnswer(outcome=self.says)

    async def close(self) -> None:
        return None


async def _card(centre: Centre, serial: int = 1, **application: Any) -> str:
    application_id = ok(await centre.apply(serial, **application), 201)["id"]
    await centre.stock(serial, serial)
    outcome = await centre.run(ok(await centre.start(application_id, atr(serial)), 201))
    return str(outcome["result"]["card_number"])


async def _channel(centre: Centre, name: str, region: str | None = None) -> None:
    await centre.register(name, ("wallet",), region)


async def test_fields_of_the_platform(centre: Centre) -> None:
    number = await _card(centre)
    phone = Phone(centre)
    signed = await phone.sign_up(1, number)
    assert (len(signed["ecard_no"]), len(signed["sign_no"]), len(signed["sign_seq"])) == (32, 32, 20)
    assert (signed["sign_level"], signed["sign_date"], signed["valid_date"]) == (1, "20260105", "20360105")
    assert (signed["region"], signed["holder"]["name"]) == (REGION, "测*一")
    shown = ok(await phone.get())
    assert (shown["usable"], shown["reason"], shown["card_state"], shown["level"]) == (True, "", "1", 1)
    (link,) = shown["links"]
    assert (link["sign_no"], link["is_this_phone"], link["channel"]) == (phone.sign_no, True, "wallet")
    assert len(link["channel_no"]) == 10


async def test_a_card_made_without_one_gets_it_now(centre: Centre) -> None:
    number = await _card(centre, with_ecard=False)
    assert centre.store.sql("SELECT count(*) FROM ecards") == [(0,)]
    phone = Phone(centre)
    await phone.sign_up(1, number)
    assert ok(await phone.get())["usable"] is True


async def test_what_does_not_fit_is_one_answer(centre: Centre) -> None:
    """Somebody's name, number or card, a sealed or cancelled card, a register that says no: nothing tells which."""
    number, other = await _card(centre), await _card(centre, 2)
    phone = Phone(centre)
    answers = []
    for change in (
        {"name": "测试他"},
        {"social_security_number": "990100199001010004"},
        {"card_number": other},
        {"card_number": "A00099995"},
        {"card_number": "nonsense"},
        {"card_number": number[:-1] + ("1" if number[-1] != "1" else "2")},
    ):
        centre.clock.advance(60)
        answers.append(refused(await phone.ask_to_sign(1, number, **change), "ECARD_MISMATCH", 403))
    centre.clock.advance(60)
    ok(
        await centre.as_("operator").post(
            f"/v1/cards/{number}/cancel", json={}, headers={"Idempotency-Key": "cancel-1"}
        )
    )
    answers.append(refused(await phone.ask_to_sign(1, number), "ECARD_MISMATCH", 403))
    assert all(answer == answers[0] for answer in answers)
    trail = ok(await centre.as_("operator").get("/v1/audit", params={"limit": 200}))
    assert [entry["act"] for entry in trail if entry["outcome"] == "ECARD_MISMATCH"] == ["POST /v1/ecards"] * 7


async def test_the_register_has_the_last_word(centre: Centre) -> None:
    number = await _card(centre)
    register = Register()
    centre.app.state.services = replace(centre.app.state.services, identity=register)
    phone = Phone(centre)
    for said in (IdentityOutcome.MISMATCH, IdentityOutcome.UNKNOWN, IdentityOutcome.DECEASED):
        register.says = said
        refused(await phone.ask_to_sign(1, number), "ECARD_MISMATCH", 403)
    register.says = IdentityOutcome.UNAVAILABLE
    refused(await phone.ask_to_sign(1, number), "IDENTITY_UNAVAILABLE", 503)
    register.says = IdentityOutcome.MATCHES
    ok(await phone.ask_to_sign(1, number), 201)


async def test_so_many_signings_a_minute(centre: Centre) -> None:
    """For one number and one card number, on whatever channel."""
    number = await _card(centre)
    await _channel(centre, "other")
    phones = [Phone(centre), Phone(centre, "other")]
    for n in range(5):
        refused(await phones[n % 2].ask_to_sign(1, number, name="测试他"), "ECARD_MISMATCH", 403)
    for phone in phones:
        refused(await phone.ask_to_sign(1, number), "REQUEST_LIMIT", 429)
    refused(await phones[0].ask_to_sign(2, number), "REQUEST_LIMIT", 429)
    for written in (number.lower(), f"{number[:4]}-{number[4:]}"):
        refused(await phones[0].ask_to_sign(3, written), "REQUEST_LIMIT", 429)
    centre.clock.advance(60)
    ok(await phones[1].ask_to_sign(1, number), 201)


async def test_the_same_password_on_every_channel(centre: Centre) -> None:
    number = await _card(centre)
    await _channel(centre, "other")
    first, second = Phone(centre), Phone(centre, "other")
    await first.sign_up(1, number)
    refused(await second.ask_to_sign(1, number, password="730264"), "ECARD_PASSWORD_WRONG", 403)
    await second.sign_up(1, number)
    assert second.ecard_no == first.ecard_no
    assert {link["channel"] for link in ok(await second.get())["links"]} == {"wallet", "other"}


async def test_another_phone_of_the_channel_takes_its_place(centre: Centre) -> None:
    number = await _card(centre)
    await _channel(centre, "other")
    old, new, elsewhere = Phone(centre), Phone(centre), Phone(centre, "other")
    for phone in (old, elsewhere, new):
        await phone.sign_up(1, number)
    refused(await old.get(), "ECARD_UNLINKED", 403)
    assert {link["sign_no"] for link in ok(await new.get())["links"]} == {new.sign_no, elsewhere.sign_no}
    ok(await elsewhere.get())


async def test_the_same_request_again(centre: Centre) -> None:
    number = await _card(centre)
    phone = Phone(centre)
    first = ok(await phone.ask_to_sign(1, number, key="signing-1"), 201)
    again = await phone.ask_to_sign(1, number, key="signing-1")
    assert ok(again, 201) == first
    assert again.headers["Idempotency-Replayed"] == "true"
    thief = Phone(centre)
    refused(await thief.ask_to_sign(1, number, key="signing-1"), "IDEMPOTENCY_CONFLICT", 409)


@both_engines
async def test_two_phones_at_once(centre: Centre) -> None:
    """Each either signs or is told; one link is live in the end, and one password holds."""
    number = await _card(centre)
    phones = [Phone(centre, password=password) for password in ("482915", "730264")]
    answers = await asyncio.gather(*(phone.ask_to_sign(1, number) for phone in phones))
    assert 201 in {answer.status_code for answer in answers}
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} <= {
        "CONFLICT",
        "ECARD_PASSWORD_WRONG",
    }
    assert centre.store.sql("SELECT count(*) FROM ecard_links WHERE state = 'active'") == [(1,)]


async def test_a_channel_of_elsewhere_finds_nothing(centre: Centre) -> None:
    number = await _card(centre)
    await _channel(centre, "hebei", "130000")
    await _channel(centre, "beijing", REGION)
    refused(await Phone(centre, "hebei").ask_to_sign(1, number), "ECARD_MISMATCH", 403)
    await Phone(centre, "beijing").sign_up(1, number)


async def test_a_suspended_channel_shows_nothing(centre: Centre) -> None:
    await centre.stock()
    phone = await signed_phone(centre)
    ok(await centre.as_("operator").post("/v1/clients/wallet/suspend"))
    refused(await phone.get(), "CLIENT_UNKNOWN", 401)


async def test_shape(centre: Centre) -> None:
    changes: list[dict[str, Any]] = [
        {"public_key": "04" + "3f" * 32},
        {"public_key": "3f" * 33},
        {"password": "48291"},
        {"password": "48291a"},
        {"password": "４８２９１５"},
        {"more": 1},
    ]
    for change in changes:
        refused(await Phone(centre).ask_to_sign(1, "A00000011", **change), "INPUT_INVALID", 422)


async def test_channel_numbers(centre: Centre) -> None:
    """Given at registration, else drawn; only wallets have one, and no two the same."""
    operator = centre.as_("operator")
    jwk = centre.client_keys["wallet"].public_jwk()
    body = {"name": "n", "roles": ["wallet"], "public_jwk": jwk}
    made = ok(await operator.post("/v1/clients", json=body | {"id": "a", "channel_no": "0123456789"}), 201)
    assert made["channel_no"] == "0123456789"
    drawn = ok(await operator.post("/v1/clients", json=body | {"id": "b"}), 201)["channel_no"]
    assert len(drawn) == 10
    refused(await operator.post("/v1/clients", json=body | {"id": "c", "channel_no": drawn}), "CONFLICT", 409)
    plain = {"id": "d", "name": "n", "roles": ["terminal"], "public_jwk": jwk}
    assert ok(await operator.post("/v1/clients", json=plain), 201)["channel_no"] is None
