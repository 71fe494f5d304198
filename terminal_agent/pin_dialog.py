"""PINs typed in the agent's own page, where the terminal has no PIN pad.

The function that needs a PIN blocks on its reader's thread; the page's requests come from the event loop. One entry
waits at a time. Its page is opened with a ticket that works once; the page's form carries a key that works once, and
a new ticket makes an older page useless. Digits pass through this module in buffers that are wiped, and appear in no
log, event or message. What ends an entry has the codes of the PIN pad (-31 to -34).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from apdu.errors import DecodingError, TransportError
from apdu.serial.errors import PinEntriesDifferError, PinEntryCancelledError, PinEntryTimeoutError, PinLengthError
from apdu.serial.pinpad import MAX_DIGITS, MIN_DIGITS, Pin
from cardlib.driver_session import DriverSession
from cardlib.identity import mask_card_number
from terminal_agent.hub import EventHub
from terminal_agent.problems import ReaderBusyError
from terminal_agent.settings import URL_PLACE

PIN_WANTED, PIN_OVER = "pin_wanted", "pin_over"
TOKEN_BYTES: Final = 32
WINDOW_END_S: Final = 2.0
COUNTING_FUNCTIONS: Final = frozenset({"iVerifyPIN", "iChangePIN"})
LOG = logging.getLogger("terminal_agent.pin")


@dataclass(frozen=True, slots=True)
class PinSubject:
    """Whom the holder gives the PIN. `program` as `caller.PROGRAM`; `card` is masked; `tries` is None when not known.

    Of a log-in: the `site` that it is to, and the `items` that the site will learn. `look` draws the page where it is
    not the dialog's own one.
    """

    function: str = ""
    program: str = ""
    reader: str = ""
    card: str = ""
    tries: int | None = None
    site: str = ""
    items: tuple[str, ...] = ()
    look: Callable[[OpenDialog], str] | None = field(default=None, repr=False, compare=False)


def pin_subject(function: str, reader: str, program: str, session: DriverSession, is_new: bool) -> PinSubject:
    """Of a driver function at work on `session`'s card. The card is asked for its tries only where the function has
    just done the same: elsewhere a command in between could end a challenge."""
    card = session.opened()
    tries = None
    if function in COUNTING_FUNCTIONS and not is_new:
        with suppress(TransportError, DecodingError):
            tries = card.pin_tries()
    return PinSubject(function, program, reader, mask_card_number(card.card_number), tries)


class PinEnd(StrEnum):
    """How a page of the dialog ended."""

    SENT = "sent"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    LENGTH = "length"
    DIFFER = "differ"
    STALE = "stale"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class OpenDialog:
    """What one opened page shows. `key` makes its form valid once."""

    key: str = field(repr=False)
    is_new: bool
    subject: PinSubject
    seconds_left: int


class PinForm:
    """A form of the page, as bytes `name=value&…` without escapes: its key, digits and button. Wipes what it was
    given; the digits live until `wipe`."""

    def __init__(self, body: bytearray) -> None:
        fields: dict[bytes, bytearray] = {}
        start = 0
        while start < len(body):
            end = body.find(b"&", start)
            end = len(body) if end < 0 else end
            middle = body.find(b"=", start, end)
            if middle >= 0:
                fields.setdefault(bytes(body[start:middle]), body[middle + 1 : end])
            start = end + 1
        body[:] = bytes(len(body))
        self.key = bytes(fields.get(b"key", b""))
        self.is_cancel = fields.get(b"act", bytearray()) == bytearray(b"cancel")
        self.pin = fields.get(b"pin", bytearray())
        self.again = fields.get(b"again", bytearray())

    def wipe(self) -> None:
        for digits in (self.pin, self.again):
            digits[:] = bytes(len(digits))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.wipe()


@dataclass(slots=True)
class _Entry:
    is_new: bool
    subject: PinSubject
    deadline: float
    ticket: str | None = None
    key: str | None = None
    result: Future[Pin] = field(default_factory=Future)


class PinDialog:
    """A `PinEntry`. `enter` may be called from any thread but the loop's; everything else is for the loop."""

    def __init__(self, hub: EventHub, page_url: Callable[[], str], *, total_s: float, command: tuple[str, ...]) -> None:
        self._hub = hub
        self._page_url = page_url
        self._total_s = total_s
        self._command = command
        self._lock = threading.Lock()
        self._entry: _Entry | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._given_up = 0
        self.subject: Callable[[bool], PinSubject] = lambda is_new: PinSubject()
        """Of the function now running, asked on its thread; takes whether the PIN is a new one."""

    @property
    def is_wanted(self) -> bool:
        return self._waiting() is not None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Ends a waiting entry as cancelled, and refuses later ones."""
        with self._lock:
            self._is_closed = True
            if self._entry is not None and not self._entry.result.done():
                self._entry.result.set_exception(PinEntryCancelledError("the terminal service is stopping"))

    def give_up(self) -> None:
        """Nobody waits any more for what the function now running asks."""

        def nobody(is_new: bool) -> PinSubject:
            raise PinEntryCancelledError("who asked has gone")

        with self._lock:
            self._given_up += 1
            self.subject = nobody
            if self._entry is not None and not self._entry.result.done():
                self._entry.result.set_exception(PinEntryCancelledError("who asked has gone"))

    def enter(self, *, is_new: bool) -> Pin:
        """Blocks at most the configured time. Raises a PinEntryError, or ReaderBusyError while another PIN is asked
        for."""
        given_up = self._given_up  # the subject asks the card, and who asked may go meanwhile
        entry = _Entry(is_new, self.subject(is_new), time.monotonic() + self._total_s)
        with self._lock:
            if self._is_closed:
                raise PinEntryCancelledError("the terminal service is stopping")
            if self._given_up != given_up:
                raise PinEntryCancelledError("who asked has gone")
            if self._entry is not None:
                raise ReaderBusyError("another PIN is being entered")
            self._entry = entry
        self._publish(PIN_WANTED, {"function": entry.subject.function, "is_new": is_new, "seconds": self._total_s})
        window = self._show()
        try:
            return self._await(entry)
        finally:
            self._publish(PIN_OVER, {"function": entry.subject.function})
            if window is not None:
                threading.Thread(target=_end, args=(window,), name="pin window", daemon=True).start()

    # -- the page ---------------------------------------------------------------------------------------------------

    def take_ticket(self) -> str | None:
        """For one opening of the page; what was opened before is out of date. None when no PIN is wanted."""
        with self._lock:
            entry = self._waiting()
            if entry is None:
                return None
            entry.ticket, entry.key = secrets.token_urlsafe(TOKEN_BYTES), None
            return entry.ticket

    def open(self, ticket: str) -> OpenDialog | None:
        """Uses the ticket up. None for one that was used, replaced or never given."""
        with self._lock:
            entry = self._waiting()
            if entry is None or not _is_same(entry.ticket, ticket.encode()):
                return None
            entry.ticket, entry.key = None, secrets.token_urlsafe(TOKEN_BYTES)
            left_s = max(1, int(entry.deadline - time.monotonic()))
            return OpenDialog(entry.key, entry.is_new, entry.subject, left_s)

    def answer(self, form: PinForm) -> PinEnd:
        """Ends the entry whose key the form carries."""
        with self._lock:
            entry = self._waiting()
            if entry is None or not _is_same(entry.key, form.key):
                return PinEnd.STALE
            entry.key = None
            if form.is_cancel:
                entry.result.set_exception(PinEntryCancelledError("the entry was cancelled in the PIN window"))
                return PinEnd.CANCELLED
            if not (MIN_DIGITS <= len(form.pin) <= MAX_DIGITS and all(0x30 <= digit <= 0x39 for digit in form.pin)):
                entry.result.set_exception(PinLengthError("the PIN has a wrong length"))
                return PinEnd.LENGTH
            if entry.is_new and not hmac.compare_digest(form.pin, form.again):
                entry.result.set_exception(PinEntriesDifferError("the two new PINs differ"))
                return PinEnd.DIFFER
            entry.result.set_result(Pin(bytearray(form.pin)))
            return PinEnd.SENT

    # -- inside -----------------------------------------------------------------------------------------------------

    def _waiting(self) -> _Entry | None:
        entry = self._entry
        is_open = entry is not None and not entry.result.done() and time.monotonic() < entry.deadline
        return entry if is_open else None

    def _await(self, entry: _Entry) -> Pin:
        try:
            return entry.result.result(self._total_s)
        except TimeoutError:
            # An answer of this very moment may have come in first.
            with self._lock:
                if not entry.result.done():
                    entry.result.set_exception(PinEntryTimeoutError("the time for the PIN is over"))
            return entry.result.result()
        finally:
            with self._lock:
                self._entry = None

    def _publish(self, name: str, data: dict[str, object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hub.publish, name, data)

    def _show(self) -> subprocess.Popen[bytes] | None:
        """Starts the configured window. Without one, or when it fails, the agent's page leads to the dialog."""
        ticket = self.take_ticket() if self._command else None
        if ticket is None:
            return None
        command = [word.replace(URL_PLACE, f"{self._page_url()}/pin/{ticket}") for word in self._command]
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            LOG.warning("the PIN window did not start: %s", error.strerror)  # its arguments hold the ticket
            return None


def _is_same(expected: str | None, given: bytes) -> bool:
    return expected is not None and hmac.compare_digest(expected.encode(), given)


def _end(window: subprocess.Popen[bytes]) -> None:
    window.terminate()
    with suppress(subprocess.TimeoutExpired):
        window.wait(WINDOW_END_S)
        return
    window.kill()
    window.wait()
