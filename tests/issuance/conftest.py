"""A centre for tests: the real app over a SQLite file and a soft key service, with a clock that tests set."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apdu.response import ResponseApdu
from apps_catalog.catalog import Catalog, load
from cardlib.client_auth import ClientKey
from cardlib.identity import citizen_number
from cardlib.script import Script, ScriptError, ScriptStep
from cardlib.wire import BatchCommand
from hsm.api import KeyService
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.app import create_app
from issuance.clients.service import bootstrap_client
from issuance.database import migrate
from issuance.sessions import runner
from issuance.settings import Settings

START = datetime(2026, 1, 5, 1, 0, tzinfo=UTC)
REGION = "110000"
ROLES = ("operator", "terminal", "wallet", "verifier")
SECRET_NAME = "测试隐名甲"
SECRET_NUMBER = citizen_number("99010019900101001")


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class ClockedAuth(httpx.Auth):
    """As `ClientAuth`, on the test's clock."""

    requires_request_body = True

    def __init__(self, key: ClientKey, clock: Clock) -> None:
        self.key = key
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self.key.assertion(
            request.method, request.url.raw_path.decode(), request.content, self._clock().timestamp()
        )
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


@dataclass
class Centre:
    url: str
    path: Path
    keys: KeyService
    clock: Clock
    app: FastAPI
    client_keys: dict[str, ClientKey] = field(default_factory=dict)
    old_apps: list[FastAPI] = field(default_factory=list)
    open_clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    def restart(self) -> None:
        """A new process on the same database: nothing in memory survives."""
        self.old_apps.append(self.app)
        self.app = create_app(
            Settings(database_url=self.url), self.keys, clock=self.clock, catalog=self.app.state.services.catalog
        )
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

    async def start(self, application_id: str, card_atr: str, terminal: str = "terminal") -> httpx.Response:
        body = {"kind": "personalization", "atr": card_atr, "application_id": application_id}
        return await self.as_(terminal).post("/v1/card-sessions", json=body)

    async def answer(
        self, session_id: str, sequence: int, responses: list[str], terminal: str = "terminal"
    ) -> httpx.Response:
        body = {"session_id": session_id, "sequence": sequence, "responses": responses}
        return await self.as_(terminal).post(f"/v1/card-sessions/{session_id}/responses", json=body)

    async def run(self, reply: dict[str, Any], responses: str = "9000") -> dict[str, Any]:
        """Answer every batch of a session with one status word per command; returns the outcome."""
        while reply["batch"]:
            batch = reply["batch"]
            answers = [responses] * len(batch["commands"])
            reply = ok(await self.answer(batch["session_id"], batch["sequence"], answers))
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
    assert "Traceback" not in response.text
    return body


def reset(serial: int) -> str:
    return f"00FE00000086FE9901{serial:08X}"


def atr(serial: int) -> str:
    return f"3B6D0000{reset(serial)}"


def application(serial: int = 1, **change: Any) -> dict[str, Any]:
    person = {
        "social_security_number": citizen_number(f"990100199001{1 + serial // 500:02d}{2 * (serial % 500) - 1:03d}"),
        "name": f"测试{serial}",
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
    result = {"outcome": "issued", "identification_code": "110000D15600000500000001FFFFFFFF"}
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

    async def register() -> None:
        for role, key in made.items():
            url = f"sqlite+aiosqlite:///{empty_database}"
            await bootstrap_client(url, role, key.public_jwk(), (role,), clock=Clock())

    asyncio.run(register())
    return made


@pytest.fixture
async def centre(
    tmp_path: Path,
    empty_database: Path,
    client_keys: dict[str, ClientKey],
    keys: KeyService,
    catalog: Catalog,
    orders: list[dict[str, Any]],
) -> AsyncIterator[Centre]:
    path = tmp_path / "issuance.db"
    shutil.copy(empty_database, path)
    url = f"sqlite+aiosqlite:///{path}"
    clock = Clock()
    app = create_app(Settings(database_url=url), keys, clock=clock, catalog=catalog)
    centre = Centre(url, path, keys, clock, app, dict(client_keys))
    try:
        yield centre
    finally:
        for app in (*centre.old_apps, centre.app):
            await app.state.services.database.close()
