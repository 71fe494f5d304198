"""What can go wrong on a serial line, beside the errors every reader knows."""

from __future__ import annotations

from apdu.errors import ReaderLostError, TransportError


class FrameError(ReaderLostError, ValueError):
    """Bytes that are no frame. The text names lengths and positions and never the bytes, which may be a PIN."""


class DeviceSilentError(ReaderLostError):
    """No complete answer in the time given. A late one may still come, so the line must be opened anew."""


class DeviceRefusedError(TransportError):
    """The device understood the request and answered with an error status."""

    failure = "COMMAND_REJECTED"

    def __init__(self, message: str, *, status: int, failure: str = "COMMAND_REJECTED") -> None:
        super().__init__(message)
        self.status = status
        self.failure = failure


class PinEntryError(TransportError):
    """No PIN was entered; nothing was sent to a card and no try is used."""

    failure = "PIN_ENTRY_CANCELLED"


class PinEntryCancelledError(PinEntryError):
    """Driver code -31: the holder, or the program, broke the entry off."""

    failure = "PIN_ENTRY_CANCELLED"


class PinEntryTimeoutError(PinEntryError):
    """Driver code -32: the time for the entry, or between two digits, is over."""

    failure = "PIN_ENTRY_TIMEOUT"


class PinLengthError(PinEntryError):
    """Driver code -33: fewer or more digits than asked for."""

    failure = "PIN_LENGTH"


class PinEntriesDifferError(PinEntryError):
    """Driver code -34: the new PIN was not the same both times."""

    failure = "PIN_ENTRIES_DIFFER"


class IdCardError(TransportError):
    """A status of the ID-card module other than success; `failure` says what it means for the clerk."""

    failure = "CARD_DATA_INVALID"

    def __init__(self, message: str, *, status: int, failure: str) -> None:
        super().__init__(message)
        self.status = status
        self.failure = failure


class ScanError(TransportError):
    """A scan that is no text of a code: too long, not decodable, or with control characters."""

    failure = "INPUT_INVALID"
