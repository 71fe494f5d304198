"""PSAM in the terminal as a `CardAuthenticator` (draft P9 §9: usage byte, key id).

A PSAM may hold a root of any level, so the number of diversification factors is tried and remembered per key
(P9 §8). Thread rule: one authenticator belongs to the thread of its reader.
"""

from __future__ import annotations

from typing import ClassVar

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.response import ResponseApdu
from apdu.sw import check
from cardlib.spec import Generation, load
from cardlib.spec.names import PSAM_AID, PSAM_DES_NAME, PSAM_SM4_NAME
from hsm.api import Algorithm, CardFactors, KeyRef
from hsm.transactions import TYPE_PURCHASE, Purchase

ENVIRONMENTS = {Algorithm.TDES: PSAM_DES_NAME, Algorithm.SM4: PSAM_SM4_NAME}
_GENERATION = {Algorithm.TDES: Generation.V2, Algorithm.SM4: Generation.V3}
_LEVEL_OR_KEY = (0x6A80, 0x6A88)
_ALGORITHM_BYTES = {Algorithm.TDES: 0x00, Algorithm.SM4: 0x03}


class PsamError(Exception):
    """The PSAM cannot do what was asked; the security-module route may."""

    failure: ClassVar[str] = "PSAM_KEY_LEVEL"


class PsamAbsentError(PsamError):
    failure = "PSAM_ABSENT"


class PsamAlgorithmError(PsamError):
    failure = "PSAM_ALGORITHM"


class PsamReadKeyMissingError(PsamError):
    failure = "PSAM_RK_MISSING"


class PsamAuthenticator:
    """Authentication values from a PSAM behind `channel`; selects the environment of the card's algorithm."""

    def __init__(self, channel: Channel, *, protocol: str = "T=0") -> None:
        self._channel = follow_up(channel, protocol)
        self._environment: Algorithm | None = None
        self._levels: dict[KeyRef, int] = {}
        self.terminal_number = self._read_terminal_number()

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        """As `hsm.api.CardAuthenticator`. Raises PsamError when no level of the key fits."""
        self._select(key.algorithm)
        block = 16 if key.algorithm is Algorithm.SM4 else 8
        self._deliver(key, factors, challenge.ljust(block, b"\x00"))
        answer = check(self._send(CommandApdu(0x80, 0xFA, 0x00, 0x00, original.ljust(block, b"\x00"), block)), 0xFA)
        if block == 8:
            return answer.data
        return bytes(left ^ right for left, right in zip(answer.data[:8], answer.data[8:], strict=True))

    def init_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> tuple[bytes, bytes]:
        """INIT SAM FOR PURCHASE (P9 §9.9): the terminal's transaction number, used up by this, and MAC1.

        `purchase.number` plays no part; its terminal number must be this PSAM's. Raises PsamError.
        """
        self._select(key.algorithm)
        data = purchase.random + purchase.sequence.to_bytes(2, "big") + purchase.amounts
        data += bytes((TYPE_PURCHASE,)) + purchase.time + bytes((key.version, _ALGORITHM_BYTES[key.algorithm]))
        parts = _factor_parts(factors)
        for levels in dict.fromkeys((self._levels.get(key, 1), 1, 2, 3)):
            command = CommandApdu(0x80, 0x70, 0x01, 0x00, data + b"".join(parts[:levels]), 8)
            answer = self._send(command)
            if answer.is_ok and len(answer.data) == 8:
                self._levels[key] = levels
                return answer.data[:4], answer.data[4:]
            if answer.sw not in _LEVEL_OR_KEY:
                check(answer, 0x70)
                raise PsamError("the PSAM's answer is cut off")
        raise PsamError(f"the PSAM has no usable root of {key.name}")

    def credit_purchase(self, mac2: bytes) -> None:
        """CREDIT SAM FOR PURCHASE (P9 §9.10): is the card's MAC2 right? Only right after `init_purchase`."""
        check(self._send(CommandApdu(0x80, 0x72, 0x00, 0x00, mac2)), 0x72)

    def _send(self, command: CommandApdu) -> ResponseApdu:
        return transceive(self._channel, command)

    def _read_terminal_number(self) -> str:
        """File 0016 by SFI 16, six BCD bytes (P9 table 3)."""
        answer = self._send(CommandApdu(0x00, 0xB0, 0x96, 0x00, b"", 6))
        if not answer.is_ok or len(answer.data) != 6:
            raise PsamAbsentError(f"the card in the PSAM slot is not a PSAM ({answer.sw:04X})")
        return answer.data.hex().upper()

    def _select(self, algorithm: Algorithm) -> None:
        if self._environment is algorithm:
            return
        self._environment = None
        for name in (ENVIRONMENTS[algorithm], PSAM_AID):
            answer = self._send(CommandApdu(0x00, 0xA4, 0x04, 0x00, name))
            if answer.sw == 0x6A82:
                raise PsamAlgorithmError(f"the PSAM has no {algorithm} environment")
            check(answer, 0xA4)
        self._environment = algorithm

    def _deliver(self, key: KeyRef, factors: CardFactors, process_factor: bytes) -> None:
        """DELIVERY SESSION KEY with the number of factors this PSAM wants (P9 §8): the stated one, then the others."""
        place = load(_GENERATION[key.algorithm]).key(key.name).psam
        if place is None:
            raise PsamError(f"no PSAM holds {key.name}")
        kind = place.usage & 0x1F
        stated = place.levels
        order = [self._levels.get(key, stated), *(n for n in (3, 2, 1) if n != stated)]
        parts = _factor_parts(factors)
        for levels in dict.fromkeys(order):
            data = b"".join(parts[:levels]) + process_factor
            answer = self._send(CommandApdu(0xBF, 0xDE, levels << 5 | kind, place.id, data))
            if answer.is_ok:
                self._levels[key] = levels
                return
            if answer.sw not in _LEVEL_OR_KEY:
                check(answer, 0xDE)
        if key.name == "RK_SSSE":
            raise PsamReadKeyMissingError("the PSAM has no RK_SSSE")
        raise PsamError(f"the PSAM has no usable root of {key.name}")


def _factor_parts(factors: CardFactors) -> tuple[bytes, bytes, bytes]:
    """L3, L2, L1: lowest level first (P9 T27)."""
    return factors.card, f"{factors.region}sx".encode(), f"{factors.region[:2]}0000sh".encode()
