"""One log-in over two processes on PostgreSQL and Redis, each killed -9 as soon as it has served a stage of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from cardlib.client_auth import ClientAuth
from hsm.api import CARD_ALGORITHMS, KeyRef, KeyService, Purpose
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from tests.issuance.conftest import Centre, ok
from tests.issuance.crash_stand import PASSPHRASE, Service, persistently
from tests.issuance.log_ins.stand import CALLBACK, LogIns
from tests.issuance.redis_server import RedisServer

VERIFIER = "v" * 43
WOKEN_S = 30.0
"""At most, while other tests run; docs/login.md has the figure of a quiet machine."""


@pytest.fixture(scope="module")
def key_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicas") / "keys"


@pytest.fixture(scope="module")
def keys(key_store: Path) -> Iterator[KeyService]:
    service = SoftKeyService.create(key_store, PASSPHRASE, cost=ScryptCost(n=1 << 4))
    for algorithm in CARD_ALGORITHMS:
        service.generate(KeyRef("IRK", algorithm), Purpose.AUTHENTICATION, level=1)
    yield service
    service.close()


@dataclass
class Replicas:
    log_ins: LogIns
    secret: str
    one: Service
    other: Service
    browser: httpx.AsyncClient
    phones: dict[Service, httpx.AsyncClient]

    def phone_at(self, replica: Service) -> LogIns:
        """The phone speaks to this one."""
        centre = self.log_ins.centre
        centre.open_clients["wallet"] = self.phones[replica]
        centre.clock.now = datetime.now(UTC)
        return self.log_ins

    async def get(self, replica: Service, path: str) -> httpx.Response:
        return await persistently(lambda: self.browser.get(replica.url + path))

    async def begun(self, replica: Service) -> str:
        """The log-in page's path."""
        asked = {
            "response_type": "code",
            "client_id": "shop",
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": "s-1",
            "code_challenge": create_s256_code_challenge(VERIFIER),
            "code_challenge_method": "S256",
        }
        answer = await self.get(replica, f"/oidc/authorize?{urlencode(asked)}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def tokens(self, replica: Service, code: str) -> httpx.Response:
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        url = f"{replica.url}/oidc/token"
        return await persistently(lambda: self.browser.post(url, data=body, auth=("shop", self.secret)))


@pytest.fixture
async def replicas(centre: Centre, key_store: Path, redis_server: RedisServer) -> AsyncIterator[Replicas]:
    centre.clock.now = datetime.now(UTC)
    log_ins = await LogIns(centre).ready()
    party = {"id": "shop", "name": "示例商城", "redirect_uris": [CALLBACK]}
    told = ok(await centre.as_("operator").post("/v1/relying-parties", json=party), 201)
    log_ins.services.login_keys.public_keys(["ES256"])  # made before others read the key store
    settings = {"database_url": centre.url, "redis_url": redis_server.url, "tasks_pause_s": 0}
    one, other = Service(key_store, settings), Service(key_store, settings)
    one.start()
    other.start()
    auth = ClientAuth(centre.client_keys["wallet"])
    clients = [httpx.AsyncClient(base_url=url, auth=auth, timeout=30) for url in (one.url, other.url)]
    async with httpx.AsyncClient(timeout=30) as browser, clients[0], clients[1]:
        phones = dict(zip((one, other), clients, strict=True))
        yield Replicas(log_ins, told["client_secret"], one, other, browser, phones)
    await asyncio.gather(one.close(), other.close())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_a_log_in_outlives_every_process_that_served_it(replicas: Replicas) -> None:
    one, other = replicas.one, replicas.other
    path = await replicas.begun(one)
    await one.restart()

    page = await replicas.get(other, path)
    number = int("".join(re.findall(r"<span>(\d)</span>", page.text)))
    code = ok(await replicas.get(other, f"{path}/link"))["url"].partition("#")[2]
    asked = ok(await persistently(lambda: replicas.phone_at(other).scan(code)), 201)
    await other.restart()

    assert "已经扫到" in (await replicas.get(one, path)).text
    ok(await replicas.phone_at(one).approve(asked, number))
    await one.restart()

    back = parse_qs(urlsplit((await replicas.get(other, path)).headers["location"]).query)
    assert back["state"] == ["s-1"]
    await other.restart()

    tokens = ok(await replicas.tokens(one, back["code"][0]))
    assert tokens["id_token"]
    again = await replicas.tokens(other, back["code"][0])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")

    path = await replicas.begun(one)
    code = ok(await replicas.get(one, f"{path}/link"))["url"].partition("#")[2]
    asked = ok(await replicas.phone_at(other).scan(code), 201)
    number = int("".join(re.findall(r"<span>(\d)</span>", (await replicas.get(one, path)).text)))
    async with replicas.browser.stream("GET", f"{one.url}{path}/events?stage=claimed") as events:
        lines = events.aiter_lines()
        assert await anext(lines) == "retry: 200"
        ok(await replicas.phone_at(other).approve(asked, number))
        approved = time.monotonic()
        while "event: go" not in await anext(lines):
            pass
        assert time.monotonic() - approved < WOKEN_S
