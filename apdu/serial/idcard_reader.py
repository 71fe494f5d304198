"""A client of an ID-card module: find, select, read."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self

from apdu.errors import ReaderLostError
from apdu.serial import idcard
from apdu.serial.idcard import STATUS_FOUND, STATUS_NOT_FOUND, STATUS_OK, IdCard
from apdu.serial.port import DEFAULT_BAUD, SerialPort, receive

FIND: Final = bytes.fromhex("2001")
SELECT: Final = bytes.fromhex("2002")
READ_TEXT_AND_PHOTO: Final = bytes.fromhex("3001")
MODULE_STATUS: Final = bytes.fromhex("11FF")
MODULE_NUMBER: Final = bytes.fromhex("12FF")
ANSWER_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 5.0
FIND_PAUSE_S: Final = 0.3


class IdCardReader:
    """One module on one port. Thread-safe; the port is opened by the first request and again after a loss.

    A card that was read is not found again until it has been lifted: that is the modules' own rule.
    """

    def __init__(self, path: str, *, baud: int = DEFAULT_BAUD) -> None:
        self.path = path
        self._baud = baud
        self._port: SerialPort | None = None
        self._lock = threading.Lock()
        self._is_closing = False

    def check(self) -> None:
        """Raises IdCardError when the module says that it does not work, ReaderLostError when it says nothing."""
        status, _ = self._request(MODULE_STATUS)
        idcard.expect(status, STATUS_OK)

    def module_number(self) -> bytes:
        """The number of the security module, as it delivers it."""
        status, data = self._request(MODULE_NUMBER)
        idcard.expect(status, STATUS_OK)
        return data

    def find(self) -> bool:
        """Whether a card lies on the reader that has not been read yet."""
        status, _ = self._request(FIND)
        idcard.expect(status, STATUS_FOUND, STATUS_NOT_FOUND)
        return status == STATUS_FOUND

    def read(self) -> IdCard:
        """The card on the reader. Raises IdCardError (`failure` CARD_ABSENT without one), IdCardDataError or
        ReaderLostError; the card may then be lifted, put back and read again."""
        for request, timeout_s, good in (
            (FIND, None, STATUS_FOUND),
            (SELECT, None, STATUS_OK),
            (READ_TEXT_AND_PHOTO, READ_TIMEOUT_S, STATUS_OK),
        ):
            status, data = self._request(request, timeout_s)
            idcard.expect(status, good)
        return IdCard.from_bytes(data)

    def wait(self, timeout_s: float) -> bool:
        """Whether a card was put on the reader in time."""
        deadline = time.monotonic() + timeout_s
        while not self.find():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._is_closing:
                return False
            time.sleep(min(FIND_PAUSE_S, left_s))
        return True

    def close(self) -> None:
        """Ends a running request within a moment; a later request opens the port again."""
        self._is_closing = True
        with self._lock:
            self._drop()
            self._is_closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, content: bytes, timeout_s: float | None = None) -> tuple[int, bytes]:
        with self._lock:
            if self._port is None:
                self._port = SerialPort(self.path, baud=self._baud)
            try:
                self._port.discard()
                self._port.write(idcard.encode(content))
                frame = receive(
                    self._port, idcard.FrameDecoder(), timeout_s or ANSWER_TIMEOUT_S, lambda: self._is_closing
                )
                return idcard.parse_reply(frame)
            except ReaderLostError:
                # Also after garbage and silence: what comes late must not answer the next request.
                self._drop()
                raise

    def _drop(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
