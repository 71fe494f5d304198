"""Faults a simulated card can be armed with; commands are counted from the moment of arming."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar

_READS = frozenset({0xB0, 0xB2})
_CRYPTOGRAMS = frozenset({0x88, 0x2A, 0x2C, 0x2E, 0x52, 0x54, 0x58, 0x5A})
_INITIALIZE = {0x28: (0x00,), 0x50: (0x00, 0x04)}
"""INITIALIZE of account and purse: only a load (P1 00) or a new overdraft limit (04) brings a MAC, and it ends the
answer; that of a purchase ends with a random."""


class CardGone(Exception):
    """The card left the reader, or lost power, before a response was complete."""

    failure: ClassVar[str] = "CARD_REMOVED"


class CardSilent(CardGone):
    """The card has power but answers nothing."""

    failure: ClassVar[str] = "CARD_MUTE"


@dataclass(slots=True)
class Faults:
    """What goes wrong, and when.

    `tear_before=N` takes power away when command N arrives: it is never executed. `tear_after=N` takes it away when
    command N has been executed and committed, before its response is out. Both happen once; the card works again
    after `power_on`. `mute_on=N` makes command N and all later ones unanswered until the next reset.
    """

    tear_before: int | None = None
    tear_after: int | None = None
    mute_on: int | None = None
    delay_s: float = 0.0
    no_atr: bool = False
    wrong_mac: bool = False
    """The last byte of every cryptogram the card computes is flipped."""
    endless_6c: bool = False
    """Every READ asks for one byte more, for ever."""
    endless_61: bool = False
    """GET RESPONSE hands out one byte and announces another, for ever."""
    truncate_records: int = 0
    """Bytes missing at the end of every record read, with 9000."""
    fci: bytes | None = None
    """Sent in place of the FCI."""
    atr: bytes | None = None
    """Sent in place of the ATR."""
    count: int = field(default=0, init=False)

    def before(self) -> None:
        """Called when a command arrives. Raises CardGone or CardSilent."""
        self.count += 1
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.mute_on is not None and self.count >= self.mute_on:
            raise CardSilent(f"no answer to command {self.count}")
        if self.tear_before is not None and self.count >= self.tear_before:
            self.tear_before = None
            raise CardGone(f"torn before command {self.count}")

    def after(self) -> None:
        """Called when the command is executed and committed. Raises CardGone."""
        if self.tear_after is not None and self.count >= self.tear_after:
            self.tear_after = None
            raise CardGone(f"torn after command {self.count}")

    def distort(self, command: bytes, response: bytes) -> bytes:
        """The response as it leaves the card."""
        ins = command[1] if len(command) > 1 else 0
        data, sw = response[:-2], response[-2:]
        if self.endless_6c and ins in _READS and (data or sw[0] == 0x6C):
            wanted = command[4] if len(command) > 4 else 0
            return bytes((0x6C, (wanted + 1) & 0xFF))
        if self.endless_61 and ins == 0xC0:
            return b"\0\x61\x01"
        if self.truncate_records and ins == 0xB2 and data:
            return data[: -self.truncate_records] + sw
        return response

    def distort_data(self, command: bytes, data: bytes) -> bytes:
        """Response data before it is split by the transport."""
        ins, p1 = (command[1], command[2]) if len(command) > 2 else (0, 0)
        if self.wrong_mac and data and (ins in _CRYPTOGRAMS or p1 in _INITIALIZE.get(ins, ())):
            return data[:-1] + bytes((data[-1] ^ 0x01,))
        if self.fci is not None and ins == 0xA4 and data:
            return self.fci
        return data
