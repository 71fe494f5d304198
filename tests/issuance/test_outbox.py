"""The outbox: stored with the act, sent once at a time, in order, never lost, its words dropped when delivered."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from issuance.outbox.delivery import LEASE, MAX_ATTEMPTS, Envelope, NotDeliveredError, deliver_due
from issuance.outbox.repository import OutboxRepository
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.unit import Unit, system_unit
from tests.issuance.conftest import SECRET_NAME, Centre, both_engines, ok, refused


class Post:
    """A receiver that remembers, and fails as often as it is told."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.settled: list[str] = []
        self.failures = 0
        self.dead_reason: str | None = None
        self.is_slow = False

    async def deliver(self, envelope: Envelope) -> str:
        if self.is_slow:
            await asyncio.sleep(0.05)
        self.sent.append(envelope)
        if self.failures:
            self.failures -= 1
            raise NotDeliveredError("down")
        return "ok"

    async def settle(self, unit: Unit, envelope: Envelope, answer: Any) -> str | None:
        assert answer == "ok"
        self.settled.append(envelope.message_id)
        return self.dead_reason


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def services(centre: Centre, post: Post) -> Services:
    services = replace(centre.app.state.services, receivers={"post": post})
    centre.app.state.services = services
    return services


async def _send(services: Services, *names: str, key: str = "k", is_personal: bool = False) -> list[str]:
    async with system_unit(services) as unit:
        return [
            await unit.send("post.letter", key, {"name": name}, region="110000", is_personal=is_personal)
            for name in names
        ]


@both_engines
async def test_letters_of_one_key_go_in_order_and_once(services: Services, post: Post) -> None:
    ids = await _send(services, "a", "b", "c")
    other = await _send(services, "x", key="other")
    assert await deliver_due(services) == 4
    assert [e.message_id for e in post.sent if e.key == "k"] == ids
    assert {e.message_id for e in post.sent} == {*ids, *other}
    assert await deliver_due(services) == 0


@both_engines
async def test_a_letter_that_fails_holds_back_those_behind_it_and_pauses_longer(
    services: Services, post: Post, centre: Centre
) -> None:
    first, second = await _send(services, "a", "b")
    post.failures = 2
    assert await deliver_due(services) == 0
    assert await deliver_due(services) == 0
    centre.clock.advance(5)
    assert await deliver_due(services) == 0
    centre.clock.advance(9)
    assert await deliver_due(services) == 0
    centre.clock.advance(1)
    assert await deliver_due(services) == 2
    assert [(e.message_id, e.attempt) for e in post.sent] == [(first, 1), (first, 2), (first, 3), (second, 1)]


@both_engines
async def test_replicas_never_send_one_letter_twice_at_once(services: Services, post: Post) -> None:
    await _send(services, *"abcdefgh", key="k")
    await _send(services, *"abcdefgh", key="l")
    post.is_slow = True
    await asyncio.gather(*(deliver_due(services) for _ in range(4)))
    await deliver_due(services)
    assert len(post.sent) == len({e.message_id for e in post.sent}) == 16


@both_engines
async def test_who_lost_the_lease_settles_nothing(services: Services, post: Post, centre: Centre) -> None:
    """A replica that was stopped in the middle of sending: another sends again, the first one's answer is late."""
    (letter,) = await _send(services, "a")
    async with services.database.transaction(scope=EVERYWHERE) as session:
        (claimed,) = await OutboxRepository(session).claim(["post"], services.clock(), LEASE, 10)
    assert await deliver_due(services) == 0
    centre.clock.advance(LEASE.total_seconds())
    assert await deliver_due(services) == 1
    async with services.database.transaction(scope=EVERYWHERE) as session:
        assert await OutboxRepository(session).held(claimed) is None
    assert [e.message_id for e in post.sent] == [letter]
    assert post.sent[0].attempt == 2


async def test_a_rolled_back_act_sends_nothing(services: Services, post: Post) -> None:
    async def fail() -> None:
        async with system_unit(services) as unit:
            await unit.send("post.letter", "k", {}, region=None)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    assert await deliver_due(services) == 0


async def test_personal_words_rest_sealed_and_are_dropped(services: Services, post: Post, centre: Centre) -> None:
    await _send(services, SECRET_NAME, is_personal=True)
    assert SECRET_NAME.encode() not in centre.store.stored()
    assert await deliver_due(services) == 1
    assert post.sent[0].body == {"name": SECRET_NAME}
    assert centre.store.sql("SELECT body, sealed_body FROM outbox_messages") == [(None, None)]


async def test_dead_letters_name_reason_and_owner_and_can_be_sent_again(
    services: Services, post: Post, centre: Centre
) -> None:
    (letter,) = await _send(services, "a")
    post.failures = MAX_ATTEMPTS
    for _ in range(MAX_ATTEMPTS):
        await deliver_due(services)
        centre.clock.advance(15 * 60)
    operator = centre.as_("operator")
    (dead,) = ok(await operator.get("/v1/outbox", params={"state": "dead"}))["items"]
    assert (dead["message_id"], dead["reason"], dead["owner"], dead["attempts"]) == (
        letter,
        "down",
        "onecard-system",
        MAX_ATTEMPTS,
    )
    retry = f"/v1/outbox/{letter}/retry"
    ok(await operator.post(retry, json={}, headers={"Idempotency-Key": "retry-0001"}))
    assert await deliver_due(services) == 1
    assert post.sent[-1].attempt == MAX_ATTEMPTS + 1
    refused(await operator.post(retry, json={}, headers={"Idempotency-Key": "retry-0002"}), "CONFLICT", 409)


async def test_a_refused_letter_is_dead_at_once(services: Services, post: Post, centre: Centre) -> None:
    await _send(services, "a", "b")
    post.dead_reason = "refused:closed"
    assert await deliver_due(services) == 2
    found = centre.store.sql("SELECT state, reason FROM outbox_messages")
    assert found == [("dead", "refused:closed")] * 2


async def test_topics_without_receiver_wait(services: Services, centre: Centre) -> None:
    async with system_unit(services) as unit:
        await unit.send("factory.batch", "b", {"n": 1}, region="110000")
    assert await deliver_due(services) == 0
    await centre.register("elsewhere", ("operator",), region="120000")
    assert ok(await centre.as_("elsewhere").get("/v1/outbox"))["items"] == []
    assert len(ok(await centre.as_("operator").get("/v1/outbox", params={"topic": "factory.batch"}))["items"]) == 1
