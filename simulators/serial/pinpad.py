"""A simulated PIN pad with the frame of `docs/devices.md`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from simulators.serial.mt3 import Frames
from simulators.serial.pty import PtyDevice

CANCELLED, TIMED_OUT, BAD_LENGTH, DIFFERENT = 0x0031, 0x0032, 0x0033, 0x0034
REFUSED = 0x1007


class SimPinPad(PtyDevice):
    """`type` is the holder's fingers. `seal` enciphers a block under a nonce; without it blocks go out in clear."""

    def __init__(self, *, seal: Callable[[bytes, bytes], bytes] | None = None, label: str = "pinpad") -> None:
        self.seal = seal
        self.asked = threading.Event()
        """Set while an entry is wanted."""
        self.cancels = 0
        self._frames = Frames(is_split=True)
        self._request = b""
        super().__init__(label)

    def reset(self) -> None:
        self._frames.clear()
        self.asked.clear()

    def type(self, digits: str, again: str | None = None) -> None:
        """Digits and the enter key; `again` is the second entry of a new PIN."""
        purpose, least, most = self._request[:3]
        if not least <= len(digits) <= most:
            self.refuse(BAD_LENGTH)
        elif purpose == 2 and again != digits:
            self.refuse(DIFFERENT)
        else:
            nonce = self._request[5:13]
            block = bytes.fromhex(f"2{len(digits):x}{digits}".ljust(16, "f"))
            form = b"\x00" if self.seal is None else b"\x01"
            self._finish(bytes(2) + nonce + form + (block if self.seal is None else self.seal(nonce, block)))

    def refuse(self, status: int) -> None:
        self._finish(status.to_bytes(2, "big"))

    def press_cancel(self) -> None:
        self.refuse(CANCELLED)

    def let_time_pass(self) -> None:
        self.refuse(TIMED_OUT)

    def _finish(self, body: bytes) -> None:
        self.asked.clear()
        self.send(self._frames.make(body))

    def receive(self, data: bytes) -> bytes:
        answers = b""
        for body in self._frames.take(data):
            if body[:3] == bytes.fromhex("399202") and len(body) == 16:
                self._request = body[3:]
                self.asked.set()
            elif body == bytes.fromhex("399200"):
                self.asked.clear()
                self.cancels += 1
                answers += self._frames.make(CANCELLED.to_bytes(2, "big"))
            else:
                answers += self._frames.make(REFUSED.to_bytes(2, "big"))
        return answers
