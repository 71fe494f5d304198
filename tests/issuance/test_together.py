"""Grouping: everybody gets the own answer or the own fault, and one request alone waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from issuance.one_time import OneTimeUnavailableError
from issuance.together import MAX_GROUP, Together


async def test_while_one_group_is_under_way_the_next_gathers() -> None:
    groups: list[list[int]] = []

    async def double(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        await asyncio.sleep(0)
        return [2 * item for item in items]

    ask = Together(double)
    assert await ask(1) == 2
    assert await asyncio.gather(*(ask(n) for n in range(300))) == [2 * n for n in range(300)]
    assert [len(group) for group in groups] == [1, MAX_GROUP, MAX_GROUP, 300 - 2 * MAX_GROUP]


async def test_whoever_comes_while_others_still_come_is_in_their_group() -> None:
    """Requests reach a question one turn of the loop after the other; one that is alone waits for no turn twice."""
    groups: list[list[int]] = []

    async def note(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        return list(items)

    ask = Together(note)

    async def late(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await ask(turns)

    await asyncio.gather(*(late(turns) for turns in (0, 1, 2, 3, 9)))
    assert groups == [[0, 1, 2, 3], [9]]


async def test_of_two_groups_one_goes_on_while_the_other_waits() -> None:
    """Never more than two at once, each asked for something, and nobody is left behind whenever they come."""
    under_way = most = 0

    async def slow(items: Sequence[int]) -> list[int]:
        nonlocal under_way, most
        assert items
        under_way += 1
        most = max(most, under_way)
        for _ in range(items[0] % 5):
            await asyncio.sleep(0)
        under_way -= 1
        return list(items)

    ask = Together(slow, 2)

    async def late(number: int) -> int:
        for _ in range(number % 37):
            await asyncio.sleep(0)
        return await ask(number)

    async with asyncio.timeout(30):
        assert await asyncio.gather(*(late(n) for n in range(400))) == list(range(400))
        for number in range(20):
            assert await ask(number) == number
    assert most == 2


async def test_one_bad_item_spoils_nobody_elses() -> None:
    async def inverse(items: Sequence[int]) -> list[float]:
        return [1 / item for item in items]

    ask = Together(inverse)
    answers = await asyncio.gather(*(ask(n) for n in (1, 0, 2)), return_exceptions=True)
    assert (answers[0], type(answers[1]), answers[2]) == (1.0, ZeroDivisionError, 0.5)
    assert await ask(4) == 0.25, "and it goes on"


@pytest.mark.parametrize("fault", [OperationalError("", {}, ValueError()), OneTimeUnavailableError()])
async def test_what_is_down_is_asked_once(fault: Exception) -> None:
    asked = 0

    async def fail(items: Sequence[int]) -> list[int]:
        nonlocal asked
        asked += 1
        raise fault

    ask = Together(fail)
    answers = await asyncio.gather(*(ask(n) for n in range(5)), return_exceptions=True)
    assert answers == [fault] * 5
    assert asked == 1


async def test_whoever_gave_up_disturbs_nobody() -> None:
    gate = asyncio.Event()

    async def wait(items: Sequence[int]) -> list[int]:
        await gate.wait()
        return list(items)

    ask = Together(wait)
    gone, stays = asyncio.create_task(ask(1)), asyncio.create_task(ask(2))
    await asyncio.sleep(0)
    gone.cancel()
    gate.set()
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
