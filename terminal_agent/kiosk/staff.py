"""The staff's side of the kiosk: opened by a PIN of the settings file, shows the machine and nothing of any citizen."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Final

from cardlib.failures import FailureCode, failure_of
from terminal_agent.devices import Device
from terminal_agent.kiosk.screens import Receipt
from terminal_agent.kiosk.slips import as_receipt
from terminal_agent.problems import AgentError

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk

TRIES: Final = 5
PAUSE_S: Final = 300.0
STAFF_S: Final = 180.0
"""Without a touch the staff's page closes by itself."""
PIN_DIGITS: Final = (6, 12)
_COST: Final = 14
_BLOCK: Final = 8
LOG = logging.getLogger("terminal_agent.kiosk")


class StaffPinError(ValueError):
    """Not 6 to 12 digits."""


def staff_pin(pin: str) -> str:
    """What `kiosk_staff_pin` holds for this PIN. Raises StaffPinError."""
    least, most = PIN_DIGITS
    if not (pin.isascii() and pin.isdigit() and least <= len(pin) <= most):
        raise StaffPinError(f"a PIN of {least} to {most} digits")
    salt = secrets.token_bytes(16)
    return f"scrypt:{_COST}:{salt.hex()}:{_derived(pin, _COST, salt).hex()}"


def is_pin(pin: str, kept: str) -> bool:
    """Slow on purpose; not for the event loop. `kept` as of the settings, which have checked its form."""
    _, cost, salt, wanted = kept.split(":")
    return hmac.compare_digest(_derived(pin, int(cost), bytes.fromhex(salt)), bytes.fromhex(wanted))


def _derived(pin: str, cost: int, salt: bytes) -> bytes:
    memory = 2 * 128 * _BLOCK * 2**cost
    return hashlib.scrypt(pin.encode(), salt=salt, n=2**cost, r=_BLOCK, p=1, maxmem=memory, dklen=32)


class StaffRefusedError(AgentError):
    """A wrong PIN, too many of them, or none set."""

    failure: ClassVar[str] = "ACCESS_DENIED"

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class StaffDesk:
    """Use from the event loop. `note` is the word of what the last act came to, `note_failure` why it did not."""

    def __init__(self, desk: KioskDesk) -> None:
        self._desk = desk
        self._wrong = 0
        self._paused_until = 0.0
        self._turn = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._touched = 0.0
        self.is_open = False
        self.note = ""
        self.note_failure: FailureCode | None = None
        self._acts: dict[str, Callable[[], Awaitable[None]]] = {
            "close": self._close,
            "test_print": self._test_print,
            "out": self._out,
            "reopen": self._reopen,
            "helped": self._helped,
            "throw_away": self._throw_away,
        }

    async def open(self, pin: str) -> None:
        """Raises StaffRefusedError with `none`, `paused` or `wrong`."""
        kept = self._desk.settings.kiosk_staff_pin
        if not kept:
            raise StaffRefusedError("none")
        async with self._turn:
            if self._desk.clock.now() < self._paused_until:
                raise StaffRefusedError("paused")
            if not await asyncio.to_thread(is_pin, pin, kept):
                self._count_wrong()
                raise StaffRefusedError("wrong")
            self._wrong = 0
        LOG.info("staff's page opened")
        self.is_open, self.note, self.note_failure = True, "", None
        self.touch()
        self._closing = asyncio.create_task(self._close_when_idle())
        self._desk.changed()

    def _count_wrong(self) -> None:
        self._wrong += 1
        LOG.warning("wrong staff PIN, %d in a row", self._wrong)
        if self._wrong >= TRIES:
            self._wrong, self._paused_until = 0, self._desk.clock.now() + PAUSE_S

    def touch(self) -> None:
        self._touched = self._desk.clock.now()

    async def do(self, act: str) -> None:
        """One of the page's acts; an unknown one is nothing."""
        self.touch()
        self.note, self.note_failure = "", None
        work = self._acts.get(act)
        if work is None or not self.is_open:
            return
        LOG.info("staff: %s", act)
        try:
            await work()
        except Exception as error:
            self.note_failure = failure_of(error)
            if self.note_failure is FailureCode.INTERNAL:
                LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
        else:
            self.note = act
        self._desk.changed()

    def devices(self) -> list[Device]:
        return self._desk.agent.device_list()

    async def stop(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            await asyncio.gather(self._closing, return_exceptions=True)

    # -- acts -------------------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        self._end()

    async def _test_print(self) -> None:
        place = self._desk.settings.kiosk_place
        await self._desk.agent.counter.print(as_receipt(Receipt("test"), self._desk.look.lang, place))

    async def _out(self) -> None:
        self._desk.is_closed_by_staff = True

    async def _reopen(self) -> None:
        self._desk.is_closed_by_staff = False

    async def _helped(self) -> None:
        self._desk.cancel_help()

    async def _throw_away(self) -> None:
        await self._desk.maker.throw_away()

    def _end(self) -> None:
        self.is_open = False
        self._desk.touched()
        self._desk.changed()

    async def _close_when_idle(self) -> None:
        while self.is_open:
            left_s = self._touched + STAFF_S - self._desk.clock.now()
            if left_s <= 0:
                self._end()
                return
            await self._desk.clock.wait(asyncio.Event(), left_s)
