"""A kiosk for tests of screens: its own flows, a clock that stands still, a centre with a script, and hands."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest

from apdu.inprocess import InProcessReaders
from terminal_agent import app as app_module
from terminal_agent.agent import Agent
from terminal_agent.kiosk import desk as desk_module
from terminal_agent.kiosk.desk import KioskDesk
from terminal_agent.kiosk.flows import Flow
from terminal_agent.kiosk.screens import Tile
from terminal_agent.kiosk.visit import Visit
from terminal_agent.kiosk.words import LANGS, words
from terminal_agent.settings import Profile
from tests.terminal_agent.stand import BASE, ScriptedCard, ScriptedCentre, settings, until

SLOT: Final = "Citizen Slot 00 00"
ORIGIN: Final = {"Origin": BASE}
Run = Callable[[Visit], Awaitable[None]]


class HandClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        if seconds is None:
            await event.wait()
            return
        over = asyncio.Event()
        entry = (self._now + seconds, over)
        self._waiting.append(entry)
        tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.remove(entry)
            for task in tasks:
                task.cancel()

    async def advance(self, seconds: float) -> None:
        self._now += seconds
        for at, over in self._waiting:
            if at <= self._now:
                over.set()
        await settle()


class FakeCentre(ScriptedCentre):
    """`answers` by path: a body, an error, or what makes one of the request's body."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, Any]] = []
        self.keys: list[str] = []

    async def exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        body = json.loads(content) if content and headers.get("Content-Type") == "application/json" else content
        self.calls.append((path, body))
        self.keys.append(headers.get("Idempotency-Key", ""))
        answer = self.answers[path]
        found = answer(body) if callable(answer) else answer
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, dict)
        return found


@dataclass
class Guest:
    """A person at the machine, by its pages."""

    client: httpx.AsyncClient
    desk: KioskDesk
    agent: Agent
    clock: HandClock
    centre: FakeCentre
    readers: InProcessReaders
    seen: list[str] = field(default_factory=list)

    @property
    def screen(self) -> str:
        visit = self.desk.visit
        return "still_there" if visit is not None and visit.is_warned else self.desk.screen.name

    async def html(self) -> str:
        expected, page = self.screen, await self.client.get("/kiosk")
        assert page.status_code == 200, page.text
        shown = re.search(r'data-screen="([a-z_]+)"', page.text)
        found = shown.group(1) if shown else ""
        assert found == expected, "it cannot be drawn; the log says why"
        self.seen.append(expected)
        return page.text

    async def act(self, act: str, *, number: int | None = None, **fields: str) -> int:
        """The status; pressed on the screen that stands there now, or on an older one."""
        form = {"screen": str(self.desk.number if number is None else number), "act": act} | fields
        return await self.post("/kiosk/act", form)

    async def tool(self, tool: str) -> int:
        return await self.post("/kiosk/tool", {"tool": tool})

    async def post(self, path: str, form: Mapping[str, str]) -> int:
        headers = ORIGIN | {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self.client.post(path, content=urlencode(form), headers=headers)
        await settle()
        return answer.status_code

    async def reaches(self, screen: str, timeout_s: float = 30.0) -> str:
        """The page of the screen, as soon as it stands there."""
        await until(lambda: self.screen == screen, timeout_s)
        return await self.html()

    async def insert(self, card: Any | None = None, reader: str = SLOT) -> None:
        self.readers.insert(reader, card or ScriptedCard())
        await until(lambda: self.desk.has_card())

    async def pull(self, reader: str = SLOT) -> None:
        self.readers.remove(reader)
        await until(lambda: not self.desk.has_card())
        await settle()


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


@asynccontextmanager
async def visiting(
    flows: Mapping[str, Run] | None = None, *, centre: FakeCentre | None = None, opens: bool = True, **changes: Any
) -> AsyncIterator[Guest]:
    """A kiosk with these flows, all on the home page; None for the flows of the product."""
    own = None if flows is None else {name: Flow(name, run, Tile("card")) for name, run in flows.items()}
    clock, centre = HandClock(), centre or FakeCentre()
    readers = InProcessReaders([SLOT])

    class TestDesk(KioskDesk):
        def __init__(self, agent: Agent, client: object) -> None:
            super().__init__(agent, client, clock=clock, flows=own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk_module, "KioskDesk", TestDesk)
        given = {"profile": Profile.KIOSK, "kiosk_voice": "off"} | changes
        app = app_module.create_app(settings(**given), readers, issuance=centre)
        for lang, name in product(LANGS, own or ()):
            patch.setitem(words()[lang], f"tile_{name}", {"title": name, "hint": name})
        transport = httpx.ASGITransport(app=app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            guest = Guest(client, app.state.kiosk, app.state.agent, clock, centre, readers)
            # The page is drawn anew for each reader that is told of.
            await until(lambda: guest.desk.is_ready and all(one.added_at for one in guest.agent.registry.all()))
            if opens:
                await guest.html()
            yield guest
