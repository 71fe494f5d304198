"""Whole log-ins: ours by scan beside npm's oidc-provider, which lets everybody in; and how soon a page is woken.

Both sign with ES256, demand PKCE and hand out refresh tokens; one client drives both. A batch of log-ins goes through
every step together, so that the server's own processor time can be told for each step.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table

from bench.login_flows import Login, OurFlow, Step
from bench.login_stand import Server, our_server, peer_server, reach
from bench.measure import BenchError, heading, mark, times

LOGINS: Final = 32
ROUNDS: Final = 5
AT_ONCE: Final = 8
OPEN_PAGES: Final = (1, 200)
WAKES: Final = 30
TARGET: Final = 1.0
_PEER_MORE: Final = 2
"""So many times as many log-ins of the faster one, for figures as steady. Its map holds 1,000 entries, ten a log-in."""


@dataclass(frozen=True, slots=True)
class StepCost:
    zh: str
    en: str
    cpu_ms: float
    is_phone: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """`cpu_ms` of a whole log-in; `provider_ms` without what the phone asks."""

    per_s: float
    cpu_ms: float
    provider_ms: float
    steps: list[StepCost]


@dataclass(frozen=True, slots=True)
class Wake:
    """From the centre's answer to the phone's approval to the redirect in the browser's hands, milliseconds."""

    pages: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class LoginResult:
    ours: Provider
    peer: Provider
    wakes: list[Wake]

    @property
    def ratio(self) -> float:
        """Log-ins a second of processor time, the provider's part alone: ours to the peer's."""
        return round(self.peer.provider_ms / self.ours.provider_ms, 3)

    @property
    def whole_ratio(self) -> float:
        return round(self.peer.cpu_ms / self.ours.cpu_ms, 3)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "whole_ratio": self.whole_ratio}

    def tables(self) -> list[Table | str]:
        table = Table(title="登录，服务进程的 CPU 毫秒 / log-ins, the server's CPU milliseconds")
        table.add_column(heading("步骤", "step"))
        for zh, en in (("本系统", "ours"), ("对照", "oidc-provider")):
            table.add_column(heading(zh, en), justify="right")
        columns = [{step.en: step for step in side.steps} for side in (self.ours, self.peer)]
        for step in (columns[0] | columns[1]).values():
            table.add_row(f"{step.zh} / {step.en}", *(_ms(column.get(step.en)) for column in columns))
        table.add_section()
        table.add_row("不含手机 / without the phone", f"{self.ours.provider_ms:.2f}", f"{self.peer.provider_ms:.2f}")
        table.add_row("整个登录 / whole log-in", f"{self.ours.cpu_ms:.2f}", f"{self.peer.cpu_ms:.2f}")
        table.add_row("每秒整个登录 / whole log-ins per s", f"{self.ours.per_s:,.1f}", f"{self.peer.per_s:,.1f}")
        lines: list[Table | str] = [
            table,
            f"每秒 CPU，不含手机 / per CPU second without the phone: {times(self.ratio)} "
            f"≥ {TARGET:.0f} {mark(self.ratio >= TARGET)}; 整个 / whole: {times(self.whole_ratio)}",
        ]
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
    with our_server() as (ours, flow), peer_server() as peer:
        return asyncio.run(_measure(ours, flow, peer, (logins, rounds, pages, wakes)))


async def _measure(ours: Server, flow: OurFlow, peer: Server, size: tuple[int, int, Sequence[int], int]) -> LoginResult:
    logins, rounds, pages, wakes = size
    async with reach(flow.phones, flow.wire.origin):
        for server in (ours, peer):
            await server.flow.discover()
            await _batch(server, logins // 2)  # warm: statements prepared, code compiled
        seen: dict[str, list[_Batch]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            seen["ours"].append(await _batch(ours, logins))
            seen["peer"].append(await _batch(peer, logins * _PEER_MORE))
        woken = [await _wake(flow, count, wakes) for count in pages]
        for server in (ours, peer):
            server.flow.wire.close()
    return LoginResult(_provider(ours.flow.steps(), seen["ours"]), _provider(peer.flow.steps(), seen["peer"]), woken)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Per log-in: log-ins a second, and milliseconds of the server for each step."""

    per_s: float
    cpu_ms: list[float]


async def _batch(server: Server, count: int) -> _Batch:
    logins, cpu_ms = [Login() for _ in range(count)], []
    started, before = time.perf_counter(), server.cpu_s()
    for step in server.flow.steps():
        await _all(step, logins)
        now = server.cpu_s()
        cpu_ms.append(1000 * (now - before) / count)
        before = now
    took = time.perf_counter() - started
    if not all(login.user.get("sub") for login in logins):
        raise BenchError("somebody is not logged in")
    return _Batch(count / took, cpu_ms)


async def _all(step: Step, logins: Sequence[Login]) -> None:
    waiting = iter(logins)

    async def work() -> None:
        for login in waiting:
            await step.run(login)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def _provider(steps: Sequence[Step], batches: Sequence[_Batch]) -> Provider:
    costs = [
        StepCost(step.zh, step.en, statistics.median(batch.cpu_ms[number] for batch in batches), step.is_phone)
        for number, step in enumerate(steps)
    ]
    return Provider(
        per_s=round(statistics.median(batch.per_s for batch in batches), 1),
        cpu_ms=round(sum(cost.cpu_ms for cost in costs), 3),
        provider_ms=round(sum(cost.cpu_ms for cost in costs if not cost.is_phone), 3),
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
