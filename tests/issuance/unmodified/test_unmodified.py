"""Clients that others wrote log in at our provider by scan, configured as their manuals say and with nothing else.

The same tests run against npm's oidc-provider: what fails at both is a fault of the test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.npm import npm_package
from tests.issuance.unmodified.browser import NOBODY, Browser
from tests.issuance.unmodified.conftest import missing
from tests.issuance.unmodified.provider import Loop, OneCard, Provider, any_port, origin_of
from tests.issuance.unmodified.sites import (
    AGENT_BACK,
    APACHE_MODULES,
    apache_site,
    authlib_site,
    django_site,
    oidc_agent,
    page_site,
)

HERE = Path(__file__).parent
OPENID_CLIENT = "6.8.9"
OIDC_CLIENT_TS = "3.5.0"


def known(provider: Provider, claims: dict[str, Any], *, has_acr: bool = True) -> None:
    """What a client has learned in the end: about the right person, and how strongly that is known if it shows it."""
    assert claims["sub"] == provider.subject
    assert (claims.get("acr") or None) == (provider.acr if has_acr else None)


def test_openid_client(provider: Provider, browser: Browser) -> None:
    folder = npm_package("openid-client", OPENID_CLIENT)
    if folder is None:
        missing("npm or its registry is missing")
    client = provider.register()
    order = ["node", HERE / "openid_client.mjs", str(folder)]
    order += [client.issuer, client.client_id, client.client_secret, NOBODY]
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for flow in ("code", "par", "device"):
            asked = talk(process, flow)
            page = provider.log_in(browser, browser.open(asked["open"]))
            told = talk(process, page.url)
            known(provider, told["claims"])
            known(provider, told["user"])
            browser.open(told["end"])
        process.communicate("")


def test_openid_client_with_a_key(ours: OneCard, browser: Browser) -> None:
    """`private_key_jwt`, a signed request (RFC 9101) and CIBA."""
    folder = npm_package("openid-client", OPENID_CLIENT)
    if folder is None:
        missing("npm or its registry is missing")
    order = ["node", HERE / "openid_client_keyed.mjs", str(folder), ours.issuer, "keyed", NOBODY, ours.card_number]
    with subprocess.Popen(order, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ours.register_key("keyed", talk(process, "key"))
        page = ours.log_in(browser, browser.open(talk(process, "begin")["open"]))
        known(ours, talk(process, page.url))
        ours.approve_at_counter(talk(process, "ask")["onecard_number"])
        known(ours, talk(process, "poll"))
        process.communicate("")


def test_authlib(provider: Provider, browser: Browser, loop: Loop) -> None:
    listener = any_port()
    client = provider.register(f"{origin_of(listener)}/back")
    with loop.served(authlib_site(client), listener) as site:
        for claims in json.loads(provider.log_in(browser, browser.open(site)).text):
            known(provider, claims)


def test_mozilla_django_oidc(provider: Provider, browser: Browser, port: int) -> None:
    client = provider.register(f"http://127.0.0.1:{port}/oidc/callback/", method="client_secret_post")
    with django_site(client, port) as site:
        for _ in range(2):
            page = provider.log_in(browser, browser.open(f"{site}/oidc/authenticate/"))
            told = json.loads(page.text)
            known(provider, told, has_acr=False)
            assert told["accounts"] == 1, "the same person has one account"


def test_mod_auth_openidc(provider: Provider, browser: Browser, port: int) -> None:
    if not (APACHE_MODULES / "mod_auth_openidc.so").exists():
        missing("Debian's libapache2-mod-auth-openidc is not installed")
    with apache_site(provider.register(f"http://127.0.0.1:{port}/inside/back"), port) as site:
        page = provider.log_in(browser, browser.open(site))
        known(provider, {"sub": page.headers["came"], "acr": page.headers.get("acr")})


def test_oidc_client_ts(provider: Provider, chromium: Any, loop: Loop) -> None:
    package = npm_package("oidc-client-ts", OIDC_CLIENT_TS)
    if package is None:
        missing("npm or its registry is missing")
    listener = any_port()
    client = provider.register(f"{origin_of(listener)}/", method="none")
    with loop.served(page_site(client, package / "dist" / "browser"), listener) as site:
        page = chromium.new_page()
        page.goto(site)
        provider.log_in_on_screen(page)
        shown = page.locator("#known:not(:empty)")
        shown.wait_for()
        known(provider, json.loads(shown.text_content()), has_acr=False)
        page.close()


def test_oidc_agent(provider: Provider, browser: Browser, tmp_path: Path) -> None:
    if shutil.which("oidc-agent") is None:
        missing("Debian's oidc-agent-cli is not installed")
    with oidc_agent(tmp_path) as agent:
        with agent.asks(provider.register(AGENT_BACK)) as (address, code):
            provider.log_in(browser, browser.submit(browser.open(address), user_code=code))
        about = browser.http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
        bearer = {"Authorization": f"Bearer {agent.token()}"}
        known(provider, browser.http.get(about["userinfo_endpoint"], headers=bearer).json())


def talk(process: subprocess.Popen[str], line: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline() or "null")
