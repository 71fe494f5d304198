"""A thousand terminals and one static server: what a fetch costs when nothing, one item or the block list changed.

Folders, HTTP and verification are real; only the waiting after an outage is counted on a virtual clock. Beside it, in
the same run, the plain way: one bundle without signatures, asked for with its ETag.
"""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import random
import shutil
import socket
import statistics
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rich.table import Table

from apps_catalog.block_list import Kind, build, build_delta
from apps_catalog.catalog import DATA
from apps_catalog.distribution.client import fetch
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.pace import Pace
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES, TIMESTAMP
from bench.measure import BenchError, heading, mark
from hsm.api import Algorithm, KeyRef
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService

TERMINALS: Final = 1000
BLOCKED: Final = 100_000
OUTAGE_S: Final = 3600.0
AT_ONCE: Final = 4
"""Fetches under way in each worker."""

REQUESTS_TARGET: Final = 3
BYTES_TARGET: Final = 10_000
_BUNDLE: Final = "bundle.tar"
_WINDOW_S: Final = 600


@dataclass(frozen=True, slots=True)
class Round:
    """All terminals once. Counts are of one terminal, bytes both ways with their heads."""

    name: str
    requests: int
    connections: float
    bytes_mean: float
    p50_ms: float
    p99_ms: float
    per_s: float
    peer_requests: int
    peer_bytes: float


@dataclass(frozen=True, slots=True)
class Return:
    """After an outage, on the virtual clock: requests in the busiest second, until 99 % were there again, and the mean
    of requests per second in every ten minutes."""

    name: str
    peak_per_s: int
    all_back_s: float
    per_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TerminalFigures:
    terminals: int
    rounds: tuple[Round, ...]
    returns: tuple[Return, ...]

    def tables(self) -> list[Table | str]:
        title = f"终端取回 / {self.terminals:,} terminals, one static server"
        table = Table(title=title, title_justify="left")
        columns = (
            ("", ""),
            ("请求", "requests"),
            ("字节", "bytes"),
            ("合计 MB", "total MB"),
            ("连接", "connections"),
            ("p50 ms", ""),
            ("p99 ms", ""),
            ("请求/秒", "req/s"),
            ("整包 ETag", "bundle"),
            (f"≤ {REQUESTS_TARGET}", f"≤ {BYTES_TARGET:,}"),
        )
        for column in columns:
            table.add_column(heading(*column))
        for number, row in enumerate(self.rounds):
            met = row.requests <= REQUESTS_TARGET and row.bytes_mean <= BYTES_TARGET
            table.add_row(
                row.name.replace(" / ", "\n"),
                str(row.requests),
                f"{row.bytes_mean:,.0f}",
                f"{row.bytes_mean * self.terminals / 1e6:.1f}",
                f"{row.connections:.2f}",
                f"{row.p50_ms:.0f}",
                f"{row.p99_ms:.0f}",
                f"{row.per_s:.0f}",
                f"{row.peer_requests}, {row.peer_bytes:,.0f}",
                mark(met if number == 0 else None),
            )
        after = Table(title=f"断网 {OUTAGE_S / 60:.0f} 分钟之后 / after an outage", title_justify="left")
        for name in (
            "",
            heading("最忙一秒的请求", "requests in the busiest second"),
            heading("99% 回来，秒", "99 % back, s"),
            heading("每 10 分钟内的请求/秒", "requests/s in every 10 minutes"),
        ):
            after.add_column(name)
        for back in self.returns:
            shape = " · ".join(f"{rate:.2f}" for rate in back.per_s)
            after.add_row(back.name, str(back.peak_per_s), f"{back.all_back_s:.0f}", shape)
        return [table, after]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Traffic:
    """Per connection: requests, bytes both ways."""

    seen: list[tuple[int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> list[tuple[int, int]]:
        with self.lock:
            seen, self.seen = self.seen, []
        return seen


class _Counted(io.RawIOBase):
    def __init__(self, stream: Any) -> None:
        self._stream, self.bytes = stream, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.bytes += len(data)
        self._stream.write(data)
        return len(data)


class StaticServer(ThreadingHTTPServer):
    """Files of a folder over HTTP/1.1 with an ETag from size and time, as web servers make it."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, folder: Path) -> None:
        self.folder, self.traffic = folder, Traffic()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StaticServer

    def __init__(self, request: Any, address: Any, server: StaticServer) -> None:
        super().__init__(request, address, server, directory=str(server.folder))

    def setup(self) -> None:
        super().setup()
        # Head and body go out in two writes.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.wfile = self._counted = _Counted(self.wfile)  # type: ignore[assignment]
        self._requests = self._received = 0

    def finish(self) -> None:
        with self.server.traffic.lock:
            self.server.traffic.seen.append((self._requests, self._counted.bytes + self._received))
        super().finish()

    def do_GET(self) -> None:
        self._requests += 1
        self._received += len(self.requestline) + 2 + len(bytes(self.headers))
        path = Path(self.translate_path(self.path))
        if path.is_file() and self.headers.get("If-None-Match") == _etag(path):
            self.send_response(304)
            self.end_headers()
            return
        super().do_GET()

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", _etag(path))
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Without ending the connection, as http.server does and no other server."""
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


def _etag(path: Path) -> str:
    found = path.stat()
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'


def measure(*, terminals: int = TERMINALS, blocked: int = BLOCKED, workers: int | None = None) -> TerminalFigures:
    """`workers`: processes that fetch; 0 for threads of this one. Raises BenchError for a fetch of the wrong set."""
    workers = (os.cpu_count() or 1) if workers is None else workers
    with tempfile.TemporaryDirectory() as name, _pool(workers) as (pool, at_once):
        return _Bench(Path(name), terminals, blocked, pool, at_once).run()


@contextmanager
def _pool(workers: int) -> Iterator[tuple[Executor, int]]:
    if workers:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool, workers
    else:
        with ThreadPoolExecutor(1) as pool:
            yield pool, 1


class _Bench:
    def __init__(self, folder: Path, terminals: int, blocked: int, pool: Executor, workers: int) -> None:
        self._folder, self._terminals, self._blocked = folder, terminals, blocked
        self._pool, self._workers = pool, workers
        self._repo, self._lists = folder / "repo", folder / "lists"

    def run(self) -> TerminalFigures:
        with SoftKeyService.create(self._folder / "keys", "thrown away", cost=ScryptCost(n=2, r=1)) as service:
            repository = Repository(self._repo, {holder: _signer(service, holder) for holder in ROLES.holders})
            root = repository.create()
            self._publish_all(repository)
            with _serving(self._repo) as server:
                places = self._installed(server.url, root)
                rounds = tuple(self._rounds(repository, server, places))
                return TerminalFigures(self._terminals, rounds, tuple(self._returns(rounds[-1].requests)))

    def _publish_all(self, repository: Repository) -> None:
        for role, files in by_owner(DATA).items():
            repository.publish(role, files)
        build(self._lists, map(_card, range(self._blocked)), as_of=int(time.time()))
        self._publish_lists(repository)

    def _publish_lists(self, repository: Repository) -> None:
        repository.publish("blocklist", {file.name: file.read_bytes() for file in sorted(self._lists.iterdir())})
        repository.refresh()
        self._bundle()

    def _bundle(self) -> None:
        """What the plain way would serve: every file there is, in one."""
        with tarfile.open(self._repo / _BUNDLE, "w") as bundle:
            newest: dict[str, Path] = {}
            for path in sorted((self._repo / "targets").rglob("*.*"), key=lambda path: path.stat().st_mtime_ns):
                if path.is_file():
                    newest[f"{path.parent.name}/{path.name.partition('.')[2]}"] = path
            for name, path in newest.items():
                bundle.add(path, name)

    def _installed(self, url: str, root: bytes) -> list[Path]:
        """One terminal fetches; the others begin with links to its files, but not to its lock."""
        first = self._folder / "terminal-0"
        fetch(url, first, root=root)
        (first / "fetch.lock").unlink()
        places = [first]
        for number in range(1, self._terminals):
            place = self._folder / f"terminal-{number}"
            shutil.copytree(first, place, copy_function=os.link, symlinks=True)
            places.append(place)
        return places

    def _rounds(self, repository: Repository, server: StaticServer, places: list[Path]) -> Iterator[Round]:
        etag = _etag(self._repo / _BUNDLE)
        yield self._round("没有变化 / nothing changed", server, places, etag)
        self._change_item(repository)
        yield self._round("改一项 / one item changed", server, places, etag)
        etag = _etag(self._repo / _BUNDLE)
        build_delta(self._lists, map(_card, range(5, self._blocked + 10)), as_of=int(time.time()))
        self._publish_lists(repository)
        yield self._round("黑名单增量 / block list moved", server, places, etag)
        etag = _etag(self._repo / _BUNDLE)
        repository.refresh()
        yield self._round("恢复之后 / after the outage", server, places, etag)

    def _change_item(self, repository: Repository) -> None:
        changed = Path(shutil.copytree(DATA, self._folder / "changed"))
        with (changed / "120000.toml").open("a", encoding="utf-8") as file:
            file.write("# another edition\n")
        for role, files in by_owner(changed).items():
            repository.publish(role, files)
        repository.refresh()
        self._bundle()

    def _round(self, name: str, server: StaticServer, places: list[Path], etag: str) -> Round:
        server.traffic.take()
        number = {role: version for role, version, _ in Repository(self._repo, {}).status()}[TIMESTAMP]
        started = time.perf_counter()
        times = self._spread(partial(_fetch_all, server.url, number), places)
        took = time.perf_counter() - started
        seen = _settled(server, len(places))
        self._spread(partial(_ask_all, f"{server.url}/{_BUNDLE}", etag), places)
        plain = _settled(server, len(places))
        cuts = statistics.quantiles(times, n=100)
        return Round(
            name,
            requests=math.ceil(sum(requests for requests, _ in seen) / len(places)),
            connections=len(seen) / len(places),
            bytes_mean=sum(size for _, size in seen) / len(places),
            p50_ms=cuts[49] * 1000,
            p99_ms=cuts[98] * 1000,
            per_s=sum(requests for requests, _ in seen) / took,
            peer_requests=max(requests for requests, _ in plain),
            peer_bytes=sum(size for _, size in plain) / len(places),
        )

    def _spread(self, work: Callable[[list[Path]], list[float]], places: list[Path]) -> list[float]:
        parts = [places[start :: self._workers] for start in range(self._workers)]
        return [duration for durations in self._pool.map(work, parts) for duration in durations]

    def _returns(self, requests: int) -> Iterator[Return]:
        chance = random.Random(1).random
        pace = Pace()
        yield _return("Pace", arrivals(pace, self._terminals, OUTAGE_S, chance), requests)
        # The plain way: every terminal asks when the clock shows a multiple of the interval.
        by_the_clock = [pace.interval_s - OUTAGE_S % pace.interval_s] * self._terminals
        yield _return("整点定时 / by the clock", by_the_clock, requests)


def arrivals(pace: Pace, terminals: int, outage_s: float, chance: Callable[[], float]) -> list[float]:
    """Seconds after the server's return at which each terminal first asks it; before the outage all was quiet."""
    found = []
    for _ in range(terminals):
        now, failures = pace.interval_s * chance(), 0
        while now < outage_s:
            failures += 1
            now += pace.next_s(failures, chance)
        found.append(now - outage_s)
    return sorted(found)


def _return(name: str, times: list[float], requests: int) -> Return:
    busiest = max(Counter(int(second) for second in times).values())
    windows = Counter(int(second) // _WINDOW_S for second in times)
    shape = tuple(windows[at] * requests / _WINDOW_S for at in range(max(windows) + 1))
    return Return(name, busiest * requests, sorted(times)[len(times) * 99 // 100], shape)


def _fetch_all(url: str, number: int, places: list[Path]) -> list[float]:
    def one(place: Path) -> float:
        started = time.perf_counter()
        found = fetch(url, place)
        if found.number != number:
            raise BenchError(f"{place.name} has set {found.number}, not {number}")
        return time.perf_counter() - started

    return _at_once(one, places)


def _ask_all(url: str, etag: str, places: list[Path]) -> list[float]:
    def one(place: Path) -> float:
        started = time.perf_counter()
        connection = HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", urlsplit(url).path, headers={"If-None-Match": etag})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status not in (200, 304):
            raise BenchError(f"the bundle came with status {answer.status}")
        return time.perf_counter() - started

    return _at_once(one, places)


def _at_once(one: Callable[[Path], float], places: Iterable[Path]) -> list[float]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, places))


def _settled(server: StaticServer, least: int) -> list[tuple[int, int]]:
    """Connections are counted when they end, which may be a moment after the answer."""
    seen = server.traffic.take()
    ends = time.monotonic() + 10
    while len(seen) < least and time.monotonic() < ends:
        time.sleep(0.01)
        seen += server.traffic.take()
    return seen


@contextmanager
def _serving(folder: Path) -> Iterator[StaticServer]:
    with StaticServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _signer(service: SoftKeyService, holder: str) -> ServiceSigner:
    key = KeyRef(f"BENCH_{holder}", Algorithm.SM2, 1)
    service.generate_pair(key)
    return ServiceSigner(service, key, holder)


def _card(number: int) -> tuple[Kind, str]:
    return Kind.CARD, f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032X}"
