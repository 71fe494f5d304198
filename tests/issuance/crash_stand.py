"""Processes that die where a test says, and what they leave standing: cards, printer, bank, fee system, database."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from apdu.inprocess import InProcessReaders
from cardlib import crash_points
from cardlib.client_auth import ClientAuth, ClientKey
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.outbox import delivery
from issuance.settings import Settings
from simulators.bank import SimBank
from simulators.fees import SimFees
from terminal_agent.agent import Agent
from terminal_agent.centre import HttpIssuanceClient
from terminal_agent.kiosk.desk import KioskDesk
from terminal_agent.relay import JobState
from terminal_agent.schemas import CardSessionRequest
from terminal_agent.settings import AgentSettings

PASSPHRASE = "test passphrase"
KILLED = -signal.SIGKILL
PR_SET_PDEATHSIG = 1
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
PATIENCE_S = 60.0
HERE = "127.0.0.1"


# -- what runs in the processes ---------------------------------------------------------------------------------------


def run_nursery(pipe: Connection, port: int, key_store: str, settings: dict[str, Any]) -> None:
    """Makes the service once, then a process of it for each list of crash points: a fork is sooner ready than a start.

    Nothing is open yet when it forks: no connection, no thread, no event loop.
    """
    # What died with a message in hand is waited for by the clock: two minutes in life, a moment here.
    delivery.LEASE = delivery.FIRST_PAUSE = delivery.LONGEST_PAUSE = timedelta(seconds=0.3)
    with SoftKeyService.open(Path(key_store), PASSPHRASE) as keys:
        app = create_app(Settings(**settings), keys)
        asyncio.run(_warm(app))
        with suppress(EOFError):
            while True:
                os.environ[crash_points.VARIABLE] = pipe.recv()
                pid = os.fork()
                if pid == 0:
                    _run_service(app, port)
                pipe.send(pid)
                pipe.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _run_service(app: FastAPI, port: int) -> NoReturn:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        config = uvicorn.Config(app, log_config=None, log_level="critical", access_log=False)
        uvicorn.Server(config).run(sockets=[_place(port)])
    finally:
        os._exit(1)


def _place(port: int = 0) -> socket.socket:
    """Several may stand at one port; found is who listens. While one stands there, a stranger gets it no more."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if port:  # lines of the one that died may be left there
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind((HERE, port))
    return place


async def _warm(app: FastAPI) -> None:
    """A request that finds no route has all routes built."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre") as client:
        await client.get("/nowhere")


def run_terminal(crash_at: str, url: str, key_file: str, settings: dict[str, Any], application_id: str) -> None:
    os.environ[crash_points.VARIABLE] = crash_at
    asyncio.run(_terminal(url, key_file, settings, application_id))


async def _terminal(url: str, key_file: str, settings: dict[str, Any], application_id: str) -> None:
    """An agent without its pages: one card session, as the counter page would start it."""
    centre = HttpIssuanceClient(url, auth=ClientAuth(ClientKey.load(Path(key_file))))
    agent = Agent(AgentSettings(**settings), InProcessReaders([]), centre)
    events = agent.hub.subscribe()
    await agent.start()
    try:
        while (event := await anext(events)).name != "card_inserted":
            pass
        request = CardSessionRequest(reader=event.data["reader"], kind="personalization", application_id=application_id)
        job = agent.jobs.start(request)
        while (await anext(events)).name != "session_done":
            pass
        if job.state is not JobState.DONE:
            raise RuntimeError(f"{job.state}: {job.failure} {job.detail}")
    finally:
        await agent.stop()


def run_kiosk(crash_at: str, url: str, key_file: str, settings: dict[str, Any], application_id: str) -> None:
    os.environ[crash_points.VARIABLE] = crash_at
    asyncio.run(_kiosk(url, key_file, settings, application_id))


async def _kiosk(url: str, key_file: str, settings: dict[str, Any], application_id: str) -> None:
    """A kiosk without its pages: what a loss of power has left is gone on with, else one card is made; it is given."""
    centre = HttpIssuanceClient(url, auth=ClientAuth(ClientKey.load(Path(key_file))))
    agent = Agent(AgentSettings(**settings), InProcessReaders([]), centre)
    await agent.start()
    desk = KioskDesk(agent, centre, flows={})
    maker = desk.maker
    try:
        await maker.resume()
        if maker.case is not None:
            await maker.watch(lambda _: None)
        if not maker.has_waiting_card:
            maker.begin(application_id)
            await maker.watch(lambda _: None)
        await maker.give()
        await maker.until_taken()
    finally:
        await desk.stop()
        await agent.stop()


# -- what the test sees -----------------------------------------------------------------------------------------------


class Service:
    """The issuance service, started again whenever it dies: first with one crash point after the other, then whole."""

    def __init__(self, key_store: Path, settings: dict[str, Any]) -> None:
        self._place = _place()  # kept while the service is dead, too
        self.port = self._place.getsockname()[1]
        self._pipe, theirs = CONTEXT.Pipe()
        arguments = (theirs, self.port, str(key_store), settings)
        self._nursery = CONTEXT.Process(target=run_nursery, args=arguments, daemon=True)
        self._nursery.start()
        theirs.close()
        self._pid: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self.deaths: list[str] = []
        """Points at which it died, in order."""

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.port}"

    def start(self, points: Iterable[str] = (), *, always: str = "") -> None:
        """`always` are points of every process, beside its own."""
        self._is_stopping = False
        self._task = asyncio.create_task(self._supervise(list(points), always))

    async def stop(self) -> None:
        self._is_stopping = True
        self._kill()
        if self._task is not None:
            await self._task
            self._task = None

    async def restart(self, points: Iterable[str] = (), *, always: str = "") -> None:
        await self.stop()
        self.start(points, always=always)

    async def close(self) -> None:
        await self.stop()
        self._pipe.close()
        await asyncio.to_thread(self._nursery.join)
        self._nursery.close()
        self._place.close()

    def _kill(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):  # it died a moment ago
                os.kill(self._pid, signal.SIGKILL)

    async def _supervise(self, points: list[str], always: str) -> None:
        for point in [*points, ""]:
            self._pipe.send(",".join(filter(None, (f"kill:{point}" if point else "", always))))
            self._pid = await self._heard()
            if self._is_stopping:  # while it was born
                self._kill()
            exit_code = await self._heard()
            self._pid = None
            assert exit_code == KILLED, f"the service ended with {exit_code}"
            if self._is_stopping:
                return
            self.deaths.append(point)

    async def _heard(self) -> int:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pipe.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._pipe.fileno())
        found: int = self._pipe.recv()
        return found


async def terminal(
    crash_at: str, *arguments: Any, run: Callable[[str, str, str, dict[str, Any], str], None] = run_terminal
) -> int | None:
    """One run of the terminal's process; its exit code."""
    process = CONTEXT.Process(target=run, args=(crash_at, *arguments), daemon=True)
    process.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _ended(process)
    finally:
        process.kill()
    return process.exitcode


async def _ended(process: BaseProcess) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()


async def persistently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Asks until somebody answers, each time signed anew, as a caller does that keeps its idempotency key."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(httpx.TransportError):
                answer = await ask()
                if answer.status_code < 500:
                    return answer
            await asyncio.sleep(0.02)


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        return nullcontext()


@asynccontextmanager
async def town(bank: SimBank, fees: SimFees) -> AsyncIterator[str]:
    """Bank and fee system on one address, in this process: they outlive the others."""
    app = Starlette(routes=[Mount("/fees", fees.app), Mount("/", bank.app)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(uvicorn.Config(app, log_config=None, log_level="critical", lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task
