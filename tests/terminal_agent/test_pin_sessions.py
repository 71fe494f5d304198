"""Card sessions for which the holder types a PIN: asked for at the terminal, sent once, forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from apdu.serial.errors import PinEntryCancelledError
from apdu.serial.pinpad import Pin
from cardlib.wire import BatchCommand
from terminal_agent.driver_desk import DriverDesk
from tests.terminal_agent.stand import ScriptedCard, ScriptedCentre, agent_with, readers_with
from tests.terminal_agent.test_relay import job_in, started

ORDER = {"kind": "pin_reset", "application_id": None}


class Typing:
    """Stands in for `DriverDesk.new_pin`."""

    def __init__(self, pin: str | None) -> None:
        self.pin, self.readers = pin, list[str]()
        self.given: list[Pin] = []

    def __call__(self, _desk: Any, reader: str) -> Pin:
        self.readers.append(reader)
        if self.pin is None:
            raise PinEntryCancelledError("cancelled")
        self.given.append(Pin(bytearray(self.pin.encode())))
        return self.given[-1]


def typing(monkeypatch: pytest.MonkeyPatch, pin: str | None) -> Typing:
    hand = Typing(pin)
    monkeypatch.setattr(DriverDesk, "new_pin", lambda desk, reader: hand(desk, reader))
    return hand


async def test_the_pin_goes_to_the_centre_and_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    hand, centre = typing(monkeypatch, "246810"), ScriptedCentre([BatchCommand(apdu="0084000008")])
    async with agent_with(readers_with(ScriptedCard()), centre) as client:
        done = await job_in(client, await started(client, **ORDER), "done", "failed")
    assert (done["state"], [start.pin for start in centre.starts]) == ("done", ["246810"])
    assert "246810" not in str(done) + repr(centre.starts)
    assert [len(pin) for pin in hand.given] == [0]


async def test_a_cancelled_entry_touches_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    typing(monkeypatch, None)
    card, centre = ScriptedCard(), ScriptedCentre([BatchCommand(apdu="0084000008")])
    async with agent_with(readers_with(card), centre) as client:
        failed = await job_in(client, await started(client, **ORDER), "done", "failed")
    assert (failed["failure"]["code"], card.seen, centre.starts) == ("PIN_ENTRY_CANCELLED", [], [])


async def test_other_sessions_ask_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    hand, centre = typing(monkeypatch, "246810"), ScriptedCentre([BatchCommand(apdu="0084000008")])
    async with agent_with(readers_with(ScriptedCard()), centre) as client:
        for kind in ("rewrite", "pin_unblock"):
            await job_in(client, await started(client, kind=kind, application_id=None), "done")
    assert ([start.pin for start in centre.starts], hand.readers) == ([None, None], [])


async def test_a_terminal_without_pin_pad_says_so() -> None:
    async with agent_with(readers_with(ScriptedCard()), ScriptedCentre(), pin_dialog=False) as client:
        failed = await job_in(client, await started(client, **ORDER), "failed")
    assert failed["failure"]["code"] == "DEVICE_NOT_CONFIGURED"
