"""The transport ministry's application in a terminal's PSAM (transit_card.md §5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.response import ResponseApdu
from apdu.sw import SW, check
from cardlib.psam import ENVIRONMENTS, PsamAbsentError, PsamAlgorithmError, PsamError
from hsm.api import Algorithm

FID_APPLICATION = 0x8011
SM4_CODES = (0x03, 0x04)
USAGE_MAINTENANCE, VERSION_MAINTENANCE = 0x05, 0x02
_SFI_TERMINAL, _SFI_APPLICATION = 0x16, 0x17
_LEVELS = (2, 1)


@dataclass(frozen=True, slots=True)
class SamRequest:
    """What INIT SAM FOR PURCHASE is told of the card and the sale."""

    random: bytes
    sequence: int
    amount_fen: int
    kind: int
    moment: bytes
    key_version: int
    algorithm: int
    factor: bytes
    issuer: bytes


class PurchaseSam(Protocol):
    """Who lets a terminal debit a purse."""

    @property
    def terminal_number(self) -> bytes:
        """Six BCD bytes, part of every cryptogram."""
        ...

    @property
    def key_index(self) -> int: ...

    def initialize(self, request: SamRequest) -> tuple[bytes, bytes]:
        """Terminal sequence and MAC1, four bytes each. A sequence is given once, whatever becomes of the sale."""
        ...

    def credit(self, terminal_sequence: bytes, mac2: bytes) -> bool | None:
        """Whether MAC2 is right; None when that sale is not open here any more."""
        ...

    def command_mac(self, algorithm: int, factor: bytes, issuer: bytes, challenge: bytes, header: bytes) -> bytes:
        """MAC of a maintenance command without data (application block); `header` is CLA INS P1 P2."""
        ...


def algorithm_of(code: int) -> Algorithm:
    """The cipher of an INIT response's algorithm byte; settlement's own 01/02/04 never appear there (OPEN X3)."""
    return Algorithm.SM4 if code in SM4_CODES else Algorithm.TDES


class TransitPsam(PurchaseSam):
    """A PSAM behind `channel`. Selects the environment of the card's algorithm. Belongs to its reader's thread."""

    def __init__(self, channel: Channel, *, protocol: str = "T=0") -> None:
        self._channel = follow_up(channel, protocol)
        self._environment: Algorithm | None = None
        self._open_sequence = b""
        self._levels = _LEVELS[0]
        answer = self._send(CommandApdu(0x00, 0xB0, 0x80 | _SFI_TERMINAL, 0x00, b"", 6))
        if not answer.is_ok or len(answer.data) != 6:
            raise PsamAbsentError(f"the card in the PSAM slot is not a PSAM ({answer.sw:04X})")
        self._terminal = answer.data
        self._key_index = 0

    @property
    def terminal_number(self) -> bytes:
        return self._terminal

    @property
    def key_index(self) -> int:
        """The purchase key this PSAM shares with the cards; raises PsamError where it has no transit application."""
        if not self._key_index:
            self._key_index = self._application(0, 1)[0]
        return self._key_index

    @property
    def acceptor(self) -> bytes:
        """The institution that accepts the cards (受理方机构标识), eight bytes; bytes 2 and 3 are its city."""
        return self._application(9, 8)

    def initialize(self, request: SamRequest) -> tuple[bytes, bytes]:
        """Tries a root of one level where the PSAM refuses two factors by length. Raises StatusWordError."""
        self._select(algorithm_of(request.algorithm))
        self._open_sequence = b""
        data = request.random + request.sequence.to_bytes(2, "big") + request.amount_fen.to_bytes(4, "big")
        data += bytes((request.kind,)) + request.moment + bytes((request.key_version, request.algorithm))
        for levels in sorted(_LEVELS, key=lambda count: count != self._levels):
            factors = request.factor + request.issuer if levels == 2 else request.factor
            answer = self._send(CommandApdu(0x80, 0x70, 0x00, 0x00, data + factors, 8))
            if answer.sw != SW.WRONG_LENGTH:
                self._levels = levels
                break
        found = check(answer, 0x70).data
        self._open_sequence = found[:4]
        return found[:4], found[4:8]

    def credit(self, terminal_sequence: bytes, mac2: bytes) -> bool | None:
        if terminal_sequence != self._open_sequence:
            return None
        self._open_sequence = b""
        answer = self._send(CommandApdu(0x80, 0x72, 0x00, 0x00, mac2))
        if answer.sw == SW.TRANSACTION_STATE:
            return None
        if answer.sw == SW.TRANSACTION_MAC:
            return False
        check(answer, 0x72)
        return True

    def command_mac(self, algorithm: int, factor: bytes, issuer: bytes, challenge: bytes, header: bytes) -> bytes:
        """INIT FOR DESCRYPT with the maintenance key, then DES CRYPT with the initial vector as first block."""
        self._select(algorithm_of(algorithm))
        usage = 2 << 5 | USAGE_MAINTENANCE
        check(self._send(CommandApdu(0x80, 0x1A, usage, VERSION_MAINTENANCE, factor + issuer)), 0x1A)
        size = 16 if algorithm in SM4_CODES else 8
        message = header + b"\x04\x80"
        blocks = challenge.ljust(size, b"\0") + message + bytes(-len(message) % size)
        return check(self._send(CommandApdu(0x80, 0xFA, 0x05, 0x00, blocks, 4)), 0xFA).data

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return transceive(self._channel, command)

    def _application(self, offset: int, length: int) -> bytes:
        """Part of file 17. Raises PsamError where the PSAM has no transit application or its file is short."""
        self._select_any()
        answer = self._send(CommandApdu(0x00, 0xB0, 0x80 | _SFI_APPLICATION, offset, b"", length))
        data = check(answer, 0xB0).data
        if len(data) != length:
            raise PsamError("the application file of the PSAM is short")
        return data

    def _select_any(self) -> None:
        """The environment in use, else the first there is."""
        for algorithm in (self._environment,) if self._environment else ENVIRONMENTS:
            try:
                return self._select(algorithm)
            except PsamAlgorithmError:
                continue
        raise PsamAlgorithmError("the PSAM has no environment of a known algorithm")

    def _select(self, algorithm: Algorithm) -> None:
        if self._environment is algorithm:
            return
        self._environment, self._open_sequence = None, b""
        answer = self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, ENVIRONMENTS[algorithm]))
        if answer.sw == SW.FILE_NOT_FOUND:
            raise PsamAlgorithmError(f"the PSAM has no {algorithm} environment")
        check(answer, 0xA4)
        answer = self._send(CommandApdu(0x00, 0xA4, 0x00, 0x00, FID_APPLICATION.to_bytes(2, "big")))
        if answer.sw == SW.FILE_NOT_FOUND:
            raise PsamError("the PSAM has no transit application")
        check(answer, 0xA4)
        self._environment = algorithm
