"""The phone app in Chromium at 390 × 844: a code scanned off the screen, a consent, a loss; every page looked at.

Nothing leaves the origin, nothing is refused by the CSP, nothing is wider than the screen, axe-core finds no grave
fault. With ONECARD_SCREENSHOTS set, screenshots go to the git-ignored folder `screenshots`.
"""

from __future__ import annotations

import asyncio
import io
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardlib.transit_code_anchors import TrustAnchor, TrustAnchors
from cardlib.transit_code_issuer import issue_certificate
from cardlib.transit_code_verifier import TransitCodeVerifier
from hsm.api import Algorithm, KeyInfo, KeyRef
from issuance.transit_codes.issuer import ISSUER_KEY, TransitIssuer
from onecard_ui.code_picture import codes_in
from simulators.wallet.app import create_app
from simulators.wallet.settings import WalletSettings
from tests.issuance.conftest import Centre, ok
from tests.issuance.console.axe import GRAVE, axe_script, faults
from tests.issuance.furnished import furnished
from tests.issuance.phone import PASSWORD
from tests.issuance.pictures import take
from tests.issuance.served import served
from tests.issuance.wallet.test_wallet import entries, open_account

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
playwright_api.expect.set_options(timeout=30_000)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SHOTS = Path(__file__).parents[3] / "screenshots" / "wallet"
SIZE = {"width": 390, "height": 844}
PAGES = (
    "/code",
    "/code?scene=transit",
    "/code?scene=payment",
    "/scan",
    "/card",
    "/consents",
    "/uses",
    "/family",
    "/what",
)
PAGES += ("/family/add", "/card/password", "/card/password/reset", "/do/loss_temporary", "/do/loss_formal", "/apply")
PAGES += ("/welcome", "/nothing")
FEW = ("/code", "/card", "/apply", "/do/loss_temporary", "/family/add", "/what")
LOOKS = (("zh", "normal", PAGES), ("zh", "large", PAGES), ("en", "normal", PAGES), ("en", "large", FEW))
UNCHECKED = (("zh", "large"), ("en", "normal"))
"""Only looked at: axe-core has run over the same pages in another look."""


class Hand:
    """A phone in a hand: its page, and everything wrong with what it showed."""

    def __init__(self, page: Any, origin: str, *, has_axe: bool) -> None:
        self.page, self.origin, self.has_axe = page, origin, has_axe
        self.wrong: list[str] = []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self._heard(said))
        page.on("request", lambda asked: self._asked(asked.url))

    def _heard(self, said: Any) -> None:
        if "Failed to load resource" not in said.text:  # pages that refuse do so with a status
            self.wrong.append(f"{self.page.url}: {said.text}")

    def _asked(self, url: str) -> None:
        if not url.startswith(self.origin):
            self.wrong.append(f"left the origin: {url}")

    async def go(self, path: str) -> None:
        await self.page.goto(self.origin + path)

    async def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            await self.page.fill(f'main [name="{name}"]', value)

    async def press(self, words: str, *, is_whole: bool = True) -> None:
        await self.page.get_by_role("main").get_by_text(words, exact=is_whole).first.click()
        await self.page.wait_for_load_state()

    async def sees(self, words: str) -> None:
        """On a page that is whole: before, it has other measures, and its script shows no code."""
        await self.page.get_by_role("main").get_by_text(words).first.wait_for()
        await self.page.wait_for_load_state()

    async def look(self, name: str, *, has_axe: bool = True) -> None:
        """Checks and a picture, of the page as a whole: the menu that stays at the bottom covers nothing."""
        height = max(SIZE["height"], await self.page.evaluate("document.documentElement.scrollHeight"))
        width = await self.page.evaluate("document.documentElement.scrollWidth")
        if width > SIZE["width"]:
            self.wrong.append(f"{name}: {width} px wide")
        await self.page.set_viewport_size(SIZE | {"height": height})
        if self.has_axe and has_axe:
            found = await faults(self.page)
            self.wrong += [f"{name}: {fault}" for fault in found if fault.split()[0] in GRAVE]
        await take(self.page, SHOTS / f"{name}.png")
        await self.page.set_viewport_size(SIZE)

    async def scanned(self) -> bytes:
        """What a counter's scanner reads off the screen, as it is."""
        picture = Image.open(io.BytesIO(await self.page.screenshot())).convert("L")
        (found,) = codes_in(picture)
        return bytes(found.bytes)


async def _issue(centre: Centre) -> None:
    await centre.stock()
    await centre.issue(1)


@pytest.fixture
async def hand(centre: Centre, tmp_path: Path) -> AsyncIterator[Hand]:
    await furnished(centre, "a card issued", lambda: _issue(centre))
    settings = WalletSettings(centre.as_("wallet"), "wallet", tmp_path / "phones", lambda: centre.clock().timestamp())
    axe = await asyncio.to_thread(axe_script)
    async with served(create_app(settings)) as origin, playwright_api.async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(viewport=SIZE, locale="zh-CN")
        if axe is not None:
            await context.add_init_script(path=axe)
        made = Hand(await context.new_page(), origin, has_axe=axe is not None)
        yield made
        await browser.close()
    assert made.wrong == []


def transit_issuer(centre: Centre, path: Path) -> TrustAnchors:
    """Makes the centre one that lets phones make transit codes; what gates trust."""
    root, issuer = (KeyRef(name, Algorithm.SM2, 77) for name in ("TRANSIT_ROOT", ISSUER_KEY))
    held: Iterable[KeyInfo] = centre.keys.keys()
    known = {info.ref for info in held}
    for key in {root, issuer} - known:
        centre.keys.generate_pair(key)
    certificate = issue_certificate(
        centre.keys,
        root,
        root_index=1,
        issuer="99010001",
        expires="1235",
        serial=bytes(3),
        public_key=centre.keys.public_key(issuer),
    )
    path.write_bytes(certificate.encode())
    state = centre.app.state
    state.services = replace(state.services, transit_issuer=TransitIssuer(centre.keys, path))
    return TrustAnchors([TrustAnchor(1, "test", centre.keys.public_key(root), date(2036, 1, 1))])


async def _apply(hand: Hand, centre: Centre) -> None:
    await hand.go("/")
    await hand.look("welcome")
    await hand.press("现在申领")
    await hand.fill(**await entries(centre, 1), password="123456", again="123456")
    await hand.press("申领")
    await hand.sees("INPUT_INVALID")
    await hand.look("apply-weak")
    await hand.fill(password=PASSWORD, again=PASSWORD)
    await hand.press("申领")
    await hand.sees("申领好了")


@pytest.mark.timeout(600)
async def test_from_applying_to_a_revoked_consent(hand: Hand, centre: Centre, tmp_path: Path) -> None:
    gate = transit_issuer(centre, tmp_path / "issuer.bin")
    await _apply(hand, centre)
    verifier = centre.as_("verifier")

    async def counter(path: str, body: dict[str, Any], key: str) -> Any:
        return await verifier.post(path, json=body, headers={"Idempotency-Key": key})

    code = (await hand.scanned()).decode()
    await hand.look("code-first")
    ok(await counter("/v1/ecard-codes/validate", {"code": code, "scene": "identity"}, "counter-1"))
    again = await counter("/v1/ecard-codes/validate", {"code": code, "scene": "identity"}, "counter-2")
    assert again.json()["code"] == "CODE_USED"

    await hand.page.clock.install()
    await hand.go("/code")
    code = (await hand.scanned()).decode()
    await hand.page.clock.run_for(61_000)
    await playwright_api.expect(hand.page.locator(".oc-ring b")).to_have_text(re.compile("5[0-9]|60"))
    renewed = (await hand.scanned()).decode()
    assert renewed != code, "the next code has come by itself"
    await hand.go("/uses")
    await hand.sees("看身份")

    ask = {"code": renewed, "purpose": "预约挂号", "items": ["name", "telephone"], "days": 30}
    ask |= {"explanation": "挂号时核对姓名，发送取号短信。"}
    ok(await counter("/v1/consent-requests", ask, "counter-3"), 201)
    await hand.go("/consents")
    await hand.look("consents-asked")
    await hand.press("预约挂号", is_whole=False)
    await hand.look("consent-asked")
    await hand.page.locator("summary").click()
    await hand.look("consent-text")
    await hand.fill(password=PASSWORD)
    await hand.press("同意")
    await hand.sees("已经同意")
    await hand.press("预约挂号", is_whole=False)
    consent = hand.page.url.rpartition("/")[2]
    data = {"purpose": "预约挂号", "items": ["name"]}
    ok(await counter(f"/v1/consents/{consent}/data", data, "counter-4"))
    await hand.page.reload()
    await hand.look("consent-given")
    await hand.press("收回授权")
    await hand.look("consent-revoke")
    await hand.press("收回")
    await hand.sees("已经收回")
    assert (await counter(f"/v1/consents/{consent}/data", data, "counter-5")).status_code >= 400

    await hand.go("/code?scene=transit")
    TransitCodeVerifier(gate, clock=lambda: centre.clock().timestamp()).verify(await hand.scanned())

    await hand.go("/code?scene=payment")
    await hand.look("pay-not-open")
    open_account(centre)
    await hand.go("/do/level")
    await hand.fill(password=PASSWORD)
    await hand.press("开通")
    await hand.go("/code?scene=payment")
    await hand.fill(password=PASSWORD)
    await hand.press("显示付款码")
    paid = {"code": (await hand.scanned()).decode(), "scene": "payment", "amount_fen": 1250}
    ok(await counter("/v1/ecard-codes/validate", paid, "counter-6"))
    await hand.look("pay-code")

    for language, type_, pages in LOOKS:
        cookies = {"oc_lang": language, "oc_type": type_}
        await hand.page.context.add_cookies([{"name": n, "value": v, "url": hand.origin} for n, v in cookies.items()])
        for path in pages:
            await hand.go(path)
            await hand.page.evaluate("document.querySelector('details')?.setAttribute('open', '')")
            name = re.sub(r"\W+", "-", path).strip("-")
            await hand.look(f"{name}-{language}-{type_}", has_axe=(language, type_) not in UNCHECKED)


async def test_a_lost_card_shows_no_code_until_it_is_found(hand: Hand, centre: Centre) -> None:
    await _apply(hand, centre)
    await hand.go("/card")
    await hand.press("实体卡丢了")
    await hand.fill(password=PASSWORD)
    await hand.press("停用实体卡")
    await hand.sees("临时挂失")
    await hand.look("card-lost")
    await hand.go("/code")
    await hand.sees("现在不能出示码")
    await hand.look("code-lost")
    await hand.press("去看怎么办")
    await hand.press("卡找到了")
    await hand.fill(password=PASSWORD)
    await hand.press("卡在我手里，取消挂失")
    await hand.sees("已取消挂失")
    await hand.go("/code")
    assert (await hand.scanned()).startswith(b"OC1.")


async def _is_hidden(hand: Hand) -> bool:
    """Nothing of the code is on the screen."""
    picture = Image.open(io.BytesIO(await hand.page.screenshot())).convert("L")
    return not codes_in(picture)


async def test_a_screen_left_alone_shows_no_code(hand: Hand, centre: Centre) -> None:
    await _apply(hand, centre)
    await hand.page.clock.install()
    await hand.go("/code")
    shown = playwright_api.expect(hand.page.locator("#code:not([data-hidden])"))
    for _ in range(4):
        await shown.to_be_attached()
        await hand.page.clock.run_for(61_000)
    await shown.to_be_attached()
    await hand.page.clock.run_for(70_000)
    await hand.sees("为了安全，先不显示码")
    assert await _is_hidden(hand)
    await hand.look("code-paused")
    await hand.press("点一下显示新码")
    await shown.to_be_attached()
    code = await hand.scanned()
    assert code.startswith(b"OC1.")
    await hand.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await shown.to_be_attached()
    assert await hand.scanned() not in (code, b""), "another window may have made a newer one"

    await hand.page.locator("#large").click()
    await hand.go("/card")
    assert await hand.page.evaluate("document.documentElement.dataset.type") == "large"

    open_account(centre)
    await hand.go("/do/level")
    await hand.fill(password=PASSWORD)
    await hand.press("开通")
    await hand.go("/code?scene=payment")
    await hand.fill(password=PASSWORD)
    await hand.press("显示付款码")
    await shown.to_be_attached()
    await hand.page.clock.run_for(61_000)
    await hand.sees("这个码过期了")
    assert await _is_hidden(hand)
    await hand.look("pay-over")


async def test_a_slow_network_shortens_the_time(hand: Hand, centre: Centre) -> None:
    """Until the script is there nothing shows; then the seconds it took are gone."""
    await _apply(hand, centre)

    async def late(route: Any) -> None:
        assert await _is_hidden(hand)
        await asyncio.sleep(2)
        await route.continue_()

    await hand.page.route("**/code.js", late)
    await hand.go("/code")
    await hand.page.locator("#code:not([data-hidden])").wait_for()
    assert int(await hand.page.locator(".oc-ring b").inner_text()) <= 58


async def test_without_a_script_a_code_goes_when_it_is_over(hand: Hand, centre: Centre) -> None:
    await _apply(hand, centre)
    browser = hand.page.context.browser
    context = await browser.new_context(viewport=SIZE, java_script_enabled=False)
    await context.add_cookies(await hand.page.context.cookies())
    plain = Hand(await context.new_page(), hand.origin, has_axe=False)
    await plain.go("/code")
    assert (await plain.scanned()).startswith(b"OC1.")
    assert 'content="60;url=/code?scene=identity&amp;member=&amp;over=1"' in await plain.page.content()
    await plain.go("/code?scene=identity&member=&over=1")
    await plain.sees("这个码过期了")
    assert await _is_hidden(plain)
    await plain.press("点一下显示新码")
    assert (await plain.scanned()).startswith(b"OC1.")
    assert plain.wrong == []
