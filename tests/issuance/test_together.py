"""Grouping: everybody gets the own answer or the own fault, and one request alone waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

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


async def test_one_bad_item_spoils_nobody_elses() -> None:
    async def inverse(items: Sequence[int]) -> list[float]:
        return [1 / item for item in items]

    ask = Together(inverse)
    answers = await asyncio.gather(*(ask(n) for n in (1, 0, 2)), return_exceptions=True)
    assert (answers[0], type(answers[1]), answers[2]) == (1.0, ZeroDivisionError, 0.5)
    assert await ask(4) == 0.25, "and it goes on"


async def test_a_database_that_is_down_is_asked_once() -> None:
    asked = 0

    async def fail(items: Sequence[int]) -> list[int]:
        nonlocal asked
        asked += 1
        raise OperationalError("", {}, ValueError())

    ask = Together(fail)
    answers = await asyncio.gather(*(ask(n) for n in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OperationalError] * 5
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
