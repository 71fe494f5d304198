"""One agent process and ten million blocked cards: start, memory, and what callers notice while a new edition comes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table

from apps_catalog.block_list import build, build_delta
from apps_catalog.catalog import DATA
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES
from bench.measure import BenchError, heading, mark
from bench.terminals import _card, _signer
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService

ENTRIES: Final = 10_000_000
NEW: Final = 10_000
MEMORY_TARGET_MIB: Final = 150
START_TARGET_S: Final = 1.5
QUIET_S: Final = 2.0
PAUSE_S: Final = 0.002
_START_LIMIT_S: Final = 60.0
_LOOK: Final = "/v1/block-list/look"


@dataclass(frozen=True, slots=True)
class AgentListFigures:
    """Memory is the process's resident set, `start_s` processor time from nothing to ready; the `_ms` are from
    question to answer over HTTP, median and slowest of 100."""

    entries: int
    bare_start_s: float
    bare_mib: float
    first_fetch_s: float
    held_mib: float
    swap_s: float
    peak_mib: float
    quiet_ms: tuple[float, float]
    swap_ms: tuple[float, float]
    quiet_round_cpu_s: float
    start_s: float
    list_after_s: float

    def tables(self) -> list[Table | str]:
        table = Table(title=f"终端和 {self.entries:,} 张黑名单 / an agent and its block list", title_justify="left")
        for column in ("", heading("实测", "measured"), heading("目标", "target"), ""):
            table.add_column(column)
        for name, value, target, is_met in self._rows():
            table.add_row(name, value, target, None if is_met is None else mark(is_met))
        return [table]

    def _rows(self) -> Iterator[tuple[str, str, str, bool | None]]:
        yield "启动，没有发布地址 / start, no address", f"{self.bare_start_s:.2f} s CPU", "", None
        yield "　内存 / memory", f"{self.bare_mib:.0f} MiB", "", None
        yield (
            "启动，有名单 / start with the list",
            f"{self.start_s:.2f} s CPU",
            "≤ 1.5 s",
            self.start_s <= START_TARGET_S,
        )
        yield "　名单可用 / list verified and in use after", f"{self.list_after_s:.2f} s", "", None
        yield "第一次取 / first fetch, everything", f"{self.first_fetch_s:.2f} s", "", None
        yield "　内存 / memory", f"{self.held_mib:.0f} MiB", "≤ 150 MiB", self.held_mib <= MEMORY_TARGET_MIB
        yield "换上增量 / a delta, fetched and in force", f"{self.swap_s:.2f} s", "", None
        yield "　峰值 / peak memory", f"{self.peak_mib:.0f} MiB", "≤ 150 MiB", self.peak_mib <= MEMORY_TARGET_MIB
        for name, (median, slow) in (("平时 / quiet", self.quiet_ms), ("换名单时 / during the swap", self.swap_ms)):
            yield f"查询 / question over HTTP, {name}", f"{median:.1f} ms, p99 {slow:.1f} ms", "", None
        yield "没有新内容的一轮 / a round with nothing new", f"{self.quiet_round_cpu_s:.2f} s CPU", "", None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Agent:
    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        started = time.perf_counter()
        ports = ("--port", "0", "--ws-port", "0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onecard_cli", "agent", "run", "--readers", "vpcd", *ports, "--ready-file", ready],
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not ready.exists():
            if self.process.poll() is not None or time.perf_counter() - started > _START_LIMIT_S:
                raise BenchError("the agent did not start")
            time.sleep(0.005)
        self.start_s = self.cpu_s()
        self.client = httpx.Client(base_url=json.loads(ready.read_bytes())["url"], timeout=120, trust_env=False)

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait()

    def state(self, *, fetch: bool = False) -> dict[str, Any]:
        answer = self.client.post("/v1/catalog/fetch") if fetch else self.client.get("/v1/catalog/state")
        told: dict[str, Any] = answer.raise_for_status().json()
        if fetch and told["alarms"]:
            raise BenchError(f"the agent says {told['alarms'][0]['code']}")
        return told

    def demand(self, number: int, verdict: str) -> None:
        kind, code = _card(number)
        said = self.client.post(_LOOK, json={"kind": kind, "number": code}).raise_for_status().json()["verdict"]
        if said != verdict:
            raise BenchError(f"card {number} is {said}, not {verdict}")

    def mib(self, name: str = "VmRSS") -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(text.split(f"{name}:")[1].split()[0]) / 1024

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _running(folder: Path, **settings: str) -> Iterator[_Agent]:
    agent = _Agent(folder, {f"ONECARD_AGENT_{name.upper()}": value for name, value in settings.items()})
    try:
        yield agent
    finally:
        agent.close()


@contextmanager
def _asking(agent: _Agent, asked_ms: list[float]) -> Iterator[None]:
    """Another program of this computer asks about cards all the time."""
    over = threading.Event()

    def ask() -> None:
        kind, code = _card(1)
        with httpx.Client(base_url=agent.client.base_url, timeout=30, trust_env=False) as client:
            while not over.wait(PAUSE_S):
                started = time.perf_counter()
                client.post(_LOOK, json={"kind": kind, "number": code})
                asked_ms.append((time.perf_counter() - started) * 1000)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _median_and_p99(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def measure(*, entries: int = ENTRIES, new: int = NEW) -> AgentListFigures:
    """Raises BenchError when an answer is wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with SoftKeyService.create(folder / "keys", "only for the bench", cost=ScryptCost(n=2, r=1)) as service:
            repository = Repository(folder / "repo", {holder: _signer(service, holder) for holder in ROLES.holders})
            (folder / "root.json").write_bytes(repository.create())
            return _measure(folder, repository, entries, new)


def _measure(folder: Path, repository: Repository, entries: int, new: int) -> AgentListFigures:
    lists = folder / "lists"
    build(lists, map(_card, range(entries)), as_of=int(time.time()))
    for role, files in by_owner(DATA).items():
        repository.publish(role, files)
    _publish(repository, lists)
    with _running(folder) as agent:
        time.sleep(QUIET_S)
        bare_start_s, bare_mib = agent.start_s, agent.mib()
    address = {"catalog_url": (folder / "repo").as_uri(), "catalog_root": str(folder / "root.json")}
    settings = address | {"state_dir": str(folder / "state"), "catalog_interval_s": "3600"}
    quiet: list[float] = []
    busy: list[float] = []
    with _running(folder, **settings) as agent:
        started = time.perf_counter()
        agent.state(fetch=True)
        first_fetch_s, held_mib = time.perf_counter() - started, agent.mib()
        agent.demand(entries, "clear")
        with _asking(agent, quiet):
            time.sleep(QUIET_S)
        build_delta(lists, map(_card, range(entries + new)), as_of=int(time.time()) + 1)
        _publish(repository, lists)
        with _asking(agent, busy):
            started = time.perf_counter()
            agent.state(fetch=True)
            swap_s = time.perf_counter() - started
        for number in (0, entries - 1, entries, entries + new - 1):
            agent.demand(number, "blocked")
        agent.demand(entries + new, "clear")
        cpu_s = agent.cpu_s()
        agent.state(fetch=True)
        quiet_round_cpu_s, peak_mib = agent.cpu_s() - cpu_s, agent.mib("VmHWM")
    with _running(folder, **settings) as agent:
        ready = time.perf_counter()
        while agent.state()["block_list"] is None:
            time.sleep(0.01)
        list_after_s, start_s = time.perf_counter() - ready, agent.start_s
    return AgentListFigures(
        entries=entries,
        bare_start_s=bare_start_s,
        bare_mib=bare_mib,
        first_fetch_s=first_fetch_s,
        held_mib=held_mib,
        swap_s=swap_s,
        peak_mib=peak_mib,
        quiet_ms=_median_and_p99(quiet),
        swap_ms=_median_and_p99(busy),
        quiet_round_cpu_s=quiet_round_cpu_s,
        start_s=start_s,
        list_after_s=list_after_s,
    )


def _publish(repository: Repository, lists: Path) -> None:
    repository.publish("blocklist", {file.name: file.read_bytes() for file in sorted(lists.glob("*.bl"))})
    repository.refresh()
