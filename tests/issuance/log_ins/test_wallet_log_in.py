"""The phone app opens a log-in that it scans: who asks, from where, for what; approved with the number, or refused."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from issuance.login.backchannel import Asking, ask_holder
from issuance.login.seam import AuthorizationRequest, Refused, Subject
from issuance.login.transactions import Transaction
from issuance.login.unit import login_unit
from onecard_ui.code_picture import picture_of
from simulators.wallet.app import create_app
from simulators.wallet.phone import Link, Phone
from simulators.wallet.settings import WalletSettings
from tests.issuance.log_ins.stand import NAME, LogIns
from tests.issuance.phone import PASSWORD
from tests.issuance.wallet.test_wallet import ORIGIN, Screen

PHONE = "5" * 32


@pytest.fixture
def screen(log_ins: LogIns, tmp_path: Path) -> Screen:
    """The app on the holder's phone."""
    holder = log_ins.phone
    phone = Phone(tmp_path / f"{PHONE}.json")
    phone.take_link(Link(holder.ecard_no, holder.sign_no, "测*", holder.private))
    clock = log_ins.centre.clock
    settings = WalletSettings(log_ins.centre.as_("wallet"), "wallet", tmp_path, lambda: clock().timestamp())
    transport = httpx.ASGITransport(create_app(settings))
    headers, cookies = {"Origin": ORIGIN}, {"oc_phone": PHONE}
    return Screen(
        httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers, cookies=cookies, follow_redirects=True)
    )


async def asked_at_counter(log_ins: LogIns) -> dict[str, Any]:
    request = AuthorizationRequest("jobs", "", ("openid", "profile"), binding_message="3 号窗口")
    async with login_unit(log_ins.services) as unit:
        asking = Asking(request, log_ins.phone.card_number, timedelta(minutes=5))
        return await ask_holder(unit, asking, "192.0.2.1")


async def url_on(log_ins: LogIns, opened: Transaction) -> str:
    return f"https://login.example/login/link#{await log_ins.code(opened)}"


async def test_a_scanned_picture_opens_the_log_in(log_ins: LogIns, screen: Screen) -> None:
    opened = await log_ins.open()
    picture = picture_of((await url_on(log_ins, opened)).encode()).png(300)
    await screen.get("/scan")
    await screen.post("/scan", text="", files={"picture": ("code.png", picture)})
    assert screen.path == f"/log-ins/{opened.id}"
    for part in (NAME, "jobs.example", "203.0.113.*", "Chrome, Windows", "姓名"):
        assert part in screen.words
    numbers = [int(number) for number in re.findall(r'name="number" value="(\d\d)"', screen.text)]
    assert opened.number in numbers
    await screen.post(screen.path, text=_text(screen), number=str(opened.number), password="000000")
    assert (screen.status, "password" in screen.text) == (409, True)
    await screen.post(screen.path, text=_text(screen), number=str(opened.number), password=PASSWORD)
    assert screen.path == "/scan"
    assert "已确认" in screen.words
    assert isinstance(await log_ins.outcome(opened), Subject)


async def test_what_a_counter_asks_for_waits_on_the_page(log_ins: LogIns, screen: Screen) -> None:
    await screen.get("/scan")
    assert "请您确认登录" not in screen.words
    begun = await asked_at_counter(log_ins)
    await screen.get("/scan")
    assert f"{NAME}请您确认登录" in screen.words
    claim = re.search(r'action="(/log-ins/[0-9a-f]{32}/claim)"', screen.text)
    assert claim
    await screen.post(claim[1])
    for part in (NAME, "窗口工作人员", "3 号窗口", "窗口屏幕上是哪个数字"):
        assert part in screen.words
    await screen.post(screen.path, text=_text(screen), number=str(begun["onecard_number"]), password=PASSWORD)
    assert "窗口可以继续办理" in screen.words
    await screen.get("/uses")
    for part in (NAME, "登录", "告诉对方：姓名"):
        assert part in screen.words


async def test_not_me(log_ins: LogIns, screen: Screen) -> None:
    opened = await log_ins.open()
    await screen.get("/scan")
    await screen.post("/scan", text=await url_on(log_ins, opened), files={"picture": ("", b"")})
    await screen.post(f"{screen.path}/refuse")
    assert "已拒绝" in screen.words
    assert await log_ins.outcome(opened) == Refused("access_denied")


async def test_a_wrong_number_is_told_and_ends_it(log_ins: LogIns, screen: Screen) -> None:
    opened = await log_ins.open()
    await screen.get("/scan")
    await screen.post("/scan", text=await url_on(log_ins, opened), files={"picture": ("", b"")})
    wrong = str(next(n for n in range(10, 100) if n != opened.number))
    await screen.post(screen.path, text=_text(screen), number=wrong, password=PASSWORD)
    assert "LOGIN_NUMBER_WRONG" in screen.words
    assert await log_ins.outcome(opened) == Refused("access_denied")


async def test_a_code_that_is_over_says_so(log_ins: LogIns, screen: Screen) -> None:
    await screen.get("/scan")
    await screen.post("/scan", text=f"https://evil.example/login/link#{'A' * 22}", files={"picture": ("", b"")})
    assert "登录码无效或已过期" in screen.words


async def test_another_site_cannot_approve_or_refuse(log_ins: LogIns, screen: Screen) -> None:
    opened = await log_ins.open()
    asked = await log_ins.scanned(opened)
    for path in (f"/log-ins/{asked['id']}", f"/log-ins/{asked['id']}/refuse"):
        form = {"number": str(opened.number), "password": PASSWORD, "text": asked["text"], "key": "k" * 16}
        answer = await screen.http.post(path, data=form, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403
    assert (await log_ins.look(opened)).stage == "claimed"


def _text(screen: Screen) -> str:
    found = re.search(r'<textarea name="text" hidden>\n(.*?)</textarea>', screen.text, re.S)
    assert found
    return found[1]
