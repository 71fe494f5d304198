"""A kiosk without pages around a simulated card machine, and a centre that keeps one application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apdu.inprocess import InProcessReaders
from cardlib.failures import FailureCode
from cardlib.identity import reset_information
from cardlib.wire import BatchResponses, PrintReport, SessionReply, SessionStart
from simulators.card_machine import InProcessLink, SimCardMachine
from terminal_agent import printer as printer_module
from terminal_agent import relay as relay_module
from terminal_agent.agent import Agent
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError
from terminal_agent.kiosk import maker as maker_module
from terminal_agent.kiosk.desk import KioskDesk
from terminal_agent.kiosk.maker import Maker
from terminal_agent.kiosk.progress import Progress
from terminal_agent.settings import Profile
from tests.terminal_agent.stand import APPLICATION, ScriptedCard, ScriptedCentre, settings, until
from tests.terminal_agent.test_relay import SELECT

SLOT = "Kiosk Slot 00 00"
ENCODER = "Card Machine Encoder 00 00"
PATIENCE_S = 30.0
settled = partial(until, timeout_s=PATIENCE_S)
"""For machines that are busy with other things."""


def blank(serial: int) -> ScriptedCard:
    return ScriptedCard(bytes.fromhex(f"3B6D000000FE00000086FE99{serial:010d}"))


def chip(card: ScriptedCard) -> str:
    return reset_information(card.atr).hex().upper()


class OneApplication(ScriptedCentre):
    """Binds, enables and writes off as the issuance service does; `is_cut` takes the network away."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = ([SELECT],)
        self.state = "checked"
        self.bound: str | None = None
        self.written_off: list[str] = []
        self.is_cut = False
        self.mishap = self.demand_line

    async def start(self, request: SessionStart) -> SessionReply:
        reply = await super().start(request)
        found = reset_information(bytes.fromhex(request.atr)).hex().upper()
        if self.bound not in (None, found):
            raise CentreRefusedError("CARD_MISMATCH", "another card is bound")
        self.bound = found
        if self.state == "checked":
            self.state = "reserved"
        if self.state in ("verified", "enabled"):
            return self._reply(f"{len(self.starts):032x}", 2) if self.state == "verified" else self._issued()
        return reply

    async def answer(self, responses: BatchResponses) -> SessionReply:
        reply = await super().answer(responses)
        if reply.print_order is not None:
            self.state = "verified"
        return reply

    async def report_print(self, report: PrintReport) -> SessionReply:
        reply = await super().report_print(report)
        if report.status != "failed":
            self.state = "enabled"
        return reply

    async def exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        self.demand_line("")
        if method == "POST":
            assert path.endswith("/write-off")
            assert headers["Idempotency-Key"]
            order = json.loads(content or b"")
            assert order["reset_information"] == self.bound
            self.written_off.append(order["reset_information"])
            self.state, self.bound = "checked", None
        return {"id": APPLICATION, "state": self.state, "reset_information": self.bound}

    def _issued(self) -> SessionReply:
        self.batches, batches = (), self.batches
        self.starts[-1] = self.starts[-1].model_copy(update={"can_print": False})
        reply = self._reply(f"{len(self.starts):032x}", 1)
        self.batches = batches
        return reply

    def cut_at(self, wanted: str, step: str) -> None:
        """From the first message of that kind on, until `is_cut` is taken back and this no longer asked."""
        self.is_cut = self.is_cut or step == wanted
        self.demand_line(step)

    def demand_line(self, step: str) -> None:
        if self.is_cut:
            raise CentreUnreachableError("cut")


@dataclass
class Kiosk:
    """`boot` gives the maker of a new agent on the same folder, machine and centre, as after a loss of power."""

    folder: Path
    readers: InProcessReaders
    machine: SimCardMachine
    centre: OneApplication

    @asynccontextmanager
    async def boot(self, *, is_resumed: bool = True) -> AsyncIterator[Maker]:
        given = settings(
            profile=Profile.KIOSK,
            state_dir=self.folder,
            card_printer=self.machine.address,
            encoder_reader="Encoder",
            network_deadline_s=0.2,
        )
        agent = Agent(given, self.readers, self.centre)
        await agent.start()
        desk = KioskDesk(agent, self.centre, flows={})
        try:
            if is_resumed:
                await desk.maker.resume()
            yield desk.maker
        finally:
            try:
                await desk.stop()
            finally:
                await agent.stop()

    async def make(self, maker: Maker) -> tuple[Progress, list[Progress]]:
        """The end, and all that was shown before."""
        seen: list[Progress] = []
        maker.begin(APPLICATION)
        async with asyncio.timeout(PATIENCE_S):
            return await maker.watch(seen.append), seen


async def troubled(maker: Maker) -> FailureCode:
    """What the card in work waits for, as soon as it waits."""
    found: FailureCode = await settled(lambda: maker.progress.trouble)
    return found


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and pauses as short as a simulated machine allows. A good chip has all the time to be seen."""
    for module, name, value in (
        (printer_module, "POLL_S", 0.005),
        (printer_module, "LOOK_S", 0.02),
        (relay_module, "FIRST_PAUSE_S", 0.01),
        (relay_module, "LONGEST_PAUSE_S", 0.02),
        (relay_module, "PROBE_S", 0.02),
        (maker_module, "RETRY_S", 0.02),
        (maker_module, "LOOK_S", 0.005),
        (maker_module, "CONTACT_S", PATIENCE_S),
    ):
        monkeypatch.setattr(module, name, value)


@asynccontextmanager
async def kiosk_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, blanks: int = 3, **machine: Any
) -> AsyncIterator[Kiosk]:
    hurry(monkeypatch)
    readers = InProcessReaders([SLOT, ENCODER])
    cards = [blank(serial) for serial in range(1, blanks + 1)]
    with SimCardMachine(
        tmp_path / "printed", lambda card: InProcessLink(readers, ENCODER, card), cards, **machine
    ) as device:
        yield Kiosk(tmp_path / "state", readers, device, OneApplication())
