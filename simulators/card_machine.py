"""A simulated card machine of a kiosk: hopper, encoder, print head, tray and reject bin behind the printer's bridge.

Blanks are software cards. At the encoder a card sits in a reader's slot, by `plug`; from everywhere else no chip
answers. The machine outlives the agent: what was asked for is done once for each card id, however often it is asked.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from apdu.inprocess import InProcessReaders, PluggedCard
from simulators.printer import SimCardPrinter

MOVES: Final = ("load", "print", "eject", "reject")
_INSIDE: Final = ("encoder", "printer")
_FROM: Final = {
    "load": ("none", "printer", "tray"),
    "eject": _INSIDE,
    "reject": (*_INSIDE, "tray"),
}
_TO: Final = {"load": "encoder", "eject": "tray", "reject": "bin"}
_ID_LETTERS: Final = 32


class Link(Protocol):
    """One card's stay in the encoder's slot."""

    def insert(self) -> None: ...

    def remove(self) -> None: ...


class InProcessLink:
    """The slot `name` of readers in this process."""

    def __init__(self, readers: InProcessReaders, name: str, card: PluggedCard) -> None:
        self._readers, self._name, self._card = readers, name, card

    def insert(self) -> None:
        self._readers.insert(self._name, self._card)

    def remove(self) -> None:
        self._readers.remove(self._name)


class DyingCard:
    """A chip that answers `after` commands and then never again, nor to power; at 0 it was dead from the beginning."""

    def __init__(self, card: PluggedCard, after: int = 0) -> None:
        self._card, self._left = card, after

    def power_on(self) -> bytes:
        return self._card.power_on() if self._left else b""

    def power_off(self) -> None:
        self._card.power_off()

    def transmit(self, command: bytes) -> bytes:
        if not self._left:
            raise TimeoutError
        self._left -= 1
        return self._card.transmit(command)


class Pause:
    """The chip at the encoder keeps its answer to command number `at` to itself until `go_on`."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._has_come, self._is_over = threading.Event(), threading.Event()

    def wait(self, patience_s: float) -> None:
        """Until that command has come. Raises TimeoutError."""
        if not self._has_come.wait(patience_s):
            raise TimeoutError("no card was written so far")

    def go_on(self) -> None:
        self._is_over.set()

    def count(self) -> None:
        """Called before each answer."""
        self._left -= 1
        if self._left == 0:
            self._has_come.set()
            self._is_over.wait()


class PausingCard:
    def __init__(self, card: PluggedCard, pause: Pause) -> None:
        self._card, self._pause = card, pause

    def power_on(self) -> bytes:
        return self._card.power_on()

    def power_off(self) -> None:
        self._card.power_off()

    def transmit(self, command: bytes) -> bytes:
        answer = self._card.transmit(command)
        self._pause.count()
        return answer


class SimCardMachine(SimCardPrinter):
    """`blanks` lie in the hopper, the first one goes first. `move_s` is what one way inside takes.

    Beside the faults of the printer there are `jam_at(move)`, a jam when that move is made next, `kill_next_blank`,
    `pause_writing` and `power_off`. `tray` is the card that waits there, with its id; `bin` the cards thrown away.
    """

    def __init__(
        self,
        folder: Path,
        plug: Callable[[PluggedCard], Link],
        blanks: Iterable[PluggedCard] = (),
        *,
        port: int = 0,
        print_s: float = 0.0,
        move_s: float = 0.0,
        ribbon: int | None = None,
    ) -> None:
        self.blanks = list(blanks)
        self.bin: list[PluggedCard] = []
        self.tray: tuple[str, PluggedCard] | None = None
        self._plug = plug
        self._move_s = move_s
        self._places: dict[str, str] = {}
        self._inside: tuple[str, PluggedCard] | None = None
        self._link: Link | None = None
        self._wanted: tuple[str, str] | None = None
        self._jam_at: str | None = None
        self._pause: Pause | None = None
        self._is_on = True
        super().__init__(folder, port=port, print_s=print_s, ribbon=ribbon)
        mover = threading.Thread(target=self._move_cards, name="card machine", daemon=True)
        self._threads.append(mover)
        mover.start()

    @property
    def state(self) -> str:
        state = super().state
        is_fed = bool(self.blanks) or self._inside is not None
        return "hopper_empty" if state in ("ready", "ribbon_low") and not is_fed else state

    @property
    def inside(self) -> str:
        """Id of the card inside, empty for none."""
        return self._inside[0] if self._inside else ""

    # -- hands ----------------------------------------------------------------------------------------------------

    def take(self) -> PluggedCard | None:
        """The card in the tray goes with the citizen."""
        with self._guard:
            if self.tray is None:
                return None
            card_id, card = self.tray
            self.tray, self._places[card_id] = None, "taken"
            return card

    def refill(self, blanks: Iterable[PluggedCard]) -> None:
        with self._guard:
            self.blanks.extend(blanks)
            self._guard.notify_all()

    def jam_at(self, move: str) -> None:
        if move not in MOVES:
            raise ValueError(f"no move {move!r}; there are {', '.join(MOVES)}")
        self._jam_at = move

    def kill_next_blank(self, after: int = 0) -> None:
        """The next blank's chip answers `after` commands."""
        with self._guard:
            self.blanks[0] = DyingCard(self.blanks[0], after)

    def pause_writing(self, at: int = 100) -> Pause:
        """In the middle of the next card's data, for hands that are to be there in time."""
        self._pause = Pause(at)
        return self._pause

    def power_off(self) -> None:
        """Nothing answers or moves; cards stay where they are. A print that was waited for is forgotten."""
        with self._guard:
            self._is_on, self._wanted = False, None
            self._queue.clear()
            self._jobs.clear()
            self._unplug()

    def power_on(self) -> None:
        with self._guard:
            self._is_on = True
            if self._inside and self._places[self._inside[0]] == "encoder":
                self._plug_in(self._inside[1])
            self._guard.notify_all()

    def close(self) -> None:
        super().close()
        self._unplug()

    # -- bridge ---------------------------------------------------------------------------------------------------

    def answer(self, line: bytes) -> dict[str, Any] | None:
        if not self._is_on:
            return None
        found = super().answer(line)
        if found is None:
            return None
        question = json.loads(line)
        card_id, act = question.get("card_id", ""), question["act"]
        is_id = isinstance(card_id, str) and len(card_id) == _ID_LETTERS and card_id.isalnum()
        with self._guard:
            if is_id and act in _TO and self._may(act, card_id):
                self._wanted = (act, card_id)
                self._guard.notify_all()
            moving = self._wanted is not None and self._wanted[1] == card_id
            place = "moving" if moving else self._places.get(card_id, "none")
            counts = {"hopper": len(self.blanks), "bin": len(self.bin), "ribbon": self.ribbon}
            return found | {"state": self.state, "place": place, "inside": self.inside} | counts

    def _may(self, act: str, card_id: str) -> bool:
        """One card at a time, and no other before the tray is empty."""
        others = {found[0] for found in (self._inside, self.tray) if found} - {card_id}
        return self._wanted is None and not others and self._places.get(card_id, "none") in _FROM[act]

    # -- moving ---------------------------------------------------------------------------------------------------

    def _can_move(self) -> bool:
        if self._is_closed:
            return True
        if self._wanted is None or not self._is_on or self._fault is not None:
            return False
        act, card_id = self._wanted
        return bool(self.blanks) or act != "load" or card_id in self._places

    def _move_cards(self) -> None:
        while True:
            with self._guard:
                self._guard.wait_for(self._can_move)
                if self._is_closed:
                    return
            time.sleep(self._move_s)
            with self._guard:
                if self._wanted is not None and self._is_on and not self._jams(self._wanted[0]):
                    act, card_id = self._wanted
                    self._wanted = None
                    self._move(act, card_id)

    def _move(self, act: str, card_id: str) -> None:
        """`_guard` is held."""
        place = self._places.get(card_id, "none")
        if place == "none":
            card = self.blanks.pop(0)
        else:
            carried = self.tray if place == "tray" else self._inside
            if carried is None:
                return  # taken while the machine was about to draw it in
            card = carried[1]
        self._unplug()
        self._inside = self.tray = None
        self._places[card_id] = _TO[act]
        match act:
            case "load":
                self._inside = (card_id, card)
                self._plug_in(card)
            case "eject":
                self.tray = (card_id, card)
            case _:
                self.bin.append(card)

    def _begin(self) -> None:
        self._jams("print")
        if self._inside is not None:
            self._unplug()
            self._places[self._inside[0]] = "printer"

    def _finish(self, job_id: str, face: dict[str, Any]) -> None:
        if self._inside is None and self.blanks:  # as at a counter: from the hopper, printed, and out
            self.blanks.pop(0)
        super()._finish(job_id, face)

    def _jams(self, move: str) -> bool:
        if self._jam_at != move:
            return False
        self._jam_at, self._fault = None, "jam"
        return True

    def _can_work(self) -> bool:
        return self._is_closed or (self._is_on and super()._can_work())

    def _plug_in(self, card: PluggedCard) -> None:
        self._link = self._plug(PausingCard(card, self._pause) if self._pause else card)
        with suppress(OSError):  # no reader behind the encoder: a card without contact
            self._link.insert()

    def _unplug(self) -> None:
        if self._link is None:
            return
        if self._pause is not None:
            self._pause.go_on()
            self._pause = None
        self._link.remove()
        self._link = None
