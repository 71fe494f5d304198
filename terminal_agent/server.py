"""Runs the agent: its page and API on one loopback port, the installed base's WebSocket on another, one event loop."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from apdu.readers import ReaderService
from hsm.sealed_store import write_atomically
from terminal_agent.app import create_app
from terminal_agent.bodies import MAX_BODY_BYTES
from terminal_agent.centre import IssuanceClient
from terminal_agent.connections import BoundedProtocol
from terminal_agent.driver_socket import create_driver_app
from terminal_agent.problems import AgentError
from terminal_agent.processes import listener_of
from terminal_agent.settings import OTHER_PORTS, AgentSettings
from terminal_agent.systemd import supervised

LOG = logging.getLogger("terminal_agent.server")
GRACE_S = 1  # requests still running at the end get this long
START_S = 30.0
STOP_S = 5.0


class PortBusyError(AgentError):
    """Another program listens on a port the agent was told to use."""

    failure = "CONFLICT"


class StartError(AgentError):
    """The agent's application did not come up; the log says why."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a running agent listens; also the content of the ready file."""

    http_port: int
    ws_port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}"


class _NoDenials(logging.Filter):
    """uvicorn calls a WebSocket that was refused by an answer an error, each time; the guard has told of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing handshake" not in record.getMessage()


_DENIALS = _NoDenials()


class _Server(uvicorn.Server):
    """Leaves signals to `run`: two servers share one process."""

    def __init__(self, app: ASGIApp, *, lifespan: str) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                lifespan="on" if lifespan == "on" else "off",
                log_config=None,
                log_level="warning",  # at DEBUG uvicorn shows what the WebSocket carries: names, numbers, a new PIN
                access_log=False,
                server_header=False,
                # The guard trusts the port a request came in by; no header may rewrite it.
                proxy_headers=False,
                ws_max_size=MAX_BODY_BYTES,
                # The end of a program of this computer is heard at once, and the driver library answers no pings.
                ws_ping_interval=None,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=15,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_DENIALS)

    def capture_signals(self) -> Any:
        return nullcontext()


async def serve(
    settings: AgentSettings,
    readers: ReaderService,
    *,
    issuance: IssuanceClient | None = None,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[Ready], None] | None = None,
    ready_file: Path | None = None,
) -> None:
    """Serve until `stop` is set. Raises PortBusyError, StartError, ClientKeyError before anything is ready."""
    stop = stop or asyncio.Event()
    app = create_app(settings, readers, issuance=issuance)
    agent = app.state.agent
    told = [file for file in (ready_file, discovery_file(settings)) if file is not None]
    with _bound(settings.port) as http_sockets, _bound(settings.ws_port) as ws_sockets:
        ready = Ready(_port(http_sockets), _port(ws_sockets), os.getpid())
        agent.ports.page, agent.ports.driver = ready.http_port, ready.ws_port
        servers = [_Server(app, lifespan="on"), _Server(create_driver_app(agent), lifespan="off")]
        tasks = [
            asyncio.create_task(server.serve(sockets))
            for server, sockets in zip(servers, (http_sockets, ws_sockets), strict=True)
        ]
        try:
            await _started(servers, tasks)
            _give_memory_back()
            for file in told:
                try:
                    _write(file, ready)
                except OSError as error:  # a full disk is no reason to read no cards
                    LOG.error("%s cannot be written: %s", file.name, error)
            if on_ready is not None:
                on_ready(ready)
            async with supervised(lambda: agent.registry.stuck_s):
                await _first(stop, tasks)
        finally:
            agent.hub.close()
            for server in servers:
                server.should_exit = True
            await asyncio.wait(tasks, timeout=STOP_S)
            for file in told:
                await asyncio.to_thread(file.unlink, missing_ok=True)


def run(
    settings: AgentSettings,
    readers: ReaderService,
    *,
    issuance: IssuanceClient | None = None,
    on_ready: Callable[[Ready], None] | None = None,
    ready_file: Path | None = None,
) -> None:
    """Serve in this thread until SIGTERM or SIGINT."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, stop.set)
            except NotImplementedError:  # Windows event loops
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        await serve(settings, readers, issuance=issuance, stop=stop, on_ready=on_ready, ready_file=ready_file)

    _spare_httpx_command_line()
    asyncio.run(main())


def _spare_httpx_command_line() -> None:
    """httpx loads its command line with itself, and with it rich and pygments: three megabytes that nothing here uses.
    Where they are not installed it does without; so it does where its import is told that there is no such module."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: import system, "The module cache"


@contextmanager
def running_agent(
    settings: AgentSettings, readers: ReaderService, *, issuance: IssuanceClient | None = None
) -> Iterator[Ready]:
    """An agent in a thread of this process, for demonstrations and tests; ended with the block."""
    box: dict[str, Any] = {}
    has_started = threading.Event()

    async def main() -> None:
        box["loop"], box["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def ready(where: Ready) -> None:
            box["ready"] = where
            has_started.set()

        await serve(settings, readers, issuance=issuance, stop=box["stop"], on_ready=ready)

    def body() -> None:
        try:
            asyncio.run(main())
        except Exception as exc:
            box["error"] = exc
        finally:
            has_started.set()

    thread = threading.Thread(target=body, name="terminal agent", daemon=True)
    thread.start()
    try:
        if not has_started.wait(START_S) or "ready" not in box:
            raise box.get("error") or StartError("the agent did not start in time")
        yield box["ready"]
    finally:
        if "loop" in box:
            with suppress(RuntimeError):
                box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(STOP_S)


@contextmanager
def _bound(port: int) -> Iterator[list[socket.socket]]:
    """Listening sockets on 127.0.0.1 and, where the machine has it, ::1 with the same port: browsers try both."""
    sockets = [_first_free(port)]
    with suppress(OSError, AgentError):
        sockets.append(_bind(socket.AF_INET6, "::1", _port(sockets)))
    try:
        yield sockets
    finally:
        for bound in sockets:
            bound.close()


def _first_free(port: int) -> socket.socket:
    """A port that was chosen is used or nothing; of the usual ones the next free. Raises PortBusyError."""
    for other in OTHER_PORTS.get(port, ()):
        try:
            return _bind(socket.AF_INET, "127.0.0.1", port)
        except PortBusyError as taken:
            LOG.warning("%s; trying %d", taken, other)
            port = other
    return _bind(socket.AF_INET, "127.0.0.1", port)


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's delay off only where a socket names its protocol; with it an answer waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        bound.listen()
    except OSError as exc:
        bound.close()
        by = listener_of(port)
        raise PortBusyError(f"cannot listen on {host} port {port}: {exc.strerror}{f' by {by}' if by else ''}") from exc
    return bound


def _port(sockets: list[socket.socket]) -> int:
    port: int = sockets[0].getsockname()[1]
    return port


async def _started(servers: list[_Server], tasks: list[asyncio.Task[None]]) -> None:
    deadline = asyncio.get_running_loop().time() + START_S
    while not all(server.started for server in servers):
        failed = next((task for task in tasks if task.done()), None)
        if failed is not None or asyncio.get_running_loop().time() > deadline:
            raise StartError("the agent's application did not start")
        await asyncio.sleep(0.01)


def _give_memory_back() -> None:
    """glibc keeps what starting took and freed; the system can have it. A thousandth of a second, once."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


async def _first(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Until asked to stop, or until a server ends by itself."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()


def discovery_file(settings: AgentSettings) -> Path | None:
    """Where programs of this account find the agent while it runs."""
    return settings.state_dir / "agent.json" if settings.state_dir is not None else None


def _write(path: Path, ready: Ready) -> None:
    """Whole or not at all: a watcher must never read half a file. For this account alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(ready)).encode())
