"""Online codes: validations and codes made per second by one process of the centre on PostgreSQL and Redis.

The peer is an empty FastAPI endpoint that makes the same store operation; both servers run beside each other and take
turns, asked by one client over 128 connections with requests that were made before: validations under a token, as a
busy verifier asks, everything else under signatures.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg
from pydantic import SecretStr
from rich.table import Table
from sqlalchemy.engine import make_url

from bench.console_load import Loader
from bench.issue_centre import PASSPHRASE_VARIABLE
from bench.measure import BenchError, heading, mark
from cardlib.client_auth import ClientKey
from hsm.primitives import compress, default_engine
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import close_services, create_services
from issuance.clients.service import bootstrap_client
from issuance.codes.text import ShownCode, digest_of, key_of, new_code
from issuance.database import migrate
from issuance.sealing import Sealer
from issuance.services import Services
from issuance.settings import Settings

CARDS: Final = 2000
CONNECTIONS: Final = 128
REQUESTS: Final = 1500
ROUNDS: Final = 5
PHONES: Final = 200
ISSUED: Final = 300
TARGET: Final = 0.5
TWICE: Final = 20_000
TWICE_AT_ONCE: Final = 500
VALIDATE: Final = "/v1/ecard-codes/validate"
TOKEN: Final = "/v1/token"
TOKEN_KEPT_S: Final = 60
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "64MB"}


@dataclass(frozen=True, slots=True)
class Load:
    """What one server did: requests per second, latencies of all rounds, and its own processor time a request."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class OnlineResult:
    """`twice` codes were presented to two replicas at the same moment; `accepted_once` of them by exactly one."""

    validation: Load
    peer: Load
    issue: Load
    twice: int
    accepted_once: int

    @property
    def ratio(self) -> float:
        return round(self.validation.per_s / self.peer.per_s, 3)


def measure(
    *, requests: int = REQUESTS, rounds: int = ROUNDS, issued: int = ISSUED, twice: int = TWICE
) -> OnlineResult:
    """Raises BenchError where PostgreSQL or Redis is not installed."""
    with _stand() as stand:
        return asyncio.run(stand.measure(requests, rounds, issued, twice))


@dataclass
class _Phone:
    ecard_no: str
    sign_no: str
    private: bytes
    public: bytes


class _People:
    """Cards with electronic cards and phones, and the two callers, in a new database."""

    def __init__(self, url: str, sealer: Sealer) -> None:
        self.verifier, self.wallet = ClientKey.generate("bench-verifier"), ClientKey.generate("bench-wallet")
        self.phones: list[_Phone] = []
        operator = ClientKey.generate("bench")
        for key, role in ((self.verifier, "verifier"), (self.wallet, "wallet"), (operator, "operator")):
            asyncio.run(bootstrap_client(url, key.client_id, key.public_jwk(), (role,)))
        Loader(url, sealer, datetime.now(UTC), CARDS).load()
        target = make_url(url)
        with psycopg.connect(
            host=str(target.query["host"]), user=target.username, dbname=target.database
        ) as connection:
            self._link(connection)
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE")

    def _link(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("UPDATE cards SET state = '1'")
        connection.execute("DELETE FROM audit_pending")  # entries of the load bear no seal
        found = connection.execute("SELECT ecard_no FROM ecards ORDER BY ecard_no").fetchall()
        for number, (ecard_no,) in enumerate(found):
            private, public = default_engine().sm2_generate()
            phone = _Phone(ecard_no, secrets.token_hex(16), private, compress(public))
            self.phones.append(phone)
            connection.execute(
                "INSERT INTO ecard_links (sign_no, sign_seq, ecard_no, client_id, public_key, state, signed_at)"
                " VALUES (%s, %s, %s, %s, %s, 'active', now())",
                (phone.sign_no, f"{number:020d}", ecard_no, self.wallet.client_id, phone.public),
            )


class _Stand:
    def __init__(self, services: Services, people: _People, **servers: _Server) -> None:
        self._services = services
        self._servers = servers
        self._people = people
        self._token, self._token_ends = "", 0.0

    async def measure(self, requests: int, rounds: int, issued: int, twice: int) -> OnlineResult:
        try:
            return await self._measure(requests, rounds, issued, twice)
        finally:
            await close_services(self._services)

    async def _measure(self, requests: int, rounds: int, issued: int, twice: int) -> OnlineResult:
        await _asked(self._servers["ours"], await self._validations(CONNECTIONS * 4))
        await _asked(self._servers["peer"], await self._claims(CONNECTIONS * 4))
        seen: dict[str, list[_Round]] = {"ours": [], "peer": [], "issue": []}
        for _ in range(rounds):
            for name, make, count in (
                ("ours", self._validations, requests),
                ("peer", self._claims, requests),
                ("issue", self._issues, issued),
            ):
                sent = await make(count)
                seen[name].append(await _asked(self._servers["peer" if name == "peer" else "ours"], sent))
        once = await self._accepted_once(twice)
        return OnlineResult(_load(seen["ours"]), _load(seen["peer"]), _load(seen["issue"]), twice, once)

    async def _accepted_once(self, count: int) -> int:
        """Every code goes to both replicas at the same moment."""
        once = 0
        for start in range(0, count, TWICE_AT_ONCE):
            codes = await self._codes(min(TWICE_AT_ONCE, count - start))
            bodies = [json.dumps({"code": code, "scene": "identity"}).encode() for code in codes]
            told = await asyncio.gather(
                *(
                    _statuses(self._servers[name], [_request(VALIDATE, body, self._people.verifier) for body in bodies])
                    for name in ("ours", "second")
                )
            )
            once += sum(sorted(pair) == ["200", "409"] for pair in zip(*told, strict=True))
        return once

    # -- requests -----------------------------------------------------------------------------------------------------

    async def _codes(self, count: int) -> list[str]:
        """In the store, of one card after the other."""
        codes, sealer = [], self._services.sealer
        ends = datetime.now(UTC) + timedelta(seconds=60)
        for number in range(count):
            phone, code = self._people.phones[number % len(self._people.phones)], new_code()
            digest = digest_of(code) or b""
            value = ShownCode(phone.ecard_no, phone.sign_no, "", ends).sealed(sealer, digest)
            await self._services.one_time.put(key_of(digest), value, 60, label="identity")
            codes.append(code)
        return codes

    async def _validations(self, count: int) -> list[bytes]:
        bodies = [json.dumps({"code": code, "scene": "identity"}).encode() for code in await self._codes(count)]
        by = f"Authorization: Bearer {await self._verifier_token()}\r\n"
        return [_request(VALIDATE, body, headers=by) for body in bodies]

    async def _verifier_token(self) -> str:
        if time.monotonic() >= self._token_ends:
            body = b"grant_type=client_credentials"
            reader, writer = await asyncio.open_connection("127.0.0.1", self._servers["ours"].port)
            status, told = await _exchange(reader, writer, _request(TOKEN, body, self._people.verifier))
            writer.close()
            if status != "200":
                raise BenchError(f"{status}: {told[:300]!r}")
            self._token, self._token_ends = json.loads(told)["access_token"], time.monotonic() + TOKEN_KEPT_S
        return self._token

    async def _claims(self, count: int) -> list[bytes]:
        digests = [digest_of(code) or b"" for code in await self._codes(count)]
        return [_request("/claim", json.dumps({"key": key_of(digest)}).encode()) for digest in digests]

    async def _issues(self, count: int) -> list[bytes]:
        body = b'{"scene": "identity"}'
        sent = []
        for number in range(count):
            phone = self._people.phones[number % PHONES]
            path = f"/v1/ecards/{phone.ecard_no}/codes"
            proof = _proof(phone, path, body, self._people.wallet.client_id)
            sent.append(_request(path, body, self._people.wallet, f"Device-Proof: {proof}\r\n"))
        return sent


def _request(path: str, body: bytes, key: ClientKey | None = None, headers: str = "") -> bytes:
    if key is not None:
        headers += f"Authorization: Bearer {key.assertion('POST', path, body)}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: centre\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _proof(phone: _Phone, path: str, body: bytes, channel: str) -> str:
    members = {
        "sign_no": phone.sign_no,
        "at": int(time.time()),
        "nonce": secrets.token_urlsafe(16),
        "method": "POST",
        "path": path,
        "body_sm3": default_engine().sm3(body).hex(),
        "channel": channel,
    }
    payload = _text(json.dumps(members).encode())
    return f"{payload}.{_text(default_engine().sm2_sign(phone.private, payload.encode()))}"


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


# -- the client -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Round:
    per_s: float
    cpu_us: float
    took_ms: list[float]


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[str, bytes]:
    """Status and body of the answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
    return head[9:12].decode(), await reader.readexactly(length)


async def _statuses(server: _Server, requests: Sequence[bytes]) -> list[str]:
    """In the order of the requests."""
    told, waiting = [""] * len(requests), iter(enumerate(requests))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number, request in waiting:
            told[number], _ = await _exchange(reader, writer, request)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return told


async def _asked(server: _Server, requests: Sequence[bytes]) -> _Round:
    """Raises BenchError for an answer that is no success."""
    waiting, took = iter(requests), list[float]()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for request in waiting:
            started = time.perf_counter()
            status, body = await _exchange(reader, writer, request)
            took.append((time.perf_counter() - started) * 1000)
            if status not in ("200", "201"):
                raise BenchError(f"{status}: {body[:300]!r}")
        writer.close()

    started, cpu_s = time.perf_counter(), server.cpu_s()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    count, cpu_s = len(requests), server.cpu_s() - cpu_s
    return _Round(count / (time.perf_counter() - started), 1e6 * cpu_s / count, took)


def _load(rounds: Sequence[_Round]) -> Load:
    times = sorted(ms for one in rounds for ms in one.took_ms)
    return Load(
        per_s=round(statistics.median(one.per_s for one in rounds), 1),
        cpu_us=round(statistics.median(one.cpu_us for one in rounds), 1),
        p50_ms=round(times[len(times) // 2], 2),
        p99_ms=round(times[len(times) * 99 // 100], 2),
    )


# -- the servers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Server:
    port: int
    pid: int

    def cpu_s(self) -> float:
        """User and system time of the process so far, proc(5)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _stand() -> Iterator[_Stand]:
    from tests.issuance import postgres, redis_server

    programs, redis_program = postgres.binaries(), redis_server.program()
    if programs is None or redis_program is None:
        raise BenchError("PostgreSQL and Redis must be installed (Debian packages postgresql, redis-server)")
    with (
        TemporaryDirectory(prefix="onecard-bench-") as folder,
        postgres.running(programs, **DURABLE) as database,
        redis_server.running(redis_program) as redis,
    ):
        database.create("bench")
        url, store, passphrase = database.url("bench"), Path(folder) / "keys", secrets.token_urlsafe(16)
        migrate(url)
        with SoftKeyService.create(store, passphrase, cost=ScryptCost(n=1 << 4)) as keys:
            services = create_services(Settings(database_url=url, redis_url=SecretStr(redis.url)), keys)
            people = _People(url, services.sealer)
            with (
                _server("centre", url, redis.url, store, passphrase) as centre,
                _server("centre", url, redis.url, store, passphrase) as second,
                _server("peer", url, redis.url, store, passphrase) as peer,
            ):
                yield _Stand(services, people, ours=centre, second=second, peer=peer)


@contextmanager
def _server(kind: str, url: str, redis_url: str, store: Path, passphrase: str) -> Iterator[_Server]:
    command = [sys.executable, "-m", "bench.ecard_centre", kind, url, redis_url, str(store)]
    environment: dict[str, Any] = {**os.environ, PASSPHRASE_VARIABLE: passphrase}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"the {kind} did not start")
        try:
            yield _Server(int(line), process.pid)
        finally:
            process.stdin.close()
            process.wait(10)


# -- as a table -------------------------------------------------------------------------------------------------------


def online_tables(result: OnlineResult) -> list[Table | str]:
    table = Table(title="联网核验和出码 / online codes, one process on PostgreSQL and Redis")
    table.add_column(heading("操作", "operation"))
    for zh, en in (("每秒", "per s"), ("CPU 微秒", "CPU µs"), ("中位毫秒", "p50 ms"), ("99% 毫秒", "p99 ms")):
        table.add_column(heading(zh, en), justify="right")
    for name, load in (
        ("核验 / validation", result.validation),
        ("空 FastAPI 接口 / empty FastAPI endpoint, same store operation", result.peer),
        ("出码 / code made", result.issue),
    ):
        table.add_row(name, f"{load.per_s:,.0f}", f"{load.cpu_us:,.0f}", f"{load.p50_ms:.1f}", f"{load.p99_ms:.1f}")
    share = f"{result.ratio:.2f}× ≥ {TARGET} {mark(result.ratio >= TARGET)}"
    both = f"{result.accepted_once:,} / {result.twice:,} {mark(result.accepted_once == result.twice)}"
    return [
        table,
        f"核验对空接口 / validation to the empty endpoint: {share}",
        f"两个副本同时核验，恰好一个接受 / by exactly one of two replicas: {both}",
    ]
