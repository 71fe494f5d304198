"""A PIN pad (密码键盘) on a serial line.

The split MT3 frame (`apdu.serial.mt3`) and its command `3992 02` with parameters of our own; a pad with another
protocol needs a client of its own with the same `enter`.

    enter    39 92 02 | purpose | min | max | total s | between digits s | nonce(8)
    cancel   39 92 00
    reply    status(2) | nonce(8) | form | block

Purpose 01 asks for the PIN, 02 for a new one, twice; prompts are the pad's own. Status 0000 success, 0031 cancelled,
0032 time over, 0033 wrong length, 0034 the two entries differ; nonce and what follows come with 0000 alone. Form 00:
the block is a PIN block of ISO 9564-1 format 2 in clear; form 01: the same, enciphered. The nonce binds the answer to
the request. Neither digits nor blocks appear in logs, messages or `repr`.
"""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Callable
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

from apdu.errors import EncodingError, ReaderLostError
from apdu.serial import mt3
from apdu.serial.errors import (
    DeviceRefusedError,
    DeviceSilentError,
    FrameError,
    PinEntriesDifferError,
    PinEntryCancelledError,
    PinEntryTimeoutError,
    PinLengthError,
)
from apdu.serial.mt3 import Form, FrameDecoder, Reply
from apdu.serial.port import DEFAULT_BAUD, SerialPort, receive

ENTER: Final = bytes.fromhex("399202")
CANCEL: Final = bytes.fromhex("399200")
FORM_CLEAR, FORM_SEALED = 0x00, 0x01
NONCE_LENGTH: Final = 8
BLOCK_LENGTH: Final = 8
MAX_SEALED: Final = 64
MIN_DIGITS, MAX_DIGITS = 4, 12
TOTAL_S: Final = 60
BETWEEN_DIGITS_S: Final = 20
MARGIN_S: Final = 2.0  # what the pad may be late with its own time-out
CANCEL_TIMEOUT_S: Final = 1.0

_CONTROL_FORMAT_2: Final = 0x2
_STATUSES: Final = {
    0x0031: (PinEntryCancelledError, "the entry was cancelled at the PIN pad"),
    0x0032: (PinEntryTimeoutError, "the time for the PIN is over"),
    0x0033: (PinLengthError, "the PIN has a wrong length"),
    0x0034: (PinEntriesDifferError, "the two new PINs differ"),
}

OpenBlock = Callable[[bytes, bytes], bytes]
"""(nonce, enciphered block) -> the clear block of 8 bytes, with the key shared with the pad."""


class Purpose(IntEnum):
    VERIFY = 0x01
    NEW_PIN = 0x02


class Pin:
    """Digits that show in no `repr` and can be wiped; use it as a context manager."""

    def __init__(self, digits: bytearray) -> None:
        self._digits = digits

    @property
    def digits(self) -> str:
        """A copy that cannot be wiped: take it as late as possible. Empty after `wipe`."""
        return self._digits.decode("ascii")

    def __len__(self) -> int:
        return len(self._digits)

    def __repr__(self) -> str:
        return "Pin(****)"

    def wipe(self) -> None:
        self._digits[:] = bytes(len(self._digits))
        self._digits.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    @classmethod
    def from_block(cls, block: bytes) -> Pin:
        """Of a format 2 block (ISO 9564-1, 9.3.3): control and length nibble, digits, filler F. Raises FrameError."""
        if len(block) != BLOCK_LENGTH:
            raise FrameError("a PIN block of wrong length")
        nibbles = bytearray(nibble for byte in block for nibble in (byte >> 4, byte & 0x0F))
        length = nibbles[1]
        digits, filler = nibbles[2 : 2 + length], nibbles[2 + length :]
        is_good = (
            nibbles[0] == _CONTROL_FORMAT_2
            and MIN_DIGITS <= length <= MAX_DIGITS
            and all(digit <= 9 for digit in digits)
            and all(nibble == 0xF for nibble in filler)
        )
        if not is_good:
            raise FrameError("a PIN block that is not of format 2")
        for index in range(length):
            digits[index] |= 0x30
        nibbles[:] = bytes(len(nibbles))
        return cls(digits)


class PinPad:
    """One pad on one port. `enter` belongs to one caller at a time; `cancel` may be called from any thread.

    Without `open_block` a PIN in clear is accepted, which is right only for a pad in one housing with the reader; with
    it only an enciphered one is (draft P8, 6.4.4.4).
    """

    def __init__(self, path: str, *, baud: int = DEFAULT_BAUD, open_block: OpenBlock | None = None) -> None:
        self.path = path
        self._baud = baud
        self._open_block = open_block
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def enter(
        self,
        purpose: Purpose = Purpose.VERIFY,
        *,
        min_digits: int = MIN_DIGITS,
        max_digits: int = MAX_DIGITS,
        total_s: int = TOTAL_S,
        between_digits_s: int = BETWEEN_DIGITS_S,
    ) -> Pin:
        """Blocks until the holder has entered a PIN. Raises a PinEntryError, DeviceRefusedError or a ReaderLostError;
        after any of them the pad waits for no entry any more, if it can still hear."""
        if not (
            MIN_DIGITS <= min_digits <= max_digits <= MAX_DIGITS and 0 < total_s < 256 and 0 < between_digits_s < 256
        ):
            raise EncodingError("limits no PIN pad can keep")
        nonce = os.urandom(NONCE_LENGTH)
        limits = bytes((purpose, min_digits, max_digits, total_s, between_digits_s))
        with self._lock:
            self._cancelled.clear()
            with SerialPort(self.path, baud=self._baud) as line:
                line.discard()
                line.write(mt3.encode(ENTER + limits + nonce, Form.SPLIT))
                try:
                    body = receive(line, FrameDecoder(Form.SPLIT), total_s + MARGIN_S, self._cancelled.is_set)
                    pin = self._parse(body, nonce)
                except (DeviceSilentError, FrameError) as error:
                    self._break_off(line)
                    if isinstance(error, FrameError):
                        raise
                    if self._cancelled.is_set():
                        raise PinEntryCancelledError("the entry was cancelled by the program") from None
                    raise PinEntryTimeoutError("the PIN pad gave no answer in time") from error
        if not min_digits <= len(pin) <= max_digits:
            pin.wipe()
            raise PinLengthError("the PIN has a wrong length")
        return pin

    def cancel(self) -> None:
        """Ends a running `enter` with PinEntryCancelledError; otherwise nothing."""
        self._cancelled.set()

    def _parse(self, body: bytes, nonce: bytes) -> Pin:
        reply = Reply.from_body(body, Form.SPLIT)
        if not reply.is_ok:
            if reply.status in _STATUSES:
                kind, text = _STATUSES[reply.status]
                raise kind(text)
            raise DeviceRefusedError(f"the PIN pad answered {reply.status:04X}", status=reply.status)
        payload = reply.payload
        if len(payload) < NONCE_LENGTH + 2 or len(payload) > NONCE_LENGTH + 1 + MAX_SEALED:
            raise FrameError("an answer of the PIN pad of wrong length")
        if not hmac.compare_digest(payload[:NONCE_LENGTH], nonce):
            raise FrameError("an answer of the PIN pad to another request")
        form, block = payload[NONCE_LENGTH], payload[NONCE_LENGTH + 1 :]
        if form != (FORM_CLEAR if self._open_block is None else FORM_SEALED):
            raise FrameError("an answer of the PIN pad in a form that is not the one agreed")
        return Pin.from_block(block if self._open_block is None else self._open_block(nonce, block))

    def _break_off(self, line: SerialPort) -> None:
        """The pad must not go on showing its prompt; what it answers does not matter."""
        try:
            line.write(mt3.encode(CANCEL, Form.SPLIT))
            receive(line, FrameDecoder(Form.SPLIT), CANCEL_TIMEOUT_S)
        except ReaderLostError:
            return
