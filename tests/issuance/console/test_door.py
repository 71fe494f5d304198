"""The door of the console, the own account, and what every page obeys."""

from __future__ import annotations

import re

import pyotp
import pytest
from fastapi.openapi.utils import get_openapi
from sqlalchemy import select

from issuance.clerks.acts import ClerkRole
from issuance.clerks.schemas import ClerkRequest
from issuance.clerks.service import ClerkService
from issuance.console.forms import Form
from issuance.console.login import own_path
from issuance.console.page import HERE
from issuance.console.words import FOLDER, words
from issuance.offices.models import OfficeRow
from issuance.unit import system_unit
from onecard_ui import HERE as KIT
from tests.issuance.conftest import Centre
from tests.issuance.console.conftest import ORIGIN, Console, hidden_fields

OPEN = {("GET", "/login"), ("POST", "/login"), ("POST", "/login/scan"), ("GET", "/login/back"), ("GET", "/login/left")}


def routes(console: Console) -> list[tuple[str, str]]:
    """Method and path, below `/console`, of every page."""
    mounted = next(route for route in console.centre.app.routes if getattr(route, "path", "") == "/console")
    paths = get_openapi(title="console", version="1", routes=mounted.app.routes)["paths"]  # type: ignore[attr-defined]
    found = [(method.upper(), path) for path, operations in paths.items() for method in operations]
    assert len(found) > 100
    return found


async def test_log_in_out_and_back_to_the_page_wanted(console: Console) -> None:
    browser = await console.log_in("caiji")
    assert "方采集，您好" in browser.words
    await browser.post("/console/logout")
    assert browser.path == "/console/login"
    assert "已退出" in browser.words
    await browser.get("/console/me")
    assert browser.path == "/console/login"
    assert 'name="next" value="/console/me"' in browser.text
    clerk = console.clerks["caiji"]
    console.centre.clock.advance(30)
    code = clerk.code(console.centre.clock().timestamp())
    await browser.post("/console/login", login="caiji", password=clerk.password, code=code)
    assert browser.path == "/console/me"
    assert "只在这里登录着" in browser.words


async def test_a_wrong_log_in_says_what_to_do_and_keeps_the_name_only(console: Console) -> None:
    browser = console.anyone("en")
    await browser.get("/console/login")
    await browser.post("/console/login", login="caiji", password="no such password", code="000000")
    assert browser.status == 401
    assert "LOGIN_REFUSED" in browser.words
    assert 'value="caiji"' in browser.text
    assert "no such password" not in browser.text


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/console/../x?y",
        "/console//evil",
        "",
        "/console/../v1",
        "/console/%2e%2e/v1",
    ],
)
def test_no_way_out_of_the_console_after_log_in(wanted: str) -> None:
    assert own_path(wanted) == "/"


async def test_first_log_in_changes_password_and_sets_up_codes(console: Console) -> None:
    services = console.centre.app.state.services
    async with system_unit(services) as unit:
        office_id = await unit.session.scalar(select(OfficeRow.id).limit(1)) or 0
        made = ClerkRequest(login="xin", name="新同事", office_id=office_id, roles=(ClerkRole.COLLECTOR,))
        access = await ClerkService(unit).create(made)
    browser = console.anyone()
    await browser.get("/console/login")
    await browser.post("/console/login", login="xin", password=access.temporary_password, code="")
    assert browser.path == "/console/me/password"
    await browser.get("/console/collect")
    assert browser.path == "/console/me/password"
    await browser.post("/console/me/password", old=access.temporary_password, password="a" * 14, again="b" * 14)
    assert "两次" in browser.words
    good = "a long sentence of mine"
    await browser.post("/console/me/password", old=access.temporary_password, password=good, again=good)
    assert browser.path == "/console/me/codes"
    secret = re.search(r'con-secret">([A-Z2-7]+)<', browser.text)
    assert secret is not None
    code = pyotp.TOTP(secret[1]).at(int(console.centre.clock().timestamp()))
    await browser.post("/console/me/codes", code=code)
    assert browser.path == "/console/"
    assert "新同事" in browser.words


async def test_blanks_of_a_password_are_characters_as_in_json(console: Console) -> None:
    browser, clerk = await console.log_in("caiji"), console.clerks["caiji"]
    spaced = "  a long sentence of mine "
    await browser.get("/console/me/password")
    await browser.post("/console/me/password", old=clerk.password, password=spaced, again=spaced)
    await browser.post("/console/lock")
    await browser.post("/console/unlock", password=spaced.strip())
    assert browser.status == 401
    await browser.post("/console/unlock", password=spaced)
    assert browser.status == 200
    console.centre.clock.advance(30)
    body = {"login": "caiji", "password": spaced, "code": clerk.code(console.centre.clock().timestamp())}
    assert (await browser.http.post("/v1/staff/log-in", json=body)).status_code == 200


async def test_every_address_wants_a_session_and_every_form_its_token(console: Console) -> None:
    stranger, clerk = console.anyone(), await console.log_in("guanli")
    for method, path in routes(console):
        if (method, path) in OPEN:
            continue
        address = "/console" + re.sub(r"\{[^}]+\}", "0" * 32, path)
        await stranger.send(method, address)
        assert stranger.path == "/console/login", path
        if method == "POST":
            response = await clerk.http.post(address, headers={"Accept": "application/json"})
            assert (response.status_code, response.json()["code"]) == (403, "CSRF_REFUSED"), path


async def test_the_counter_says_that_it_needs_its_script(console: Console) -> None:
    browser = await console.log_in("caiji")
    assert (
        "浏览器没有运行脚本"
        in (await browser.get("/console/counter")).partition("<noscript>")[2].partition("</noscript>")[0]
    )


async def test_the_token_is_looked_for_in_no_form_but_a_posts(console: Console) -> None:
    """The body of a PUT is the part of a file, whatever it says it is."""
    browser = await console.log_in("kuguan")
    form = {"csrf": hidden_fields(browser.text)["csrf"]}
    response = await browser.http.put(f"/console/batches/files/{'0' * 32}/parts/0", data=form)
    assert response.status_code == 403


async def test_another_site_cannot_log_anybody_in(console: Console) -> None:
    browser = console.anyone()
    for headers in ({"Origin": "https://evil.example"}, {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}):
        response = await browser.http.post("/console/login", data={"login": "caiji"}, headers=headers)
        assert response.status_code == 403


async def test_an_auditor_collects_nothing(console: Console) -> None:
    browser = await console.log_in("shenji")
    assert 'href="/console/collect"' not in browser.text
    await browser.get("/console/collect")
    assert (browser.status, "ACT_FORBIDDEN" in browser.words) == (403, True)


async def test_language_and_type_stay(console: Console) -> None:
    browser = await console.log_in("caiji")
    await browser.get("/console/?lang=en")
    assert 'lang="en"' in browser.text
    browser.http.cookies.set("oc_type", "large")
    await browser.get("/console/me")
    assert "My account" in browser.words
    assert 'data-type="large"' in browser.text


async def test_nothing_there_is_a_page_with_a_remedy(console: Console, centre: Centre) -> None:
    browser = await console.log_in("caiji")
    for path in ("/console/nowhere", "/console/cards/zz", f"/console/cards/{'0' * 32}"):
        await browser.get(path)
        assert (browser.status, "NOT_FOUND" in browser.words) == (404, True), path


def test_words_are_the_same_in_both_languages() -> None:
    zh, en = words("zh"), words("en")
    assert {path.stem for path in FOLDER.glob("*.toml")} == zh.keys() == en.keys()
    for area, known in zh.items():
        assert known.keys() == en[area].keys(), area
        assert not known.keys() & set(dir(dict)), area
        for key, text in known.items():
            assert text, f"{area}.{key}"
            assert en[area][key], f"{area}.{key}"
            assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", en[area][key]), f"{area}.{key}"


def test_every_word_of_a_template_exists() -> None:
    known = words("zh")
    for path in (HERE / "templates").glob("*.html"):
        for area, key in re.findall(r"\bw\.(\w+)\.(?!get\()(\w+)", path.read_text("utf-8")):
            assert key in known.get(area, {}), f"{path.name}: {area}.{key}"


def test_scripts_build_no_markup() -> None:
    scripts = [path.read_text("utf-8") for home in (HERE, KIT) for path in (home / "static").glob("*.js")]
    assert len(scripts) >= 6
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", "".join(scripts))


def test_an_empty_field_was_left_out() -> None:
    form = Form({"person.name": "测试", "person.sex": "", "key": "x", "persona": "no"})
    assert form.nested("person") == {"person": {"name": "测试"}}
    both = {"person": "x", "person.name": "测试", "person.name.first": "y"}
    assert Form(both).nested("person") == {"person": "x"}, "a field sent twice over is for the model to refuse"
    assert len(form.key) == 32
