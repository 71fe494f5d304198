"""A working life of cards put in and taken out, at the speed of the machine: does the agent grow?

The real agent serves in a process of its own, over sockets; its readers are objects of that process. Cards go into all
readers at once and out again, each change awaited at the agent's event stream. On the way cards are read over new
connections of both kinds, and readers are unplugged and come back, also under other names.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from io import BufferedReader
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rich.table import Table
from websockets.sync.client import connect

from apdu.inprocess import InProcessReaders
from bench.apdu import TrivialCard
from bench.client import EVENT_S, ClientError, run_client
from bench.measure import heading, mark
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys
from terminal_agent.server import Ready, serve
from terminal_agent.settings import AgentSettings

INSERTIONS: Final = 200_000
READERS: Final = 8
MOMENTS: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Parts of the whole after which is counted; what comes before the first warms up."""
GROWTH_MIB: Final = 2.0
READ_EVERY, REPLUG_EVERY, RENAME_EVERY = 20, 50, 200
"""Rounds; in one round a card goes into each reader."""
_SETTLE_S: Final = 0.3
_READ: Final = "Insertions Reader {} 00"
_ROUNDS_A_SECOND: Final = 10.0
"""Slower than this is a hang."""


@dataclass(frozen=True, slots=True)
class Count:
    """Of the whole process, the bench's own client and cards with it; `tasks` of the agent's event loop."""

    insertions: int
    mib: float
    descriptors: int
    threads: int
    tasks: int

    def exceeds(self, other: Count) -> bool:
        """In something that is counted; memory is measured."""
        return any(getattr(self, name) > getattr(other, name) for name in ("descriptors", "threads", "tasks"))


@dataclass(frozen=True, slots=True)
class InsertionsResult:
    counts: list[Count]
    reads: int
    replugs: int
    seconds: float

    @property
    def is_met(self) -> bool:
        first, last = self.counts[0], self.counts[-1]
        return last.mib - first.mib <= GROWTH_MIB and not last.exceeds(first)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": self.is_met}

    def tables(self) -> list[Table | str]:
        table = Table(title="插卡 / insertions", title_justify="left")
        for zh, en in (
            ("次数", "insertions"),
            ("内存", "MiB"),
            ("句柄", "handles"),
            ("线程", "threads"),
            ("任务", "tasks"),
        ):
            table.add_column(heading(zh, en), justify="right")
        for count in self.counts:
            row = (f"{count.insertions:,}", f"{count.mib:.1f}", *map(str, (count.descriptors, count.threads)))
            table.add_row(*row, str(count.tasks))
        return [
            table,
            f"{mark(self.is_met)} 不增长 / no growth (≤ {GROWTH_MIB:g} MiB); {self.reads:,} cards read, "
            f"{self.replugs:,} readers unplugged, {self.seconds:.0f} s",
        ]


def measure(*, insertions: int = INSERTIONS) -> InsertionsResult:
    """Raises ClientError when a change is not told or a card not read."""
    found = run_client("bench.insertions", insertions, timeout_s=60 + insertions / READERS / _ROUNDS_A_SECOND)
    return InsertionsResult(**found | {"counts": [Count(**count) for count in found["counts"]]})


class _Stand:
    """The readers of an agent, what it tells of them, and its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, readers: InProcessReaders, ready: Ready) -> None:
        self._loop = loop
        self._readers = readers
        self._ready = ready
        self._names = readers.readers()
        self._renamed = 0
        self._card = SimCard(build_card(personas.load("adult-2.0"), RootKeys.generate()))
        self._told: BufferedReader
        self.reads = self.replugs = 0

    def run(self, insertions: int) -> InsertionsResult:
        rounds, counts, begun = insertions // READERS, list[Count](), time.monotonic()
        moments = {max(1, round(rounds * moment)) for moment in MOMENTS}
        with _events(self._ready.http_port) as self._told:
            for number in range(1, rounds + 1):
                self._insert_all(number)
                if number % READ_EVERY == 0:
                    self._read()
                self._remove_all()
                if number % REPLUG_EVERY == 0:
                    self._replug(number)
                if number in moments:
                    counts.append(self._settled(number * READERS, counts[0] if counts else None))
        return InsertionsResult(counts, self.reads, self.replugs, time.monotonic() - begun)

    def _insert_all(self, number: int) -> None:
        for place, name in enumerate(self._names):
            self._readers.insert(name, self._card if place == 0 and number % READ_EVERY == 0 else TrivialCard())
        self._expect("card_inserted", len(self._names))

    def _remove_all(self) -> None:
        for name in self._names:
            self._readers.remove(name)
        self._expect("card_removed", len(self._names))

    def _read(self) -> None:
        """By a program of the installed base, and by a page."""
        with connect(self._ready.ws_url, proxy=None) as program:
            program.send('{"function":"iReadCardBas","iType":1}')
            answer = json.loads(program.recv(EVENT_S))
        # Not httpx: each of its clients reads the certificates of all authorities, which would be measured here.
        with closing(HTTPConnection("127.0.0.1", self._ready.http_port, timeout=EVENT_S)) as page:
            page.request("POST", f"/v1/readers/{quote(self._names[0])}/basic-information")
            told = json.loads(page.getresponse().read())
        if answer["success"] != "1" or told.get("name", "?") not in answer["pOutInfo"]:
            raise ClientError(f"not read: {answer['pOutInfo']}")
        self.reads += 2

    def _replug(self, number: int) -> None:
        """The last reader; now and then the service has a new name for it."""
        name = self._names[-1]
        self._readers.remove_reader(name)
        self._expect("reader_removed", 1)
        if number % RENAME_EVERY == 0:
            self._renamed += 1
            name = self._names[-1] = _READ.format(f"again {self._renamed}")
        self._readers.add_reader(name)
        self._expect("reader_added", 1)
        self.replugs += 1

    def _expect(self, kind: str, times: int) -> None:
        """Raises ClientError when the stream ends, tells something else, or nothing in time."""
        while times:
            line = self._told.readline()
            if not line:
                raise ClientError(f"the event stream ended before {kind}")
            if line.startswith(b"event: "):
                if line[7:].strip() != kind.encode():
                    raise ClientError(f"{line.decode().strip()} instead of {kind}")
                times -= 1

    def _settled(self, insertions: int, first: Count | None) -> Count:
        """What is more than at first has time to end."""
        end = time.monotonic() + EVENT_S
        while True:
            time.sleep(_SETTLE_S)
            found = self._count(insertions)
            if first is None or not found.exceeds(first) or time.monotonic() > end:
                return found

    def _count(self, insertions: int) -> Count:
        tasks = asyncio.run_coroutine_threadsafe(_tasks(), self._loop).result()
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        return Count(insertions, mib, len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), tasks)


async def _tasks() -> int:
    return len(asyncio.all_tasks())


@contextmanager
def _events(port: int) -> Iterator[BufferedReader]:
    """The agent's event stream from now on."""
    with closing(socket.create_connection(("127.0.0.1", port), EVENT_S)) as link:
        link.sendall(f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        stream = link.makefile("rb")
        while stream.readline().strip():
            continue
        yield stream


async def life(insertions: int) -> InsertionsResult:
    """The agent on this loop, cards and client in a thread beside it."""
    readers = InProcessReaders([_READ.format(number) for number in range(READERS)])
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    is_ready: asyncio.Future[Ready] = loop.create_future()
    agent = asyncio.create_task(
        serve(AgentSettings(port=0, ws_port=0), readers, stop=stop, on_ready=is_ready.set_result)
    )
    try:
        agent.add_done_callback(lambda _: is_ready.cancel())
        return await asyncio.to_thread(_Stand(loop, readers, await is_ready).run, insertions)
    finally:
        stop.set()
        await agent


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(life(int(sys.argv[1]))))), flush=True)
