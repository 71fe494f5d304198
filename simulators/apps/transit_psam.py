"""The transport ministry's application of a PSAM (transit_card.md section 5): purchase MACs and maintenance keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulators.apps import transit_crypto as crypto
from simulators.apps.neighbour import read_slice
from simulators.card import crypto as card_crypto
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require

FID_APPLICATION = 0x8011
FILE_APPLICATION, FILE_SEQUENCE = 0x17, 0x18
PURCHASE_LENGTH = 0x1C
FACTOR_LENGTH = 8
TYPE_PURCHASE, TYPE_TAC, TYPE_MAINTENANCE = 2, 4, 5
P1_ENCRYPT, P1_MAC = 0x00, 0x05
CIPHER_MAX = 0x80
_DATES = bytes.fromhex("2020010120991231")


@dataclass(frozen=True, slots=True)
class TransitKey:
    """A root in the PSAM; `levels` 2 wants serial and issuer as factors, 1 the serial alone."""

    type: int
    version: int
    value: bytes
    levels: int = 2


@dataclass(slots=True)
class _Purchase:
    algorithm: int
    session_key: bytes
    amount: bytes


class TransitSam:
    """One application in several environments: keys by algorithm byte, one terminal sequence for all of them."""

    def __init__(
        self,
        keys: Mapping[int, list[TransitKey]],
        issuer: bytes,
        acceptor: bytes,
        terminal: bytes,
        sequence: int = 0,
        *,
        is_mac_folded: bool = True,
    ) -> None:
        self.sequence = sequence
        self._is_mac_folded = is_mac_folded
        self._keys = keys
        self._application = b"\x01" + issuer + acceptor + _DATES
        self._terminal = terminal
        self._purchase: _Purchase | None = None
        self._register: tuple[int, int, bytes] | None = None

    def select(self) -> None:
        """A DF was selected, this application or another: what was open is closed."""
        self._purchase = self._register = None

    def execute(self, environment: Algorithm, frame: Frame) -> bytes:
        """One command; `environment` is the one the application was selected in. Raises Refused."""
        algorithm = crypto.SM4 if environment is Algorithm.SM4 else crypto.TRIPLE_DES
        match (frame.cla, frame.ins):
            case (0x00, 0xB0):
                return self._read_binary(frame)
            case (0x80, 0x70):
                return self._initialize(algorithm, frame)
            case (0x80, 0x72):
                return self._credit(frame)
            case (0x80, 0x1A):
                return self._deliver(algorithm, frame)
            case (0x80, 0xFA):
                return self._cipher(frame)
        raise Refused(SW.WRONG_INS if frame.cla in (0x00, 0x80) else SW.WRONG_CLA)

    def _read_binary(self, frame: Frame) -> bytes:
        frame.expect()
        files = {FILE_APPLICATION: self._application, FILE_SEQUENCE: self.sequence.to_bytes(4, "big")}
        require(frame.p1 & 0x80 != 0 and frame.p1 & 0x1F in files, SW.FILE_NOT_FOUND)
        return read_slice(frame, files[frame.p1 & 0x1F], frame.p2)

    def _find(self, algorithm: int, kind: int, version: int) -> TransitKey:
        for key in self._keys.get(algorithm, ()):
            if (key.type, key.version) == (kind, version):
                return key
        raise Refused(SW.KEY_NOT_FOUND)

    def _card_key(self, algorithm: int, key: TransitKey, factors: bytes) -> bytes:
        """Factors come serial first and are used issuer first."""
        serial, issuer = factors[:FACTOR_LENGTH], factors[FACTOR_LENGTH:]
        return crypto.card_key(algorithm, key.value, *([issuer] if issuer else []), serial)

    def _initialize(self, algorithm: int, frame: Frame) -> bytes:
        """The sequence steps before the answer leaves, so that no number is ever used twice."""
        self._purchase = None
        require(frame.p1 == frame.p2 == 0, SW.WRONG_P1P2)
        frame.receive()
        data = frame.data
        require(len(data) in (PURCHASE_LENGTH, PURCHASE_LENGTH + FACTOR_LENGTH), SW.WRONG_LENGTH)
        seed, amount, kind, moment = data[:6], data[6:10], data[10:11], data[11:18]
        version, code, factors = data[18], data[19], data[20:]
        require(crypto.cipher(code) is crypto.cipher(algorithm), SW.CONDITIONS)
        key = self._find(algorithm, TYPE_PURCHASE, version)
        require(len(factors) == key.levels * FACTOR_LENGTH, SW.WRONG_LENGTH)
        number = self.sequence.to_bytes(4, "big")
        card_key = self._card_key(algorithm, key, factors)
        session_key = crypto.session_key(algorithm, card_key, seed + number[2:])
        message = amount + kind + self._terminal + moment
        mac1 = crypto.mac(algorithm, session_key, message, is_folded=self._is_mac_folded)
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        self._purchase = _Purchase(algorithm, session_key, amount)
        return number + mac1

    def _credit(self, frame: Frame) -> bytes:
        purchase = self._purchase
        require(frame.p1 == frame.p2 == 0, SW.WRONG_P1P2)
        if purchase is None:
            raise Refused(SW.WRONG_TRANSACTION_STATE)
        frame.receive()
        require(len(frame.data) == 4, SW.WRONG_LENGTH)
        self._purchase = None
        key, amount = purchase.session_key, purchase.amount
        expected = crypto.mac(purchase.algorithm, key, amount, is_folded=self._is_mac_folded)
        require(crypto.is_equal(expected, frame.data), SW.MEDICAL_MAC_WRONG)
        return b""

    def _deliver(self, algorithm: int, frame: Frame) -> bytes:
        """INIT FOR DESCRYPT: P1 = levels << 5 | type, P2 = version."""
        self._register = None
        frame.receive()
        kind, levels = frame.p1 & 0x1F, frame.p1 >> 5
        key = self._find(algorithm, kind, frame.p2)
        require(kind in (TYPE_TAC, TYPE_MAINTENANCE), SW.CONDITIONS)
        require(len(frame.data) == levels * FACTOR_LENGTH == key.levels * FACTOR_LENGTH, SW.WRONG_LENGTH)
        self._register = algorithm, kind, self._card_key(algorithm, key, frame.data)
        return b""

    def _cipher(self, frame: Frame) -> bytes:
        """DES CRYPT: ECB (P1 00), or a MAC whose initial vector is the first block (P1 05)."""
        require(frame.p1 in (P1_ENCRYPT, P1_MAC) and frame.p2 == 0, SW.WRONG_P1P2)
        if self._register is None:
            raise Refused(SW.WRONG_TRANSACTION_STATE)
        algorithm, kind, key = self._register
        frame.receive()
        size = crypto.cipher(algorithm).block
        least = 2 * size if frame.p1 == P1_MAC else size
        require(least <= len(frame.data) <= CIPHER_MAX and len(frame.data) % size == 0, SW.WRONG_LENGTH)
        if frame.p1 == P1_ENCRYPT:
            return card_crypto.ecb(crypto.cipher(algorithm), key, frame.data)
        iv, blocks = frame.data[:size], frame.data[size:]
        if kind == TYPE_MAINTENANCE:
            return crypto.blocks_mac(algorithm, key, iv, blocks)
        require(not any(iv), SW.BAD_DATA)
        return crypto.tac_of_blocks(algorithm, key, blocks)
