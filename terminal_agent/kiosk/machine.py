"""The card machine: one card at a time from the hopper to the encoder and out, or into the reject bin.

What stands in the way waits for people as the printer does; a move asked for twice is made once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from cardlib.failures import FailureCode
from terminal_agent.printer import PrinterDesk, PrinterNotReadyError, Wanted
from terminal_agent.printer_link import FAILURES, CardPlace, PrinterAnswer
from terminal_agent.problems import AgentError, DeviceNotConfiguredError

_FINAL: Final = (CardPlace.TAKEN, CardPlace.BIN)


class CardElsewhereError(AgentError):
    """The card is not where it can be moved from, or another one is in its way; `place` is where it is."""

    failure: ClassVar[str] = "CARD_ABSENT"

    def __init__(self, place: CardPlace) -> None:
        super().__init__(f"the card is at {place}")
        self.place = place


class CardMachine:
    """Use from the event loop. `printer` keeps watch over the device and knows its states."""

    def __init__(self, printer: PrinterDesk) -> None:
        self._printer = printer

    @property
    def stock(self) -> PrinterAnswer | None:
        """What it said last; None while it is not heard, and at a printer that moves no cards."""
        last = self._printer.last
        return None if last is None or last.place is None else last

    @property
    def failure(self) -> FailureCode | None:
        """Why no card can be made now, None where one can."""
        last = self._printer.last
        if not self._printer.is_configured or (last is not None and last.place is None):
            return FailureCode.DEVICE_NOT_CONFIGURED
        if last is None:
            return FailureCode.PRINTER_UNAVAILABLE
        if not last.state.can_print:
            return FAILURES[last.state]
        return FailureCode.PRINTER_HOPPER_EMPTY if last.hopper == 0 else None

    async def look(self, card_id: str = "") -> PrinterAnswer:
        """Raises PrinterLostError, DeviceNotConfiguredError."""
        return _of_machine(await self._printer.link.machine(card_id))

    async def place(self, card_id: str) -> CardPlace:
        """Where a card is that has come to rest. Raises as `look`, PrinterNotReadyError."""
        seen = await self._until(lambda: self.look(card_id), lambda place: place is not CardPlace.MOVING, _nobody)
        return seen.place or CardPlace.NONE

    async def load(self, card_id: str, wanted: Wanted = lambda _: None) -> None:
        """To the encoder. Raises CardElsewhereError, PrinterNotReadyError, DeviceNotConfiguredError."""
        await self._go(self._printer.link.load, card_id, CardPlace.ENCODER, wanted)

    async def eject(self, card_id: str, wanted: Wanted = lambda _: None) -> None:
        """To the tray; a card that was taken since counts. Raises as `load`."""
        await self._go(self._printer.link.eject, card_id, CardPlace.TRAY, wanted)

    async def reject(self, card_id: str, wanted: Wanted = lambda _: None) -> None:
        """To the reject bin. Raises as `load`."""
        await self._go(self._printer.link.reject, card_id, CardPlace.BIN, wanted)

    async def _go(
        self, ask: Callable[[str], Awaitable[PrinterAnswer]], card_id: str, goal: CardPlace, wanted: Wanted
    ) -> None:
        async def move() -> PrinterAnswer:
            answer = _of_machine(await ask(card_id))
            if answer.inside not in ("", card_id):
                raise CardElsewhereError(answer.place or CardPlace.NONE)
            return answer

        seen = await self._until(move, lambda place: place is goal or place in _FINAL, wanted)
        if seen.place is not goal and (goal, seen.place) != (CardPlace.TRAY, CardPlace.TAKEN):
            raise CardElsewhereError(seen.place or CardPlace.NONE)

    async def _until(
        self, ask: Callable[[], Awaitable[PrinterAnswer]], is_over: Callable[[CardPlace | None], bool], wanted: Wanted
    ) -> PrinterAnswer:
        seen: list[PrinterAnswer] = []

        def over(answer: PrinterAnswer) -> bool:
            seen[:] = [answer]
            return is_over(answer.place)

        failure = await self._printer.until(ask, over, wanted)
        if failure is not None:
            raise PrinterNotReadyError(failure)
        return seen[0]


def _of_machine(answer: PrinterAnswer) -> PrinterAnswer:
    if answer.place is None:
        raise DeviceNotConfiguredError("this printer moves no cards")
    return answer


def _nobody(failure: FailureCode | None) -> None:
    """Nobody is told."""
