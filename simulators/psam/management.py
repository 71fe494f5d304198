"""Loading of keys: EXTERNAL AUTHENTICATION, CREATE KEY and CHANGE KEY (draft P9 9.4 to 9.6).

The key file's control key (KID-01 to KID-03) is proved first; the record then comes enciphered and with a MAC under
the whole application master key.
"""

from __future__ import annotations

from simulators.card import crypto
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require, tries_left
from simulators.psam.files import challenge_lengths
from simulators.psam.session import Session
from simulators.psam.state import (
    ALGORITHM_DES,
    KEY_FILE_RECORDS,
    KEY_FILES,
    KID_ADF_MASTER,
    TRIES,
    TYPES,
    ControlKey,
    KeyRecord,
)

P1_CREATE, P1_CHANGE = 0x00, 0x01
MAC_LENGTH = 4
RECORD_HEADER, CHANGE_HEADER = 8, 3
RESERVED_IDS = 0xC0
KEY_VERSION = 1
LENGTHS = {
    (Algorithm.TRIPLE_DES, P1_CREATE): (0x1C, 0x24),
    (Algorithm.TRIPLE_DES, P1_CHANGE): (0x14, 0x1C),
    (Algorithm.SM4, P1_CREATE): (0x24,),
    (Algorithm.SM4, P1_CHANGE): (0x24,),
}
_RANDOM_LENGTHS = {Algorithm.TRIPLE_DES: (4,), Algorithm.SM4: (4, 8, 16)}


def external_authentication(session: Session, frame: Frame) -> bytes:
    """KID-01 to KID-03 and the master key 80 in the application; the environment's master key 00 anywhere."""
    frame.receive()
    algorithm = session.environment.algorithm
    require(len(frame.data) in (0x10, 0x11), SW.WRONG_LENGTH)
    require(session.in_application or frame.p2 == 0x00, SW.CONDITIONS)
    key = session.control(frame.p2)
    require(frame.data[0x10:] in (b"", bytes((KEY_VERSION,))), SW.KEY_NOT_FOUND)
    require(key.tries_left > 0, SW.LOCKED)
    challenge = session.take_challenge(challenge_lengths(algorithm))
    session_key = crypto.session_key(algorithm, key.value, challenge)
    expected = crypto.authentication_value(algorithm, session_key, frame.data[8:16])
    is_right = crypto.is_equal(expected, frame.data[:8])
    _count(session, key, is_right=is_right)
    if not is_right:
        session.authenticated.discard(frame.p2)
        raise tries_left(key.tries_left)
    session.authenticated.add(frame.p2)
    return b""


def write_key(session: Session, frame: Frame) -> bytes:
    """CREATE KEY (P1 00) and CHANGE KEY (P1 01)."""
    frame.receive()
    algorithm = session.environment.algorithm
    require(len(frame.data) in LENGTHS[algorithm, frame.p1], SW.WRONG_LENGTH)
    require(session.in_application, SW.CONDITIONS)
    require(frame.p2 in KEY_FILES, SW.FILE_NOT_FOUND)
    master, control = session.control(KID_ADF_MASTER), session.control(1 + KEY_FILES.index(frame.p2))
    require(master.tries_left > 0 and control.tries_left > 0, SW.LOCKED)
    require(control.kid in session.authenticated, SW.ACCESS_DENIED)
    challenge = session.take_challenge(_RANDOM_LENGTHS[algorithm])
    cipher, received = frame.data[:-MAC_LENGTH], frame.data[-MAC_LENGTH:]
    is_right = crypto.is_equal(crypto.mac(algorithm, master.value, frame.header + cipher, challenge), received)
    _count(session, master, is_right=is_right)
    require(is_right, SW.MAC_WRONG)
    plain = crypto.open_envelope(algorithm, master.value, cipher)
    if plain is None:
        raise Refused(SW.BAD_DATA)
    if frame.p1 == P1_CREATE:
        _create(session, plain, frame.p2)
    else:
        _change(session, plain, frame.p2)
    session.changed = True
    return b""


def _count(session: Session, key: ControlKey, *, is_right: bool) -> None:
    """Failures in a row (OPEN S12)."""
    left = TRIES if is_right else key.tries_left - 1
    session.changed = session.changed or left != key.tries_left
    key.tries_left = left


def _create(session: Session, plain: bytes, file: int) -> None:
    """用途, 标识, 00, 算法, 使用权限 0000, RFU 0000, key."""
    environment = session.environment
    require(len(plain) in (RECORD_HEADER + 8, RECORD_HEADER + 16), SW.BAD_DATA)
    header, value = plain[:RECORD_HEADER], plain[RECORD_HEADER:]
    record = KeyRecord(header[0], header[1], value, file)
    expected = ALGORITHM_DES if len(value) == 8 else int(environment.algorithm)
    is_known = record.type in TYPES and record.levels <= 3 and record.id < RESERVED_IDS
    require(is_known and header[2:] == bytes((0, expected, 0, 0, 0, 0)), SW.BAD_DATA)
    require(all((r.type, r.id) != (record.type, record.id) for r in environment.records), SW.BAD_DATA)
    require(sum(r.file == file for r in environment.records) < KEY_FILE_RECORDS, SW.NO_SPACE)
    environment.records.append(record)


def _change(session: Session, plain: bytes, file: int) -> None:
    """用途, 标识 or version, 00, key: of the record this file holds, whose length stays."""
    require(len(plain) in (CHANGE_HEADER + 8, CHANGE_HEADER + 16) and plain[2] == 0, SW.BAD_DATA)
    value = plain[CHANGE_HEADER:]
    for record in session.environment.records:
        if (record.usage, record.id, record.file) == (plain[0], plain[1], file):
            require(len(value) == len(record.value), SW.BAD_DATA)
            record.value = value
            return
    raise Refused(SW.RECORD_NOT_FOUND)
