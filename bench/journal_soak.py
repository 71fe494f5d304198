"""Ten minutes of taps without a centre, fifty kills, a full disk, then a line that loses and disorders: all of it once.

A terminal reads a card or takes a purchase each second of its day; here they come as fast as they go. While the centre
is cut off the agent's process is killed again and again, and its disk is full for one of its lives. Then the line is
back, bad (`bench.bad_line`), and more taps and kills come. In the end the centre must have every record of the
terminal's journal exactly once, every answer that a program was given must stand in it, the money must be the same in
three books, and the reconciliation report must say 0.

Where this machine lets us (root, `ip netns`), the agent lives in a network namespace of its own, whose link is taken
down; else the line refuses connections.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from rich.table import Table

from bench.bad_line import BadLine
from bench.issue_centre import PASSPHRASE_VARIABLE
from bench.measure import BenchError, heading, mark
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.settlement_journal import Outcome, SettlementJournal
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.clients.service import bootstrap_client
from issuance.clock import china_date
from issuance.database import migrate
from terminal_agent.journal.store import NAME

TAPS, KILLS, LATER_TAPS, LATER_KILLS = 600, 40, 150, 10
"""600 taps are ten minutes of a gate that opens once a second."""
TERMINAL, OPERATOR = "terminal-1", "operator-1"
DISK_MIB: Final = 8
_PASSPHRASE: Final = "bench only"
_START_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class SoakResult:
    """`answered` taps of each kind; `refused` while the disk was full. `records` in the terminal's journal and at the
    centre, of which `twice` and `missing`; `paid_fen` by the terminal's settlement journal and by the centre's takings.
    """

    network: str
    was_full: bool
    taps: int
    kills: int
    answered: dict[str, int]
    refused: int
    line: dict[str, int]
    records: int
    at_centre: int
    twice: int
    missing: int
    lost_answers: int
    purchases: int
    takings: int
    paid_fen: int
    taken_fen: int
    difference: int
    seconds: float

    @property
    def is_met(self) -> bool:
        wrong = self.twice, self.missing, self.lost_answers, self.difference
        same = (self.records, self.purchases, self.paid_fen) == (self.at_centre, self.takings, self.taken_fen)
        return not any(wrong) and same and self.records > 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_met": self.is_met}

    def tables(self) -> list[Table | str]:
        disk = "磁盘满过 / disk was full" if self.was_full else "磁盘没有满过 / disk never full"
        table = Table(title=f"断网补报 / store and forward · {self.network} · {disk}")
        for name in ("刷卡 taps", "杀进程 kills", "断线 line", "记录 records", "中心 centre", "重 twice", "缺 missing"):
            table.add_column(heading(*name.split(" ", 1)), justify="right")
        table.add_column(heading("消费", "purchases"), justify="right")
        table.add_column(heading("对账差", "difference"), justify="right")
        table.add_column("")
        line = ", ".join(f"{what} {count}" for what, count in sorted(self.line.items()))
        row = (self.taps, self.kills, line, self.records, self.at_centre, self.twice, self.missing)
        money = f"{self.takings}/{self.purchases} · {self.taken_fen}/{self.paid_fen}"
        table.add_row(*map(str, row), money, str(self.difference), mark(self.is_met))
        return [table]


def measure(
    *,
    taps: int = TAPS,
    kills: int = KILLS,
    later_taps: int = LATER_TAPS,
    later_kills: int = LATER_KILLS,
    share: float = 0.05,
    is_apart: bool = True,
    patience_s: float = 120.0,
) -> SoakResult:
    """Raises BenchError when the terminal never gets rid of its records."""
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onecard-soak-")))
        room = stack.enter_context(_room()) if is_apart else None
        port = stack.enter_context(_centre(folder))
        line = BadLine(port, host=room.host if room else "127.0.0.1", share=share)
        stack.callback(line.close)
        disk = stack.enter_context(_disk(folder))
        lives = _Lives(folder, line.url, room, disk, patience_s)
        stack.callback(lives.end)
        _cut(line, room, is_cut=True)
        lives.spend(taps, kills, full_at=kills // 2)
        _cut(line, room, is_cut=False)
        last = later_taps // (later_kills + 1)
        lives.spend(later_taps - last, later_kills)
        told = lives.drain(last)
        report = asyncio.run(_report(port, folder))
        return _compared(folder, lives, line, report, told, time.monotonic() - began)


# -- the terminal ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Disk:
    """`is_own`: a small one that can be filled."""

    path: Path
    is_own: bool


@dataclass(frozen=True, slots=True)
class _Room:
    """A network namespace and the address at which it finds us."""

    name: str
    link: str
    host: str


class _Lives:
    """One terminal, one process after the other."""

    def __init__(self, folder: Path, url: str, room: _Room | None, disk: _Disk, patience_s: float) -> None:
        self._folder = folder
        self.disk, self.room = disk, room
        self._settings: dict[str, Any] = {
            "url": url,
            "key": str(folder / f"{TERMINAL}.json"),
            "state_dir": str(disk.path / "state"),
            "ledger": str(folder / "ledger"),
            "patience_s": patience_s,
        }
        self._patience_s = patience_s
        self._prefix = ["ip", "netns", "exec", room.name] if room else []
        self._random = random.Random(7)
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def ledger(self) -> list[str]:
        path = self._folder / "ledger"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def spend(self, taps: int, kills: int, *, full_at: int | None = None) -> None:
        """So many taps over so many processes, each of them killed."""
        wanted = self._taps() + taps
        for kill in range(kills):
            is_full = kill == full_at and self.disk.is_own
            self._live(max(1, round((wanted - self._taps()) / (kills - kill))), is_full=is_full)

    def drain(self, taps: int) -> dict[str, Any]:
        """A last life, which ends when the centre has all; the journal's own word then. Raises BenchError."""
        self._begin(taps)
        assert self._process is not None
        self._process.wait(_START_S + self._patience_s)
        lines = [line for line in self.ledger if line.startswith("drained ")]
        if not lines:
            raise BenchError("the terminal ended before it had told")
        told: dict[str, Any] = json.loads(lines[-1].removeprefix("drained "))
        if told["state"] != "sent":
            raise BenchError(f"the terminal still waits: {told}")
        return told

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _live(self, taps: int, *, is_full: bool = False) -> None:
        """Some taps, then the end by SIGKILL: at their number, or a little later, in the middle of something.

        The disk may become full after the first half of them.
        """
        before = self._taps()
        self._begin(taps + 1000)
        assert self._process is not None
        filler = self.disk.path / "filler"
        if is_full:
            self._wait(self._process, before + taps // 2)
            _fill(filler)
            # However many were served while it filled, the second half finds it full.
            before = max(before, self._taps() - taps // 2)
        self._wait(self._process, before + taps)
        time.sleep(self._random.uniform(0, 0.05))
        self._process.kill()
        self._process.wait()
        filler.unlink(missing_ok=True)
        self.kills += 1

    def _wait(self, process: subprocess.Popen[bytes], taps: int) -> None:
        deadline = time.monotonic() + _START_S
        while self._taps() < taps:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "agent.log").read_text(encoding="utf-8", errors="replace")
                raise BenchError(f"the terminal ended by itself, or did nothing: {log[-2000:]}")
            time.sleep(0.01)

    def _begin(self, taps: int) -> None:
        settings = self._settings | {"life": self.kills + 1, "taps": taps, "pace_s": 0.005}
        path = self._folder / "settings.json"
        path.write_text(json.dumps(settings))
        command = [*self._prefix, sys.executable, "-m", "bench.journal_agent", str(path)]
        with (self._folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parent.parent)

    def _taps(self) -> int:
        return sum(line.startswith(("use ", "purchase ")) for line in self.ledger)


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


def _cut(line: BadLine, room: _Room | None, *, is_cut: bool) -> None:
    line.is_cut = is_cut and room is None
    if room is not None:
        _ip("link", "set", room.link, "down" if is_cut else "up")


# -- what stands around it ---------------------------------------------------------------------------------------------


@contextmanager
def _room() -> Iterator[_Room | None]:
    """None where this machine makes no network namespaces."""
    name = f"onecard-{os.getpid()}"
    link, inner = f"oc{os.getpid() % 100_000}", f"oi{os.getpid() % 100_000}"
    if shutil.which("ip") is None or os.geteuid() != 0 or not _ip("netns", "add", name, is_needed=False):
        yield None
        return
    try:
        _ip("link", "add", link, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("addr", "add", "169.254.77.1/30", "dev", link)
        _ip("link", "set", link, "up")
        for words in ("addr add 169.254.77.2/30 dev", "link set"):
            _ip("-n", name, *words.split(), inner, *(["up"] if words == "link set" else []))
        _ip("-n", name, "link", "set", "lo", "up")
        yield _Room(name, link, "169.254.77.1")
    finally:
        _ip("netns", "del", name)


def _ip(*words: str, is_needed: bool = True) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=is_needed).returncode == 0


@contextmanager
def _disk(folder: Path) -> Iterator[_Disk]:
    """Without the right to mount one, a folder, which is never full."""
    path = folder / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        yield _Disk(path, is_own=False)
        return
    try:
        yield _Disk(path, is_own=True)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


@contextmanager
def _centre(folder: Path) -> Iterator[int]:
    """The centre's port on 127.0.0.1."""
    url = f"sqlite+aiosqlite:///{folder}/issuance.db"
    migrate(url)
    for name, role in ((TERMINAL, "terminal"), (OPERATOR, "operator")):
        key = ClientKey.generate(name)
        key.save(folder / f"{name}.json")
        asyncio.run(bootstrap_client(url, name, key.public_jwk(), (role,)))
    SoftKeyService.create(folder / "keys", _PASSPHRASE, cost=ScryptCost(n=1 << 4)).close()
    command = [sys.executable, "-m", "bench.issue_centre", url, str(folder / "keys")]
    environment = os.environ | {PASSPHRASE_VARIABLE: _PASSPHRASE}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _report(port: int, folder: Path) -> dict[str, Any]:
    auth = ClientAuth(ClientKey.load(folder / f"{OPERATOR}.json"))
    path = f"/v1/terminals/{TERMINAL}/reconciliation"
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", auth=auth, timeout=60) as http:
        answer = await http.get(path, params={"day": china_date(datetime.now(UTC)).isoformat()})
        report: dict[str, Any] = answer.raise_for_status().json()
        return report


def _compared(
    folder: Path,
    lives: _Lives,
    line: BadLine,
    report: dict[str, Any],
    told: dict[str, Any],
    seconds: float,
) -> SoakResult:
    state = folder / "disk" / "state"
    own = [row[0] for row in _rows(state / NAME, "SELECT key FROM records")]
    centre = Counter(row[0] for row in _rows(folder / "issuance.db", "SELECT key FROM terminal_records"))
    takings = _rows(
        folder / "issuance.db", "SELECT account_fen + self_paid_fen + pooling_fen FROM takings WHERE outcome = 'done'"
    )
    settled = [one for one in SettlementJournal(state / "settlements.jsonl").entries() if one.outcome is Outcome.DONE]
    kinds = dict(_rows(state / NAME, "SELECT kind, count(*) FROM records GROUP BY kind"))
    ledger = Counter(lives.ledger)
    answered = {"use": ledger["use done"], "purchase": ledger["purchase done"]}
    return SoakResult(
        network="network namespace" if lives.room else "proxy",
        was_full=lives.disk.is_own,
        taps=sum(answered.values()),
        kills=lives.kills,
        answered=answered,
        refused=ledger["use refused"] + ledger["purchase refused"],
        line=dict(line.did),
        records=len(own),
        at_centre=sum(centre.values()),
        twice=sum(count > 1 for count in centre.values()),
        missing=len(set(own) - set(centre)) + told["journal"]["sequence"] - told["journal"]["acknowledged"],
        lost_answers=max(0, answered["use"] - kinds.get("card_use", 0)) + max(0, answered["purchase"] - len(settled)),
        purchases=len(settled),
        takings=len(takings),
        paid_fen=sum(_fen(one.pending.fields) for one in settled),
        taken_fen=sum(row[0] for row in takings),
        difference=report["difference"],
        seconds=round(seconds, 1),
    )


def _fen(fields: dict[str, Any]) -> int:
    return sum(int(fields[name]) for name in ("account", "self_paid", "pooling"))


def _rows(path: Path, statement: str) -> list[Any]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return list(connection.execute(statement))
