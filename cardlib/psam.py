"""PSAM in the terminal as `MessageKeys`: authentications and secured commands (draft P9 §9: usage byte, key id).

A PSAM may hold a root of any level, so the number of diversification factors is tried and remembered per key
(P9 §8). What it would answer without a look at it is checked here: a PSAM enciphers for any purpose, fills up what is
short, and knows no versions but those of purchase keys. Thread rule: one authenticator belongs to the thread of its
reader.
"""

from __future__ import annotations

from typing import ClassVar

from apdu.channel import Channel, follow_up, transceive
from apdu.command import CommandApdu
from apdu.response import ResponseApdu
from apdu.sw import check
from cardlib.spec import Generation, KeyType, PsamKey, load
from cardlib.spec.names import PSAM_AID, PSAM_DES_NAME, PSAM_SM4_NAME
from hsm.api import Algorithm, BadInputError, CardFactors, HsmError, KeyNotFoundError, KeyPurposeError, KeyRef
from hsm.transactions import TYPE_PURCHASE, Purchase

ENVIRONMENTS = {Algorithm.TDES: PSAM_DES_NAME, Algorithm.SM4: PSAM_SM4_NAME}
_GENERATION = {Algorithm.TDES: Generation.V2, Algorithm.SM4: Generation.V3}
_LEVEL_OR_KEY = (0x6A80, 0x6A88)
_ALGORITHM_BYTES = {Algorithm.TDES: 0x00, Algorithm.SM4: 0x03}
_TYPE_PURCHASE, _TYPE_MAC, _TYPE_BOTH = 2, 6, 8
_ENCRYPT_LAST, _ENCRYPT_MORE = 0x00, 0x02
_MAC_SINGLE, _MAC_FIRST, _MAC_NEXT, _MAC_LAST = 0x05, 0x07, 0x03, 0x01
_MAC_LENGTH = 4
_CHALLENGES = {Algorithm.TDES: (4, 8), Algorithm.SM4: (4, 8, 16)}
_ORIGINAL, _HEADER = 8, 4
_MAX_LC = 255
_SECURE_MESSAGING = 0x04
_RANDOM, _MAX_RANDOM = 8, 1 << 16
_ONLY_VERSION = 1
_SFI_COUNTER = 0x19
_CIPHER_MAX = {Algorithm.TDES: 0x40, Algorithm.SM4: 0x80}
"""Bytes one CIPHER DATA takes (P9 table 25)."""


class PsamError(HsmError):
    """The PSAM cannot do what was asked; the security-module route may."""

    failure: ClassVar[str] = "PSAM_KEY_LEVEL"


class PsamAbsentError(PsamError):
    failure = "PSAM_ABSENT"


class PsamAlgorithmError(PsamError):
    failure = "PSAM_ALGORITHM"


class PsamKeyMissingError(PsamError, KeyNotFoundError):
    """No root of this key, of this version, or of a level that serves this card."""

    failure = PsamError.failure


class PsamReadKeyMissingError(PsamKeyMissingError):
    failure = "PSAM_RK_MISSING"


class PsamAuthenticator:
    """Authentication values from a PSAM behind `channel`; selects the environment of the card's algorithm."""

    def __init__(self, channel: Channel, *, protocol: str = "T=0") -> None:
        self._channel = follow_up(channel, protocol)
        self._environment: Algorithm | None = None
        self._levels: dict[tuple[KeyRef, int], int] = {}
        self.terminal_number = self._read_terminal_number()

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        """As `hsm.api.CardAuthenticator`. Raises PsamKeyMissingError when no level of the key fits."""
        if len(original) != _ORIGINAL:
            raise BadInputError(f"original data of an authentication must be {_ORIGINAL} bytes")
        block = _block(key)
        self._deliver(key, factors, challenge, KeyType.AUTHENTICATION)
        value = self._cipher(_ENCRYPT_LAST, original.ljust(block, b"\x00"), block)
        return value if block == 8 else _folded(value, 8)

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        """As `hsm.api.MessageKeys`. Encryption takes a key of type 8, a MAC one of type 6 or 8 (P9 §6.3).

        Both come from one DELIVERY SESSION KEY (P9 §9.8). Raises PsamKeyMissingError where the PSAM has no such key.
        """
        block, room = _block(key), _CIPHER_MAX[key.algorithm]
        plain = _block_of(data, block) if encrypt else data
        if len(header) != _HEADER or header[0] & 0x0F != _SECURE_MESSAGING or len(plain) > _MAX_LC - _MAC_LENGTH:
            raise BadInputError("a secured command has a header of class x4 and data that fit one command")
        kinds = (_TYPE_BOTH,) if encrypt else (_TYPE_MAC, _TYPE_BOTH)
        self._deliver(key, factors, challenge, KeyType.MESSAGE, kinds)
        if encrypt:
            parts = _parts(plain, room)
            data = b"".join(self._cipher(_ENCRYPT_MORE, part, len(part)) for part in parts[:-1])
            data += self._cipher(_ENCRYPT_LAST, parts[-1], len(parts[-1]))
        message = header + bytes((len(data) + _MAC_LENGTH,)) + data
        return data + self._mac(_parts(bytes(block) + _padded(message, block), room))

    def _mac(self, parts: list[bytes]) -> bytes:
        """Four bytes; eight are cut, sixteen folded (psam.md OPEN S9). The initial vector is the first block."""
        if len(parts) == 1:
            value = self._cipher(_MAC_SINGLE, parts[0])
        else:
            for number, part in enumerate(parts[:-1]):
                self._cipher(_MAC_NEXT if number else _MAC_FIRST, part, 0)
            value = self._cipher(_MAC_LAST, parts[-1])
        if len(value) not in (_MAC_LENGTH, 8, 16):
            raise PsamError("the PSAM's MAC is cut off")
        return _folded(value, _MAC_LENGTH) if len(value) == 16 else value[:_MAC_LENGTH]

    def _cipher(self, p1: int, data: bytes, length: int | None = None) -> bytes:
        """CIPHER DATA (P9 §9.8); `length` of the answer, None where it is the PSAM's own. Raises PsamError."""
        wanted = 256 if length is None else length or None
        answer = check(self._send(CommandApdu(0x80, 0xFA, p1, 0x00, data, wanted)), 0xFA)
        if length is not None and len(answer.data) != length:
            raise PsamError("the PSAM's answer is cut off")
        return answer.data

    def init_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> tuple[bytes, bytes]:
        """INIT SAM FOR PURCHASE (P9 §9.9): the terminal's transaction number, used up by this, and MAC1.

        `purchase.number` plays no part; its terminal number must be this PSAM's. Raises PsamError.
        """
        _place(key, KeyType.PURCHASE)
        self._select(key.algorithm)
        data = purchase.random + purchase.sequence.to_bytes(2, "big") + purchase.amounts
        data += bytes((TYPE_PURCHASE,)) + purchase.time + bytes((key.version, _ALGORITHM_BYTES[key.algorithm]))
        parts = _factor_parts(factors)
        for levels in dict.fromkeys((self._levels.get((key, _TYPE_PURCHASE), 1), 1, 2, 3)):
            command = CommandApdu(0x80, 0x70, 0x01, 0x00, data + b"".join(parts[:levels]), 8)
            answer = self._send(command)
            if answer.is_ok and len(answer.data) == 8:
                self._levels[key, _TYPE_PURCHASE] = levels
                return answer.data[:4], answer.data[4:]
            if answer.sw not in _LEVEL_OR_KEY:
                check(answer, 0x70)
                raise PsamError("the PSAM's answer is cut off")
        raise PsamKeyMissingError(f"the PSAM has no usable root of {key.name}")

    def next_number(self, algorithm: Algorithm) -> int:
        """The transaction number that `init_purchase` will give (file 0019). Raises PsamAlgorithmError."""
        self._select(algorithm)
        answer = check(self._send(CommandApdu(0x00, 0xB0, 0x80 | _SFI_COUNTER, 0x00, b"", 4)), 0xB0)
        if len(answer.data) != 4:
            raise PsamError("the PSAM's answer is cut off")
        return int.from_bytes(answer.data, "big")

    def random(self, length: int) -> bytes:
        """From the PSAM's generator (GET CHALLENGE)."""
        if not 1 <= length <= _MAX_RANDOM:
            raise BadInputError(f"random length must be 1 to {_MAX_RANDOM}")
        found = b""
        while len(found) < length:
            part = check(self._send(CommandApdu(0x00, 0x84, 0x00, 0x00, b"", _RANDOM)), 0x84).data
            if len(part) != _RANDOM:
                raise PsamError("the PSAM's answer is cut off")
            found += part
        return found[:length]

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

    def _deliver(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, purpose: KeyType, kinds: tuple[int, ...] = ()
    ) -> None:
        """DELIVERY SESSION KEY with the type and the number of factors this PSAM wants (P9 §8): as remembered, as
        stated, then the others. `kinds` of the key that will do, by default the stated one."""
        if len(challenge) not in _CHALLENGES[key.algorithm]:
            raise BadInputError(f"{key.algorithm} challenge cannot have {len(challenge)} bytes")
        place = _place(key, purpose)
        if key.version != _ONLY_VERSION:
            raise PsamKeyMissingError(f"a PSAM has one set of roots, not {key}")
        self._select(key.algorithm)
        parts, process_factor = _factor_parts(factors), challenge.ljust(_block(key), b"\x00")
        kinds = kinds or (place.usage & 0x1F,)
        orders = [(kind, levels) for kind in kinds for levels in dict.fromkeys((place.levels, 3, 2, 1))]
        known = [(kind, self._levels[key, kind]) for kind in kinds if (key, kind) in self._levels]
        for kind, levels in dict.fromkeys(known + orders):
            data = b"".join(parts[:levels]) + process_factor
            answer = self._send(CommandApdu(0xBF, 0xDE, levels << 5 | kind, place.id, data))
            if answer.is_ok:
                self._levels[key, kind] = levels
                return
            if answer.sw not in _LEVEL_OR_KEY:
                check(answer, 0xDE)
        if key.name == "RK_SSSE":
            raise PsamReadKeyMissingError("the PSAM has no RK_SSSE")
        raise PsamKeyMissingError(f"the PSAM has no usable root of {key.name}")


def _place(key: KeyRef, purpose: KeyType) -> PsamKey:
    """Where appendix B puts a key. Raises KeyPurposeError, PsamKeyMissingError."""
    spec = next((spec for spec in load(_GENERATION[key.algorithm]).keys if spec.name == key.name), None)
    if spec is None or spec.psam is None or key.region:
        raise PsamKeyMissingError(f"no PSAM holds {key}")
    if spec.type is not purpose:
        raise KeyPurposeError(f"{key.name} serves {spec.type.name.lower()} only")
    return spec.psam


def _factor_parts(factors: CardFactors) -> tuple[bytes, bytes, bytes]:
    """L3, L2, L1: lowest level first (P9 T27)."""
    return factors.card, f"{factors.region}sx".encode(), f"{factors.region[:2]}0000sh".encode()


def _block(key: KeyRef) -> int:
    return 16 if key.algorithm is Algorithm.SM4 else 8


def _padded(data: bytes, block: int) -> bytes:
    data += b"\x80"
    return data + bytes(-len(data) % block)


def _block_of(data: bytes, block: int) -> bytes:
    """LD || data, padded only where that is not whole blocks (P4 §8.3.3)."""
    if len(data) > _MAX_LC:
        raise BadInputError(f"data to encrypt must have at most {_MAX_LC} bytes")
    plain = bytes((len(data),)) + data
    return plain if len(plain) % block == 0 else _padded(plain, block)


def _parts(data: bytes, room: int) -> list[bytes]:
    return [data[start : start + room] for start in range(0, len(data), room)]


def _folded(value: bytes, size: int) -> bytes:
    """The parts of `size` bytes, added without carry. Raises PsamError unless `value` is one SM4 block."""
    if len(value) != 16:
        raise PsamError("the PSAM's answer is cut off")
    number = 0
    for part in _parts(value, size):
        number ^= int.from_bytes(part, "big")
    return number.to_bytes(size, "big")
