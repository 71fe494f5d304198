"""The three sample pages in a browser, on an origin of their own, against an agent with simulated devices."""

from __future__ import annotations

import os
import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from apdu.inprocess import InProcessReaders
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.psam import SimPsam
from simulators.receipt_printer import SimReceiptPrinter
from simulators.serial import Person, SimIdCardModule, SimScanner
from terminal_agent.samples.server import HERE, AgentPlace, create_samples
from terminal_agent.server import Ready, running_agent
from tests.cardlib.driver_stand import signing_certificate
from tests.simulators.support import vector_roots
from tests.terminal_agent import stand
from tests.terminal_agent.stand import READER, settings
from tests.terminal_agent.test_pin_browser import CHROMIUM, FLAGS

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SHOTS = Path(os.environ.get("ONECARD_SCREENSHOTS") or ".")
Stage = tuple[str, Ready, SimScanner, SimIdCardModule, SimReceiptPrinter, Any]
PSAM_SLOT = "Counter Reader SAM 02 00"
PIN = "123456"
OTHER = Person()
HOLDER = Person(name="测试丙", sex="2", birth="19880808", number="990101198808080048")


def shot(page: Any, name: str) -> None:
    if os.environ.get("ONECARD_SCREENSHOTS"):
        page.screenshot(path=str(SHOTS / f"sample-{name}.png"), full_page=True)


@contextmanager
def served(listener: socket.socket, origin: str, place: AgentPlace) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(create_samples(origin, place), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    readers = InProcessReaders([READER, PSAM_SLOT])
    readers.insert(READER, SimCard(build_card(personas.load("adult-3.0"), vector_roots())))
    readers.insert(PSAM_SLOT, SimPsam(vector_roots(), "990100", "990100000001"))
    listener = socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    slips = SimReceiptPrinter(tmp_path / "slips")
    with slips, SimScanner() as scanner, SimIdCardModule(HOLDER) as module, playwright_api.sync_playwright() as play:
        chosen = settings(
            port=0,
            ws_port=0,
            operation_timeout_s=10,
            psam_readers=(PSAM_SLOT,),
            scanner=scanner.path,
            id_card_module=module.path,
            receipt_printer=slips.address,
            pairing_origins=(origin,),
            state_dir=tmp_path,
            debit_journal=tmp_path / "debits.jsonl",
        )
        with running_agent(chosen, readers) as where, served(listener, origin, AgentPlace(where.url, where.ws_url)):
            browser = play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            yield origin, where, scanner, module, slips, browser
            browser.close()


@pytest.fixture
def scan_waits() -> Iterator[threading.Event]:
    with stand.scan_waits() as begun:
        yield begun


class Visit:
    """One page under test, and the agent's own page where the holder and a clerk act."""

    def __init__(self, origin: str, where: Ready, browser: Any) -> None:
        self.origin = origin
        self.page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="zh-CN")
        self.person = browser.new_page(viewport={"width": 1280, "height": 800})
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self._home = where.url

    def open(self, path: str) -> None:
        self.page.goto(self.origin + path)

    def press(self, name: str) -> None:
        self.page.click(f"#{name}")

    def says(self, text: str, tone: str = "ok") -> str:
        self.page.wait_for_selector(f"#said .oc-alert[data-tone={tone}]:has-text('{text}')")
        return str(self.page.inner_text("#said"))

    def calls(self) -> list[str]:
        return [text.split("\n")[0] for text in self.page.locator("#calls li").all_inner_texts()]

    def allow(self) -> None:
        self.person.goto(self._home)
        self.person.click("#pairing-wanted a")
        self.person.click("#allow")
        self.person.wait_for_url("**/pair/end/allowed")

    def type_pin(self) -> None:
        self.says("请在终端上输入密码", "info")
        self.person.goto(self._home)
        self.person.click("#pin-wanted a")
        self.person.wait_for_selector("#keypad:not([hidden])")
        self.person.keyboard.type(PIN)
        self.person.keyboard.press("Enter")
        self.person.wait_for_url("**/pin/end/sent")


def test_both_languages_have_the_same_words() -> None:
    words = tomllib.loads((HERE / "words.toml").read_text("utf-8"))
    keys = {lang: {name: sorted(table) for name, table in pages.items()} for lang, pages in words.items()}
    assert keys["zh"] == keys["en"]


async def test_the_towns_server_takes_one_right_answer() -> None:
    """A wrong signature, an old log-in and no JSON are refused; the browser test has the right one."""
    own = "http://127.0.0.1:8600"
    chip = SimCard(build_card(personas.load("adult-3.0"), vector_roots()))
    certificate = signing_certificate(chip).hex()
    wrong = {"certificate": certificate, "signature": "11" * 64}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_samples(own)), base_url=own) as client:
        begun = (await client.post("/town-hall/log-ins", json={})).json()
        answers = [await client.post(f"/town-hall/log-ins/{begun['id']}", json=wrong) for _ in range(2)]
        assert [answer.json()["code"] for answer in answers] == ["SIGNATURE_INVALID", "NOT_FOUND"]
        plain = await client.post("/town-hall/log-ins", content=b"{}", headers={"Content-Type": "text/plain"})
        assert plain.status_code == 415
        half = await client.post("/bank/activations", json={"bank_card_end": "0018"})
        assert half.json()["code"] == "INPUT_INVALID"
        assert (await client.get("/hospital", headers={"Host": "evil.example"})).status_code == 400
        assert (await client.get("/nowhere")).status_code == 404


@needs_browser
def test_three_pages_in_both_dialects(
    stage: tuple[str, Ready, SimScanner, SimIdCardModule, Any], tmp_path: Path, scan_waits: threading.Event
) -> None:
    origin, where, scanner, module, slips, browser = stage
    visit = Visit(origin, where, browser)

    visit.open("/hospital")
    visit.press("register")
    visit.says("终端服务页面点允许", "info")
    visit.allow()
    visit.says("挂好了")
    assert "测试丙" in visit.page.inner_text("#patient")
    assert "990101198808080048" not in visit.page.content()
    for dialect in ("client", "driver"):
        visit.open(f"/hospital?dialect={dialect}")
        visit.press("register")
        visit.says("挂好了")
        visit.press("settle")
        visit.type_pin()
        assert "已支付 38.60 元" in visit.says("已支付")
        paying = ["iReadCardBas", "iVerifyPIN", "iDoDebit"]
        assert visit.calls() == (["readers", "lease", *paying, "printReceipt"] if dialect == "client" else paying)
        shot(visit.page, f"hospital-{dialect}")
    assert ["已支付 38.60 元" in slip for slip in slips.printed] == [True]
    assert (tmp_path / "debits.jsonl").read_text().count('"done"') == 2

    for dialect in ("client", "driver"):
        visit.open(f"/bank?dialect={dialect}")
        module.lift()
        module.place(HOLDER if dialect == "client" else OTHER)
        visit.press("compare")
        visit.says(*(("两张证件是同一人",) if dialect == "client" else ("不是同一人", "bad")))
        assert visit.page.is_disabled("#activate") is (dialect == "driver")
        shot(visit.page, f"bank-{dialect}")
        if dialect == "client":
            visit.press("activate")
            visit.says("银行账户已激活")

    visit.open("/town-hall")
    visit.press("scan")
    visit.says("请扫电子社保卡二维码", "info")
    assert scan_waits.wait(30)
    scanner.scan("ECARD-EXAMPLE")
    visit.says("项可以办")
    assert visit.page.locator("#items li").count() > 2
    shot(visit.page, "town-hall-client")
    visit.press("log-in")
    visit.type_pin()
    visit.says("签名正确")
    visit.open("/town-hall?dialect=driver")
    visit.press("sign")
    visit.type_pin()
    visit.says("已签名")
    visit.open("/town-hall?lang=en")
    shot(visit.page, "town-hall-en")
    assert visit.page.inner_text("h1") == "Town hall: what can I do"
    expected = [line for line in visit.wrong if not line.startswith("Failed to load resource")]
    assert expected == []
