"""What the tests put around an agent: a software card, a centre with a script, and an application to call."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import httpx
import pytest
from fastapi import FastAPI

from apdu.inprocess import InProcessReaders
from cardlib.wire import (
    BatchCommand,
    BatchResponses,
    CardFace,
    CommandBatch,
    PrintOrder,
    PrintReport,
    SessionOutcome,
    SessionReply,
    SessionStart,
)
from terminal_agent.app import create_app
from terminal_agent.devices import DeviceHall, Scan
from terminal_agent.registry import Reader
from terminal_agent.server import Ready
from terminal_agent.settings import AgentSettings

ATR = bytes.fromhex("3B6D000000FE00000086FE990100000001")
OTHER_ATR = bytes.fromhex("3B6D000000FE00000086FE990100000002")
READER = "Counter Reader 00 00"
SESSION = "5e55".zfill(32)
APPLICATION = "a991".zfill(32)
BASE = "http://127.0.0.1:12343"


PRINT_JOB = "9a1d".zfill(32)
FACE = CardFace(
    name="测试甲",
    social_security_number="990101199001010115",
    card_number="A00000011",
    issuer="示例省",
    issue_date="20260105",
    expiry_date="20360105",
)


class ScriptedCard:
    """Answers by `answer(command)`; `leave_after` pulls it out after that many commands (they are executed)."""

    def __init__(self, atr: bytes = ATR, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.atr = atr
        self.answer = answer or (lambda command: bytes.fromhex("9000"))
        self.seen: list[bytes] = []
        self.leave_after: int | None = None

    def power_on(self) -> bytes:
        return self.atr

    def power_off(self) -> None: ...

    def transmit(self, command: bytes) -> bytes:
        self.seen.append(command)
        if self.leave_after is not None and len(self.seen) >= self.leave_after:
            self.leave_after = None
            raise ConnectionError
        return self.answer(command)


class ScriptedCentre:
    """An issuance service whose every session has the same batches; `mishap` may raise before an answer is given.

    A terminal that can print is given a print order after the last batch.
    """

    def __init__(self, *batches: list[BatchCommand], outcome: SessionOutcome | None = None) -> None:
        self.batches = batches
        self.outcome = outcome
        self.starts: list[SessionStart] = []
        self.answers: list[BatchResponses] = []
        self.reports: list[PrintReport] = []
        self.mishap: Callable[[str], None] = lambda step: None
        self.is_closed = False

    async def start(self, request: SessionStart) -> SessionReply:
        self.mishap("start")
        self.starts.append(request)
        return self._reply(f"{len(self.starts):032x}", 1)

    async def answer(self, responses: BatchResponses) -> SessionReply:
        self.mishap("answer")
        self.answers.append(responses)
        return self._reply(responses.session_id, responses.sequence + 1)

    async def report_print(self, report: PrintReport) -> SessionReply:
        self.mishap("report")
        self.reports.append(report)
        is_good = report.status != "failed"
        status: Literal["done", "failed"] = "done" if is_good else "failed"
        outcome = SessionOutcome(session_id=report.session_id, status=status, failure=report.failure)
        return SessionReply(outcome=outcome)

    async def aclose(self) -> None:
        self.is_closed = True

    def _reply(self, session_id: str, sequence: int) -> SessionReply:
        if sequence > len(self.batches) and any(start.can_print for start in self.starts[-1:]):
            order = PrintOrder(
                session_id=session_id,
                sequence=sequence,
                job_id=PRINT_JOB,
                face=FACE,
                text_zh="打印",
                text_en="printing",
            )
            return SessionReply(print_order=order)
        if sequence > len(self.batches):
            outcome = self.outcome or SessionOutcome(session_id=session_id, status="done", result={"card": "A0000****"})
            return SessionReply(outcome=outcome.model_copy(update={"session_id": session_id}))
        batch = CommandBatch(
            session_id=session_id,
            sequence=sequence,
            commands=tuple(self.batches[sequence - 1]),
            step=sequence,
            steps=len(self.batches),
            text_zh=f"第 {sequence} 步",
            text_en=f"step {sequence}",
        )
        return SessionReply(batch=batch)


def readers_with(card: ScriptedCard | None = None, name: str = READER) -> InProcessReaders:
    readers = InProcessReaders([name])
    if card is not None:
        readers.insert(name, card)
    return readers


def settings(**changes: Any) -> AgentSettings:
    return AgentSettings(**{"operation_timeout_s": 20, "batch_timeout_s": 20, "network_deadline_s": 20} | changes)


@asynccontextmanager
async def client_of(app: FastAPI, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client inside the running application, after the monitor's first look."""
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        client.headers.update(headers)
        await until(lambda: all(_is_looked_at(reader) for reader in app.state.agent.registry.all()))
        yield client


def _is_looked_at(reader: Reader) -> bool:
    """Whether the monitor has told what lies in it; of readers that are not simulated here, whether it is known."""
    if reader.is_lost or not isinstance(reader.service, InProcessReaders):
        return True
    slot = reader.service.watch().wait(0).get(reader.name)
    return slot is None or (reader.added_at > 0 and reader.has_card == slot.is_present)


def wait_for_cards(where: Ready, readers: InProcessReaders) -> None:
    """Until an agent in a thread knows which readers have a card."""
    deadline = time.monotonic() + 30
    with httpx.Client(base_url=where.url, trust_env=False, timeout=30) as http:
        while True:
            known = {one["name"] for one in http.get("/v1/readers").json() if one["atr"] is not None}
            if known == {name for name, slot in readers.watch().wait(0).items() if slot.is_present}:
                return
            assert time.monotonic() < deadline, known
            time.sleep(0.01)


@contextmanager
def scan_waits() -> Iterator[threading.Event]:
    """Set when somebody waits for a code: one that is scanned before reaches nobody."""
    begun, wait_scan = threading.Event(), DeviceHall.wait_scan

    async def noted(hall: DeviceHall, timeout_s: float) -> Scan | None:
        begun.set()
        return await wait_scan(hall, timeout_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceHall, "wait_scan", noted)
        yield begun


@contextmanager
def kept_port() -> Iterator[int]:
    """A port where nobody listens, and that the system gives to no one but who asks for it by number."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]


@asynccontextmanager
async def agent_with(
    readers: InProcessReaders, centre: ScriptedCentre | None = None, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(settings(**changes), readers, issuance=centre)) as client:
        yield client


async def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true value of `condition`, awaited if need be."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "condition never came true"
        await asyncio.sleep(0.01)
