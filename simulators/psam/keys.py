"""Session keys from the roots: INITIALIZE ENVIRONMENT, DELIVERY SESSION KEY, CIPHER DATA (draft P9 9.4 to 9.8)."""

from __future__ import annotations

from simulators.card import crypto
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require
from simulators.psam.session import Register, Session
from simulators.psam.state import TYPE_BOTH, TYPE_ENCRYPTION, TYPE_MAC, KeyRecord

FACTOR_LENGTH = 8
LEVELS_MAX = 3
CIPHER_BLOCKS_MAX = {Algorithm.TRIPLE_DES: 0x40, Algorithm.SM4: 0x80}
P1_ENCRYPT_LAST, P1_ENCRYPT_MORE = 0x00, 0x02
P1_MAC_SINGLE, P1_MAC_FIRST, P1_MAC_NEXT, P1_MAC_LAST = 0x05, 0x07, 0x03, 0x01


def initialize(session: Session, frame: Frame) -> bytes:
    """INITIALIZE ENVIRONMENT: the card's province; session keys are cleared (OPEN S5)."""
    frame.receive()
    require(len(frame.data) == 1, SW.WRONG_LENGTH)
    require(frame.data.hex().isdecimal(), SW.BAD_DATA)
    session.province = frame.data[0]
    session.register = session.purchase = None
    return b""


def find_record(records: list[KeyRecord], usage: int, key_id: int) -> KeyRecord:
    """Exact usage and id; the same key at another level is 6A80, so that hosts try again (OPEN S4)."""
    same = [record for record in records if record.id == key_id and record.type == usage & 0x1F]
    require(bool(same), SW.KEY_NOT_FOUND)
    exact = [record for record in same if record.usage == usage]
    require(bool(exact), SW.BAD_DATA)
    return exact[0]


def diversified(algorithm: Algorithm, value: bytes, factors: bytes) -> bytes:
    """Factors come lowest level first and are used highest level first (psam.md section 3)."""
    for start in range(len(factors) - FACTOR_LENGTH, -1, -FACTOR_LENGTH):
        value = crypto.diversify(algorithm, value, factors[start : start + FACTOR_LENGTH])
    return value


def deliver(session: Session, frame: Frame) -> bytes:
    frame.receive()
    algorithm = session.environment.algorithm
    count, rest = divmod(len(frame.data) - algorithm.block, FACTOR_LENGTH)
    require(rest == 0 and 0 <= count <= LEVELS_MAX, SW.WRONG_LENGTH)
    require(session.in_application, SW.CONDITIONS)
    record = find_record(session.environment.records, frame.p1, frame.p2)
    require(count == record.levels, SW.BAD_DATA)
    require(record.type in (TYPE_MAC, TYPE_ENCRYPTION, TYPE_BOTH), SW.CONDITIONS)
    factors, process = frame.data[: count * FACTOR_LENGTH], frame.data[count * FACTOR_LENGTH :]
    card_key = diversified(algorithm, record.value, factors)
    session.register = Register(crypto.session_key(algorithm, card_key, process), record.type)
    return b""


def cipher(session: Session, frame: Frame) -> bytes:
    register, algorithm = session.register, session.environment.algorithm
    is_encryption = frame.p1 in (P1_ENCRYPT_LAST, P1_ENCRYPT_MORE)
    if register is None or (register.is_encryption_done if is_encryption else register.is_mac_done):
        raise Refused(SW.WRONG_TRANSACTION_STATE)
    if not is_encryption:
        is_next = frame.p1 in (P1_MAC_NEXT, P1_MAC_LAST)
        require((register.chain is not None) == is_next, SW.WRONG_TRANSACTION_STATE)
    frame.receive()
    least = algorithm.block * (2 if frame.p1 == P1_MAC_SINGLE else 1)
    is_whole = len(frame.data) % algorithm.block == 0
    require(is_whole and least <= len(frame.data) <= CIPHER_BLOCKS_MAX[algorithm], SW.WRONG_LENGTH)
    require(register.type in (TYPE_BOTH, TYPE_ENCRYPTION if is_encryption else TYPE_MAC), SW.CONDITIONS)
    if is_encryption:
        register.is_encryption_done = frame.p1 == P1_ENCRYPT_LAST
        return crypto.ecb(algorithm, register.session_key, frame.data)
    return _mac_part(algorithm, register, frame)


def _mac_part(algorithm: Algorithm, register: Register, frame: Frame) -> bytes:
    """The caller pads, and sends the initial vector as first block; the answer has four bytes (OPEN S9)."""
    iv, blocks = register.chain, frame.data
    if iv is None:
        iv, blocks = frame.data[: algorithm.block], frame.data[algorithm.block :]
    last = crypto.cbc_last_block(algorithm, register.session_key, blocks, iv)
    register.is_mac_done = frame.p1 in (P1_MAC_SINGLE, P1_MAC_LAST)
    register.chain = None if register.is_mac_done else last
    if not register.is_mac_done:
        return b""
    return crypto.fold(last) if algorithm is Algorithm.SM4 else last[:4]
