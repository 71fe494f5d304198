"""The unit of work of a request that nobody signs: browsers, devices, and relying parties with a code or token.

Requests that come at the same moment may share one: each does its part after the other, what they only add is added
together at the end, and one commit stores it all before any of them is answered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from issuance.audit.repository import AuditRepository
from issuance.clients.auth import Caller
from issuance.database import Base, insert_all
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.together import Together
from issuance.unit import Unit

ACTOR: Final = "onecard-login"
"""Who acts in the trail where a relying party or a browser does."""
_CLEARED_EVERY: Final = timedelta(minutes=1)
T = TypeVar("T")


@dataclass(slots=True)
class LoginUnit(Unit):
    """Rows and audit entries that nothing in the unit reads back wait for its end."""

    rows: dict[type[Base], list[dict[str, Any]]] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    """What was asked for all who share the unit, by their key."""

    @classmethod
    def within(cls, unit: Unit) -> LoginUnit:
        """Of the same transaction and caller; whoever asks for it settles it."""
        return cls(unit.session, unit.services, unit.caller, unit.now, unit.after_commit)

    def later(self, row_type: type[Base], **values: Any) -> None:
        """Rows of one type have the same columns. Types are stored in the order they first came in."""
        self.rows.setdefault(row_type, []).append(values)

    async def record(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)

    async def settle(self) -> None:
        for row_type, rows in self.rows.items():
            await insert_all(self.session, row_type, rows)
        self.rows.clear()
        if self.entries:
            await AuditRepository(self.session, self.services.audit_seal).add_all(self.entries)
            self.entries.clear()


Ahead = Callable[[LoginUnit, Sequence[Any]], Awaitable[Mapping[str, Any]]]


@asynccontextmanager
async def login_unit(services: Services, *, is_reading: bool = False) -> AsyncIterator[LoginUnit]:
    """A card logs in to systems of every region."""
    async with services.database.transaction(is_reading=is_reading, scope=EVERYWHERE) as session:
        unit = LoginUnit(session, services, Caller(ACTOR, frozenset()), services.clock())
        yield unit
        await unit.settle()
    for callback in unit.after_commit:
        callback()


@asynccontextmanager
async def login_look(services: Services) -> AsyncIterator[LoginUnit]:
    """For one SELECT, as `Database.look`."""
    async with services.database.look(scope=EVERYWHERE) as session:
        yield LoginUnit(session, services, Caller(ACTOR, frozenset()), services.clock())


class _Part(NamedTuple):
    services: Services
    act: Callable[[LoginUnit], Awaitable[Any]]
    lock: str
    ahead: Ahead | None
    key: Any


class _Look(NamedTuple):
    services: Services
    ahead: Ahead
    key: str


class LoginUnits:
    """Units that requests of the same moment share."""

    def __init__(self) -> None:
        self._together: Together[_Part, Any] = Together(_done)
        self._looks: Together[_Look, tuple[Any, LoginUnit]] = Together(_looked)
        self._cleared: dict[type[Base], datetime] = {}

    def is_due(self, row_type: type[Base], now: datetime) -> bool:
        """True once a minute: clear away the rows that have long been over."""
        last = self._cleared.get(row_type)
        if last is not None and timedelta() <= now - last < _CLEARED_EVERY:
            return False
        self._cleared[row_type] = now
        return True

    async def run(
        self,
        services: Services,
        act: Callable[[LoginUnit], Awaitable[T]],
        *,
        lock: str = "",
        ahead: Ahead | None = None,
        key: Any = None,
    ) -> T:
        """What `act` returns, once it is stored. What `ahead` told of the keys of all who share the unit is in its
        `found`. `lock` stands for the row that may have to be waited for: parts are done in its order everywhere, so
        that no two processes wait for each other.

        `act` refuses by what it returns: an exception undoes the unit, and each part of it is done once more, alone.
        """
        done: T = await self._together(_Part(services, act, lock, ahead, key))
        return done

    async def look(self, services: Services, ahead: Ahead, key: str) -> tuple[Any, LoginUnit]:
        """What `ahead`, which is one SELECT, tells for the key, None where nothing; and the unit it was asked in."""
        return await self._looks(_Look(services, ahead, key))


async def _looked(looks: Sequence[_Look]) -> list[tuple[Any, LoginUnit]]:
    units: dict[Ahead, LoginUnit] = {}
    for ahead in {look.ahead for look in looks}:
        async with login_look(looks[0].services) as unit:
            unit.found |= await ahead(unit, [look.key for look in looks if look.ahead is ahead])
        units[ahead] = unit
    return [(units[look.ahead].found.get(look.key), units[look.ahead]) for look in looks]


async def _done(parts: Sequence[_Part]) -> list[Any]:
    done: list[Any] = [None] * len(parts)
    async with login_unit(parts[0].services) as unit:
        for ahead in {part.ahead for part in parts if part.ahead is not None}:
            unit.found |= await ahead(unit, [part.key for part in parts if part.ahead is ahead])
        for number in sorted(range(len(parts)), key=lambda number: parts[number].lock):
            done[number] = await parts[number].act(unit)
    return done
