"""Events are numbered, replayed from a bounded ring, and never hold a slow listener's backlog without end."""

from __future__ import annotations

import pytest

from terminal_agent.hub import QUEUE_EVENTS, RESYNC, RING_EVENTS, EventHub


async def take(hub: EventHub, last_id: str | None, count: int) -> list[tuple[str, dict[str, object]]]:
    stream = hub.subscribe(last_id)
    taken = []
    for _ in range(count):
        event = await anext(stream)
        taken.append((event.name, event.data))
    await stream.aclose()  # type: ignore[attr-defined]
    return taken


async def test_replay_begins_after_the_last_seen_event() -> None:
    hub = EventHub()
    hub.publish("first", {})
    stream = hub.subscribe()
    hub.publish("a", {"n": 1})
    seen = await anext(stream)
    for number in range(2, 5):
        hub.publish("a", {"n": number})
    assert await take(hub, seen.id, 3) == [("a", {"n": 2}), ("a", {"n": 3}), ("a", {"n": 4})]


@pytest.mark.parametrize("last_id", ["0-0", "", "x", "deadbeef-3", "{run}-9999", "{run}--1", "{run}-", "{run}-١"])
async def test_strange_ids_ask_for_a_resync(last_id: str) -> None:
    hub = EventHub()
    hub.publish("a", {})
    assert await take(hub, last_id.format(run=hub._run), 1) == [(RESYNC, {})]


async def test_an_event_that_left_the_ring_asks_for_a_resync() -> None:
    hub = EventHub()
    for _ in range(RING_EVENTS + 5):
        hub.publish("a", {})
    assert (await take(hub, f"{hub._run}-4", 1))[0][0] == RESYNC
    assert (await take(hub, f"{hub._run}-5", 1))[0][0] == "a"


async def test_slow_listener_is_cut_off_and_close_ends_all() -> None:
    hub = EventHub()
    slow = hub.subscribe()
    for _ in range(QUEUE_EVENTS + 10):
        hub.publish("a", {})
    assert len([event async for event in slow]) == QUEUE_EVENTS
    hub.close()
    assert [event async for event in hub.subscribe()] == []
