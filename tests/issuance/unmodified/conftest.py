"""One service, one phone and one peer for all clients of a process."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps_catalog.catalog import Catalog
from bench import oidc_provider
from cardlib.client_auth import ClientKey
from hsm.api import KeyService
from issuance.app import create_app
from issuance.ecards.models import EcardRow
from issuance.login.tokens import subject_for
from issuance.login.unit import login_unit
from issuance.sessions import runner
from issuance.settings import Settings
from tests.issuance.conftest import Centre, Store, fake_script
from tests.issuance.phone import Phone, signed_phone
from tests.issuance.unmodified.browser import Browser
from tests.issuance.unmodified.provider import SECTOR, Loop, OneCard, Peer, Provider, RealClock, any_port, origin_of

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def missing(what: str) -> None:
    """None of the clients may be missing in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have every client: {what}", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture(scope="session")
def ours(
    loop: Loop,
    tmp_path_factory: pytest.TempPathFactory,
    empty_database: Path,
    client_keys: dict[str, ClientKey],
    keys: KeyService,
    catalog: Catalog,
) -> Iterator[OneCard]:
    path = tmp_path_factory.mktemp("log-in") / "issuance.db"
    shutil.copy(empty_database, path)
    url, clock, listener = f"sqlite+aiosqlite:///{path}", RealClock(), any_port()
    app = create_app(Settings(database_url=url, login_issuer=origin_of(listener)), keys, clock=clock, catalog=catalog)
    centre = Centre(url, Store(url, bytes), keys, clock, app, dict(client_keys))
    with pytest.MonkeyPatch.context() as patch, loop.served(app, listener) as issuer:
        for kind in ("initialization", "personalization"):
            patch.setitem(runner.SCRIPTS, kind, fake_script)
        phone, subject = loop.run(_holder(centre))
        yield OneCard(loop, centre, phone, issuer, subject)
        loop.run(app.state.services.database.close())
        loop.run(app.state.services.one_time.close())


async def _holder(centre: Centre) -> tuple[Phone, str]:
    """With the identifier that the sites know the holder by."""
    await centre.stock()
    phone = await signed_phone(centre)
    services = centre.app.state.services
    async with login_unit(services, is_reading=True) as unit:
        ecard = await unit.session.get_one(EcardRow, phone.ecard_no)
        return phone, subject_for(services.sealer, ecard.person_id, SECTOR)


@pytest.fixture(scope="session")
def peer() -> Iterator[Peer]:
    if problem := oidc_provider.problem():
        missing(problem)
    with oidc_provider.running() as process:
        yield Peer(process)


@pytest.fixture(params=["ours", "peer"])
def provider(request: pytest.FixtureRequest) -> Provider:
    chosen: Provider = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def port() -> Iterator[int]:
    """For a server in a process of its own. Bound here, it is given to nobody else; a server that names it, and sets
    SO_REUSEADDR as all do, may listen there."""
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
        yield place.getsockname()[1]


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as made:
        yield made


@pytest.fixture
def chromium() -> Iterator[Any]:
    """For one test: while Playwright is there, its loop runs, and no test with a loop of its own can."""
    program = shutil.which("chromium")
    if program is None:
        missing("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
