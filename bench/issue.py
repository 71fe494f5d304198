"""Instant issue through the API, from the application to the enabled card: rate, latency, what a card costs the centre.

The centre is a process of its own over HTTP; the kiosks are this process, with simulated cards whose chips compute in
pure Python, so the rate is that of both together and `centre_cpu_ms` says what the centre alone could do. One kiosk
gives the costs of a card, fifty at once the latencies.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
from rich.table import Table

from apdu.channel import T0Channel
from bench.client import ROOT
from bench.issue_centre import PASSPHRASE_VARIABLE
from bench.measure import BenchError, heading
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.identity import citizen_number
from cardlib.wire import BatchResponses, CommandBatch, PrintReport, SessionReply, sw_matches
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.sealing import ensure_seal_keys
from onecard_cli.home import import_roots
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys

ALONE: Final = 20
KIOSKS: Final = 50
EACH: Final = 2
REGION: Final = "110000"
_OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class IssueRow:
    """Of one database. Statements count begin and commit too; round trips are HTTP requests, the application's too."""

    database: str
    cards: int
    cards_per_s: float
    card_p50_ms: float
    card_p99_ms: float
    request_p50_ms: float
    request_p99_ms: float
    alone_card_ms: float
    centre_cpu_ms: float
    statements: float
    round_trips: float


@dataclass(frozen=True, slots=True)
class IssueResult:
    rows: list[IssueRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title=f"立等可取 / instant issue: {KIOSKS} 台自助机同时 / kiosks at once",
            caption="毫秒；卡为软件模拟 / milliseconds; the cards are simulated",
        )
        for zh, en in (
            ("数据库", "database"),
            ("张/秒", "cards/s"),
            ("一张", "card p50/p99"),
            ("请求", "request p50/p99"),
            ("独占一张", "card alone"),
            ("中心 CPU", "centre CPU/card"),
            ("SQL", "statements/card"),
            ("往返", "round trips/card"),
        ):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            table.add_row(
                row.database,
                f"{row.cards_per_s:.1f}",
                f"{row.card_p50_ms:.0f}/{row.card_p99_ms:.0f}",
                f"{row.request_p50_ms:.0f}/{row.request_p99_ms:.0f}",
                f"{row.alone_card_ms:.0f}",
                f"{row.centre_cpu_ms:.0f}",
                f"{row.statements:.0f}",
                f"{row.round_trips:.1f}",
            )
        return [table, *self.skipped]


@dataclass(slots=True)
class Times:
    """Seconds of every card and of every request."""

    cards: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)


class Kiosk:
    """One terminal with its own key; its cards are issued one after the other."""

    def __init__(self, url: str, key: ClientKey, times: Times) -> None:
        self._http = httpx.AsyncClient(base_url=url, auth=ClientAuth(key), timeout=120, trust_env=False)
        self._times = times

    async def issue(self, number: int, card: SimCard) -> None:
        """Raises BenchError for a card that is not issued."""
        started = time.perf_counter()
        body = {"region": REGION, "person": _person(number)}
        made = await self._ask("/v1/applications", body, {"Idempotency-Key": secrets.token_hex(8)})
        atr = card.power_on().hex().upper()
        start = {"kind": "personalization", "atr": atr, "application_id": made["id"], "can_print": True}
        reply = SessionReply.model_validate(await self._ask("/v1/card-sessions", start))
        channel = T0Channel(card)
        while reply.outcome is None:
            reply = await self._next(channel, reply)
        if reply.outcome.status != "done":
            raise BenchError(f"{reply.outcome.failure}: {reply.outcome.detail}")
        self._times.cards.append(time.perf_counter() - started)

    async def _next(self, channel: T0Channel, reply: SessionReply) -> SessionReply:
        message: BatchResponses | PrintReport
        if reply.batch is not None:
            batch, path = reply.batch, "responses"
            answers = await asyncio.to_thread(_execute, channel, batch)
            message = BatchResponses(session_id=batch.session_id, sequence=batch.sequence, responses=answers)
        elif (order := reply.print_order) is not None:
            path = "print-reports"
            message = PrintReport(
                session_id=order.session_id, sequence=order.sequence, job_id=order.job_id, status="printed"
            )
        else:
            raise BenchError("an empty reply")
        answer = await self._ask(f"/v1/card-sessions/{message.session_id}/{path}", message.model_dump(mode="json"))
        return SessionReply.model_validate(answer)

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        started = time.perf_counter()
        answer = await self._http.post(path, json=body, headers=headers)
        self._times.requests.append(time.perf_counter() - started)
        if not answer.is_success:
            raise BenchError(f"{path}: {answer.text[:300]}")
        return answer.json()


def measure(alone: int = ALONE, kiosks: int = KIOSKS, each: int = EACH) -> IssueResult:
    # The tests' own private PostgreSQL, from the Debian package: nothing else here starts one.
    from tests.issuance.postgres import binaries, running

    rows, skipped = [], []
    with TemporaryDirectory(prefix="onecard-bench-") as folder, ExitStack() as stack:
        urls = {"SQLite": f"sqlite+aiosqlite:///{folder}/issuance.db"}
        programs = binaries()
        if programs is None:
            skipped.append("PostgreSQL 未安装，略过 / PostgreSQL is not installed, skipped")
        else:
            server = stack.enter_context(running(programs))
            server.create("issue")
            urls["PostgreSQL"] = server.url("issue")
        roots = RootKeys.generate()
        for database, url in urls.items():
            rows.append(asyncio.run(_measure(database, url, roots, Path(folder) / database, alone, kiosks, each)))
    return IssueResult(rows, skipped)


async def _measure(
    database: str, url: str, roots: RootKeys, key_store: Path, alone: int, kiosks: int, each: int
) -> IssueRow:
    total = 1 + alone + kiosks * each
    keys = [ClientKey.generate(f"kiosk-{number}") for number in range(kiosks)]
    passphrase = secrets.token_urlsafe(16)
    with SoftKeyService.create(key_store, passphrase, cost=ScryptCost(n=2, r=8, p=1)) as service:
        import_roots(service, roots)
        ensure_seal_keys(service)
    migrate(url)
    operator = ClientKey.generate(_OPERATOR)
    for key in (operator, *keys):
        await bootstrap_client(url, key.client_id, key.public_jwk(), ("operator", "terminal"))
    persona = personas.load("blank-3.0")
    cards = [SimCard(build_card(replace(persona, serial=serial), roots)) for serial in range(1, total + 1)]
    with _centre(url, key_store, passphrase) as (address, look):
        await _deliver(address, operator, cards)
        first = Kiosk(address, keys[0], Times())
        await first.issue(0, cards[0])  # the routes of the service are built with the first request
        before, times = look(), Times()
        first._times = times
        for number in range(1, alone + 1):
            await first.issue(number, cards[number])
        costs = {name: (value - before[name]) / alone for name, value in look().items()}
        await first.close()
        crowd, started = Times(), time.perf_counter()
        await asyncio.gather(
            *(
                _work(Kiosk(address, key, crowd), range(start, start + each), cards)
                for key, start in zip(keys, range(alone + 1, total, each), strict=True)
            )
        )
        seconds = time.perf_counter() - started
    return IssueRow(
        database,
        len(crowd.cards),
        round(len(crowd.cards) / seconds, 2),
        _ms(crowd.cards, 50),
        _ms(crowd.cards, 99),
        _ms(crowd.requests, 50),
        _ms(crowd.requests, 99),
        _ms(times.cards, 50),
        round(costs["cpu_s"] * 1000, 1),
        round(costs["statements"], 1),
        round(len(times.requests) / alone, 1),
    )


async def _work(kiosk: Kiosk, numbers: range, cards: list[SimCard]) -> None:
    for number in numbers:
        await kiosk.issue(number, cards[number])
    await kiosk.close()


async def _deliver(address: str, key: ClientKey, cards: list[SimCard]) -> None:
    resets = [card.state.historical.hex().upper() for card in cards]
    delivery = {"delivery": "bench", "region": REGION, "reset_information": resets}
    numbers = {"region": REGION, "body_from": "A0000001", "count": len(cards)}
    async with httpx.AsyncClient(base_url=address, auth=ClientAuth(key), timeout=60, trust_env=False) as http:
        for path, body in (("/v1/blanks", delivery), ("/v1/card-numbers", numbers)):
            (await http.post(path, json=body)).raise_for_status()


@contextmanager
def _centre(url: str, key_store: Path, passphrase: str) -> Iterator[tuple[str, Any]]:
    """Its address, and a way to ask for its counters."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.issue_centre", url, str(key_store)],
        cwd=ROOT,
        env={**os.environ, PASSPHRASE_VARIABLE: passphrase},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        writer, reader = process.stdin, process.stdout

        def look() -> dict[str, float]:
            writer.write("\n")
            writer.flush()
            found: dict[str, float] = json.loads(reader.readline())
            return found

        try:
            yield f"http://127.0.0.1:{int(reader.readline())}", look
        finally:
            process.kill()


def _execute(channel: T0Channel, batch: CommandBatch) -> tuple[str, ...]:
    answers = []
    for command in batch.commands:
        answer = channel.transmit(bytes.fromhex(command.apdu))
        answers.append(answer.hex().upper())
        if not sw_matches(int.from_bytes(answer[-2:], "big"), command.expect):
            break
    return tuple(answers)


def _person(number: int) -> dict[str, str]:
    day = 1 + number // 400
    return {
        "social_security_number": citizen_number(f"990101199001{day:02d}{2 * (number % 400) + 1:03d}"),
        "name": "测试甲",
        "sex": "1",
        "ethnic_group": "01",
        "birthplace": "990100",
        "birth_date": f"199001{day:02d}",
    }


def _ms(seconds: list[float], percent: int) -> float:
    """A percentile in milliseconds."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 1)
