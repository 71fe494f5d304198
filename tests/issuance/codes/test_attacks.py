"""Attacks on codes: each is refused with its own failure and leaves an audit entry; the honest next try works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuance.codes.text import ShownCode, digest_of, new_code
from tests.issuance.codes.conftest import use_redis
from tests.issuance.codes.stand import VALIDATE, scan, show
from tests.issuance.conftest import Centre, ok, refused
from tests.issuance.phone import Phone
from tests.issuance.redis_server import RedisServer

Attack = Callable[[Centre, Phone, str], Awaitable[Any]]


async def replayed(centre: Centre, _phone: Phone, code: str) -> Any:
    ok(await scan(centre, code))
    return await scan(centre, code)


async def other_caller(centre: Centre, _phone: Phone, code: str) -> Any:
    await centre.register("hospital", ("verifier",))
    ok(await scan(centre, code, key="validation-1"))
    return await scan(centre, code, key="validation-1", by="hospital")


async def other_request(centre: Centre, _phone: Phone, code: str) -> Any:
    ok(await scan(centre, code, key="validation-1"))
    return await scan(centre, code, key="validation-2")


async def too_late(centre: Centre, _phone: Phone, code: str) -> Any:
    centre.clock.advance(60)
    return await scan(centre, code)


async def wrong_scene(centre: Centre, _phone: Phone, code: str) -> Any:
    return await scan(centre, code, "login")


async def lost_card(centre: Centre, _phone: Phone, code: str) -> Any:
    centre.store.sql("UPDATE cards SET state = '2'")
    return await scan(centre, code)


async def cancelled_card(centre: Centre, _phone: Phone, code: str) -> Any:
    centre.store.sql("UPDATE ecards SET state = 'cancelled'")
    return await scan(centre, code)


async def unlinked(centre: Centre, phone: Phone, code: str) -> Any:
    ok(await phone.act(f"links/{phone.sign_no}/unlink", "unlink"))
    return await scan(centre, code)


async def suspended_channel(centre: Centre, _phone: Phone, code: str) -> Any:
    ok(await centre.as_("operator").post("/v1/clients/wallet/suspend"))
    return await scan(centre, code)


async def locked_password(centre: Centre, phone: Phone, code: str) -> Any:
    for _ in range(6):
        assert not (await phone.post("password-checks", {"password": "736159", "purpose": "loss"})).is_success
    return await scan(centre, code)


async def client_without_the_scene(centre: Centre, _phone: Phone, code: str) -> Any:
    centre.store.sql("UPDATE clients SET scenes = '[\"payment\"]' WHERE id = 'verifier'")
    return await scan(centre, code)


ATTACKS: dict[Attack, tuple[str, int, bool]] = {
    replayed: ("CODE_USED", 409, True),
    other_caller: ("CODE_USED_ELSEWHERE", 409, True),
    other_request: ("CODE_USED", 409, True),
    too_late: ("CODE_EXPIRED", 410, True),
    wrong_scene: ("CODE_SCENE", 409, True),
    lost_card: ("ECARD_NOT_USABLE", 409, True),
    cancelled_card: ("ECARD_NOT_USABLE", 409, True),
    unlinked: ("ECARD_UNLINKED", 403, True),
    suspended_channel: ("ECARD_UNLINKED", 403, True),
    locked_password: ("ECARD_PASSWORD_LOCKED", 423, True),
    client_without_the_scene: ("CLIENT_FORBIDDEN", 403, False),
}
"""Failure, status, and whether the entry names the electronic card."""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_attack(centre: Centre, phone: Phone, attack: Attack) -> None:
    failure, status, is_known = ATTACKS[attack]
    refused(await attack(centre, phone, (await show(phone))["code"]), failure, status)
    rows = centre.store.sql("SELECT subject FROM audit_entries WHERE outcome = :outcome", outcome=failure)
    assert rows[-1:] == [(f"ecard:{phone.ecard_no}" if is_known else "",)]


async def test_amount_above_the_limit(centre: Centre, phone: Phone) -> None:
    for amount, accepted in ((100_001, False), (100_000, True)):
        code = (await show(phone, "payment"))["code"]
        answer = await scan(centre, code, "payment", amount_fen=amount)
        if accepted:
            assert ok(answer)["limit_fen"] == 100_000
        else:
            refused(answer, "CODE_AMOUNT", 409)
    assert centre.store.sql("SELECT count(*) FROM audit_entries WHERE outcome = 'CODE_AMOUNT'") == [(1,)]


async def test_the_same_request_with_another_amount_is_another(centre: Centre, phone: Phone) -> None:
    code = (await show(phone, "payment"))["code"]
    ok(await scan(centre, code, "payment", key="validation-1", amount_fen=100))
    refused(await scan(centre, code, "payment", key="validation-1", amount_fen=99_999), "CODE_USED", 409)


@pytest.mark.parametrize(("seconds", "accepted"), [(59.9, True), (60, False), (-30, True), (-3600, True)])
async def test_clock(centre: Centre, phone: Phone, seconds: float, accepted: bool) -> None:
    """A clock set back prolongs a life, it never gives a second one."""
    code = (await show(phone))["code"]
    centre.clock.advance(seconds)
    answer = await scan(centre, code)
    if accepted:
        ok(answer)
        centre.clock.advance(-seconds)
        refused(await scan(centre, code), "CODE_USED", 409)
    else:
        refused(answer, "CODE_EXPIRED", 410)


async def test_truncated_extended_and_changed(centre: Centre, phone: Phone) -> None:
    """None is known, none spends the code."""
    code = (await show(phone))["code"]
    wrong = [code[:length] for length in range(1, len(code))] + [code + tail for tail in ("A", " ", "\n", "=")]
    wrong += [
        code.lower(),
        " " + code,
        code.replace("OC1", "OC2"),
        "二维码",
        code[:-1] + ("A" if code[-1] != "A" else "B"),
    ]
    for text in wrong:
        assert (await scan(centre, text)).json()["code"] == "CODE_UNKNOWN", text
    assert centre.store.sql("SELECT count(*) FROM audit_entries WHERE outcome = 'CODE_UNKNOWN'") == [(len(wrong),)]
    ok(await scan(centre, code))


async def test_wrong_scene_does_not_spend(centre: Centre, phone: Phone) -> None:
    code = (await show(phone, "payment"))["code"]
    refused(await scan(centre, code, "identity"), "CODE_SCENE", 409)
    ok(await scan(centre, code, "payment"))


@settings(max_examples=100)
@given(st.text(max_size=140))
def test_only_the_form_of_a_code_is_looked_up(text: str) -> None:
    digest = digest_of(text)
    assert digest is None or (text.startswith("OC1.") and len(text) == 47 and text.isascii())
    assert digest_of(new_code()) is not None


# -- the store ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def redis_phone(centre: Centre, with_redis: RedisServer, phone: Phone) -> Phone:
    return phone


async def test_redis_down_accepts_nothing(centre: Centre, with_redis: RedisServer, redis_phone: Phone) -> None:
    code = (await show(redis_phone))["code"]
    with_redis.stop()
    try:
        refused(await scan(centre, code), "ONE_TIME_UNAVAILABLE", 503)
        refused(await redis_phone.post("codes", {"scene": "identity"}), "ONE_TIME_UNAVAILABLE", 503)
        refused(await centre.anyone().get("/healthz"), "ONE_TIME_UNAVAILABLE", 503)
    finally:
        with_redis.start()
    refused(await scan(centre, code), "CODE_UNKNOWN", 404)
    ok(await scan(centre, (await show(redis_phone))["code"]))
    assert centre.store.sql("SELECT count(*) FROM audit_entries WHERE outcome = 'ONE_TIME_UNAVAILABLE'")[0][0] >= 1


async def test_an_emptied_redis_does_not_take_a_proof_again(
    centre: Centre, with_redis: RedisServer, redis_phone: Phone
) -> None:
    """Neither does a process that keeps its entries itself and was started again."""
    url, body = redis_phone.path("codes"), {"scene": "identity"}
    proof = redis_phone.proof("POST", url, json.dumps(body).encode())
    ok(await redis_phone.post("codes", body, proof=proof), 201)
    for forget in (with_redis.empty, centre.restart):
        centre.clock.advance(5)
        forget()
        refused(await redis_phone.post("codes", body, proof=proof), "ONE_TIME_UNAVAILABLE", 503)
        ok(await redis_phone.post("codes", body), 201)


async def test_a_redis_set_back_does_not_have_a_code_accepted_again(
    centre: Centre, with_redis: RedisServer, redis_phone: Phone
) -> None:
    """As after a fail-over that lost the last claims: the table of uses takes a code once."""
    code = (await show(redis_phone))["code"]
    before = with_redis.dump()
    first = ok(await scan(centre, code, key="validation-1"))
    with_redis.restore(before)
    refused(await scan(centre, code, key="validation-2"), "CODE_USED", 409)
    with_redis.restore(before)
    assert ok(await scan(centre, code, key="validation-1")) == first
    assert centre.store.sql("SELECT count(*) FROM ecard_uses") == [(1,)]


async def test_who_writes_into_redis_makes_no_code(centre: Centre, with_redis: RedisServer, redis_phone: Phone) -> None:
    """What stands behind a code is sealed for that code: neither a copy nor another's seal is honoured."""
    await show(redis_phone)
    forged = new_code()
    digest = digest_of(forged)
    assert digest is not None
    services = centre.app.state.services
    genuine = ShownCode(redis_phone.ecard_no, redis_phone.sign_no, "", centre.clock()).sealed(
        services.sealer, b"\x00" * 32
    )
    for value in (genuine, b"", b"[]", bytes(64)):
        with_redis.empty()
        await services.one_time.put(f"code:{digest.hex()}", value, 60, label="identity")
        refused(await scan(centre, forged), "CODE_UNKNOWN", 404)


async def test_a_second_process_without_redis_knows_no_code_of_the_first(centre: Centre, phone: Phone) -> None:
    code = (await show(phone))["code"]
    centre.restart()
    refused(await scan(centre, code), "CODE_UNKNOWN", 404)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_two_replicas_accept_each_code_once(centre: Centre, with_redis: RedisServer, redis_phone: Phone) -> None:
    """200 codes, each presented to both at once."""
    first = centre.as_("verifier")
    codes = [new_code() for _ in range(200)]
    services = centre.app.state.services
    for code in codes:
        digest = digest_of(code) or b""
        shown = ShownCode(redis_phone.ecard_no, redis_phone.sign_no, "", centre.clock.now.replace(hour=2))
        value = shown.sealed(services.sealer, digest)
        assert await services.one_time.put(f"code:{digest.hex()}", value, 60, label="identity")
    use_redis(centre, with_redis)
    second = centre.as_("verifier")

    async def present(code: str) -> list[str]:
        body = {"code": code, "scene": "identity"}
        answers = await asyncio.gather(*(client.post(VALIDATE, json=body) for client in (first, second)))
        return sorted("" if answer.is_success else str(answer.json()["code"]) for answer in answers)

    for at in range(0, len(codes), 20):
        assert await asyncio.gather(*(present(code) for code in codes[at : at + 20])) == [["", "CODE_USED"]] * 20
    assert centre.store.sql("SELECT count(*) FROM ecard_uses") == [(200,)]
    assert centre.store.sql("SELECT count(*) FROM audit_entries WHERE act = 'code.validate'") == [(200,)]
