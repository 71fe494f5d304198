"""Our own kits: their examples log people in, here and at npm's oidc-provider, and refuse what is no log-in."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from bench.npm import npm_package
from tests.issuance.unmodified.browser import NOBODY, Browser
from tests.issuance.unmodified.conftest import missing
from tests.issuance.unmodified.manual import Client
from tests.issuance.unmodified.provider import Loop, OneCard, Provider, any_port, origin_of
from tests.issuance.unmodified.test_unmodified import OPENID_CLIENT

CLIENTS = Path(__file__).parents[3] / "clients"
REFUSED = "没有登录 / Not logged in: "


def kit_module(name: str) -> Any:
    """As a program in the kit's folder finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CLIENTS / "python"))
        return importlib.import_module(name)


@pytest.fixture
def kit() -> Any:
    return kit_module("onecard_login")


@pytest.fixture
def js(tmp_path: Path) -> Path:
    """The kit as npm would install it."""
    package = npm_package("openid-client", OPENID_CLIENT)
    if package is None:
        missing("npm or its registry is missing")
    shutil.copytree(CLIENTS, tmp_path / "clients", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "clients" / "js" / "node_modules").symlink_to(package.parent)
    return tmp_path / "clients" / "js"


def as_registered(client: Client, folder: Path) -> Path:
    """What `onecard login client add` printed."""
    file = folder / f"{client.client_id}.json"
    file.write_text(json.dumps(vars(client)), "utf-8")
    return file


@contextmanager
def node(*order: object) -> Iterator[Iterator[str]]:
    """The lines it prints."""
    with subprocess.Popen(["node", *map(str, order)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield iter(process.stdout)
        process.terminate()


def visit(provider: Provider, browser: Browser, site: str) -> None:
    """In, out, and back with what is no answer."""
    assert "/enter" in browser.open(site).text
    page = provider.log_in(browser, browser.open(f"{site}/enter"))
    assert page.url == f"{site}/"
    assert f"<code>{provider.subject}</code>" in page.text
    page = browser.open(f"{site}/leave")
    if provider.acr is not None:  # the peer asks first
        assert page.url.partition("?")[0] == f"{site}/"
        assert "/enter" in page.text
    browser.open(f"{site}/enter")
    for _ in range(2):
        answer = browser.http.get(f"{site}/back", params={"code": "c", "state": "s", "iss": provider.issuer})
        assert (answer.status_code, "Not logged in: invalid_response" in answer.text) == (403, True)


def test_python(provider: Provider, browser: Browser, loop: Loop) -> None:
    example, listener = kit_module("example_site"), any_port()
    client = provider.register(f"{origin_of(listener)}/back")
    with loop.served(example.make_app(vars(client), origin_of(listener)), listener) as site:
        visit(provider, browser, site)


def test_python_on_a_device(provider: Provider, browser: Browser, kit: Any) -> None:
    def person(code: Any) -> None:
        provider.log_in(browser, browser.submit(browser.open(code.url), user_code=code.user_code))

    client = provider.register()
    known = kit.OneCardLogin(client.issuer, client.client_id, client.client_secret).by_device(person)
    assert (known.sub, known.acr) == (provider.subject, provider.acr or "")


def test_js(provider: Provider, browser: Browser, js: Path, port: int) -> None:
    """The device asks every five seconds, so it is begun first."""
    site, kiosk = provider.register(f"http://127.0.0.1:{port}/back"), provider.register()
    with node(js / "example-device.js", as_registered(kiosk, js)) as device:
        address, code = (next(device).split()[-1] for _ in range(2))
        provider.log_in(browser, browser.submit(browser.open(address), user_code=code))
        with node(js / "example-site.js", as_registered(site, js), port) as lines:
            visit(provider, browser, next(lines).strip())
        assert f"({provider.subject})" in next(device)


def test_what_the_python_kit_refuses(ours: OneCard, browser: Browser, kit: Any) -> None:
    client = ours.register()
    plain, strict = (
        kit.OneCardLogin(*vars(client).values(), redirect_uri=NOBODY, acr=acr) for acr in ((), (kit.BY_CARD,))
    )
    begun = plain.begin("zh")
    answer = dict(parse_qsl(urlsplit(ours.log_in(browser, browser.open(begun.url)).url).query))

    def refused(name: str, kept: dict[str, str] = begun.kept, login: Any = plain, **change: str) -> None:
        with pytest.raises(kit.LogInError) as refusal:
            login.finish(kept, answer | change)
        assert refusal.value.error == name, refusal.value

    refused("invalid_response", {})
    refused("invalid_response", {}, state="", error="access_denied")
    refused("invalid_response", plain.begin().kept)
    refused("invalid_response", iss="https://other.example")
    refused("access_denied", error="access_denied")
    given = {"code": answer["code"], "code_verifier": begun.kept["code_verifier"]}
    token = plain._app.fetch_access_token(NOBODY, **given)
    with pytest.MonkeyPatch.context() as patch:
        for login in (plain, strict):
            patch.setattr(login._app, "fetch_access_token", lambda *_, **__: token)
        assert plain.finish(begun.kept, answer).sub == ours.subject
        refused("invalid_response", begun.kept | {"nonce": "another"})
        refused("invalid_response", login=strict)
        patch.setattr(plain._app, "userinfo", lambda **_: {"sub": "another"})
        refused("invalid_response")
        id_token = token.pop("id_token")
        refused("invalid_response")
    refused("invalid_grant")
    with pytest.MonkeyPatch.context() as patch:  # a code shown twice has ended the log-in
        patch.setattr(plain._app, "fetch_access_token", lambda *_, **__: token | {"id_token": id_token})
        refused("invalid_token")


def test_a_wrong_secret(ours: OneCard, kit: Any, js: Path) -> None:
    client = dataclasses.replace(ours.register(), client_secret="x" * 43)
    with pytest.raises(kit.LogInError, match="invalid_client"):
        kit.OneCardLogin(*vars(client).values()).by_device(print)
    order = ["node", str(js / "example-device.js"), str(as_registered(client, js))]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "没有登录 / not logged in: invalid_client\n")


def test_a_provider_that_has_no_way_good_enough(ours: OneCard, browser: Browser, kit: Any) -> None:
    login = kit.OneCardLogin(*vars(ours.register()).values(), redirect_uri=NOBODY, acr=[kit.BY_CARD])
    begun = login.begin()
    answer = dict(parse_qsl(urlsplit(browser.open(begun.url).url).query))
    with pytest.raises(kit.LogInError, match="unmet_authentication_requirements"):
        login.finish(begun.kept, answer)


@pytest.mark.parametrize("issuer", ["http://login.example", "http://127.0.0.1.example", "file:///etc", "login.example"])
def test_an_issuer_that_others_could_pose_as(kit: Any, issuer: str) -> None:
    with pytest.raises(ValueError, match="https"):
        kit.OneCardLogin(issuer, "hall-1")
