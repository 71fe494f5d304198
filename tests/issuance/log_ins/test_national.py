"""Log-in by the national platform: a simulated one, the page of a browser, and each weak spot of the field closed."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Mount

from issuance.codes.envelope import BusKeys
from issuance.login.national.platform import (
    NationalAnswerError,
    NationalPlatform,
    NationalSettingsError,
    PlatformKeys,
    stamp_of,
)
from issuance.login.seam import ACR_NATIONAL, ACR_SCAN, Subject
from issuance.login.transactions import Transaction
from issuance.settings import Settings
from simulators.national_scan import FAULTS, SimKeys, SimNationalScan
from tests.issuance.conftest import Clock, both_engines, ok, refused
from tests.issuance.log_ins.stand import NAME, ORIGIN, LogIns

CSRF = re.compile(r'name="csrf" value="([^"]+)"')
KEYS_PATH: Final = "/v1/login-upstreams/national/keys"
SIM = SimKeys.new("aes-ecb")
SETTINGS = Settings(
    login_national_url="http://127.0.0.1/csb",
    login_national_page="http://127.0.0.1/h5",
    login_national_channel="1000000009",
    login_national_access="2000000009",
    login_national_name="测试省社保登录",
    login_national_timeout_s=20,
)


@dataclass
class National:
    """A browser at the log-in page of a centre that knows the simulated platform."""

    log_ins: LogIns
    sim: SimNationalScan = field(init=False)

    async def ready(self) -> National:
        clock, centre = self.log_ins.centre.clock, self.log_ins.centre
        self.sim = SimNationalScan(SIM, clock=lambda: clock().timestamp())
        platform = NationalPlatform(SETTINGS, clock, transport=httpx.ASGITransport(self.sim.app))
        services = replace(centre.app.state.services, national=platform)
        centre.app.state.services = services
        for route in centre.app.routes:
            if isinstance(route, Mount) and route.path == "/login":
                route.app.state.services = services  # type: ignore[attr-defined]
        assert (await centre.as_("operator").put(KEYS_PATH, json=asdict(SIM))).status_code == 204
        return self

    async def page(self, browser: httpx.AsyncClient, opened: Transaction, **query: str) -> str:
        answer = await browser.get(f"{opened.path}/national", params=query)
        assert answer.status_code == 200, answer.text
        return answer.text

    def code(self) -> str:
        """The newest the platform made."""
        return list(self.sim._codes)[-1]

    async def scanned(self, browser: httpx.AsyncClient, opened: Transaction, essc_no: str = "") -> str:
        """The page after the holder's app has confirmed its code."""
        await self.page(browser, opened)
        assert self.sim.scan(self.code(), essc_no or self.log_ins.phone.ecard_no)
        self.log_ins.centre.clock.advance(2)
        return await self.page(browser, opened)

    async def agree(self, browser: httpx.AsyncClient, opened: Transaction, **headers: str) -> httpx.Response:
        found = CSRF.search(await self.page(browser, opened))
        data = {"csrf": found[1] if found else ""}
        return await browser.post(f"{opened.path}/national/agree", data=data, headers={"Origin": ORIGIN} | headers)

    async def hand_over(self, browser: httpx.AsyncClient, opened: Transaction) -> dict[str, str]:
        """The query that the browser is sent to the platform's page with."""
        sent = await browser.get(f"{opened.path}/national/go")
        assert sent.status_code == 303, sent.text
        return dict(parse_qsl(urlsplit(sent.headers["location"]).query))


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture
async def national(log_ins: LogIns) -> National:
    return await National(log_ins).ready()


@both_engines
async def test_a_log_in_by_the_platform_s_code(national: National) -> None:
    log_ins = national.log_ins
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        assert f'href="{opened.path}/national"' in (await browser.get(opened.path)).text
        first = await national.page(browser, opened)
        assert NAME in first
        assert "测试省社保登录" in first
        assert 'http-equiv="refresh"' in first
        await national.page(browser, opened)
        assert national.sim.questions == ["qrcode_channel_encrypt"], "asked once in two seconds"
        asked = await national.scanned(browser, opened)
        assert "测*一" in asked, "as this centre knows the person, not as the platform says"
        assert "某某" not in asked
        assert await log_ins.outcome(opened) is None, "not before the person agrees"
        done = await national.agree(browser, opened)
        assert f'content="0;url={opened.path}"' in done.text
        back = await browser.get(opened.path)
        assert (back.status_code, "code=" in back.headers["location"]) == (303, True)
    assert national.code().encode() not in log_ins.centre.store.stored()
    assert SIM.secret.encode() not in log_ins.centre.store.stored()
    assert bytes.fromhex(SIM.key) not in log_ins.centre.store.stored()


async def test_what_the_relying_party_learns(national: National) -> None:
    log_ins = national.log_ins
    opened = await log_ins.open(acr_values=(ACR_NATIONAL,))
    async with log_ins.browser(opened) as browser:
        await national.scanned(browser, opened)
        await national.agree(browser, opened)
    subject = await log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert (subject.ecard_no, subject.acr, subject.amr) == (log_ins.phone.ecard_no, ACR_NATIONAL, ("mca",))
    assert (subject.card_number, subject.claims) == (log_ins.phone.card_number, frozenset({"name"}))
    assert await log_ins.outcome(opened) is None, "once"


async def test_the_platform_s_own_page(national: National) -> None:
    log_ins = national.log_ins
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        query = await national.hand_over(browser, opened)
        assert query["_api_access_id"] == SIM.access_key
        back = await browser.get(path_of(national.sim.answer(query, log_ins.phone.ecard_no)))
        assert (back.status_code, back.headers["location"]) == (303, f"{opened.path}/national?said=agree")
        await national.agree(browser, opened)
    subject = await log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert (subject.acr, subject.amr) == (ACR_NATIONAL, ())


async def test_attacks_on_the_way_back(national: National) -> None:
    """The field takes an answer for ten minutes, as often as it comes, from any browser."""
    log_ins, sim = national.log_ins, national.sim
    opened, other = await log_ins.open(), await log_ins.open()
    essc_no = log_ins.phone.ecard_no
    async with log_ins.browser(opened) as browser, log_ins.browser(other) as thief:
        query = await national.hand_over(browser, opened)
        good = path_of(sim.answer(query, essc_no))
        sent = dict(parse_qsl(urlsplit(good).query))
        changed = [
            *({name: value for name, value in sent.items() if name != left_out} for left_out in sent),
            *(sent | {name: "~" + value[1:]} for name, value in sent.items()),
            sent | {"security": SimKeys.new("aes-ecb").encrypt({"esscNo": essc_no})},  # who does not hold the keys
        ]
        for number, forged in enumerate(changed):
            answer = await browser.get(f"{opened.path}/national/back?{urlencode(forged)}")
            assert "没有被采信" in answer.text, (number, forged)
            assert answer.status_code == 403
        for result, age_s in (("0", 61), ("0", -61), ("1", 0)):
            late = await browser.get(path_of(sim.answer(query, essc_no, result=result, age_s=age_s)))
            assert late.status_code == 403
        sim.faults["no_state"] = 1
        assert (await browser.get(path_of(sim.answer(query, essc_no)))).status_code == 403, "as the field has it"
        assert (await thief.get(good)).status_code == 404, "another browser's log-in"
        moved = good.replace(opened.id, other.id)
        assert (await thief.get(moved)).status_code == 403, "a stolen answer in the thief's own log-in"
        assert await log_ins.outcome(opened) is None
        assert (await browser.get(good)).status_code == 303
        assert (await browser.get(good)).status_code == 409, "once"
    unsigned = log_ins.centre.store.sql("SELECT count(*) FROM login_upstream_answers")
    assert unsigned == [(1,)]


async def test_attacks_on_the_page(national: National) -> None:
    log_ins = national.log_ins
    opened, other = await log_ins.open(), await log_ins.open()
    async with log_ins.browser(opened) as browser, log_ins.browser(other) as thief:
        await national.scanned(browser, opened)
        for path in ("", "/go", "/back"):
            assert (await thief.get(f"{opened.path}/national{path}")).status_code == 404
        evil = await national.agree(browser, opened, Origin="https://evil.example")
        assert evil.status_code == 403
        named = {"csrf": "A" * 43, "esscNo": log_ins.phone.ecard_no, "aac002": "990100190001010010"}
        forged = await browser.post(f"{opened.path}/national/agree", data=named, headers={"Origin": ORIGIN})
        assert forged.status_code == 403
        await national.page(thief, other)
        token = CSRF.search((await thief.get(other.path)).text)
        assert token
        claimed = await thief.post(
            f"{other.path}/national/agree", data=named | {"csrf": token[1]}, headers={"Origin": ORIGIN}
        )
        assert claimed.status_code == 409, "who one says one is counts for nothing"
        log_ins.centre.clock.advance(121)
        assert "已经用过或超过了时间" in await national.page(browser, opened)
        late = await browser.post(
            f"{opened.path}/national/agree",
            data={"csrf": CSRF.search((await browser.get(opened.path)).text)[1]},  # type: ignore[index]
        )
        assert late.status_code == 409
    assert await log_ins.outcome(opened) is None


async def test_who_the_register_does_not_know_or_lets_in(national: National) -> None:
    log_ins, centre = national.log_ins, national.log_ins.centre
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        assert "不在本中心登记" in await national.scanned(browser, opened, "f" * 32)
        assert ok(await browser.get(f"{opened.path}/national/state"))["state"] == "code", "the next one"
        national.sim.scan(national.code(), "f" * 32)
        centre.clock.advance(2)
        assert ok(await browser.get(f"{opened.path}/national/state")) == {"state": "elsewhere"}
        assert "不在本中心登记" in await national.page(browser, opened, said="elsewhere")
        centre.store.sql("UPDATE ecards SET state = 'locked'")
        assert "现在不能用" in await national.scanned(browser, opened)
        centre.store.sql("UPDATE ecards SET state = 'active'")
        assert "是您本人吗" in await national.scanned(browser, opened)
        centre.store.sql("UPDATE ecards SET state = 'locked'")
        assert (await national.agree(browser, opened)).status_code == 409
    assert await log_ins.outcome(opened) is None


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "no_state"])
async def test_a_platform_that_is_down_leaves_the_other_ways(national: National, fault: str) -> None:
    log_ins = national.log_ins
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        if fault in ("other_key", "no_number"):
            await national.page(browser, opened)
            national.sim.scan(national.code(), log_ins.phone.ecard_no)
            log_ins.centre.clock.advance(2)
        national.sim.faults[fault] = 1
        said = await national.page(browser, opened)
        assert "连不上全国平台" in said
        assert f'href="{opened.path}"' in said
        assert "用手机扫这个码" in (await browser.get(opened.path)).text
    asked = await log_ins.scanned(opened)
    ok(await log_ins.approve(asked, opened.number))
    subject = await log_ins.outcome(opened)
    assert isinstance(subject, Subject)
    assert subject.acr == ACR_SCAN


async def test_it_is_offered_only_where_it_is_asked_for_and_known(national: National) -> None:
    log_ins = national.log_ins
    opened = await log_ins.open(acr_values=(ACR_SCAN,))
    async with log_ins.browser(opened) as browser:
        assert "/national" not in (await browser.get(opened.path)).text
        assert (await browser.get(f"{opened.path}/national")).status_code == 409
    operator = log_ins.centre.as_("operator")
    assert (await operator.delete(KEYS_PATH)).status_code == 204
    opened = await log_ins.open()
    async with log_ins.browser(opened) as browser:
        assert "连不上全国平台" in await national.page(browser, opened)
        assert (await browser.get(f"{opened.path}/national/go")).status_code == 503
    await log_ins.centre.register("tianjin", ("operator",), "120000")
    for name in ("wallet", "tianjin"):
        refused(await log_ins.centre.as_(name).put(KEYS_PATH, json=asdict(SIM)), "CLIENT_FORBIDDEN", 403)
        refused(await log_ins.centre.as_(name).delete(KEYS_PATH), "CLIENT_FORBIDDEN", 403)


@pytest.mark.parametrize(
    "change",
    [
        {"login_national_url": "http://platform.example/csb"},
        {"login_national_page": "http://platform.example/h5"},
        {"login_national_channel": ""},
    ],
)
def test_settings_that_would_show_a_log_in_to_the_network(change: dict[str, str]) -> None:
    with pytest.raises(NationalSettingsError):
        NationalPlatform(SETTINGS.model_copy(update=change), Clock())


def test_nothing_that_the_keys_did_not_sign_is_an_answer() -> None:
    keys = PlatformKeys(SIM.access_key, BusKeys("aes-ecb", bytes.fromhex(SIM.key), SIM.secret))
    platform = NationalPlatform(SETTINGS, Clock())
    names = st.sampled_from(["result", "ak", "_api_timestamp", "security", "_api_signature"])

    @settings(max_examples=60)
    @given(st.dictionaries(names, st.text()))
    def run(query: dict[str, str]) -> None:
        with pytest.raises(NationalAnswerError):
            platform.returned(keys, query)

    run()


def test_what_the_platform_signs_may_still_be_no_answer() -> None:
    """Whatever opens, or does not."""
    clock = Clock()
    bus = BusKeys("aes-ecb", bytes.fromhex(SIM.key), SIM.secret)
    platform = NationalPlatform(SETTINGS, clock)

    @settings(max_examples=60)
    @given(st.text() | st.binary(max_size=64).map(lambda raw: base64.b64encode(raw).decode()))
    def run(security: str) -> None:
        fields = {"result": "0", "_api_timestamp": stamp_of(clock()), "security": security}
        query = fields | {"ak": SIM.access_key, "_api_signature": bus.signature(fields)}
        with pytest.raises(NationalAnswerError):
            platform.returned(PlatformKeys(SIM.access_key, bus), query)

    run()
