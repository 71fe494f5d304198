"""The phone app's pages over a real centre: what a holder does, in the order a holder does it."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from onecard_ui.code_picture import codes_in, picture_of
from simulators.wallet.acts import ACTS
from simulators.wallet.app import create_app
from simulators.wallet.page import words
from simulators.wallet.phone import Link, Phone, new_key
from simulators.wallet.settings import WalletSettings
from tests.issuance.conftest import START, Centre, ok
from tests.issuance.phone import PASSWORD, claim

ORIGIN = "http://127.0.0.1"
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_CODE = re.compile(r'viewBox="0 0 (\d+) \1" aria-hidden="true" focusable="false"><path d="(M[^"]*)"')


@dataclass
class Screen:
    """One browser, which is one phone. `text` is the page it shows."""

    http: httpx.AsyncClient
    text: str = ""
    status: int = 0
    path: str = ""

    async def get(self, path: str) -> str:
        return self._shown(await self.http.get(path))

    async def post(self, path: str, files: Any = None, **fields: str) -> str:
        """The form of the page shown, filled in."""
        hidden = {name: html.unescape(value) for name, value in _HIDDEN.findall(self.text)}
        return self._shown(await self.http.post(path, data=hidden | fields, files=files))

    def _shown(self, response: httpx.Response) -> str:
        self.text, self.status, self.path = response.text, response.status_code, response.url.path
        obeys_policy(response)
        return self.text

    @property
    def words(self) -> str:
        main = self.text.partition("<main")[2].partition("</main")[0]
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", "<main" + main)))

    @property
    def code(self) -> bytes:
        """What a scanner reads off the page."""
        found = _CODE.search(self.text)
        assert found, self.words
        return read_path(int(found[1]), found[2])


def read_path(size: int, path: str) -> bytes:
    picture = Image.new("L", (size * 4, size * 4), 255)
    pen = ImageDraw.Draw(picture)
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
        left, top = 4 * int(x), 4 * int(y)
        pen.rectangle((left, top, left + 4 * int(length) - 1, top + 3), fill=0)
    (found,) = codes_in(picture)
    return bytes(found.bytes)


def obeys_policy(response: httpx.Response) -> None:
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert response.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=|javascript:", response.text)


@dataclass
class Wallet:
    centre: Centre
    folder: Path
    open: list[httpx.AsyncClient]

    def phone(self, language: str = "zh") -> Screen:
        clock = self.centre.clock
        settings = WalletSettings(self.centre.as_("wallet"), "wallet", self.folder, lambda: clock().timestamp())
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(settings)),
            base_url=ORIGIN,
            headers={"Origin": ORIGIN},
            cookies={"oc_lang": language},
            follow_redirects=True,
        )
        self.open.append(http)
        return Screen(http)

    async def signed(self, serial: int = 1, language: str = "zh") -> Screen:
        screen = self.phone(language)
        await screen.get("/apply")
        await screen.post("/apply", **await entries(self.centre, serial), password=PASSWORD, again=PASSWORD)
        assert screen.path == "/code", screen.words
        return screen

    async def scan(
        self, code: bytes, scene: str = "identity", key: str = "counter-scan-1", **more: Any
    ) -> httpx.Response:
        body = {"code": code.decode(), "scene": scene} | more
        return await self.centre.as_("verifier").post(
            "/v1/ecard-codes/validate", json=body, headers={"Idempotency-Key": key}
        )


async def entries(centre: Centre, serial: int) -> dict[str, str]:
    said = claim(serial, centre.store.sql("SELECT card_number FROM cards ORDER BY card_number")[serial - 1][0])
    return {"name": said["name"], "number": said["social_security_number"], "card_number": said["card_number"]}


def open_account(centre: Centre) -> None:
    """The bank's account is put there behind the service's back."""
    centre.store.sql(
        'INSERT INTO card_accounts (card_number, region, state, is_lost_with_card, since, "by")'
        " SELECT card_number, region, 'active', 0, :at, 'bank' FROM cards",
        at=START,
    )


async def test_a_code_is_shown_and_accepted_once(wallet: Wallet) -> None:
    screen = await wallet.signed()
    code = screen.code
    assert code.startswith(b"OC1.")
    assert "还没有人用过" in screen.words
    assert ok(await wallet.scan(code))["scene"] == "identity"
    assert (await wallet.scan(code, key="counter-scan-2")).json()["code"] == "CODE_USED"
    await screen.get("/uses")
    assert "verifier 看身份" in screen.words
    await screen.get("/code")
    assert "最近：verifier" in screen.words


async def test_the_next_code_comes_by_itself_and_ends_the_one_before(wallet: Wallet) -> None:
    screen = await wallet.signed()
    first = screen.code
    wallet.centre.clock.advance(20)
    answer = ok(await screen.http.get("/code/next", params={"scene": "identity", "member": ""}))
    second = read_path(answer["size"], answer["path"])
    assert (answer["seconds"], second != first) == (60, True)
    assert (await wallet.scan(first)).json()["code"] == "CODE_EXPIRED"
    ok(await wallet.scan(second, key="counter-scan-2"))


async def test_a_weak_password_is_explained(wallet: Wallet) -> None:
    screen = wallet.phone()
    await screen.get("/")
    assert screen.path == "/welcome"
    await screen.get("/apply")
    who = await entries(wallet.centre, 1)
    await screen.post("/apply", **who, password="123456", again="123456")
    assert (screen.path, screen.status) == ("/apply", 409)
    assert who["name"] in screen.text, "what was typed is kept"
    assert 'value="123456"' not in screen.text
    await screen.post("/apply", **who, password="482915", again="482916")
    assert "两次输入的密码不一样" in screen.words
    await screen.post("/apply", **who, password="482915", again="482915")
    assert screen.path == "/code"


async def test_who_is_not_the_holder_gets_nothing(wallet: Wallet) -> None:
    screen = wallet.phone("en")
    await screen.get("/apply")
    who = await entries(wallet.centre, 1) | {"name": "测试别人"}
    await screen.post("/apply", **who, password=PASSWORD, again=PASSWORD)
    assert (screen.path, "ECARD_MISMATCH" in screen.words) == ("/apply", True)
    for path in ("/code", "/card", "/uses", "/consents", "/family", "/do/loss_formal"):
        await screen.get(path)
        assert screen.path == "/apply", path
    assert ok(await screen.http.get("/code/next"), 401) == {"go": "/apply"}


async def test_a_second_phone_takes_over(wallet: Wallet) -> None:
    first = await wallet.signed()
    second = wallet.phone()
    await second.get("/apply")
    await second.post("/apply", **await entries(wallet.centre, 1), password="604827", again="604827")
    assert "ECARD_PASSWORD_WRONG" in second.words, "the password is one for all phones"
    await second.post("/apply", **await entries(wallet.centre, 1), password=PASSWORD, again=PASSWORD)
    assert second.path == "/code"
    await first.get("/code")
    assert "ECARD_UNLINKED" in first.words
    await first.get("/apply")
    assert first.status == 200


async def test_loss_and_what_follows(wallet: Wallet) -> None:
    screen = await wallet.signed()
    await screen.get("/do/loss_temporary")
    assert "手机上的码也会停" in screen.words
    await screen.post("/do/loss_temporary", password="604827")
    assert "ECARD_PASSWORD_WRONG" in screen.words
    await screen.post("/do/loss_temporary", password=PASSWORD)
    assert (screen.path, "临时挂失" in screen.words) == ("/card", True)
    await screen.get("/code")
    assert "现在不能出示码" in screen.words
    await screen.get("/do/authorise")
    await screen.post("/do/authorise", password=PASSWORD)
    assert "手机上的码又可以用了" in screen.words
    await screen.get("/code")
    ok(await wallet.scan(screen.code))
    await screen.get("/do/release")
    await screen.post("/do/release", password=PASSWORD)
    assert "已取消挂失" in screen.words


async def test_the_password_is_changed_and_reset(wallet: Wallet) -> None:
    screen = await wallet.signed()
    await screen.get("/card/password")
    await screen.post("/card/password", old=PASSWORD, password="730264", again="730264")
    assert (screen.path, "密码改好了" in screen.words) == ("/card", True)
    await screen.get("/card/password/reset")
    await screen.post("/card/password/reset", **await entries(wallet.centre, 1), password="850316", again="850316")
    assert screen.path == "/card"
    await screen.get("/do/loss_formal")
    await screen.post("/do/loss_formal", password="850316")
    assert "正式挂失" in screen.words


async def test_what_the_card_can_do_is_told_without_typing(wallet: Wallet) -> None:
    screen = await wallet.signed()
    await screen.get("/what")
    for text in ("我的卡能办什么", "人社服务", "失业保险金", "要看是否符合：失业或求职人员", "不是京津冀三地官方发布"):
        assert text in screen.words, text
    assert "未成年人申领社保卡 " in screen.words.partition("现在不能办")[2]
    await screen.get("/what?in=120000&lang=en")
    assert "Tianjin" in screen.words
    assert "Not at present" in screen.words
    await screen.get("/what?in=440000&lang=zh")
    assert "REGION_UNKNOWN" in screen.words
    await screen.get("/what?in=x")
    assert screen.status == 404


async def test_payment_waits_for_level_two(wallet: Wallet) -> None:
    screen = await wallet.signed()
    await screen.get("/code?scene=payment")
    assert "付款还没有开通" in screen.words
    await screen.get("/do/level")
    await screen.post("/do/level", password=PASSWORD)
    assert "ECARD_LEVEL" in screen.words
    await screen.get("/code?scene=transit")
    assert "乘车码还没有开通" in screen.words


async def test_each_payment_code_needs_the_password(wallet: Wallet) -> None:
    screen = await wallet.signed()
    open_account(wallet.centre)
    await screen.get("/do/level")
    await screen.post("/do/level", password=PASSWORD)
    assert "付款开通了" in screen.words
    await screen.get("/code?scene=payment")
    assert _CODE.search(screen.text) is None
    await screen.post("/code", password="604827")
    assert "ECARD_PASSWORD_WRONG" in screen.words
    await screen.post("/code", password=PASSWORD)
    paid = await wallet.scan(screen.code, "payment", amount_fen=1250)
    assert ok(paid)["scene"] == "payment"
    await screen.get("/uses")
    assert "付款 · 12.50 元" in screen.words


async def test_unlinking_this_phone_forgets_its_key(wallet: Wallet) -> None:
    screen = await wallet.signed()
    await screen.get("/card")
    path = re.search(r"/do/unlink/[0-9a-f]{32}", screen.text)
    assert path
    (file,) = wallet.folder.iterdir()
    assert "private_key" in file.read_text()
    await screen.get(path[0])
    await screen.post(path[0], password=PASSWORD)
    assert (screen.path, "已经解除电子社保卡" in screen.words) == ("/welcome", True)
    assert file.read_text() == '{"link": null, "transit": null}'


async def test_a_consent_is_read_granted_used_and_revoked(wallet: Wallet) -> None:
    screen = await wallet.signed()
    verifier = wallet.centre.as_("verifier")
    ask = {"code": screen.code.decode(), "purpose": "预约挂号", "items": ["name"], "days": 30}
    asked = ok(await verifier.post("/v1/consent-requests", json=ask, headers={"Idempotency-Key": "consent-1"}), 201)
    await screen.get("/consents")
    assert "预约挂号" in screen.words
    await screen.get(f"/consents/asked/{asked['id']}")
    shown = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", screen.text, re.S)
    assert shown
    text = html.unescape(shown[1])
    await screen.post(f"/consents/asked/{asked['id']}", password=PASSWORD, text=text + "!")
    assert screen.status == 409, "only the text that was asked can be agreed to"
    await screen.post(f"/consents/asked/{asked['id']}", password=PASSWORD, text=text.replace("\n", "\r\n"))
    assert screen.path == "/consents", screen.words
    (given,) = re.findall(r"/consents/given/([0-9a-f]+)", screen.text)
    data = {"purpose": "预约挂号", "items": ["name"]}
    ok(await verifier.post(f"/v1/consents/{given}/data", json=data, headers={"Idempotency-Key": "consent-2"}))
    await screen.get(f"/consents/given/{given}")
    assert "还没有用过" not in screen.words
    assert ok(await screen.http.get(f"/consents/given/{given}/proof"))["id"] == given
    await screen.get(f"/do/revoke/{given}")
    await screen.post(f"/do/revoke/{given}")
    assert "已经收回" in screen.words
    refusal = await verifier.post(f"/v1/consents/{given}/data", json=data, headers={"Idempotency-Key": "consent-3"})
    assert refusal.status_code >= 400


async def test_a_member_agrees_and_is_shown(wallet: Wallet) -> None:
    await wallet.centre.issue(2)
    screen, parent = await wallet.signed(), await wallet.signed(2)
    await screen.get("/family")
    assert "还没有添加家人" in screen.words
    await screen.get("/family/add")
    who = await entries(wallet.centre, 2)
    await screen.post("/family/add", **who, relation="parent", password=PASSWORD, files={"portrait": ("", b"")})
    assert (screen.path, "等 TA 在自己的手机上同意" in screen.words) == ("/family", True), screen.words
    await parent.get("/family")
    confirm = re.search(r"/do/family_confirm/[0-9a-f]+", parent.text)
    assert confirm
    await parent.get(confirm[0])
    await parent.post(confirm[0], password=PASSWORD)
    await screen.get("/family")
    shown = re.search(r"/code\?member=[0-9a-f]+", screen.text)
    assert shown
    await screen.get(shown[0])
    ((member_no,),) = wallet.centre.store.sql("SELECT member_no FROM ecard_family")
    assert ok(await wallet.scan(screen.code))["ecard_no"] == member_no
    await parent.get("/family")
    end = re.search(r"/do/family_end/[0-9a-f]+", parent.text)
    assert end
    await parent.get(end[0])
    await parent.post(end[0])
    await screen.get(shown[0])
    assert screen.status >= 400


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "没有找到二维码"),
        ("OC1.abc", "这是别人出示的码"),
        ("https://login.example.com/s#1", "这是一个网址"),
        ("<b>1", "这不是电子社保卡能办的码"),
    ],
)
async def test_scanning_says_what_it_is(tmp_path: Path, text: str, kind: str) -> None:
    async with unreached(tmp_path) as screen:
        await screen.get("/scan")
        await screen.post("/scan", text=text, files={"picture": ("", b"")})
        assert kind in screen.words
        assert "<b>" not in screen.text


async def test_a_picture_is_read(tmp_path: Path) -> None:
    async with unreached(tmp_path) as screen:
        picture = picture_of(b"https://example.com/").png(200)
        await screen.post("/scan", text="", files={"picture": ("code.png", picture)})
        assert "这是一个网址" in screen.words
        await screen.post("/scan", text="", files={"picture": ("code.png", b"no picture")})
        assert "没有找到二维码" in screen.words


async def test_other_sites_and_names_are_turned_away(tmp_path: Path) -> None:
    async with unreached(tmp_path) as screen:
        http = screen.http
        evil = await http.post("/scan", data={"text": "x"}, headers={"Origin": "https://evil.example"})
        assert evil.status_code == 403
        assert (await http.get("/", headers={"Host": "evil.example"})).status_code == 403
        assert (await http.get("/nothing")).status_code == 404
        assert (await http.get("/do/nothing")).status_code == 404


async def test_the_centre_is_away(tmp_path: Path) -> None:
    async with unreached(tmp_path) as screen:
        await screen.get("/welcome")
        phone = screen.http.cookies["oc_phone"]
        Phone.open(tmp_path / f"{phone}.json").take_link(Link("e" * 32, "a" * 32, "测*甲", new_key()[0]))
        await screen.get("/card")
        assert (screen.status, "现在连不上社保卡服务" in screen.words) == (409, True)
        assert ok(await screen.http.get("/code/next"), 409)["code"] == "SERVICE_UNREACHABLE"


@asynccontextmanager
async def unreached(folder: Path) -> AsyncIterator[Screen]:
    """A phone without a network."""

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("away", request=request)

    nowhere = httpx.AsyncClient(transport=httpx.MockTransport(away), base_url="http://centre")
    transport = httpx.ASGITransport(create_app(WalletSettings(nowhere, "wallet", folder)))
    async with httpx.AsyncClient(
        transport=transport, base_url=ORIGIN, headers={"Origin": ORIGIN}, follow_redirects=True
    ) as http:
        yield Screen(http)


def test_both_languages_have_the_same_words() -> None:
    zh, en = words("zh"), words("en")
    assert {area: set(texts) for area, texts in zh.items()} == {area: set(texts) for area, texts in en.items()}
    for name in ACTS:
        assert {f"{name}_title", f"{name}_text", f"{name}_button", f"said_{name}"} <= zh["acts"].keys()
