"""What many requests ask of the database or the one-time store at the same moment, asked at once.

While groups are under way the next gathers, so a group is as large as the load makes it: one request alone waits for
one turn of the event loop, and under load a statement and a commit serve dozens. Every request waits for the group it
is in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from issuance.one_time import OneTimeUnavailableError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MAX_GROUP: Final = 128
MAX_TURNS: Final = 6
"""Of the loop that a group gathers for: under load a turn takes milliseconds."""
_EVERYBODYS: Final = (OperationalError, InterfaceError, PoolTimeoutError, OneTimeUnavailableError)
"""Faults that no item is the cause of."""


class Together(Generic[Item, Answer]):
    """`work` answers a group in its order; at most `groups` are under way. Belongs to one event loop."""

    def __init__(self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], groups: int = 1) -> None:
        self._work = work
        self._groups = groups
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._is_gathering = False

    async def __call__(self, item: Item) -> Answer:
        """Raises what `work` raised for this item."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if not self._is_gathering and self._under_way < self._groups:
            self._is_gathering = True
            self._under_way += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                self._is_gathering = True
                await self._gathered()
                group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
                self._is_gathering = False
                if group and not await self._done(group):
                    for one in group:  # so that nobody's fault is another's
                        await self._done([one], is_last=True)
        finally:  # in the same turn as the last look at who waits, so that nobody is left behind
            self._under_way -= 1
            self._is_gathering = False

    async def _gathered(self) -> None:
        """Once a turn of the loop, in which everybody else went on, has brought nobody more."""
        before = 0
        for _ in range(MAX_TURNS):
            if not before < len(self._waiting) < MAX_GROUP:
                return
            before = len(self._waiting)
            await asyncio.sleep(0)

    async def _done(self, group: list[tuple[Item, asyncio.Future[Answer]]], *, is_last: bool = False) -> bool:
        """False when the group has to be done one by one."""
        try:
            answers = await self._work([item for item, _ in group])
        except Exception as error:
            if not is_last and len(group) > 1 and not isinstance(error, _EVERYBODYS):
                return False
            for _, waiting in group:
                if not waiting.done():
                    waiting.set_exception(error)
            return True
        for (_, waiting), answer in zip(group, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
        return True
