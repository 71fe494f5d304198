"""What systemd is told (sd_notify(3)): ready, alive, stopping. Does nothing under another supervisor.

`WATCHDOG=1` is sent from the event loop, so a loop that stands still sends none; and not while a reader's thread is
stuck for longer than `STUCK_S` beyond the patience of whoever asked it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

STUCK_S: Final = 120.0
_PER_PERIOD: Final = 3
LOG = logging.getLogger("terminal_agent.systemd")


def notify(state: str) -> bool:
    """False where nobody listens. A leading @ names an abstract socket."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError as error:
        LOG.warning("systemd cannot be told: %s", error.strerror)
        return False
    return True


def watchdog_s() -> float | None:
    """The period in which systemd wants to hear, None where it watches nobody or another process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    micros = os.environ.get("WATCHDOG_USEC", "")
    return int(micros) / 1e6 if micros.isdigit() and int(micros) else None


@asynccontextmanager
async def supervised(stuck_s: Callable[[], float]) -> AsyncIterator[None]:
    """Ready at the beginning of the block, alive through it, stopping at its end. `stuck_s`: the longest that a thread
    is overdue."""
    notify("READY=1")
    period = watchdog_s()
    alive = None if period is None else asyncio.create_task(_alive(period / _PER_PERIOD, stuck_s))
    try:
        yield
    finally:
        notify("STOPPING=1")
        if alive is not None:
            alive.cancel()
            with suppress(asyncio.CancelledError):
                await alive


async def _alive(pause_s: float, stuck_s: Callable[[], float]) -> None:
    while True:
        if stuck_s() < STUCK_S:
            notify("WATCHDOG=1")
        else:
            LOG.error("a reader's thread is stuck; systemd is told nothing more")
        await asyncio.sleep(pause_s)
