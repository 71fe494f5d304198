"""Waking the pages that wait for their log-in: one look at the database for all of them, ten times a second.

No message between replicas can be lost, since there is none: whichever replica a phone spoke to, the others see it.
A look asks for what was claimed or has ended within the last second, so that it costs the same for one page and for
a thousand; every two seconds one asks for each page, for what clocks that differ or a slow commit hid, and for times
that are over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, select, union
from sqlalchemy.exc import SQLAlchemyError

from issuance.clock import Clock
from issuance.database import Database
from issuance.login.transaction_models import LoginClaimRow, LoginRow
from issuance.login.transactions import Stage, stage_of
from issuance.logs import get_logger

PAUSE_S: Final = 0.1
_LOOK_BACK: Final = timedelta(seconds=1)
_LOOKS_UNTIL_ALL: Final = 20
_PAUSE_AFTER_A_FAULT_S: Final = 1.0
_AT_ONCE: Final = 500
log = get_logger("issuance.login")


class LoginWatch:
    """Looks only while somebody waits; `waiting` is how many log-ins are waited for."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiters: dict[str, list[tuple[Stage, asyncio.Future[Stage]]]] = {}
        self._unseen: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    async def changed(self, login_id: str, known: Stage, timeout_s: float) -> Stage:
        """The stage as soon as it is another than `known`; `known` when the time is over."""
        future: asyncio.Future[Stage] = asyncio.get_running_loop().create_future()
        entry = (known, future)
        self._waiters.setdefault(login_id, []).append(entry)
        self._unseen.add(login_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return known
        finally:
            self._forget(login_id, entry)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _forget(self, login_id: str, entry: tuple[Stage, asyncio.Future[Stage]]) -> None:
        left = [other for other in self._waiters.get(login_id, ()) if other is not entry]
        if left:
            self._waiters[login_id] = left
        else:
            self._waiters.pop(login_id, None)

    async def _watch(self) -> None:
        looks = 0
        while self._waiters:
            try:
                await (self._look_at(list(self._waiters)) if looks == 0 else self._look())
            except SQLAlchemyError as error:
                log.warning("login_watch_failed", error=type(error).__name__)
                looks = -1
                await asyncio.sleep(_PAUSE_AFTER_A_FAULT_S)
            looks = (looks + 1) % _LOOKS_UNTIL_ALL
            await asyncio.sleep(PAUSE_S)

    async def _look(self) -> None:
        """At what changed lately, and at who has come since the last look: theirs may have changed before."""
        new, self._unseen = list(self._unseen & self._waiters.keys()), set()
        since = self._clock() - _LOOK_BACK
        lately = union(
            select(LoginRow.id).where(LoginRow.ended_at > since),
            select(LoginClaimRow.login_id).where(LoginClaimRow.claimed_at > since),
        )
        self._wake(await self._stages(LoginRow.id.in_(lately)))
        await self._look_at(new)

    async def _look_at(self, ids: Sequence[str]) -> None:
        self._unseen.difference_update(ids)
        for at in range(0, len(ids), _AT_ONCE):
            some = ids[at : at + _AT_ONCE]
            gone: dict[str, Stage] = dict.fromkeys(some, "over")
            self._wake(gone | await self._stages(LoginRow.id.in_(some)))

    def _wake(self, found: dict[str, Stage]) -> None:
        for login_id, stage in found.items():
            for known, future in self._waiters.get(login_id, ()):
                if stage != known and not future.done():
                    future.set_result(stage)

    async def _stages(self, which: ColumnElement[bool]) -> dict[str, Stage]:
        query = (
            select(LoginRow.id, LoginRow.ended_as, LoginRow.expires_at, LoginClaimRow.expires_at)
            .outerjoin(LoginClaimRow, LoginClaimRow.login_id == LoginRow.id)
            .where(which)
        )
        async with self._database.look() as session:
            rows = (await session.execute(query)).all()
        now = self._clock()
        return {login_id: _stage(ended_as, until, claimed, now) for login_id, ended_as, until, claimed in rows}


def _stage(ended_as: str | None, until: datetime, claimed: datetime | None, now: datetime) -> Stage:
    has_claim = claimed is not None and claimed > now
    return stage_of(ended_as, has_claim=has_claim, was_claimed=claimed is not None, is_over=until <= now)
