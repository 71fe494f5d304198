"""The PIN at the kiosk: changed, refused when weak, kept from its last try, set anew for its holder alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from apdu.serial.errors import PinEntryCancelledError
from apdu.serial.pinpad import Pin, PinPad, Purpose
from simulators.card import SimCard
from tests.terminal_agent.kiosk.flow_stand import (
    CARD_NUMBER,
    HOLDERS,
    PIN,
    a_card,
    another,
    at_machine,
    chip,
    page_of_pin,
    shows_id_card,
    types,
)
from tests.terminal_agent.kiosk.stand import Guest
from tests.terminal_agent.stand import until

NEW = "730516"


def value(pin: str) -> bytes:
    return bytes.fromhex(pin).ljust(8, b"\xff")


async def at_rules(guest: Guest, card: SimCard) -> None:
    await guest.act("start-pin")
    await guest.act("change")
    await guest.reaches("pin_insert")
    await guest.insert(card)
    await guest.reaches("pin_rules")


async def test_a_pin_is_changed_and_stays_out_of_pages_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    card, pages = chip(), []
    with caplog.at_level(1):
        async with at_machine() as guest:
            await at_rules(guest, card)
            await guest.act("ok")
            pages += [await types(guest, PIN), await types(guest, NEW), await guest.reaches("pin_changed")]
            assert not guest.agent.registry.is_held(guest.desk.slot())
    assert card.state.pin is not None
    assert card.state.pin.value == value(NEW)
    assert "A1000****" in pages[-1]
    for secret in (PIN, NEW, CARD_NUMBER):
        assert secret not in "".join(pages) + caplog.text


async def test_new_pins_that_are_guessed_are_refused_with_the_reason() -> None:
    card = chip()
    async with at_machine() as guest:
        await at_rules(guest, card)
        await guest.act("ok")
        await types(guest, PIN)
        weak = {"111111": "", "234567": "重复太多", "198808": "连着", PIN: "生日或证件"}
        for digits, before in weak.items():
            assert before in await types(guest, digits)
        assert "和原来的一样" in await types(guest, NEW, again="730517")
        await guest.reaches("trouble")  # five slips in a row
        assert card.state.pin is not None
        assert card.state.pin.value == value(PIN)


async def test_a_wrong_pin_tells_the_tries_and_the_last_one_is_kept() -> None:
    card = chip()
    pin = card.state.pin
    assert pin is not None
    pin.retry_left = 3
    async with at_machine() as guest:
        await at_rules(guest, card)
        await guest.act("ok")
        assert "还可以试" not in await types(guest, "999999")
        page = await types(guest, "999998")
        assert "刚才的密码不对" in page
        assert "还可以试 2 次" in page
        assert "身份证重设" in await guest.reaches("pin_last_try")
        assert pin.tries == 1


async def test_leaving_ends_the_entry_and_frees_the_card() -> None:
    async with at_machine() as guest:
        await at_rules(guest, chip())
        await guest.act("ok")
        await page_of_pin(guest)
        await guest.tool("leave")
        await guest.reaches("take_card")
        await until(lambda: not guest.agent.dialog.is_wanted)
        await until(lambda: not guest.agent.registry.is_held(guest.desk.slot()))


async def reset(guest: Guest, card: SimCard) -> None:
    await guest.act("start-pin")
    await guest.act("reset")
    await shows_id_card(guest)
    await guest.reaches("pin_reset_insert")
    await guest.insert(card)


async def test_a_pin_is_set_anew_for_id_card_and_card_together() -> None:
    async with at_machine(a_card("pin_reset", "pin_unblock")) as guest:
        await reset(guest, chip())
        await guest.reaches("pin_rules")
        shown = [body["evidence"] for path, body in guest.centre.calls if path == HOLDERS]
        assert shown == [[{"kind": "id_card"}, {"kind": "card", "card_number": CARD_NUMBER}]]
        await guest.act("ok")
        await types(guest, NEW)
        await guest.reaches("pin_was_reset")
        (start,) = guest.centre.starts
        assert (start.kind, start.pin, start.visit) == ("pin_reset", NEW, "c2VhbGVk")


async def test_a_locked_pin_may_be_unlocked_and_stays_the_same() -> None:
    card = chip()
    assert card.state.pin is not None
    card.state.pin.retry_left = 0
    async with at_machine(a_card("pin_reset", "pin_unblock")) as guest:
        await reset(guest, card)
        await guest.reaches("pin_known")
        await guest.act("unblock")
        await guest.reaches("pin_unblocked")
        assert [(start.kind, start.pin) for start in guest.centre.starts] == [("pin_unblock", None)]


async def test_nobody_sets_the_pin_of_another() -> None:
    async with at_machine(a_card("pin_reset"), text=another()) as guest:
        await reset(guest, chip())
        await guest.reaches("card_of_another")
        assert guest.centre.calls == []
        assert guest.centre.starts == []


@pytest.mark.parametrize(("cards", "screen"), [((a_card(state="2"),), "card_state"), ((), "card_unknown")])
async def test_a_card_that_cannot_have_one_says_why(cards: tuple[Any, ...], screen: str) -> None:
    async with at_machine(*cards) as guest:
        await reset(guest, chip())
        assert "不能用" in await guest.reaches(screen) or screen == "card_unknown"
        assert guest.centre.starts == []


async def test_at_a_pin_pad_the_screen_shows_boxes_and_no_page_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pad is no part of the dialog; leaving ends its entry too."""
    cancelled = threading.Event()

    def enter(pad: PinPad, purpose: Purpose) -> Pin:
        assert cancelled.wait(30)
        raise PinEntryCancelledError("by the program")

    monkeypatch.setattr(PinPad, "enter", enter)
    monkeypatch.setattr(PinPad, "cancel", lambda pad: cancelled.set())
    async with at_machine(pin_pad="simulated") as guest:
        await at_rules(guest, chip())
        await guest.act("ok")
        page = await guest.reaches("pin_pad")
        assert "密码键盘" in page
        assert "<input class" not in page
        assert not guest.agent.dialog.is_wanted
        await guest.tool("leave")
        await guest.reaches("take_card")
        assert cancelled.is_set()
