"""One incoming command as a T=0 card sees it: four header bytes, P3, then data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class SW:
    """Status words this card answers (card_commands.md section 3)."""

    OK = 0x9000
    WRITE_FAILED = 0x6581
    WRONG_LENGTH = 0x6700
    WRONG_TRANSACTION_STATE = 0x6901
    WRONG_STRUCTURE = 0x6981
    ACCESS_DENIED = 0x6982
    LOCKED = 0x6983
    NO_CHALLENGE = 0x6984
    CONDITIONS = 0x6985
    NO_CURRENT_EF = 0x6986
    MAC_MISSING = 0x6987
    MAC_WRONG = 0x6988
    BAD_DATA = 0x6A80
    CARD_BLOCKED = 0x6A81
    NOT_SUPPORTED = 0x6A81
    FILE_NOT_FOUND = 0x6A82
    RECORD_NOT_FOUND = 0x6A83
    NO_SPACE = 0x6A84
    BAD_TLV = 0x6A85
    WRONG_P1P2 = 0x6A86
    KEY_NOT_FOUND = 0x6A88
    WRONG_OFFSET = 0x6B00
    WRONG_INS = 0x6D00
    WRONG_CLA = 0x6E00
    NOTHING_PENDING = 0x6F00
    MEDICAL_MAC_WRONG = 0x9302
    APPLICATION_BLOCKED = 0x9303
    BALANCE_TOO_LOW = 0x9401
    COUNTER_EXHAUSTED = 0x9402
    KEY_INDEX = 0x9403
    NO_PROOF = 0x9406


class Refused(Exception):
    """Ends a command with a status word; `data` goes with a warning such as 6283 and is otherwise empty."""

    def __init__(self, sw: int, data: bytes = b"") -> None:
        super().__init__(f"{sw:04X}")
        self.sw = sw
        self.data = data


def wrong_le(available: int) -> Refused:
    """6Cxx: repeat with this Le (draft P2 9.3.2.1)."""
    return Refused(0x6C00 | (available & 0xFF))


def tries_left(x: int) -> Refused:
    return Refused(0x63C0 | x)


def require(condition: bool, sw: int) -> None:
    if not condition:
        raise Refused(sw)


@dataclass(slots=True)
class Frame:
    """`data` and `le` are valid only after `receive` or `expect`; `le` is P3, so 0 stands for 256."""

    cla: int
    ins: int
    p1: int
    p2: int
    tail: bytes
    data: bytes = b""
    le: int = 0

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2 Lc, the start of every MAC message."""
        return bytes((self.cla, self.ins, self.p1, self.p2, len(self.data)))

    @property
    def sfi(self) -> int:
        return self.p2 >> 3

    @property
    def mode(self) -> int:
        return self.p2 & 0x07

    def receive(self) -> None:
        """Take the body of a command that brings data. A trailing Le is what a T=0 reader would strip."""
        lc = self.tail[0] if self.tail else 0
        require(len(self.tail) in ((0, 1) if lc == 0 else (1 + lc, 2 + lc)), SW.WRONG_LENGTH)
        self.data = self.tail[1 : 1 + lc]

    def expect(self) -> None:
        """Take the P3 of a command that only fetches data."""
        require(len(self.tail) <= 1, SW.WRONG_LENGTH)
        self.le = self.tail[0] if self.tail else 0

    def fit(self, data: bytes) -> bytes:
        """As many bytes as P3 asks for, or 6Cxx (draft P2 9.3.2.1; fewer than there are: OPEN C2)."""
        wanted = self.le or 256
        if wanted > len(data):
            raise wrong_le(len(data))
        return data[:wanted]


Check = Callable[[Frame], bool]
