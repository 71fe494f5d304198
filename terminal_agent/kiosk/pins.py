"""PINs of a visit: typed on the PIN pad, or in the agent's PIN dialog in the dress of the kiosk.

The digits never stand in a kiosk page: the dialog has its own page, ticket and form (`terminal_agent.pin_dialog`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from apdu.errors import PinWrongError
from apdu.serial.errors import PinEntriesDifferError, PinEntryCancelledError, PinEntryError, PinLengthError
from apdu.serial.pinpad import BETWEEN_DIGITS_S, MAX_DIGITS, MIN_DIGITS
from cardlib.driver_session import EnteredPin
from cardlib.errors import LastTryError, RepeatedPinError
from cardlib.guard import TRIES_KEPT
from cardlib.guessable import about, guess
from cardlib.session import SocialSecurityCard
from terminal_agent.kiosk.screens import Screen
from terminal_agent.pin_dialog import OpenDialog, PinSubject

if TYPE_CHECKING:
    from terminal_agent.driver_desk import DriverDesk
    from terminal_agent.kiosk.card import CitizenCard
    from terminal_agent.kiosk.visit import Visit

ENTRIES: Final = 5
"""So often in a row an entry may be none before the citizen is asked whether to go on."""
FEW_TRIES: Final = 2


class PinPurpose(StrEnum):
    CURRENT = "current"
    NEW = "new"


class PinWeakError(PinEntryError):
    """A new PIN that is guessed first; `why` says what kind."""

    failure = "PIN_WEAK"

    def __init__(self, why: str) -> None:
        super().__init__("a PIN that is easily guessed")
        self.why = why


class PinUnsetError(Exception):
    """The holder has set no PIN yet."""

    failure: ClassVar[str] = "PIN_INITIAL"


Weak = Callable[[str], str | None]
"""Why digits are not taken as a new PIN: the end of a word `weak_…` of the screen `pin_entry`."""


def weak_for(number: str, birth_date: str) -> Weak:
    """Refuses patterns, and what is known of the holder."""
    known = tuple(about(number, birth_date))
    return lambda digits: guess(digits, known)


@dataclass(frozen=True, slots=True)
class _Wish:
    """One entry: what its page or pad screen says."""

    purpose: PinPurpose
    tries: int | None
    notice: str
    step: int
    steps: tuple[str, ...]

    def screen(self, name: str) -> Screen:
        few = self.tries is not None and self.tries <= FEW_TRIES
        return Screen(
            name=name,
            acts=(),
            values={"tries": self.tries},
            facts={"purpose": self.purpose.value, "tries": self.tries, "few": few, "notice": self.notice},
            step=self.step,
            steps=self.steps,
        )


async def enter_pin(
    visit: Visit,
    purpose: PinPurpose,
    *,
    tries: int | None = None,
    weak: Weak = guess,
    step: int = 0,
    steps: tuple[str, ...] = (),
    notice: str = "",
) -> EnteredPin:
    """A new PIN is typed twice and not taken while it is `weak`; slips are told and asked again.

    `tries` as the card tells them; `notice`: a word of `pin_entry` that stands above the digits. Raises PinEntryError,
    ReaderBusyError, DeviceNotConfiguredError, VisitOver.
    """
    slips = 0
    while True:
        wish = _Wish(purpose, tries, notice, step, steps)
        try:
            pin = await _typed(visit, wish)
            if purpose is PinPurpose.CURRENT or (why := weak(pin.digits)) is None:
                return pin
            with pin:
                raise PinWeakError(why)
        except (PinLengthError, PinEntriesDifferError, PinWeakError) as error:
            slips += 1
            if slips == ENTRIES:
                raise
            notice = f"weak_{error.why}" if isinstance(error, PinWeakError) else error.failure.lower()


async def tries_left(card: CitizenCard) -> int:
    """How often a kiosk may send a PIN, and once more. Raises PinUnsetError, LastTryError."""
    tries = await card.do(lambda c: c.pin_tries())
    if tries is None:
        raise PinUnsetError("the card has no PIN")
    if tries <= TRIES_KEPT:
        raise LastTryError(tries)
    return tries


async def verified_pin(visit: Visit, card: CitizenCard, *, step: int = 0, steps: tuple[str, ...] = ()) -> EnteredPin:
    """The card's PIN, typed until it is right. The card's last try is never spent.

    Raises PinUnsetError, LastTryError, and as `enter_pin`.
    """
    notice = ""
    while True:
        tries = await tries_left(card)
        pin = await enter_pin(visit, PinPurpose.CURRENT, tries=tries, notice=notice, step=step, steps=steps)
        with ExitStack() as wiping:
            wiping.enter_context(pin)
            try:
                await card.do(partial(_verify, pin))
            except PinWrongError:
                notice = "wrong"
            except RepeatedPinError:
                notice = "repeated"
            else:
                wiping.pop_all()
                return pin


def _verify(pin: EnteredPin, card: SocialSecurityCard) -> None:
    card.verify_pin(pin.digits)


async def _typed(visit: Visit, wish: _Wish) -> EnteredPin:
    driver = visit.desk.agent.driver
    page = wish.screen("pin_entry")
    subject = PinSubject("kiosk", look=partial(_page, visit, page))
    shown = wish.screen("pin_pad") if driver.has_pin_pad else page
    return await visit.wait(shown, _entered(driver, subject, is_new=wish.purpose is PinPurpose.NEW), may_leave=True)


async def _entered(driver: DriverDesk, subject: PinSubject, *, is_new: bool) -> EnteredPin:
    """Cancelling it ends the entry; digits that came too late are wiped."""
    is_given_up = threading.Event()

    def enter() -> EnteredPin:
        if is_given_up.is_set():
            raise PinEntryCancelledError("who asked has gone")
        return driver.enter_pin(subject, is_new=is_new)

    entry = asyncio.ensure_future(asyncio.to_thread(enter))
    try:
        return await asyncio.shield(entry)
    except asyncio.CancelledError:
        is_given_up.set()
        driver.give_up_pin()
        entry.add_done_callback(_wipe)
        raise


def _wipe(entry: asyncio.Future[EnteredPin]) -> None:
    if not entry.cancelled() and entry.exception() is None:
        with entry.result():
            pass


def _page(visit: Visit, screen: Screen, opened: OpenDialog) -> str:
    limits = {"digits": (MIN_DIGITS, MAX_DIGITS), "pause_s": BETWEEN_DIGITS_S}
    return visit.desk.draw(screen, number=visit.number, opened=opened, **limits)
