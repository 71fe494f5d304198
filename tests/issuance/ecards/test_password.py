"""Six digits for all channels: weak ones, wrong ones, what they are good for, and what a stolen database tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuance.clerks.passwords import fits
from issuance.ecards import holder, passwords
from issuance.ecards.passwords import is_weak
from issuance.persons.schemas import PersonData
from issuance.tasks import run_once
from tests.issuance.conftest import Centre, application, both_engines, ok, refused
from tests.issuance.furnished import furnished
from tests.issuance.phone import PASSWORD, Phone, claim

WRONG = "730264"
NEW = "950371"
DAY = 24 * 3600


@pytest.fixture
async def phones(centre: Centre) -> tuple[Phone, Phone]:
    """One electronic card on two channels."""
    return await furnished(centre, "two channels", lambda: _phones(centre))


async def _phones(centre: Centre) -> tuple[Phone, Phone]:
    await centre.stock()
    await centre.register("other", ("wallet",))
    number = (await centre.issue(1))["card_number"]
    found = (Phone(centre), Phone(centre, "other"))
    for phone in found:
        await phone.sign_up(1, number)
    return found


async def _check(phone: Phone, password: str = PASSWORD, purpose: str = "payment") -> Any:
    return await phone.post("password-checks", {"password": password, "purpose": purpose})


# -- weak ones --------------------------------------------------------------------------------------------------------

PERSON = PersonData.model_validate(application(1)["person"] | {"telephone": "13871940265"})


@pytest.mark.parametrize(
    "password",
    [
        *("000000", "121212", "111222", "123123", "112233", "123498", "984321", "901111", "234567", "765432"),
        *("199001", "900101", "990100", PERSON.social_security_number[-7:-1], "010190", "719402"),
    ],
)
def test_weak(password: str) -> None:
    assert is_weak(password, PERSON)


@pytest.mark.parametrize("password", ["482915", "730264", "900102", "123965", "554870"])
def test_not_weak(password: str) -> None:
    assert not is_weak(password, PERSON)


@given(st.text(alphabet="0123456789", min_size=6, max_size=6))
def test_turned_round_a_pattern_is_one_still(password: str) -> None:
    nobody = PERSON.model_copy(update={"telephone": None, "birth_date": "", "social_security_number": ""})
    assert is_weak(password, nobody) == is_weak(password[::-1], nobody)


async def test_a_weak_one_is_not_taken(centre: Centre) -> None:
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    phone = Phone(centre)
    body = refused(await phone.ask_to_sign(1, number, password="199001"), "INPUT_INVALID", 400)
    assert [field["reason"] for field in body["fields"]] == ["ecard_password_weak"]
    assert "199001" not in str(body)
    await phone.sign_up(1, number)
    weak = {"old_password": PASSWORD, "new_password": "111222"}
    for answer in (
        await phone.put("password", weak),
        await phone.post("password/reset", claim(1, number) | {"new_password": "123456"}),
    ):
        assert refused(answer, "INPUT_INVALID", 400)["fields"][0]["location"] == "body.new_password"


# -- wrong ones -------------------------------------------------------------------------------------------------------


@both_engines
async def test_six_wrong_ones_of_all_channels_lock(phones: tuple[Phone, Phone]) -> None:
    one, other = phones
    for n in range(5):
        body = refused(await _check(phones[n % 2], WRONG), "ECARD_PASSWORD_WRONG", 403)
        assert body["detail"] == f"tries left: {5 - n}"
    refused(await _check(one, WRONG), "ECARD_PASSWORD_LOCKED", 423)
    one.centre.restart()
    for phone in phones:
        refused(await _check(phone), "ECARD_PASSWORD_LOCKED", 423)
        assert ok(await phone.get())["password_locked_until"] == "2026-01-06T01:00:00Z"
    change = {"old_password": PASSWORD, "new_password": NEW}
    refused(await other.put("password", change), "ECARD_PASSWORD_LOCKED", 423)
    one.centre.clock.advance(DAY - 1)
    refused(await _check(one), "ECARD_PASSWORD_LOCKED", 423)
    one.centre.clock.advance(1)
    refused(await _check(one, WRONG), "ECARD_PASSWORD_WRONG", 403)
    ok(await _check(one), 201)
    assert ok(await one.get())["password_locked_until"] is None
    trail = ok(await one.centre.as_("operator").get("/v1/audit", params={"subject": f"ecard:{one.ecard_no}"}))
    outcomes = [entry["outcome"] for entry in trail]
    assert (outcomes.count("ECARD_PASSWORD_WRONG"), outcomes.count("ECARD_PASSWORD_LOCKED")) == (6, 5)


async def test_a_day_forgets_and_a_right_one_too(phones: tuple[Phone, Phone]) -> None:
    one, other = phones
    for _ in range(5):
        refused(await _check(one, WRONG), "ECARD_PASSWORD_WRONG", 403)
    ok(await _check(other), 201)
    for n in range(5):
        one.centre.clock.advance(DAY / 5)
        assert refused(await _check(one, WRONG), "ECARD_PASSWORD_WRONG", 403)["detail"] == f"tries left: {5 - n}"
    one.centre.clock.advance(DAY / 5)
    assert refused(await _check(one, WRONG), "ECARD_PASSWORD_WRONG", 403)["detail"] == "tries left: 1"


@both_engines
async def test_two_channels_at_once_win_no_tries(phones: tuple[Phone, Phone]) -> None:
    answers = await asyncio.gather(*(_check(phones[n % 2], WRONG) for n in range(10)))
    codes = [answer.json()["code"] for answer in answers]
    assert set(codes) <= {"ECARD_PASSWORD_WRONG", "ECARD_PASSWORD_LOCKED"}
    assert codes.count("ECARD_PASSWORD_WRONG") <= 5
    refused(await _check(phones[0]), "ECARD_PASSWORD_LOCKED", 423)


async def test_a_crash_while_it_is_looked_at_is_a_wrong_try(
    phones: tuple[Phone, Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object) -> bool:
        raise RuntimeError("the process dies")

    with monkeypatch.context() as patch:
        patch.setattr(passwords, "fits", crash)
        for _ in range(6):
            refused(await _check(phones[0]), "INTERNAL", 500)
    refused(await _check(phones[0]), "ECARD_PASSWORD_LOCKED", 423)


async def test_wrong_ones_at_signing_count_too(phones: tuple[Phone, Phone]) -> None:
    one, _ = phones
    number = one.centre.store.sql("SELECT card_number FROM ecards")[0][0]
    await one.centre.register("third", ("wallet",))
    thief = Phone(one.centre, "third", password=WRONG)
    for n in range(6):
        one.centre.clock.advance(60)
        code, status = ("ECARD_PASSWORD_WRONG", 403) if n < 5 else ("ECARD_PASSWORD_LOCKED", 423)
        refused(await thief.ask_to_sign(1, number), code, status)
    refused(await _check(one), "ECARD_PASSWORD_LOCKED", 423)


# -- changed and forgotten --------------------------------------------------------------------------------------------


async def test_change(phones: tuple[Phone, Phone]) -> None:
    one, other = phones
    seq = await other.busi_seq("loss")
    change = {"old_password": PASSWORD, "new_password": NEW}
    first = await one.put("password", change, key="change-01")
    again = await one.put("password", change, key="change-01")
    assert ok(again) == ok(first)
    assert again.headers["Idempotency-Replayed"] == "true"
    refused(await other.post("loss", {"busi_seq": seq, "kind": "formal"}), "BUSI_SEQ_INVALID", 403)
    refused(await _check(other), "ECARD_PASSWORD_WRONG", 403)
    ok(await _check(other, NEW), 201)


async def test_reset_asks_who_it_is_again(phones: tuple[Phone, Phone]) -> None:
    one, other = phones
    number = one.centre.store.sql("SELECT card_number FROM ecards")[0][0]
    for _ in range(6):
        await _check(other, WRONG)
    seq_free = {"new_password": NEW}
    refused(await one.post("password/reset", claim(1, number) | seq_free | {"name": "测试他"}), "ECARD_MISMATCH", 403)
    await one.centre.stock(2, 2)
    stranger = (await one.centre.issue(2))["card_number"]
    refused(await one.post("password/reset", claim(2, stranger) | seq_free), "ECARD_MISMATCH", 403)
    ok(await one.post("password/reset", claim(1, number) | seq_free))
    ok(await _check(other, NEW), 201)


# -- what a password is good for --------------------------------------------------------------------------------------


async def test_busi_seq_is_for_one_purpose_phone_and_act(phones: tuple[Phone, Phone]) -> None:
    one, other = phones
    loss = {"kind": "temporary"}
    for purpose, sender in (("payment", one), ("loss", other)):
        seq = await one.busi_seq(purpose)
        refused(await sender.post("loss", loss | {"busi_seq": seq}), "BUSI_SEQ_INVALID", 403)
        refused(await one.post("loss", loss | {"busi_seq": seq}), "BUSI_SEQ_INVALID", 403)
    refused(await one.post("loss", loss | {"busi_seq": "x" * 32}), "BUSI_SEQ_INVALID", 403)
    seq = await one.busi_seq("loss")
    ok(await one.post("loss", loss | {"busi_seq": seq}))
    refused(await one.post("loss/release", {"busi_seq": seq}), "BUSI_SEQ_INVALID", 403)


@pytest.mark.parametrize(("seconds", "good"), [(299, True), (300, False)])
async def test_busi_seq_lives_five_minutes(phones: tuple[Phone, Phone], seconds: float, good: bool) -> None:
    one, _ = phones
    answer = ok(await _check(one, purpose="loss"), 201)
    assert answer["expires_at"] == "2026-01-05T01:05:00Z"
    one.centre.clock.advance(seconds)
    lost = await one.post("loss", {"busi_seq": answer["busi_seq"], "kind": "temporary"})
    _ = ok(lost) if good else refused(lost, "BUSI_SEQ_INVALID", 403)


async def test_a_crash_between_claim_and_commit(phones: tuple[Phone, Phone], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done; the same request again goes on with the same proof, any other has to ask for a new one."""
    one, _ = phones
    body = {"busi_seq": await one.busi_seq("loss"), "kind": "temporary"}

    async def crash(*_: object, **__: object) -> None:
        raise RuntimeError("the process dies")

    with monkeypatch.context() as patch:
        patch.setattr(holder.HolderActs, "lose", crash)
        refused(await one.post("loss", body, key="loss-key-1"), "INTERNAL", 500)
    assert ok(await one.get())["card_state"] == "1"
    refused(await one.post("loss", body, key="loss-key-2"), "BUSI_SEQ_INVALID", 403)
    assert ok(await one.post("loss", body, key="loss-key-1"))["card_state"] == "4"
    assert (await one.post("loss", body, key="loss-key-1")).headers["Idempotency-Replayed"] == "true"


@both_engines
async def test_a_copy_of_the_database_tells_nothing(phones: tuple[Phone, Phone]) -> None:
    """Neither the digits nor a digest of them without a key, kept answers and the audit included."""
    one, _ = phones
    seq = await one.busi_seq("loss")
    ok(await one.post("loss", {"busi_seq": seq, "kind": "temporary"}))
    await run_once(one.centre.app.state.services)
    stored = one.centre.store.stored()
    ((kept,),) = one.centre.store.sql("SELECT password_hash FROM ecards")
    assert kept.startswith("$argon2id$")
    assert not await fits(PASSWORD, kept)
    assert f'"{PASSWORD}"'.encode() not in stored
    assert seq.encode() not in stored
