"""The agent at rest and asked: start, memory, and a question that touches no card, beside AusweisApp where it is there.

AusweisApp is Debian's package `ausweisapp2` (`ausweisapp` in later releases), run without a screen. Its questions over
the WebSocket are GET_INFO and GET_STATUS. Ours is a function that does not exist, the one message of the installed base
that is answered without a reader; over HTTP it is `/v1/info`. Both programs run at once and are asked in turns, each on
one connection that is kept.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table
from websockets.sync.client import ClientConnection, connect

from bench.measure import BenchError, mark
from cardlib.client_auth import ClientKey

STARTS: Final = 5
ROUNDS: Final = 10
CALLS: Final = 200
START_TARGET_S: Final = 1.5
MEMORY_TARGET_MIB: Final = 80
ANSWER_TARGET_MS: Final = 1.0
_LIMIT_S: Final = 30.0
_REST_S: Final = 10.0
_PEERS: Final = ("AusweisApp2", "AusweisApp")
OURS, OURS_HTTP, PEER_INFO, PEER_STATUS = "WebSocket", "HTTP /v1/info", "GET_INFO", "GET_STATUS"


@dataclass(frozen=True, slots=True)
class Answer:
    """Milliseconds from question to answer; medians of the rounds' own percentiles."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Program:
    """`start_s` from nothing to the first answer, `start_cpu_s` its processor time by then; medians of the starts.
    `mib` is resident and `own_mib` proportional memory (PSS), after ten seconds of rest. `ready_s`: until it says where
    it listens."""

    name: str
    start_s: float
    quickest_s: float
    start_cpu_s: float
    mib: float
    own_mib: float
    answers: dict[str, Answer]
    ready_s: float | None = None


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """`registered_mib`: of an agent with a centre and a key, which does not answer."""

    ours: Program
    registered_mib: float
    peer: Program | None

    def tables(self) -> list[Table | str]:
        table = Table(title="终端服务 / the agent at rest", title_justify="left")
        peer = self.peer.name if self.peer else "AusweisApp: 未安装 / not installed"
        for column in ("", "OneCard", "目标 / target", "", peer):
            table.add_column(column, justify="right" if column else "left")
        ours, other = self.ours, self.peer
        rows: tuple[tuple[str, float, float | None, float | None], ...] = (
            ("冷启动 / cold start s", ours.start_s, START_TARGET_S, other.start_s if other else None),
            ("最快一次 / the quickest s", ours.quickest_s, None, other.quickest_s if other else None),
            ("其中到就绪 / of it until ready s", ours.ready_s or 0.0, None, None),
            ("其中处理器 / of it processor s", ours.start_cpu_s, None, other.start_cpu_s if other else None),
            ("内存 / memory MiB", ours.mib, MEMORY_TARGET_MIB, other.mib if other else None),
            ("按比例 / proportional MiB", ours.own_mib, None, other.own_mib if other else None),
            ("已登记 / registered MiB", self.registered_mib, None, None),
            *(_row(name, ours, other, PEER_INFO) for name in (OURS, OURS_HTTP)),
        )
        for name, value, target, theirs in rows:
            good = "" if target is None else mark(value <= target)
            wanted = f"≤ {target:g}" if target else ""
            table.add_row(name, f"{value:.2f}", wanted, good, "-" if theirs is None else f"{theirs:.2f}")
        tails = [f"{name} {answer.p99_ms:.2f}" for name, answer in ours.answers.items()]
        tails += [f"{other.name} {name} {answer.p99_ms:.2f}" for name, answer in other.answers.items()] if other else []
        if other:
            tails.append(f"{PEER_STATUS} p50 {other.answers[PEER_STATUS].p50_ms:.2f}")
        return [table, f"p99 ms: {' · '.join(tails)}"]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _row(name: str, ours: Program, other: Program | None, theirs: str) -> tuple[str, float, float | None, float | None]:
    target = ANSWER_TARGET_MS if name == OURS else None
    peer = other.answers[theirs].p50_ms if other and name == OURS else None
    return f"{name} p50 ms", ours.answers[name].p50_ms, target, peer


@dataclass(frozen=True, slots=True)
class Start:
    """A program that runs; seconds count from when it was called."""

    process: subprocess.Popen[bytes]
    name: str
    ws_url: str
    url: str
    ready_s: float
    start_s: float
    start_cpu_s: float


Started = Callable[[], AbstractContextManager[Start]]


def measure() -> AgentFigures:
    """Raises BenchError when the agent does not start."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        programs: dict[str, Started] = {"ours": partial(_agent, folder)}
        found = next((path for path in map(shutil.which, _PEERS) if path), None)
        if found:
            programs["peer"] = partial(_peer, found, folder)
        starts = _starts(programs)
        with _agent(folder, *_registered(folder)) as registered:
            time.sleep(_REST_S)
            registered_mib = _mib(registered.process.pid, "Rss")
        running = {who: stack.enter_context(start()) for who, start in programs.items()}
        time.sleep(_REST_S)
        memory = {
            who: (_mib(program.process.pid, "Rss"), _mib(program.process.pid, "Pss"))
            for who, program in running.items()
        }
        asks = _questions(running, stack)
        answers = _in_turns({name: ask for questions in asks.values() for name, ask in questions.items()})
    told = {
        who: Program(
            name=running[who].name,
            start_s=statistics.median(start.start_s for start in starts[who]),
            quickest_s=min(start.start_s for start in starts[who]),
            start_cpu_s=statistics.median(start.start_cpu_s for start in starts[who]),
            mib=memory[who][0],
            own_mib=memory[who][1],
            answers={name: answers[name] for name in asks[who]},
            ready_s=statistics.median(start.ready_s for start in starts[who]) if who == "ours" else None,
        )
        for who in running
    }
    return AgentFigures(told["ours"], registered_mib, told.get("peer"))


def _starts(programs: dict[str, Started]) -> dict[str, list[Start]]:
    """In turns."""
    starts: dict[str, list[Start]] = {who: [] for who in programs}
    for _ in range(STARTS):
        for who, start in programs.items():
            with start() as program:
                starts[who].append(program)
    return starts


def _registered(folder: Path) -> list[str]:
    """Options of a terminal with a key and a centre, which is not there."""
    key = folder / "key.json"
    ClientKey.generate("bench").save(key)
    return ["--issuance-url", "http://127.0.0.1:9", "--client-key", str(key), "--state-dir", str(folder / "state")]


def _questions(running: dict[str, Start], stack: ExitStack) -> dict[str, dict[str, Callable[[], object]]]:
    ours = running["ours"]
    http, link = stack.enter_context(httpx.Client()), stack.enter_context(connect(ours.ws_url, proxy=None))
    asks: dict[str, dict[str, Callable[[], object]]] = {
        "ours": {
            OURS: lambda: _asked(link, '{"function":"none"}'),
            OURS_HTTP: lambda: http.get(f"{ours.url}/v1/info").raise_for_status(),
        }
    }
    if "peer" in running:
        peer = stack.enter_context(connect(running["peer"].ws_url, proxy=None))
        asks["peer"] = {
            name: partial(_asked, peer, json.dumps({"cmd": name}), name[4:]) for name in (PEER_INFO, PEER_STATUS)
        }
    return asks


def _in_turns(asks: dict[str, Callable[[], object]]) -> dict[str, Answer]:
    seen: dict[str, list[list[float]]] = {name: [] for name in asks}
    for _ in range(ROUNDS):
        for name, ask in asks.items():
            times = []
            for _ in range(CALLS):
                begun = time.perf_counter()
                ask()
                times.append((time.perf_counter() - begun) * 1000)
            seen[name].append(sorted(times))
    return {
        name: Answer(*(statistics.median(times[int(CALLS * share)] for times in rounds) for share in (0.5, 0.99)))
        for name, rounds in seen.items()
    }


def _asked(link: ClientConnection, message: str, kind: str | None = None) -> str:
    """The answer; of a program that also tells news, the one that says it is a `kind`."""
    link.send(message)
    while True:
        answer = str(link.recv(_LIMIT_S))
        if kind is None or json.loads(answer).get("msg") == kind:
            return answer


@contextmanager
def _agent(folder: Path, *options: str) -> Iterator[Start]:
    file = folder / "ready.json"
    file.unlink(missing_ok=True)
    order = [sys.executable, "-m", "onecard_cli", "agent", "run", "--readers", "vpcd", "--port", "0", "--ws-port", "0"]
    begun = time.perf_counter()
    with _running([*order, *options, "--ready-file", str(file)], folder) as process:
        ready = json.loads(_until(lambda: file.read_text("utf-8") if file.exists() else None, process))
        ready_s = time.perf_counter() - begun
        httpx.get(f"{ready['url']}/healthz", trust_env=False).raise_for_status()
        start_s = time.perf_counter() - begun
        yield Start(process, "OneCard", ready["ws_url"], ready["url"], ready_s, start_s, _cpu_s(process.pid))


@contextmanager
def _peer(program: str, folder: Path) -> Iterator[Start]:
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = spare.getsockname()[1]
    url = f"ws://127.0.0.1:{port}/eID-Kernel"
    begun = time.perf_counter()
    with _running([program, "--ui", "websocket", "--port", str(port)], folder, QT_QPA_PLATFORM="offscreen") as process:
        told = json.loads(_until(lambda: _first_answer(url), process))
        start_s = time.perf_counter() - begun
        name = f"AusweisApp {told['VersionInfo']['Implementation-Version']}"
        yield Start(process, name, url, "", start_s, start_s, _cpu_s(process.pid))


def _first_answer(url: str) -> str | None:
    try:
        with connect(url, proxy=None) as link:
            return _asked(link, json.dumps({"cmd": PEER_INFO}), PEER_INFO[4:])
    except OSError:
        return None


@contextmanager
def _running(order: list[str], folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = os.environ | {"HOME": str(folder), "ONECARD_HOME": str(folder / "home")} | environment
    with subprocess.Popen(order, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def _until(look: Callable[[], str | None], process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + _LIMIT_S
    while (found := look()) is None:
        if process.poll() is not None or time.monotonic() > until:
            raise BenchError(f"{process.args!r} did not start")
        time.sleep(0.005)
    return found


def _mib(pid: int, kind: str) -> float:
    told = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    return int(told.partition(f"{kind}:")[2].split(maxsplit=1)[0]) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
