"""Readers of the PC/SC service, through pyscard's low-level calls.

pyscard is imported at the first use, never at import time of this module, and only after libpcsclite was found:
without the library it prints to standard output and then reports a service that is not running. It takes and gives
lists of integers; they are converted once per APDU, at this border. `PCSCLITE_CSOCK_NAME` is read by the library
once per process, so it must be set before the first call.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from apdu.command import HEADER_LENGTH
from apdu.errors import (
    CardAbsentError,
    CardBusyError,
    CardMuteError,
    CardRemovedError,
    CardResetError,
    CardUnsupportedError,
    EncodingError,
    ReaderLostError,
    ReaderNotFoundError,
    ReaderServiceError,
    TransportError,
)
from apdu.readers import ReaderSnapshot, SlotState

SUCCESS: Final = 0
E_INVALID_HANDLE: Final = 0x80100003
E_UNKNOWN_READER: Final = 0x80100009
E_TIMEOUT: Final = 0x8010000A
E_SHARING_VIOLATION: Final = 0x8010000B
E_NOT_TRANSACTED: Final = 0x80100016
E_NO_READERS: Final = 0x8010002E
W_RESET_CARD: Final = 0x80100068

SHARE_SHARED: Final = 2
LEAVE_CARD: Final = 0
RESET_CARD: Final = 1
PROTOCOLS: Final = {1: "T=0", 2: "T=1"}
ANY_PROTOCOL: Final = 3
SCOPE_SYSTEM: Final = 2

STATE_CHANGED: Final = 0x0002
STATE_PRESENT: Final = 0x0020
PNP_NOTIFICATION: Final = "\\\\?PnP?\\Notification"

MAX_RECONNECTS: Final = 3
# vpcd and pcscd look every 400 ms whether the card is still there, on a busy machine later.
REMOVAL_NOTICE_MS: Final = 1000
MAX_STATES: Final = 16  # PCSCLITE_MAX_READERS_CONTEXTS
_RELIST_PAUSE_S: Final = 0.05

_ERRORS: Final[dict[int, tuple[type[TransportError], str]]] = {
    E_INVALID_HANDLE: (ReaderServiceError, "the PC/SC handle is dead"),
    E_UNKNOWN_READER: (ReaderNotFoundError, "no such reader"),
    E_SHARING_VIOLATION: (CardBusyError, "another program holds the card exclusively"),
    0x8010000C: (CardAbsentError, "no card in the reader"),
    0x8010000F: (CardUnsupportedError, "the card offers neither T=0 nor T=1"),
    0x80100010: (CardBusyError, "the reader is not ready"),
    0x80100013: (ReaderServiceError, "the PC/SC service broke off"),
    E_NOT_TRANSACTED: (CardMuteError, "the card did not answer"),
    0x80100017: (ReaderLostError, "the reader was unplugged"),
    0x8010001D: (ReaderServiceError, "the PC/SC service is not running"),
    0x8010001E: (ReaderServiceError, "the PC/SC service has stopped"),
    E_NO_READERS: (ReaderNotFoundError, "no reader is connected"),
    0x80100065: (CardUnsupportedError, "the reader cannot talk to this card"),
    0x80100066: (CardMuteError, "the card does not answer to reset"),
    0x80100067: (CardMuteError, "the card has no power"),
    W_RESET_CARD: (CardResetError, "another program reset the card"),
    0x80100069: (CardRemovedError, "the card was removed"),
    # Also for pcscd's own limit of 200 contexts (--max-thread), and when it dies at the wrong moment.
    0x8010006A: (ReaderServiceError, "the PC/SC service refuses: access denied, or too many clients"),
}

_log = logging.getLogger(__name__)


def is_available(*, needs_service: bool = True) -> tuple[bool, str]:
    """Whether PC/SC can be used, and if not, what is missing. `needs_service=False` asks for the software alone."""
    try:
        _scard()
        if needs_service:
            with _context():
                pass
    except ReaderServiceError as error:
        return False, str(error)
    return True, ""


_module: Any = None


def _scard() -> Any:
    global _module
    if _module is None:
        if sys.platform.startswith("linux"):
            try:
                ctypes.CDLL("libpcsclite.so.1")
            except OSError as error:
                raise ReaderServiceError("libpcsclite.so.1 is not installed (Debian: libpcsclite1, pcscd)") from error
        try:
            _module = importlib.import_module("smartcard.scard")
        except ImportError as error:
            raise ReaderServiceError(f"pyscard is not installed: {error}") from error
    return _module


def _call(name: str, *arguments: Any) -> tuple[int, list[Any]]:
    """Result code and values of one call. pyscard raises SystemError for handles whose service died."""
    try:
        result = getattr(_scard(), name)(*arguments)
    except (SystemError, OverflowError) as error:
        raise ReaderServiceError(f"{name}: the PC/SC handle is dead") from error
    if isinstance(result, (list, tuple)):
        return result[0] & 0xFFFFFFFF, list(result[1:])
    return result & 0xFFFFFFFF, []


def _error(code: int, where: str) -> TransportError:
    kind, text = _ERRORS.get(code, (ReaderLostError, "PC/SC failure"))
    return kind(f"{where}: {text} ({code:08X})")


def _establish() -> int:
    code, values = _call("SCardEstablishContext", SCOPE_SYSTEM)
    if code != SUCCESS:
        raise _error(code, "SCardEstablishContext")
    return int(values[0])


def _release(context: int) -> None:
    """A context whose service died is freed on our side all the same."""
    try:
        code, _ = _call("SCardReleaseContext", context)
    except ReaderServiceError as error:
        _log.debug("release: %s", error)
    else:
        if code != SUCCESS:
            _log.debug("release: %08X", code)


@contextmanager
def _context() -> Iterator[int]:
    context = _establish()
    try:
        yield context
    finally:
        _release(context)


def _list_readers(context: int) -> list[str]:
    code, values = _call("SCardListReaders", context, [])
    if code == E_NO_READERS:
        return []
    if code != SUCCESS:
        raise _error(code, "SCardListReaders")
    return list(values[0])


class PcscReaders:
    """The ReaderService of PC/SC. Thread-safe and without state: every connection and every watch has a context of its
    own (one thread in pcscd), so that a service killed and started again is simply found by the next call."""

    def __init__(self, *, resets_on_close: bool = True) -> None:
        self._resets_on_close = resets_on_close

    def readers(self) -> list[str]:
        with _context() as context:
            return _list_readers(context)

    def connect(self, name: str) -> PcscConnection:
        """Shared mode. Blocks while another program holds a transaction on the card."""
        context = _establish()
        try:
            code, values = _call("SCardConnect", context, name, SHARE_SHARED, ANY_PROTOCOL)
            if code != SUCCESS:
                raise _error(code, name)
            return PcscConnection(context, name, int(values[0]), int(values[1]), resets=self._resets_on_close)
        except BaseException:
            _release(context)
            raise

    def watch(self) -> PcscWatch:
        return PcscWatch(_establish())


class PcscConnection:
    """A CardConnection in shared mode. A reset by another program raises CardResetError once and the connection goes
    on with the reset card; before the first command nothing is lost by it and nobody is told."""

    def __init__(self, context: int, name: str, handle: int, protocol: int, *, resets: bool) -> None:
        self.name = name
        self._context = context
        self._handle = handle
        self._pci = protocol
        self._resets = resets
        self._is_open = True
        self._is_gone = False
        self._has_state = False
        self.atr = self._read_atr()

    @property
    def protocol(self) -> str:
        return PROTOCOLS.get(self._pci, "T=0")

    def transmit(self, command: bytes) -> bytes:
        # Of one byte vpcd makes a control code, and after zero bytes pyscard returns foreign memory.
        if len(command) < HEADER_LENGTH:
            raise EncodingError(f"{len(command)} bytes are no command")
        self._expect_usable()
        for _ in range(MAX_RECONNECTS):
            code, values = _call("SCardTransmit", self._handle, self._pci, list(command))
            if code != W_RESET_CARD:
                break
            self._recover()
        self._has_state = True
        if code == E_NOT_TRANSACTED:
            raise self._silence()
        if code != SUCCESS:
            raise self._failed(_error(code, self.name))
        response = bytes(values[0])
        if not response:
            # vpcd reports a card pulled during a command as a success without data.
            raise self._failed(CardRemovedError(f"{self.name}: the card left during a command"))
        if len(response) < 2:
            raise CardMuteError(f"{self.name}: incomplete response")
        return response

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._expect_usable()
        for _ in range(MAX_RECONNECTS):
            code, _values = _call("SCardBeginTransaction", self._handle)
            if code != W_RESET_CARD:
                break
            self._recover()
        if code != SUCCESS:
            raise self._failed(_error(code, self.name))
        try:
            yield
        finally:
            if self._is_open:
                self._quietly("SCardEndTransaction", self._handle, LEAVE_CARD)

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        # Resetting a card that has left makes pcscd 1.9 miss one inserted before its next poll, until that one leaves.
        resets = self._resets and not self._is_gone
        code = self._quietly("SCardDisconnect", self._handle, RESET_CARD if resets else LEAVE_CARD)
        if code == E_SHARING_VIOLATION:
            self._quietly("SCardDisconnect", self._handle, LEAVE_CARD)
        _release(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_atr(self) -> bytes:
        code, values = _call("SCardStatus", self._handle)
        if code == W_RESET_CARD:
            self._reconnect()
            code, values = _call("SCardStatus", self._handle)
        if code != SUCCESS:
            raise _error(code, self.name)
        return bytes(values[3])

    def _expect_usable(self) -> None:
        if not self._is_open:
            raise CardRemovedError(f"{self.name}: the connection is closed")
        if self._is_gone:
            raise CardRemovedError(f"{self.name}: the card has left")

    def _failed(self, error: TransportError) -> TransportError:
        if isinstance(error, (CardRemovedError, CardAbsentError)):
            self._is_gone = True
        return error

    def _recover(self) -> None:
        """After a reset by another program. Raises when the caller must know: state was lost, or the card exchanged."""
        before, had_state = self.atr, self._has_state
        self._reconnect()
        self.atr = self._read_atr()
        self._has_state = False
        if self.atr != before:
            raise self._failed(CardRemovedError(f"{self.name}: another card is in the reader"))
        if had_state:
            raise _error(W_RESET_CARD, self.name)

    def _reconnect(self) -> None:
        code, values = _call("SCardReconnect", self._handle, SHARE_SHARED, ANY_PROTOCOL, LEAVE_CARD)
        if code != SUCCESS:
            raise self._failed(_error(code, self.name))
        self._pci = int(values[0])

    def _silence(self) -> TransportError:
        """Tells a silent card from one that was just pulled out, which the service notices late."""
        try:
            code, values = _call("SCardGetStatusChange", self._context, 0, [(self.name, 0)])
            if code == SUCCESS:
                seen = values[0][0][1] & ~STATE_CHANGED
                if seen & STATE_PRESENT:
                    code, values = _call("SCardGetStatusChange", self._context, REMOVAL_NOTICE_MS, [(self.name, seen)])
        except ReaderServiceError as error:
            return error
        if code == E_TIMEOUT:
            return _error(E_NOT_TRANSACTED, self.name)
        if code == E_UNKNOWN_READER:
            return self._failed(ReaderLostError(f"{self.name}: the reader was unplugged"))
        if code != SUCCESS:
            return self._failed(_error(code, self.name))
        now = values[0][0][1]
        if now & STATE_PRESENT and now >> 16 == seen >> 16:
            return _error(E_NOT_TRANSACTED, self.name)
        return self._failed(CardRemovedError(f"{self.name}: the card left during a command"))

    def _quietly(self, name: str, *arguments: Any) -> int:
        try:
            code, _ = _call(name, *arguments)
        except ReaderServiceError as error:
            _log.debug("%s: %s", self.name, error)
            return E_INVALID_HANDLE
        if code != SUCCESS:
            _log.debug("%s: %s answered %08X", self.name, name, code)
        return code


class PcscWatch:
    """The ReaderWatch of PC/SC.

    Two blind spots are the service's own: with pcscd an exchange of cards inside one 400 ms poll of vpcd may be
    missed, and `wake` cannot end a wait early. SCardCancel could, but it asks the daemon, which may hang; the
    bounded waits of the monitor end by themselves.
    """

    def __init__(self, context: int) -> None:
        self._context = context
        self._raw: dict[str, tuple[int, bytes]] = {}
        self._pnp = 0
        self._last: dict[str, SlotState] | None = None

    def wait(self, timeout_s: float) -> ReaderSnapshot:
        deadline = time.monotonic() + timeout_s
        while True:
            self._relist()
            left_ms = 0 if self._last is None else max(0, round((deadline - time.monotonic()) * 1000))
            code = self._look(left_ms)
            if code == E_UNKNOWN_READER:
                # A reader vanished between the list and the look.
                time.sleep(_RELIST_PAUSE_S)
            elif code not in (SUCCESS, E_TIMEOUT):
                raise _error(code, "SCardGetStatusChange")
            snapshot = {
                name: SlotState(bool(state & STATE_PRESENT), atr if state & STATE_PRESENT else b"", state >> 16)
                for name, (state, atr) in self._raw.items()
            }
            if snapshot != self._last and code != E_UNKNOWN_READER:
                self._last = snapshot
                return snapshot
            if time.monotonic() >= deadline:
                return self._last if self._last is not None else snapshot

    def wake(self) -> None:
        """Nothing to do: see the class."""

    def close(self) -> None:
        _release(self._context)

    def _relist(self) -> None:
        names = _list_readers(self._context)
        self._raw = {name: self._raw.get(name, (0, b"")) for name in names}

    def _look(self, timeout_ms: int) -> int:
        known = [(name, state) for name, (state, _) in self._raw.items()]
        if not known and timeout_ms == 0:
            return SUCCESS
        # Full is full: pcscd has no room for another reader to come then, and for no more entries either.
        news = [(PNP_NOTIFICATION, self._pnp)] if len(known) < MAX_STATES else []
        code, values = _call("SCardGetStatusChange", self._context, timeout_ms, [*news, *known])
        if code == SUCCESS:
            for name, state, atr in values[0]:
                if name == PNP_NOTIFICATION:
                    # Windows keeps the number of readers here and would answer at once to a stale one.
                    self._pnp = state & ~STATE_CHANGED
                elif name in self._raw:
                    self._raw[name] = state & ~STATE_CHANGED, bytes(atr)
        return code
