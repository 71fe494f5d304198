"""Whole log-ins: ours by scan beside npm's oidc-provider, which lets everybody in; and how soon a page is woken.

Both sign with ES256, demand PKCE and hand out refresh tokens; one client drives both. A batch of log-ins goes through
every step together, so that the server's own processor time can be told for each step.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, Final

from rich.table import Table

from bench.login_flows import Login, OurFlow, Step
from bench.login_stand import OurServer, Server, durable_database, our_server, peer_server, reach
from bench.measure import BenchError, heading, mark, times

LOGINS: Final = 64
ROUNDS: Final = 5
_ALONE_ROUNDS: Final = 2
_WARM: Final = 2
_PEER_WARM: Final = 16
"""Batches before any that counts. Node goes on compiling what runs often: after a thousand log-ins each costs half of
what the first did."""
AT_ONCE: Final = 32
"""Browsers. Ours stores together what comes together, so figures of one browser alone are told beside those of many."""
OPEN_PAGES: Final = (1, 200)
WAKES: Final = 30
TARGET: Final = 1.0
SQLITE: Final = "SQLite"
POSTGRESQL: Final = "PostgreSQL"
MEMORY: Final = "memory"


@dataclass(frozen=True, slots=True)
class StepCost:
    zh: str
    en: str
    cpu_ms: float
    is_phone: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """`cpu_ms` of a whole log-in with its database server's, `provider_ms` without what the phone asks; of these the
    database server's are `database_ms`.
    """

    per_s: float
    cpu_ms: float
    provider_ms: float
    database_ms: float
    steps: list[StepCost]


@dataclass(frozen=True, slots=True)
class Wake:
    """From the centre's answer to the phone's approval to the redirect in the browser's hands, milliseconds."""

    pages: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class LoginResult:
    """Keyed by where they keep what they know; what is kept in memory does not outlive a restart in mid-log-in."""

    ours: dict[str, Provider]
    peer: dict[str, Provider]
    alone_ms: dict[str, tuple[float, float]]
    """`provider_ms` of ours and the peer where one browser comes after the other."""
    wakes: list[Wake]

    @property
    def ratio(self) -> float | None:
        """Log-ins a second of processor time, the provider's part alone, ours to the peer's on the same database."""
        ours, peer = self.ours.get(POSTGRESQL), self.peer.get(POSTGRESQL)
        return None if ours is None or peer is None else round(peer.provider_ms / ours.provider_ms, 3)

    @property
    def alone_ratio(self) -> float | None:
        """As `ratio`, for one browser after the other."""
        ours_ms, peer_ms = self.alone_ms.get(POSTGRESQL, (0.0, 0.0))
        return round(peer_ms / ours_ms, 3) if ours_ms else None

    @property
    def memory_ratio(self) -> float:
        """The same, ours on SQLite to the peer's without any database."""
        return round(self.peer[MEMORY].provider_ms / self.ours[SQLITE].provider_ms, 3)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "ratio": self.ratio,
            "alone_ratio": self.alone_ratio,
            "memory_ratio": self.memory_ratio,
        }

    def tables(self) -> list[Table | str]:
        named = [("本系统", "ours", *item) for item in self.ours.items()]
        named += [("对照", "peer", *item) for item in self.peer.items()]
        sides = [side for *_, side in named]
        table = Table(
            title="登录，CPU 毫秒 / log-ins, CPU milliseconds",
            caption="含数据库服务器；对照：npm oidc-provider / with the database server's; peer: npm's oidc-provider",
        )
        table.add_column(heading("步骤", "step"))
        for zh, en, kept, _ in named:
            table.add_column(f"{heading(zh, en)}\n{kept}", justify="right")
        columns = [{step.en: step for step in side.steps} for side in sides]
        names: dict[str, StepCost] = {name: step for column in columns for name, step in column.items()}
        for name, step in names.items():
            table.add_row(f"{step.zh} / {step.en}", *(_ms(column.get(name)) for column in columns))
        table.add_section()
        for zh, en, of in (
            ("不含手机", "without the phone", attrgetter("provider_ms")),
            ("其中数据库服务器", "of these the database server", attrgetter("database_ms")),
            ("整个登录", "whole log-in", attrgetter("cpu_ms")),
            ("每秒整个登录", "whole log-ins per s", attrgetter("per_s")),
        ):
            table.add_row(f"{zh} / {en}", *(f"{of(side):,.2f}" for side in sides))
        lines: list[Table | str] = [table]
        if self.ratio is not None:
            lines.append(
                f"每秒 CPU，不含手机，同在 PostgreSQL / per CPU second without the phone, both on PostgreSQL: "
                f"{times(self.ratio)} ≥ {TARGET:.0f} {mark(self.ratio >= TARGET)}"
                + ("" if self.alone_ratio is None else f"; 逐个登录 / one after the other: {times(self.alone_ratio)}")
            )
        else:
            lines.append("PostgreSQL 未安装，略过 / PostgreSQL is not installed, skipped")
        lines.append(
            f"SQLite 对内存中的对照 / on SQLite to the peer in memory, which loses all: {times(self.memory_ratio)}"
        )
        lines += [
            f"{wake.pages} 个打开的页面，同意到跳转 / open pages, approval to redirect: "
            f"p50 {wake.p50_ms:.0f} ms, p95 {wake.p95_ms:.0f} ms"
            for wake in self.wakes
        ]
        return lines


def _ms(step: StepCost | None) -> str:
    return "" if step is None else f"{step.cpu_ms:.2f}"


def measure(
    *, logins: int = LOGINS, rounds: int = ROUNDS, pages: Sequence[int] = OPEN_PAGES, wakes: int = WAKES
) -> LoginResult:
    """Raises BenchError where npm's oidc-provider cannot be had."""
    with ExitStack() as stack:
        enter = stack.enter_context
        ours, peer = {SQLITE: enter(our_server())}, {MEMORY: enter(peer_server())}
        kept, kept_by_peer = enter(durable_database()), enter(durable_database())
        if kept is not None and kept_by_peer is not None:
            ours[POSTGRESQL] = enter(our_server(kept))
            peer[POSTGRESQL] = enter(peer_server(kept_by_peer))
        return asyncio.run(_measure(ours, peer, (logins, rounds, pages, wakes)))


async def _measure(
    ours: Mapping[str, OurServer], peer: Mapping[str, Server], size: tuple[int, int, Sequence[int], int]
) -> LoginResult:
    logins, rounds, pages, wakes = size
    sides: list[tuple[Server, int]] = [(server, logins) for server in ours.values()]
    sides += [(server, logins) for server in peer.values()]
    async with AsyncExitStack() as stack:
        for one in ours.values():
            await stack.enter_async_context(reach(one.flow.phones, one.flow.wire.origin))
        for server, _ in sides:
            await server.flow.discover()
            for _ in range(_WARM if isinstance(server, OurServer) else _PEER_WARM):
                await _batch(server, logins)
        seen: dict[int, list[_Batch]] = {number: [] for number in range(len(sides))}
        for _ in range(rounds):
            for number, (server, count) in enumerate(sides):
                seen[number].append(await _batch(server, count))
        alone = {POSTGRESQL: await _alone(ours[POSTGRESQL], peer[POSTGRESQL], logins)} if POSTGRESQL in ours else {}
        woken = [await _wake(ours[SQLITE].flow, count, wakes) for count in pages]
        for server, _ in sides:
            server.flow.wire.close()
    told = iter([_provider(server, seen[number]) for number, (server, _) in enumerate(sides)])
    return LoginResult({name: next(told) for name in ours}, {name: next(told) for name in peer}, alone, woken)


async def _alone(ours: Server, peer: Server, logins: int) -> tuple[float, float]:
    """Milliseconds of the provider's part."""
    seen = [(await _batch(ours, logins, 1), await _batch(peer, logins, 1)) for _ in range(_ALONE_ROUNDS)]
    ours_ms, peer_ms = (
        _provider(server, [both[number] for both in seen]).provider_ms for number, server in enumerate((ours, peer))
    )
    return ours_ms, peer_ms


@dataclass(frozen=True, slots=True)
class _Batch:
    """Per log-in: log-ins a second, and milliseconds of processor and database server for each step."""

    per_s: float
    cpu_ms: list[float]
    database_ms: list[float]


async def _batch(server: Server, count: int, at_once: int = AT_ONCE) -> _Batch:
    logins, cpu_ms, database_ms = [Login() for _ in range(count)], [], []
    started, before = time.perf_counter(), server.cpu()
    for step in server.flow.steps():
        await _all(step, logins, at_once)
        now = server.cpu()
        cpu_ms.append(1000 * (now.server - before.server) / count)
        database_ms.append(1000 * (now.database - before.database) / count)
        before = now
    took = time.perf_counter() - started
    if not all(login.user.get("sub") for login in logins):
        raise BenchError("somebody is not logged in")
    return _Batch(count / took, cpu_ms, database_ms)


async def _all(step: Step, logins: Sequence[Login], at_once: int) -> None:
    waiting = iter(logins)

    async def work() -> None:
        for login in waiting:
            await step.run(login)

    await asyncio.gather(*(work() for _ in range(at_once)))


def _provider(server: Server, batches: Sequence[_Batch]) -> Provider:
    steps = server.flow.steps()
    database = [statistics.median(batch.database_ms[number] for batch in batches) for number in range(len(steps))]
    costs = [
        StepCost(step.zh, step.en, statistics.median(batch.cpu_ms[number] for batch in batches) + kept, step.is_phone)
        for number, (step, kept) in enumerate(zip(steps, database, strict=True))
    ]
    return Provider(
        per_s=round(statistics.median(batch.per_s for batch in batches), 1),
        cpu_ms=round(sum(cost.cpu_ms for cost in costs), 3),
        provider_ms=round(sum(cost.cpu_ms for cost in costs if not cost.is_phone), 3),
        database_ms=round(sum(kept for kept, step in zip(database, steps, strict=True) if not step.is_phone), 3),
        steps=costs,
    )


# -- how soon a page is woken -----------------------------------------------------------------------------------------


async def _wake(flow: OurFlow, pages: int, count: int) -> Wake:
    """`pages` wait, one of them for the log-in that is approved."""
    async with AsyncExitStack() as opened:
        for _ in range(pages - 1):
            login = await _at_the_page(flow)
            await opened.enter_async_context(flow.wire.stream(f"{login.at}/events?stage=open", login.cookies))
        took = sorted([await _woken(flow) for _ in range(count)])
    return Wake(pages, round(took[len(took) // 2], 1), round(took[len(took) * 95 // 100], 1))


async def _at_the_page(flow: OurFlow) -> Login:
    login = Login()
    await flow.begin(login)
    await flow.look(login)
    return login


async def _woken(flow: OurFlow) -> float:
    login = await _at_the_page(flow)
    async with flow.wire.stream(f"{login.at}/events?stage=open", login.cookies) as events:
        await flow.scan(login)
        await events.readuntil(b"event: go")
    await flow.give_password(login)
    async with flow.wire.stream(f"{login.at}/events?stage=claimed", login.cookies) as events:
        await events.readuntil(b"retry")
        woken = asyncio.create_task(_left(flow, login, events))
        await flow.approve(login)
        answered = time.perf_counter()
        return 1000 * max(0.0, await woken - answered)


async def _left(flow: OurFlow, login: Login, events: asyncio.StreamReader) -> float:
    await events.readuntil(b"event: go")
    await flow.leave(login)
    return time.perf_counter()
