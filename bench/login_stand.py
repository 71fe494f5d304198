"""Servers of their own: ours on SQLite and on PostgreSQL, with holders whose phones are at hand, and npm's
oidc-provider in memory and on PostgreSQL. Each that needs one has a PostgreSQL server to itself, whose time counts too.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import httpx

from bench import oidc_provider
from bench.issue_centre import PASSPHRASE_VARIABLE
from bench.login_flows import BACK, SCOPE, Flow, OurFlow, PeerFlow, Registered
from bench.login_wire import Wire
from bench.measure import BenchError
from cardlib.client_auth import ClientAuth, ClientKey
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.clerks import passwords
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.sessions import runner
from issuance.settings import Settings
from tests.issuance import postgres
from tests.issuance.conftest import Centre, Clock, Store, fake_script
from tests.issuance.phone import Phone, signed_phone
from tests.issuance.postgres import Postgres

PHONES: Final = 16
_ROLES: Final = ("operator", "terminal", "wallet")
DATABASE: Final = "login"
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "64MB"}
_UNLIMITED: Final = {f"ONECARD_ISSUANCE_LOGIN_{name}_MINUTE": "1000000" for name in ("NETWORK", "CLIENT")}


class RealClock(Clock):
    def __call__(self) -> datetime:
        return datetime.now(UTC)


class Cpu(NamedTuple):
    """Seconds of processor time so far: of the provider's process, and of its database server's."""

    server: float
    database: float


@dataclass(frozen=True, slots=True)
class Server:
    """`flow` is what its clients do."""

    flow: Flow
    process: subprocess.Popen[str]
    database: Postgres | None

    def cpu(self) -> Cpu:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return Cpu(float(told["cpu_s"]), 0.0 if self.database is None else _cpu_s(self.database))


class OurServer(Server):
    flow: OurFlow


def _cpu_s(database: Postgres) -> float:
    """Of a PostgreSQL server with all its backends, to the nanosecond (Linux, Documentation/scheduler/sched-stats)."""
    first = int((database.data / "postmaster.pid").read_text(encoding="ascii").split()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
    spent = [int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) for pid in (first, *children)]
    return sum(spent) / 1e9


@contextmanager
def durable_database() -> Iterator[Postgres | None]:
    """A PostgreSQL server with the empty database `DATABASE`; None where PostgreSQL is not installed."""
    programs = postgres.binaries()
    if programs is None:
        yield None
        return
    with postgres.running(programs, **DURABLE) as server:
        server.create(DATABASE)
        yield server


@contextmanager
def our_server(database: Postgres | None = None) -> Iterator[OurServer]:
    """On the database `DATABASE`, else on SQLite."""
    with TemporaryDirectory(prefix="onecard-bench-") as folder:
        url = f"sqlite+aiosqlite:///{folder}/issuance.db" if database is None else database.url(DATABASE)
        store, passphrase = Path(folder) / "keys", secrets.token_hex()
        migrate(url)
        with SoftKeyService.create(store, passphrase, cost=ScryptCost(n=1 << 4)) as keys:
            phones, client = asyncio.run(_people(url, keys))
        environment = os.environ | _UNLIMITED | {PASSPHRASE_VARIABLE: passphrase}
        order = [sys.executable, "-m", "bench.issue_centre", url, str(store)]
        with subprocess.Popen(
            order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            origin = f"http://127.0.0.1:{int(process.stdout.readline())}"
            flow = OurFlow(Wire(origin), client, phones)
            try:
                yield OurServer(flow, process, database)
            finally:
                process.stdin.close()
                process.wait(10)


async def _people(url: str, keys: SoftKeyService) -> tuple[list[Phone], Registered]:
    """Holders with a phone each, whose passwords are kept at the cost of the real service; and the relying party."""
    clock, known = RealClock(), {role: ClientKey.generate(role) for role in _ROLES}
    passwords.use_hasher(None)
    for role, key in known.items():
        await bootstrap_client(url, role, key.public_jwk(), (role,))
    app = create_app(Settings(database_url=url, tasks_pause_s=0), keys, clock=clock)
    centre = Centre(url, Store(url, bytes), keys, clock, app, known)
    with patch.dict(runner.SCRIPTS, dict.fromkeys(("initialization", "personalization"), fake_script)):
        await centre.stock(PHONES, PHONES)
        phones = [await signed_phone(centre, serial) for serial in range(1, PHONES + 1)]
    party = {"id": "hall", "name": "示例办事大厅", "redirect_uris": [BACK], "scopes": SCOPE.split()}
    told = (await centre.as_("operator").post("/v1/relying-parties", json=party)).json()
    await app.state.services.database.close()
    return phones, Registered(told["client_id"], told["client_secret"])


def reach(phones: list[Phone], origin: str) -> httpx.AsyncClient:
    """From now on the phones ask the server over the network. One client, to be closed."""
    centre = phones[0].centre
    made = httpx.AsyncClient(base_url=origin, auth=ClientAuth(centre.client_keys["wallet"]), timeout=60)
    centre.open_clients["wallet"] = made
    return made


@contextmanager
def peer_server(database: Postgres | None = None) -> Iterator[Server]:
    """On the database `DATABASE`, else in memory. Raises BenchError where npm or its registry is missing."""
    if problem := oidc_provider.problem():
        raise BenchError(problem)
    kept = None if database is None else oidc_provider.Kept(database.folder, "onecard", DATABASE)
    with oidc_provider.running(is_automatic=True, kept=kept) as peer:
        body = {"redirect_uris": [BACK], "scope": SCOPE, "grant_types": ["authorization_code", "refresh_token"]}
        told = httpx.post(f"{peer.issuer}/reg", json=body).json()
        client = Registered(told["client_id"], told["client_secret"])
        yield Server(PeerFlow(Wire(peer.issuer), client), peer.process, database)
