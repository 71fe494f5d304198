"""The one-time store: what must hold alike in memory and in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuance.one_time import Claim, Claiming, OneTimeStore, OneTimeUnavailableError, Outcome
from issuance.one_time.memory import MemoryStore
from issuance.one_time.redis_store import RedisStore
from issuance.one_time.store import KEPT_LONGER_S
from tests.issuance.conftest import Clock
from tests.issuance.redis_server import RedisServer

both_stores = pytest.mark.parametrize("kind", ["memory", "redis"])


def _in(server: RedisServer, clock: Clock, space: str = "tests") -> RedisStore:
    """Patient: how long a busy machine takes is not what is asked here."""
    return RedisStore(server.url, clock, space=space, timeout_s=30)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def one_time(kind: str, clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[OneTimeStore]:
    store: OneTimeStore
    if kind == "memory":
        store = MemoryStore(clock)
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        server.empty()
        store = _in(server, clock)
    yield store
    await store.close()


@both_stores
async def test_first_again_taken_unknown(one_time: OneTimeStore) -> None:
    assert await one_time.put("k", b"\x00v\xff", 60)
    assert await one_time.claim("k", "a") == Claim(Outcome.FIRST, b"\x00v\xff")
    assert await one_time.claim("k", "a") == Claim(Outcome.AGAIN, b"\x00v\xff")
    assert await one_time.claim("k", "b") == Claim(Outcome.TAKEN, b"\x00v\xff", "a")
    assert await one_time.claim("other", "a") == Claim(Outcome.UNKNOWN)
    await one_time.ping()


@both_stores
async def test_one_key_is_put_once(one_time: OneTimeStore, clock: Clock) -> None:
    assert [await one_time.put("k", value, 1) for value in (b"1", b"2")] == [True, False]
    clock.advance(5)
    assert not await one_time.put("k", b"3", 1), "what is over is not new"
    assert (await one_time.claim("k", "a")).value == b"1"


@both_stores
@pytest.mark.parametrize(
    ("after", "outcome"), [(59.9, Outcome.FIRST), (60, Outcome.EXPIRED), (599, Outcome.EXPIRED), (-3600, Outcome.FIRST)]
)
async def test_life(one_time: OneTimeStore, clock: Clock, after: float, outcome: Outcome) -> None:
    await one_time.put("k", b"v", 60)
    clock.advance(after)
    assert (await one_time.claim("k", "a")).outcome is outcome


@both_stores
async def test_a_claim_outlives_the_entry_and_a_clock_set_back(one_time: OneTimeStore, clock: Clock) -> None:
    await one_time.put("k", b"v", 60)
    await one_time.claim("k", "a")
    clock.advance(61)
    assert [(await one_time.claim("k", who)).outcome for who in "ab"] == [Outcome.TAKEN] * 2
    clock.advance(-61)
    assert (await one_time.claim("k", "b")).outcome is Outcome.TAKEN


@both_stores
async def test_another_label_does_not_claim(one_time: OneTimeStore) -> None:
    await one_time.put("k", b"v", 60, label="payment")
    assert await one_time.claim("k", "a", label="identity") == Claim(Outcome.OTHER_LABEL, b"v")
    assert (await one_time.claim("k", "b", label="payment")).outcome is Outcome.FIRST


@both_stores
async def test_a_slot_holds_one(one_time: OneTimeStore) -> None:
    for key in ("old", "new"):
        await one_time.put(key, b"v", 60, slot="s")
    await one_time.put("apart", b"v", 60, slot="t")
    outcomes = [(await one_time.claim(key, "a")).outcome for key in ("old", "new", "apart")]
    assert outcomes == [Outcome.EXPIRED, Outcome.FIRST, Outcome.FIRST]
    await one_time.put("newest", b"v", 60, slot="s")
    assert (await one_time.claim("new", "a")).outcome is Outcome.AGAIN, "what is claimed is not ended"


@both_stores
async def test_dropped_is_unknown(one_time: OneTimeStore) -> None:
    await one_time.put("k", b"v", 60)
    await one_time.drop("k")
    assert (await one_time.claim("k", "a")).outcome is Outcome.UNKNOWN
    assert await one_time.put("k", b"w", 60)


@both_stores
async def test_of_many_at_once_one_is_first(one_time: OneTimeStore) -> None:
    for key in "kl":
        await one_time.put(key, b"v", 60)
    claims = await asyncio.gather(*(one_time.claim("k", str(n)) for n in range(50)))
    assert sorted(claim.outcome for claim in claims) == [Outcome.FIRST] + [Outcome.TAKEN] * 49
    same = await asyncio.gather(*(one_time.claim("l", "me") for _ in range(50)))
    assert sorted(claim.outcome for claim in same) == [Outcome.AGAIN] * 49 + [Outcome.FIRST]


@both_stores
async def test_many_claims_at_once_are_as_one_after_the_other(one_time: OneTimeStore, clock: Clock) -> None:
    await one_time.put("over", b"o", 1)
    clock.advance(2)
    for key in ("k", "l"):
        await one_time.put(key, key.encode() + b"\x00\xff", 60, label="identity")
    asked = [("k", "a"), ("k", "a"), ("k", "b"), ("l", "b"), ("none", "a")]
    claims = await one_time.claim_all(
        [*(Claiming(key, who, "identity") for key, who in asked), Claiming("l", "b", "payment"), Claiming("over", "a")]
    )
    assert claims == [
        Claim(Outcome.FIRST, b"k\x00\xff"),
        Claim(Outcome.AGAIN, b"k\x00\xff"),
        Claim(Outcome.TAKEN, b"k\x00\xff", "a"),
        Claim(Outcome.FIRST, b"l\x00\xff"),
        Claim(Outcome.UNKNOWN),
        Claim(Outcome.OTHER_LABEL, b"l\x00\xff"),
        Claim(Outcome.EXPIRED, b"o"),
    ]


@both_stores
@pytest.mark.parametrize(("key", "size"), [("", 0), ("k" * 257, 0), ("k", 4097)])
async def test_lengths(one_time: OneTimeStore, key: str, size: int) -> None:
    with pytest.raises(ValueError, match="length"):
        await one_time.put(key, bytes(size), 60)


@both_stores
def test_any_sequence_of_claims_has_one_first(kind: str, request: pytest.FixtureRequest) -> None:
    """Whatever claimants and moments: one FIRST at most, and AGAIN for nobody else."""
    server: RedisServer | None = None if kind == "memory" else request.getfixturevalue("redis_server")
    counter = iter(range(10**6))

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-90, 90)), max_size=8))
    def run(acts: list[tuple[str, float]]) -> None:
        asyncio.run(_replay(f"property-{next(counter)}", acts))

    async def _replay(key: str, acts: list[tuple[str, float]]) -> None:
        clock = Clock()
        store: OneTimeStore = MemoryStore(clock) if server is None else _in(server, clock)
        await store.put(key, b"v", 60)
        first = ""
        for who, pause in acts:
            clock.advance(pause)
            outcome = (await store.claim(key, who)).outcome
            if outcome is Outcome.FIRST:
                assert not first
                first = who
            assert outcome is not Outcome.AGAIN or who == first
        await store.close()

    run()


# -- memory ---------------------------------------------------------------------------------------------------------


async def test_memory_is_bounded(clock: Clock) -> None:
    store = MemoryStore(clock, limit=3)
    for n in range(3):
        await store.put(str(n), b"v", 60, slot=str(n))
    with pytest.raises(OneTimeUnavailableError, match="room"):
        await store.put("4", b"v", 60)
    assert (await store.claim("0", "a")).outcome is Outcome.FIRST
    clock.advance(60 + KEPT_LONGER_S)
    assert await store.put("4", b"v", 60)
    assert store.size == 1
    assert not store._slots


async def test_dropping_and_putting_again_does_not_grow_memory(clock: Clock) -> None:
    store = MemoryStore(clock, limit=100)
    for n in range(100):
        await store.put("k", b"v", 60, slot=f"s{n % 2}")
        await store.drop("k")
    clock.advance(30)
    with pytest.raises(OneTimeUnavailableError):
        await store.put("k", b"v", 60)
    clock.advance(30 + KEPT_LONGER_S)
    assert await store.put("k", b"new", 60)
    clock.now += timedelta(seconds=30)
    assert (await store.claim("k", "a")).value == b"new"


# -- Redis ----------------------------------------------------------------------------------------------------------


async def test_two_processes_share_one_order(redis_server: RedisServer, clock: Clock) -> None:
    stores = [_in(redis_server, clock) for _ in range(2)]
    keys = [f"shared-{n}" for n in range(50)]
    for n, key in enumerate(keys):
        await stores[n % 2].put(key, b"v", 60)
    claims = await asyncio.gather(*(store.claim(key, str(n)) for key in keys for n, store in enumerate(stores)))
    assert sorted(claim.outcome for claim in claims) == [Outcome.FIRST] * 50 + [Outcome.TAKEN] * 50
    for store in stores:
        await store.close()


async def test_centres_on_one_server_are_apart(redis_server: RedisServer, clock: Clock) -> None:
    here, there = (_in(redis_server, clock, space) for space in ("here", "there"))
    await here.put("k", b"v", 60)
    assert (await there.claim("k", "a")).outcome is Outcome.UNKNOWN
    for store in (here, there):
        await store.close()


async def test_down_and_back(redis_server: RedisServer, clock: Clock) -> None:
    """While it is down nothing is accepted; what it forgot is unknown, not claimable anew."""
    store = _in(redis_server, clock)
    await store.put("k", b"v", 60)
    await store.claim("k", "a")
    redis_server.stop()
    try:
        both = store.claim("k", "a"), store.claim_all([Claiming("k", "a")])
        for act in (store.put("l", b"v", 60), *both, store.drop("k"), store.ping()):
            with pytest.raises(OneTimeUnavailableError) as refusal:
                await act
            assert redis_server.url not in str(refusal.value)
    finally:
        redis_server.start()
    assert [(await store.claim("k", who)).outcome for who in "ab"] == [Outcome.UNKNOWN] * 2
    assert await store.put("l", b"v", 60), "connections of the old server do not disturb"
    await store.close()


async def test_entries_leave_redis_by_its_own_clock(redis_server: RedisServer, clock: Clock) -> None:
    store = _in(redis_server, clock, "expiry")
    await store.put("k", b"v", 60, slot="s")
    redis = store._redis
    for key in ("onecard:expiry:entry:k", "onecard:expiry:slot:s"):
        assert 600 < await redis.ttl(key) <= 660
    await store.close()


@both_stores
async def test_what_the_store_cannot_remember_is_not_new(one_time: OneTimeStore, clock: Clock) -> None:
    """It began at the first use: a key made before that may have been put into the store of before."""
    at = int(clock().timestamp())
    await one_time.ping()
    clock.advance(5)
    assert await one_time.put("k", b"", 60, since=at)
    assert not await one_time.put("k", b"", 60, since=at)
    with pytest.raises(OneTimeUnavailableError):
        await one_time.put("older", b"", 60, since=at - 1)
    assert await one_time.put("older", b"", 60)
