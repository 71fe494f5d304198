"""A simulated MT3 reader with real or simulated chips in its slots.

Its frame code is its own: what the host encodes wrongly is not decoded wrongly here as well.
"""

from __future__ import annotations

import threading
from typing import Protocol

from simulators.faults import CardSilent
from simulators.serial.pty import PtyDevice

STX, ETX = 2, 3
OK, ERROR = bytes.fromhex("0000"), bytes.fromhex("1007")
SPLIT_SLOTS = {0x00: "user", 0x11: "sam1"}
RAW_SLOTS = {0xC0: "user", 0xC1: "contactless", 0xC2: "sam1", 0xC3: "sam2"}
VERSION = b"ONECARD SIM 1"


class SlotCard(Protocol):
    """A SimCard, a SimPsam. `power_on` of a dead chip returns nothing; exceptions mean no answer."""

    def power_on(self) -> bytes: ...

    def power_off(self) -> None: ...

    def transmit(self, command: bytes) -> bytes: ...


class Frames:
    """Takes frames apart and makes them, in the split form or the raw one."""

    def __init__(self, *, is_split: bool) -> None:
        self._is_split = is_split
        self._buffer = b""

    def clear(self) -> None:
        self._buffer = b""

    def take(self, data: bytes) -> list[bytes]:
        """Complete bodies with the right check byte; damaged ones are ignored, as by a real reader."""
        self._buffer += data
        bodies = []
        while (frame := self._cut()) is not None:
            if self._is_split:
                frame = bytes.fromhex("".join(f"{byte & 15:x}" for byte in frame))
            check = 0
            for byte in frame[2:]:
                check ^= byte
            if check == 0:
                bodies.append(frame[2:-1])
        return bodies

    def _cut(self) -> bytes | None:
        width = 2 if self._is_split else 1
        while True:
            start = self._buffer.find(STX)
            if start < 0:
                self._buffer = b""
                return None
            self._buffer = self._buffer[start:]
            head = self._buffer[1 : 1 + 2 * width]
            if len(head) < 2 * width:
                return None
            length = int("".join(f"{byte & 15:x}" for byte in head), 16) if self._is_split else head[0] * 256 + head[1]
            end = 1 + (length + 3) * width
            if len(self._buffer) <= end:
                return None
            inner, mark = self._buffer[1:end], self._buffer[end]
            if mark == ETX:
                self._buffer = self._buffer[end + 1 :]
                return inner
            self._buffer = self._buffer[1:]

    def make(self, body: bytes) -> bytes:
        check = 0
        for byte in body:
            check ^= byte
        inner = bytes(divmod(len(body), 256)) + body + bytes([check])
        if self._is_split:
            inner = "".join(chr(0x30 + int(digit, 16)) for digit in inner.hex()).encode()
        return bytes([STX]) + inner + bytes([ETX])


class SimMt3Reader(PtyDevice):
    """`insert` and `remove` while it runs; slots are user, sam1, and in the raw form sam2 and contactless."""

    def __init__(self, cards: dict[str, SlotCard] | None = None, *, form: str = "split", label: str = "MT3") -> None:
        self.is_split = form == "split"
        self.requests: list[bytes] = []
        """Bodies received, in order."""
        self._frames = Frames(is_split=self.is_split)
        self._cards = dict(cards or {})
        self._powered: set[str] = set()
        self._slots = threading.Lock()
        super().__init__(label)

    def insert(self, card: SlotCard, slot: str = "user") -> None:
        with self._slots:
            self._cards[slot] = card

    def remove(self, slot: str = "user") -> None:
        with self._slots:
            card = self._cards.pop(slot, None)
            self._powered.discard(slot)
        if card is not None:
            card.power_off()

    def reset(self) -> None:
        self._frames.clear()
        for slot in list(self._powered):
            self._power_off(slot)

    def receive(self, data: bytes) -> bytes:
        return b"".join(self._answer(body) for body in self._frames.take(data))

    def _answer(self, body: bytes) -> bytes:
        self.requests.append(body)
        try:
            status, payload = self._split(body) if self.is_split else self._raw(body)
        except Exception:
            # A card that is gone or silent is an error status, whatever the reason.
            status, payload = ERROR, b""
        return self._frames.make(status + (b"" if self.is_split else b"\x00") + payload)

    def _split(self, body: bytes) -> tuple[bytes, bytes]:
        command, rest = body[:2].hex(), body[2:]
        if command == "3111":
            return OK, VERSION
        if command == "3222":
            return OK, self._power_on(SPLIT_SLOTS[rest[2]])
        if command == "3226":
            return OK, self._transmit(SPLIT_SLOTS[rest[0]], rest[1:])
        if command == "3223":
            return OK, self._power_off(SPLIT_SLOTS[rest[0]])
        return ERROR, b""

    def _raw(self, body: bytes) -> tuple[bytes, bytes]:
        if body[:2] == b"\x00\x01":
            return OK, VERSION
        slot, command, rest = RAW_SLOTS[body[0]], body[1], body[3:]
        if command == 0x30:
            return OK, self._power_on(slot)
        if command == 0x31:
            return OK, self._transmit(slot, rest)
        if command in (0x32, 0x33):
            return OK, self._power_off(slot)
        return ERROR, b""

    def _power_on(self, slot: str) -> bytes:
        with self._slots:
            card = self._cards[slot]
        atr = card.power_on()
        if not atr:
            raise CardSilent(f"no answer to reset in {slot}")
        self._powered.add(slot)
        return atr

    def _transmit(self, slot: str, command: bytes) -> bytes:
        with self._slots:
            if slot not in self._powered:
                raise CardSilent(f"no power in {slot}")
            card = self._cards[slot]
        return card.transmit(command)

    def _power_off(self, slot: str) -> bytes:
        self._powered.discard(slot)
        self._cards[slot].power_off()
        return b""
