"""The adapter to the population register, against the simulated one: signed, answered once, never guessed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.client_auth import ClientAuth, ClientKey
from issuance.identity.adapters import HttpIdentityCheck, IdentityAddressError, IdentityOutcome, identity_check
from issuance.persons.schemas import PersonData
from issuance.settings import Settings
from simulators.public_security import FAULTS, PeopleFileError, Registered, SimPublicSecurity, load_people
from tests.issuance.conftest import application

KEY = ClientKey.generate("centre-1")
PERSON = PersonData(**application(1)["person"])
QUESTION = PERSON.model_dump(include={"name", "social_security_number", "sex", "birth_date"}) | {"request_id": "a" * 32}


@pytest.fixture
def police() -> SimPublicSecurity:
    people = {PERSON.social_security_number: Registered(PERSON.name, PERSON.sex, PERSON.birth_date)}
    return SimPublicSecurity(people, KEY.public_jwk(), KEY.audience)


def adapter(police: SimPublicSecurity, key: ClientKey = KEY) -> HttpIdentityCheck:
    return HttpIdentityCheck("http://127.0.0.1", key, timeout_s=1, transport=httpx.ASGITransport(police.app))


async def outcome(police: SimPublicSecurity, key: ClientKey = KEY, **change: Any) -> str:
    check = adapter(police, key)
    try:
        return (await check.ask(PERSON.model_copy(update=change))).outcome.value
    finally:
        await check.close()


async def test_what_the_register_says(police: SimPublicSecurity) -> None:
    assert await outcome(police) == "matches"
    assert await outcome(police, sex="9") == "matches"
    assert await outcome(police, name="测试乙") == "mismatch"
    assert await outcome(police, sex="2") == "mismatch"
    assert await outcome(police, birth_date="19900102") == "mismatch"
    assert await outcome(police, social_security_number="USA100000012345678") == "unknown"
    police.people[PERSON.social_security_number] = Registered(PERSON.name, "1", PERSON.birth_date, is_deceased=True)
    assert await outcome(police) == "deceased"


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_no_answer_is_unavailable(police: SimPublicSecurity, fault: str) -> None:
    police.faults[fault] = 1
    assert await outcome(police) == "unavailable"
    assert await outcome(police) == "matches"


async def test_a_stranger_gets_no_answer(police: SimPublicSecurity) -> None:
    assert await outcome(police, ClientKey.generate("centre-1")) == "unavailable"
    assert police.questions == 0


async def test_a_question_counts_once(police: SimPublicSecurity) -> None:
    body = json.dumps(QUESTION).encode()
    transport = httpx.ASGITransport(police.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", auth=ClientAuth(KEY)) as client:
        first = await client.post("/v1/identity-checks", content=body)
        headers = {"Authorization": first.request.headers["Authorization"]}
    assert first.json()["outcome"] == "matches"
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as thief:
        assert (await thief.post("/v1/identity-checks", content=body)).status_code == 401


def answering(reply: bytes, status: int = 200) -> HttpIdentityCheck:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=reply))
    return HttpIdentityCheck("https://register.example", KEY, timeout_s=1, transport=transport)


@settings(max_examples=60)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(lambda t: json.dumps({"outcome": t}).encode())))
def test_no_bytes_are_taken_for_a_match(reply: bytes) -> None:
    assert asyncio.run(answering(reply).ask(PERSON)).outcome is IdentityOutcome.UNAVAILABLE


async def test_an_answer_without_its_request_counts_for_nothing() -> None:
    reply = json.dumps({"outcome": "matches", "reference": "x", "request_id": "b" * 32}).encode()
    assert (await answering(reply).ask(PERSON)).outcome is IdentityOutcome.UNAVAILABLE


async def test_a_dead_register_is_unavailable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("silent", request=request)

    check = HttpIdentityCheck("https://register.example", KEY, timeout_s=1, transport=httpx.MockTransport(refuse))
    assert (await check.ask(PERSON)).outcome is IdentityOutcome.UNAVAILABLE


@pytest.mark.parametrize("url", ["http://register.example", "http://10.0.0.1", "ftp://127.0.0.1", "register"])
def test_personal_data_never_travel_in_the_clear(url: str) -> None:
    with pytest.raises(IdentityAddressError):
        HttpIdentityCheck(url, KEY, timeout_s=1)


async def test_settings_name_the_register(tmp_path: Path) -> None:
    with pytest.raises(IdentityAddressError):
        identity_check(Settings(identity_url="https://register.example"))
    KEY.save(tmp_path / "key.json")
    check = identity_check(Settings(identity_url="https://register.example", identity_key_path=tmp_path / "key.json"))
    assert isinstance(check, HttpIdentityCheck)
    await check.close()


def test_people_files(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    entry = {"name": "测试甲", "sex": "1", "birth_date": "19900101"}
    file.write_text(json.dumps({"990100199001010012": entry}), encoding="utf-8")
    assert load_people(file)["990100199001010012"] == Registered("测试甲", "1", "19900101")
    for odd in ("[]", "{", '{"1": {"name": "x"}}', '{"1": 1}'):
        file.write_text(odd, encoding="utf-8")
        with pytest.raises(PeopleFileError):
            load_people(file)
