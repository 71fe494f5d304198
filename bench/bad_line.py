"""A line between a terminal and the centre that loses answers, lets requests come late, and is cut.

A request whose answer is lost, or that comes after its sender has given up and sent it again, is what doubles and
disorders messages above TCP; packets that are doubled or out of order TCP mends itself.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Final

_HEAD: Final = 64 * 1024
_LATE_S: Final = (0.05, 0.6)
Headed = tuple[bytes, bytes]


class BadLine:
    """Listens on `host` and passes HTTP requests on to 127.0.0.1:`to_port`; `share` of them go wrong, in turns."""

    def __init__(self, to_port: int, *, host: str = "127.0.0.1", share: float = 0.05, seed: int = 1) -> None:
        self._to_port = to_port
        self._host = host
        self._fates = _fates(round(1 / share))
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._late: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bad line", daemon=True)
        self.is_cut = False
        self.did: Counter[str] = Counter()
        self._thread.start()
        listening = asyncio.start_server(self._serve, host, 0, limit=_HEAD)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(5)
        self.url = f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.IncompleteReadError):
            while not self.is_cut:
                request = await _message(reader)
                if self.is_cut:
                    break
                goes_wrong, which = next(self._fates)
                if goes_wrong and which == "late":
                    self.did[which] += 1
                    self._later(request)
                    break
                answer = await self._pass_on(request)
                if goes_wrong:
                    self.did[which] += 1
                    break
                self.did["passed"] += 1
                writer.write(b"".join(answer))
                await writer.drain()
        with suppress(OSError):
            writer.close()

    def _later(self, request: Headed) -> None:
        async def deliver() -> None:
            await asyncio.sleep(self._random.uniform(*_LATE_S))
            with suppress(OSError, EOFError, asyncio.IncompleteReadError):
                await self._pass_on(request)

        task = self._loop.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _pass_on(self, request: Headed) -> Headed:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._to_port, limit=_HEAD)
        try:
            writer.write(b"".join(request))
            return await _message(reader)
        finally:
            writer.close()


def _fates(period: int) -> Iterator[tuple[bool, str]]:
    """Whether the next request goes wrong, and how: the first, and then one in `period`, by turns."""
    for number in count():
        yield number % period == 0, ("answer lost", "late")[number // period % 2]


async def _message(reader: asyncio.StreamReader) -> Headed:
    """Head and body; both sides say the length of theirs."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line.split(b":", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return head, await reader.readexactly(int(sizes[0])) if sizes else b""
