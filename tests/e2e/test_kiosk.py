"""Everything people do at the kiosk, in Chromium, against real pcscd and the real issuance service.

Once in Chinese on an upright screen and once in English on a wide one, each time with what may go wrong. Every screen
that comes is measured in both types and looked at by axe-core; `test_gallery` measures all others. With
ONECARD_SCREENSHOTS set, pictures go to the git-ignored folder `screenshots/kiosk`; those of docs/kiosk.md are made of
them (`tests.e2e.kiosk_pictures`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from onecard_cli.demo import DEMO_DIGITS, decode_qr
from onecard_cli.demo_kiosk import APPLYING, REPLACING
from onecard_cli.home import Home
from onecard_cli.kiosk_stand import STAFF_PIN, KioskStand
from onecard_cli.kiosk_visitor import Answer, Reply, walk, with_id_card
from onecard_cli.system import System
from onecard_cli.wallet import at_centre
from simulators.card import SimCard
from simulators.card_machine import SimCardMachine
from simulators.kiosk_hands import PEOPLE, KioskHands, number_of
from simulators.wallet.log_ins import code_in
from terminal_agent.kiosk.visit import GRACE_S, IDLE_S
from tests.e2e.support import ROOT
from tests.terminal_agent.stand import kept_port
from tests.terminal_agent.test_pin_browser import CHROMIUM

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from tests.e2e.kiosk_guest import LANDSCAPE, PATIENCE_S, PORTRAIT, Guest, guest_at
from tests.issuance.console.axe import axe_script

pytestmark = [
    pytest.mark.slow,
    pytest.mark.pcsc,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
SIGN_UP = "https://phone.example/apply"
Answers = Mapping[str, Answer | Sequence[Answer]]
PIN, NEXT_PIN, WRONG_PIN = "730528", "194637", "582913"
LOCK = {"reason": "检修 / under repair", "contact": "示例中心 / the centre"}
WRITING = 2
"""Of the stages on the screen."""
HURRY = Path(__file__).with_name("hurry")
PATIENT = 10
"""Times as long as it should, the kiosk waits for somebody."""


class HurriedStand(KioskStand):
    """Time can be made to pass for its kiosk."""

    def __init__(self, system: System, port: int) -> None:
        super().__init__(system, port=port, settings={"KIOSK_VOICE": "off"})
        self._ahead_s, self._ahead = 0.0, system.home.path / "ahead"
        paths = os.pathsep.join(map(str, (HURRY, ROOT)))
        self._environment |= {"PYTHONPATH": paths, "ONECARD_TEST_AHEAD": str(self._ahead)}
        self._environment |= {"ONECARD_TEST_PATIENCE": str(PATIENT)}

    def let_pass(self, seconds: float) -> None:
        """Of what the kiosk waits for somebody who does nothing."""
        self._ahead_s += seconds * PATIENT
        new = self._ahead.with_suffix(".new")
        new.write_text(str(self._ahead_s))
        new.replace(self._ahead)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HurriedStand]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONECARD_ISSUANCE_ECARD_SIGN_UP_URL", SIGN_UP)
        patch.setenv("ONECARD_ISSUANCE_KIOSK_PERSON_MINUTE", "100")  # a day's visits of one person in a minute
        home = Home.at(tmp_path_factory.mktemp("kiosk"))
        # The kiosk comes late and again after a loss of power: its port must be free then too.
        with System(home, with_counter=False) as system, kept_port() as port, HurriedStand(system, port) as kiosk:
            yield kiosk


class Story:
    """One person's day at the kiosk: `who` of PEOPLE in front of `guest`'s screen."""

    def __init__(self, stand: HurriedStand, guest: Guest, who: str) -> None:
        self.stand, self.guest, self.who = stand, guest, who
        self.card = ""
        """Its name in the drawer."""
        self.receipt = ""

    @property
    def hands(self) -> KioskHands:
        return self.stand.hands

    @property
    def machine(self) -> SimCardMachine:
        return self.hands.devices.machine

    def visit(self, flow: str, answers: Answers, *ends: str, who: str = "") -> str:
        """From home to the screen `ends`; every refusal is an end that is not wanted."""
        self.guest.start(flow)
        known = {**with_id_card(self.hands, who or self.who), **answers}
        end = walk(self.guest, known, *ends, "trouble")
        assert end in ends, (flow, self.guest.page.inner_text("main"))
        return end

    def leave(self) -> None:
        """By the main button or the dock; a card in the slot is asked for and taken."""
        if self.guest.page.is_visible("button[value=finish]"):
            self.guest.press("finish")
        elif self.guest.page.is_visible("button[value=understood]"):
            self.guest.press("understood")
        else:
            self.guest.tool("leave")
        if self.hands.inserted:
            self.guest.reach("take_card")
            self.hands.pull_card()
        self.guest.home()

    def print(self) -> None:
        receipts, done = self.hands.devices.receipts, self.guest.screen
        before = len(receipts.printed)
        self.guest.press("print")
        self.guest.reach(done)
        self.guest.page.wait_for_selector("button[value=finish]")
        assert len(receipts.printed) == before + 1
        assert PEOPLE[self.who].number not in receipts.printed[-1]

    def insert(self) -> Reply:
        return Reply(hand=lambda: self.hands.insert(self.card))

    def typed(self, digits: str) -> Reply:
        return Reply(hand=lambda: self.guest.type_pin(digits))

    def take(self, done: str) -> None:
        self.card = self.hands.take_from_tray()
        self.guest.reach(done)
        if self.guest.page.is_visible("dd.oc-id"):
            self.receipt = self.guest.page.inner_text("dd.oc-id").replace(" ", "")

    # -- what people do -------------------------------------------------------------------------------------------

    def enable(self) -> None:
        """Once the card is pulled too early."""
        self.stand.seal(self.card)
        answers: Answers = {
            "enable_insert": self.insert(),
            "enable_confirm": [Reply(hand=self.hands.pull_card), "enable"],
            "card_gone": self.insert(),
        }
        self.visit("enable", answers, "enable_done")
        self.leave()

    def reset_pin(self) -> None:
        answers: Answers = {
            "pin_choice": "reset",
            "pin_reset_insert": self.insert(),
            "pin_rules": "ok",
            "pin_entry": [self.typed("123456"), self.typed(PIN)],
        }
        self.visit("pin", answers, "pin_was_reset")
        self.leave()

    def change_pin(self) -> None:
        answers: Answers = {
            "pin_choice": "change",
            "pin_insert": self.insert(),
            "pin_rules": "ok",
            "pin_entry": [self.typed(WRONG_PIN), self.typed(PIN), self.typed(NEXT_PIN)],
        }
        self.visit("pin", answers, "pin_changed")
        self.leave()

    def ask(self) -> None:
        """Progress, records, where the card can be used, and the card itself put in."""
        self.visit("progress", {"progress_choice": "id_card"}, "progress_none")
        self.leave()
        kinds = ("mine", "cards", "uses", "looks", "events")
        backs: Answers = {f"records_{kind}": "back" for kind in kinds[:-1]}
        self.visit("records", {**backs, "records_choice": list(kinds)}, "records_events")
        self.leave()
        places: Answers = {
            "what_origin": "area-110000",
            "what_area": "area-120000",
            "what_domain": "domain-medical",
            "what_list": "item-0",
        }
        self.visit("what", places, "what_item")
        self.leave()
        self.guest.home()
        self.hands.insert(self.card)
        self.guest.reach("this_card")
        self.leave()

    def phone(self) -> None:
        """The electronic card onto the phone, its code here, and the log-in by it."""
        self.visit("ecard", {"ecard_choice": "install"}, "ecard_install")
        self.leave()
        person = PEOPLE[self.who]
        chip = self.hands.drawer.cards[self.card]
        assert isinstance(chip, SimCard)
        card_number = number_of(chip.state)
        self._on_phone(lambda c: c.sign_up(person.name, person.number, card_number, DEMO_DIGITS, f"kiosk-{self.who}"))
        self.visit("ecard", {"ecard_choice": "state"}, "ecard_state")
        self.leave()
        self.visit("ecard", {"ecard_choice": "code", "ecard_insert": self.insert()}, "ecard_code")
        self.leave()
        self.visit("log_in", {"log_in_how": ["trouble", "try"], "log_in_trouble": "back"}, "phone_code")
        self._approve()
        self.guest.reach("log_in_works")
        self.leave()

    def lose_and_find(self) -> None:
        for kind in ("lose_temporarily", "lose"):
            self.visit("loss", {"loss_kind": kind, f"loss_confirm_{kind}": "report"}, f"loss_done_{kind}")
            if kind == "lose_temporarily":
                self.print()
                self.leave()
                self.visit("release", {"release_confirm": "release"}, "release_done")
            self.leave()

    def use_card(self) -> None:
        self.enable()
        self.reset_pin()
        self.change_pin()
        self.ask()
        self.phone()
        self.lose_and_find()

    def walk_away(self) -> None:
        """Somebody who needs more time, and is not there the next time: nothing of them stays."""
        shown = PEOPLE[self.who].number[-4:]
        self.visit("records", {"records_choice": "mine"}, "records_mine")
        assert shown in self.guest.page.content()
        for act in ("stay", ""):
            self.stand.let_pass(IDLE_S)
            self.guest.reach("still_there")
            if act:
                self.guest.tool(act)
                self.guest.reach("records_mine")
        self.stand.let_pass(GRACE_S)
        self.guest.home()
        assert shown not in self.guest.page.content()

    def lock(self) -> None:
        """From the centre, in the middle of a visit. Who calls for help hears of it at once."""
        operator = self.stand.system.client("operator-1")
        states = operator.get("/v1/terminals/states").json()
        kiosk = next(row["terminal"] for row in states if row["profile"] == "kiosk")
        self.guest.start("progress")
        operator.post(f"/v1/terminals/{kiosk}/lock", json=LOCK).raise_for_status()
        self.guest.tool("help")
        self.guest.reach("out_of_service")
        assert self.guest.page.get_attribute("html", "lang") == "en"
        assert LOCK["contact"] in self.guest.page.inner_text("main")
        operator.post(f"/v1/terminals/{kiosk}/unlock").raise_for_status()
        self.guest.tool("unhelp")
        self.guest.home()

    # -- what goes wrong while a card is made ---------------------------------------------------------------------

    def make_with_breaks(self, flow: str, answers: Answers, done: str) -> None:
        """The line is cut while the chip is written, then the ribbon is out."""
        writing = self.machine.pause_writing()
        self.visit(flow, answers, "making")
        writing.wait(PATIENCE_S)
        self.guest.page.wait_for_selector(f".oc-make li:nth-child({WRITING})[aria-current]")
        self.guest.shoot("making_writing")
        self.hands.cut_network()
        writing.go_on()
        self.guest.reach("making_trouble_line")
        self.machine.fail("ribbon_empty")
        self.hands.mend_network()
        self.guest.reach("making_trouble")
        self.hands.service()
        self.guest.reach("take_new_card")
        self.take(done)

    def make_with_power_cut(self, flow: str, answers: Answers) -> None:
        """A jam, then kill -9 while the chip is written; the card is finished at the next start, for its person."""
        self.machine.jam_at("load")
        writing = self.machine.pause_writing()
        self.visit(flow, answers, "making")
        self.guest.reach("making_trouble")
        self.hands.service()
        writing.wait(PATIENCE_S)
        self.hands.cut_power()
        self.hands.restore_power()
        self.visit("collect", {}, "take_new_card")
        self.take("collect_done")

    def _approve(self) -> None:
        picture, number = self.guest.scan()
        link = decode_qr(picture)

        async def approve(channel: Any) -> None:
            asked = await channel.scan(code_in(link))
            await channel.log_in(asked, number, DEMO_DIGITS, "")

        self._on_phone(approve)

    def _on_phone(self, work: Any) -> None:
        """On a thread of its own: Playwright has this one's event loop."""
        system = self.stand.system
        failed: list[BaseException] = []

        def run() -> None:
            try:
                at_centre(system.issuance_url, "wallet-1", self.who, work, home=system.home)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert not failed, failed


@pytest.fixture(params=["zh-portrait", "en-landscape"])
def guest(request: pytest.FixtureRequest, stand: HurriedStand) -> Iterator[Guest]:
    lang, _, shape = request.param.partition("-")
    with guest_at(stand.url, lang, PORTRAIT if shape == "portrait" else LANDSCAPE, axe_script()) as here:
        yield here
        print(*here.wrong, sep="\n")
        if here.page.is_visible("button[name=tool][value=leave]"):  # a story that broke off
            here.tool("leave")


def test_everything_at_the_kiosk(stand: HurriedStand, guest: Guest) -> None:
    before = _blanks(stand)
    stand.hands.stand("dark")
    wrong_first = {**APPLYING, "photo_wrong": Reply("retake", hand=lambda: stand.hands.stand("good"))}
    (_upright if guest.lang == "zh" else _wide)(stand, guest, wrong_first)
    assert "photo_wrong" in guest.seen
    assert guest.wrong == []
    assert _blanks(stand) == (before[0] + 2, before[1])


def _blanks(stand: HurriedStand) -> tuple[int, int]:
    """Used and spoiled."""
    rows = stand.system.client("operator-1").get("/v1/stock").json()["blanks"]
    return sum(row["used"] for row in rows), sum(row["spoiled"] for row in rows)


def _upright(stand: HurriedStand, guest: Guest, applying: Answers) -> None:
    story = Story(stand, guest, "new")
    story.visit("apply", {}, "apply_minor", who="child")
    story.leave()
    story.make_with_breaks("apply", applying, "apply_done")
    story.print()
    story.leave()
    story.use_card()

    story.machine.fail("ribbon_empty")
    guest.page.wait_for_selector("[aria-disabled=true]")
    guest.shoot("home_no_ribbon")
    stand.hands.service()
    story.make_with_power_cut("replace", REPLACING)
    story.leave()
    receipt: Answers = {
        "progress_choice": "receipt",
        "progress_receipt": Reply("ok", {"receipt": story.receipt}),
        "progress_check": Reply("ok", {"check": PEOPLE["new"].number[-6:]}),
    }
    story.visit("progress", receipt, "progress_shown")
    story.leave()
    _staff(guest)


def _wide(stand: HurriedStand, guest: Guest, applying: Answers) -> None:
    story = Story(stand, guest, "third")
    story.make_with_power_cut("apply", applying)
    story.leave()
    story.use_card()
    story.walk_away()
    story.lock()
    story.make_with_breaks("replace", REPLACING, "replace_done")
    story.leave()


def _staff(guest: Guest) -> None:
    """Called by somebody, they look at the machine, take it out of service and open it again."""
    guest.tool("help")
    guest.page.wait_for_selector("button[value=unhelp]")
    for act, screen, then in (("out", "out_of_service", "reopen"), ("reopen", "home", "out")):
        guest.page.click("a.oc-mark")
        guest.reach("staff_log_in")
        guest.page.fill("[name=pin]", STAFF_PIN)
        guest.page.keyboard.press("Enter")
        guest.reach("staff")
        if act == "out":
            guest.page.click("button[value=helped]")
            guest.page.wait_for_selector("button[value=helped]", state="detached")
        guest.page.click(f"button[value={act}]")
        guest.page.wait_for_selector(f"button[value={then}]")
        guest.page.click("button[value=close]")
        guest.reach(screen)
