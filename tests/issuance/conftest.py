"""A centre for tests: the real app over a database and a soft key service, with a clock that tests set.

The database is a SQLite file, in tests marked `both_engines` a PostgreSQL one as well.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, text

from apdu.response import ResponseApdu
from apps_catalog.catalog import Catalog, load
from cardlib.client_auth import ClientAuth, ClientKey
from cardlib.identity import citizen_number
from cardlib.script import Script, ScriptError, ScriptStep
from cardlib.wire import BatchCommand
from hsm.api import CARD_ALGORITHMS, KeyRef, KeyService, Purpose
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.input_rules import rules
from issuance.sessions import runner
from issuance.settings import Settings
from tests.issuance import once
from tests.issuance import redis_server as redis_server_module
from tests.issuance.postgres import Postgres, binaries, running

once.install()

START = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)
REGION = "110000"
ROLES = ("operator", "terminal", "wallet", "verifier")
SECRET_NAME = "测试隐名甲"
NUMERALS = str.maketrans("0123456789", "〇一二三四五六七八九")
SECRET_NUMBER = citizen_number("99010019900101001")


GUARDIAN = {
    "name": "测试父",
    "social_security_number": citizen_number("99010019880101001"),
    "relation": "father",
    "telephone": "13900000000",
}

both_engines = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
"""Runs the test on both database engines; without it a test runs on SQLite."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class ClockedAuth(ClientAuth):
    """On the test's clock."""

    def __init__(self, key: ClientKey, clock: Clock) -> None:
        super().__init__(key, lambda: clock().timestamp())


@dataclass(frozen=True)
class Store:
    """A test's own database; `stored` gives every byte the engine keeps of it."""

    url: str
    stored: Callable[[], bytes]

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement behind the service's back; returns its rows, if it has any."""
        engine = create_engine(self.url.replace("+aiosqlite", ""))
        try:
            with engine.begin() as connection:
                result = connection.execute(text(statement), values)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()


@dataclass
class Centre:
    url: str
    store: Store
    keys: KeyService
    clock: Clock
    app: FastAPI
    client_keys: dict[str, ClientKey] = field(default_factory=dict)
    old_apps: list[FastAPI] = field(default_factory=list)
    open_clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    def restart(self) -> None:
        """A new process on the same database: nothing in memory survives."""
        self.old_apps.append(self.app)
        old = self.app.state.services
        self.app = create_app(old.settings, self.keys, clock=self.clock, catalog=old.catalog)
        self.open_clients.clear()

    async def register(self, name: str, roles: tuple[str, ...], region: str | None = None) -> None:
        self.client_keys[name] = ClientKey.generate(name)
        await bootstrap_client(
            self.url, name, self.client_keys[name].public_jwk(), roles, region=region, clock=self.clock
        )

    def anyone(self) -> httpx.AsyncClient:
        return self._client("", None)

    def as_(self, name: str) -> httpx.AsyncClient:
        return self._client(name, ClockedAuth(self.client_keys[name], self.clock))

    def _client(self, name: str, auth: httpx.Auth | None) -> httpx.AsyncClient:
        if name not in self.open_clients:
            transport = httpx.ASGITransport(self.app)
            self.open_clients[name] = httpx.AsyncClient(transport=transport, base_url="http://centre", auth=auth)
        return self.open_clients[name]

    # -- shortcuts ----------------------------------------------------------------------------------------------

    async def stock(self, blanks: int = 1, numbers: int = 1, region: str = REGION) -> list[str]:
        """Register blanks and numbers; returns the blanks' ATRs."""
        operator = self.as_("operator")
        resets = [reset(serial) for serial in range(1, blanks + 1)]
        if blanks:
            body: dict[str, Any] = {"delivery": "d1", "region": region, "reset_information": resets}
            ok(await operator.post("/v1/blanks", json=body), 201)
        if numbers:
            body = {"region": region, "body_from": "A0000001", "count": numbers}
            ok(await operator.post("/v1/card-numbers", json=body), 201)
        return [atr(serial) for serial in range(1, blanks + 1)]

    async def apply(self, serial: int = 1, **change: Any) -> httpx.Response:
        key = change.pop("key", f"application-{serial:04d}")
        return await self.as_("operator").post(
            "/v1/applications", json=application(serial, **change), headers={"Idempotency-Key": key}
        )

    async def write_off(
        self, application_id: str, blank: str, *, by: str = "terminal", **change: Any
    ) -> httpx.Response:
        headers = {"Idempotency-Key": change.pop("key", f"write-off-{blank}")}
        body = {"reset_information": blank, "reason": "chip is dead"} | change
        return await self.as_(by).post(f"/v1/applications/{application_id}/write-off", json=body, headers=headers)

    async def start(self, application_id: str, card_atr: str, terminal: str = "terminal") -> httpx.Response:
        body = {"kind": "personalization", "atr": card_atr, "application_id": application_id}
        return await self.as_(terminal).post("/v1/card-sessions", json=body)

    async def answer(
        self, session_id: str, sequence: int, responses: list[str], terminal: str = "terminal"
    ) -> httpx.Response:
        body = {"session_id": session_id, "sequence": sequence, "responses": responses}
        return await self.as_(terminal).post(f"/v1/card-sessions/{session_id}/responses", json=body)

    async def run(self, reply: dict[str, Any], responses: str = "9000", terminal: str = "terminal") -> dict[str, Any]:
        """Answer every batch of a session with one status word per command; returns the outcome."""
        while reply["batch"]:
            batch = reply["batch"]
            answers = [responses] * len(batch["commands"])
            reply = ok(await self.answer(batch["session_id"], batch["sequence"], answers, terminal))
        outcome: dict[str, Any] = reply["outcome"]
        return outcome

    async def issue(self, serial: int = 1) -> dict[str, Any]:
        """Apply and issue with a blank from stock; returns the outcome's result."""
        application_id = ok(await self.apply(serial), 201)["id"]
        outcome = await self.run(ok(await self.start(application_id, atr(serial)), 201))
        result: dict[str, Any] = outcome["result"]
        return result


def ok(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def refused(response: httpx.Response, code: str, status: int) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert (response.status_code, body.get("code")) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body["title"]
    assert body["remedy_zh"]
    assert body["remedy_en"]
    if code in ("INPUT_INVALID", "PHOTO_REJECTED"):
        assert body["fields"], "every rejected input names its fields"
    for refusal in body["fields"]:
        assert refusal["reason"] in rules()
        assert all(refusal[part] for part in ("location", "text_zh", "text_en", "remedy_zh", "remedy_en"))
    assert "Traceback" not in response.text
    return body


def reset(serial: int) -> str:
    return f"00FE00000086FE9901{serial:08X}"


def atr(serial: int) -> str:
    return f"3B6D0000{reset(serial)}"


def application(serial: int = 1, **change: Any) -> dict[str, Any]:
    person = {
        "social_security_number": citizen_number(f"990100199001{1 + serial // 500:02d}{2 * (serial % 500) - 1:03d}"),
        "name": f"测试{str(serial).translate(NUMERALS)}",
        "sex": "1",
        "ethnic_group": "01",
        "birthplace": "990100",
        "birth_date": f"199001{1 + serial // 500:02d}",
    } | change.pop("person", {})
    return {"region": REGION, "generation": "3.0", "person": person} | change


def fake_script(order: dict[str, Any], _keys: KeyService) -> Script:
    """Two batches; 6985 fails it, 6F00 is a fault of the script itself."""
    for step, size in enumerate((1, 3), start=1):
        seed = order["seed"]
        commands = tuple(BatchCommand(apdu=f"00A4000002{seed[:2]}{n:02X}".upper()) for n in range(size))
        responses: list[ResponseApdu] = yield ScriptStep(commands, f"第{step}步", f"step {step}")
        for response in responses:
            if response.sw == 0x6F00:
                raise RuntimeError(f"quotes {order.get('name')}")
            if response.sw != 0x9000:
                raise ScriptError("COMMAND_REJECTED", f"answered {response.sw:04X}")
        if len(responses) != size:
            raise ScriptError("CARD_REMOVED", "fewer answers than commands")
    result = {"outcome": "issued", "identification_code": "110000D15600000500000001FFFFFFFF", "key_version": "1"}
    return result | ({"card_number": order["card_number"]} if "card_number" in order else {})


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Scripts replaced by `fake_script`; every order a script was made from, in turn."""
    seen: list[dict[str, Any]] = []

    def make(order: dict[str, Any], keys: KeyService) -> Script:
        seen.append(order)
        return fake_script(order, keys)

    for kind in ("initialization", "personalization"):
        monkeypatch.setitem(runner.SCRIPTS, kind, make)
    return seen


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    path = tmp_path_factory.mktemp("keys") / "keys"
    service = SoftKeyService.create(path, "correct horse", cost=ScryptCost(n=1 << 4))
    for algorithm in CARD_ALGORITHMS:
        service.generate(KeyRef("IRK", algorithm), Purpose.AUTHENTICATION, level=1)
    yield service
    service.close()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "issuance.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def client_keys(empty_database: Path) -> dict[str, ClientKey]:
    """One client of each role, registered in the database that tests start from."""
    made = {role: ClientKey.generate(role) for role in ROLES}
    asyncio.run(_register(f"sqlite+aiosqlite:///{empty_database}", made))
    return made


async def _register(url: str, keys: dict[str, ClientKey]) -> None:
    for role, key in keys.items():
        await bootstrap_client(url, role, key.public_jwk(), (role,), clock=Clock())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One private server for all tests of a process; none installed is a reason to skip, in CI to fail."""
    programs = binaries()
    if programs is None:
        problem = "no PostgreSQL server is installed (Debian package postgresql)"
        if os.environ.get("CI"):
            pytest.fail(f"CI must have PostgreSQL: {problem}", pytrace=False)
        pytest.skip(problem)
    with running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis_server_module.RedisServer]:
    """One private Redis for all tests of a process; none installed is a reason to skip, in CI to fail."""
    program = redis_server_module.program()
    if program is None:
        problem = "no Redis server is installed (Debian package redis-server)"
        if os.environ.get("CI"):
            pytest.fail(f"CI must have Redis: {problem}", pytrace=False)
        pytest.skip(problem)
    with redis_server_module.running(program) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres, client_keys: dict[str, ClientKey]) -> str:
    """A migrated database with the same clients as `empty_database`."""
    name = "template_onecard"
    postgres.create(name)
    migrate(postgres.url(name))
    asyncio.run(_register(postgres.url(name), client_keys))
    return name


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Set by `both_engines`."""
    chosen: str = getattr(request, "param", "sqlite")
    return chosen


@pytest.fixture
def store(
    engine: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    empty_database: Path,
    client_keys: dict[str, ClientKey],
) -> Iterator[Store]:
    if engine == "sqlite":
        path = tmp_path / "issuance.db"
        shutil.copy(empty_database, path)
        yield Store(f"sqlite+aiosqlite:///{path}", lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir()))
        return
    template: str = request.getfixturevalue("postgres_template")
    server: Postgres = request.getfixturevalue("postgres")
    name = uuid.uuid4().hex
    server.create(name, template)
    yield Store(server.url(name), lambda: server.stored(name))
    server.drop(name)


@pytest.fixture
async def centre(
    store: Store,
    client_keys: dict[str, ClientKey],
    keys: KeyService,
    catalog: Catalog,
    orders: list[dict[str, Any]],
) -> AsyncIterator[Centre]:
    clock = Clock()
    app = create_app(Settings(database_url=store.url), keys, clock=clock, catalog=catalog)
    centre = Centre(store.url, store, keys, clock, app, dict(client_keys))
    try:
        yield centre
    finally:
        for app in (*centre.old_apps, centre.app):
            await app.state.services.database.close()
            await app.state.services.one_time.close()
