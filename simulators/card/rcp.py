"""Initialisation commands of the reference COS profile (personalization.md section 3)."""

from __future__ import annotations

from collections.abc import Callable

from simulators.card import crypto
from simulators.card.access import LOCAL_KEY, Session, is_condition
from simulators.card.chip import MAC_LENGTH, Chip, Command
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require
from simulators.card.state import (
    DF_TYPE_ADF,
    DF_TYPE_DDF,
    EMPTY_PIN,
    FID_ACCOUNT,
    FID_DF04,
    FID_KEYS,
    FLAG_INTERNAL_ONLY,
    FLAG_SECURED_UPDATE,
    KEY_RECORD_SIZE,
    RECORD_TYPES,
    TRANSACTION_KEYS,
    CardState,
    Df,
    Ef,
    FileType,
    KeyObject,
    KeyType,
    Life,
)
from simulators.card.structure import missing_keys

PROFILE = 0x01
TRIES = 3
FID_MF = 0x3F00
EF_BODY, DF_BODY_MIN, DF_BODY_MAX = 11, 15, 26
ACCOUNT_SIZE = 20
ACCOUNT_START = bytes(18) + b"\x01\x01"
P1_INSTALL, P1_REPLACE, P1_FIRST_MASTER = 0, 1, 2
KEY_HEADER = 8
RANDOM_LENGTH = 4


def activate(chip: Chip, frame: Frame) -> bytes:
    """ACTIVATE COS, the card maker's act: transport key, algorithm, historical bytes."""
    value, algorithm, historical = frame.data[:16], frame.data[16], frame.data[17:]
    require(algorithm in set(Algorithm), SW.BAD_DATA)
    state = chip.state
    state.algorithm = Algorithm(algorithm)
    state.transport = KeyObject(KeyType.MASTER, 0, 1, algorithm, TRIES, TRIES, 0, value)
    state.historical = historical
    state.life = Life.ACTIVATED
    chip.changed = True
    return b""


def card_status(chip: Chip, frame: Frame) -> bytes:
    """state, algorithm (FF before activation), free bytes, tries of TK and MK, any application blocked, profile."""
    state = chip.state
    algorithm = 0xFF if state.life is Life.CHIP else state.algorithm
    counters = (state.transport, state.ssse.master if state.ssse else None)
    status = bytes((state.life, algorithm)) + state.free_memory.to_bytes(4, "big")
    status += bytes(key.retry_left if key else 0 for key in counters)
    return frame.fit(status + bytes((any(df.is_blocked for df in state.dfs), PROFILE)))


# ---- CREATE FILE


def create_file(chip: Chip, frame: Frame) -> bytes:
    fid, body = frame.p1 << 8 | frame.p2, frame.data
    parent = chip.session.df
    if chip.state.life is Life.ACTIVATED:
        require(body[0] == DF_TYPE_DDF, SW.CONDITIONS)
        require(chip.session.has_key(0x00), SW.ACCESS_DENIED)
        _create_environment(chip, fid, body)
    else:
        if parent is None:
            raise Refused(SW.FILE_NOT_FOUND)
        chip.require_access(parent.create)
        if body[0] == DF_TYPE_ADF:
            _create_application(chip, parent, fid, body)
        else:
            _create_ef(chip, parent, fid, body)
    chip.changed = True
    return b""


def _create_environment(chip: Chip, fid: int, body: bytes) -> None:
    """The first DDF; one left behind without a master key is replaced (personalization.md section 10)."""
    df = _parse_df(chip, fid, body)
    require(df.size <= chip.state.free_memory, SW.NO_SPACE)
    chip.state.dfs = [df]
    chip.session.enter(df)


def _create_application(chip: Chip, parent: Df, fid: int, body: bytes) -> None:
    df = _parse_df(chip, fid, body)
    require(parent.is_environment, SW.BAD_DATA)
    is_new = all(other.fid != fid and other.name != df.name for other in chip.state.dfs)
    require(is_new and parent.ef(fid) is None, SW.BAD_DATA)
    require(df.size <= chip.state.free_in(parent), SW.NO_SPACE)
    chip.state.dfs.append(df)
    chip.session.enter(df)


def _parse_df(chip: Chip, fid: int, body: bytes) -> Df:
    require(DF_BODY_MIN <= len(body) <= DF_BODY_MAX, SW.WRONG_LENGTH)
    size, create = int.from_bytes(body[1:3], "big"), body[3:5]
    retry, dir_sfi, algorithm = body[6], body[7], body[8]
    fields_ok = is_condition(create) and algorithm == chip.algorithm and body[9] == 0 and dir_sfi <= 0x1E
    require(fields_ok and _is_retry(retry) and fid not in (FID_MF, FID_KEYS), SW.BAD_DATA)
    return Df(fid, body[0], size, create, body[5], retry, dir_sfi, algorithm, body[10:])


def _create_ef(chip: Chip, df: Df, fid: int, body: bytes) -> None:
    require(len(body) == EF_BODY, SW.WRONG_LENGTH)
    require(body[0] in set(FileType), SW.BAD_DATA)
    kind = FileType(body[0])
    size, record_length, records = int.from_bytes(body[1:3], "big"), body[3], body[4]
    read, write, sfi, flags = body[5:7], body[7:9], body[9], body[10]
    require(is_condition(read) and is_condition(write) and sfi <= 0x1E, SW.BAD_DATA)
    require(flags in (0, FLAG_SECURED_UPDATE) and size > 0 and fid not in (FID_MF, df.fid), SW.BAD_DATA)
    require(_is_shape(df, fid, kind, size, record_length, records), SW.BAD_DATA)
    is_new = df.ef(fid) is None and df.ef_by_sfi(sfi) is None
    require(is_new and all(other.fid != fid for other in chip.state.dfs), SW.BAD_DATA)
    require(size <= chip.state.free_in(df), SW.NO_SPACE)
    content = bytes(size) if kind is FileType.TRANSPARENT else ACCOUNT_START if kind is FileType.ACCOUNT else b""
    df.efs.append(Ef(fid, kind, size, record_length, records, read, write, sfi, flags, content))


def _is_shape(df: Df, fid: int, kind: FileType, size: int, record_length: int, records: int) -> bool:
    """Type, identifier, size and record fields agree (personalization.md 3.2)."""
    if (kind is FileType.KEYS) != (fid == FID_KEYS) or (kind is FileType.ACCOUNT) != (fid == FID_ACCOUNT):
        return False
    if kind is FileType.KEYS:
        return record_length == 0 and 0 < records * KEY_RECORD_SIZE <= size
    if kind is FileType.ACCOUNT:
        return df.fid == FID_DF04 and size == ACCOUNT_SIZE
    if kind in (FileType.LINEAR_FIXED, FileType.CYCLIC):
        return record_length > 0 and records > 0 and record_length * records <= size
    return records > 0 if kind in RECORD_TYPES else record_length == records == 0


def _is_retry(value: int) -> bool:
    return value & 0x0F <= value >> 4


# ---- WRITE KEY


def write_key(chip: Chip, frame: Frame) -> bytes:
    """Install or replace one key record of the current DF (personalization.md 3.3)."""
    state, df = chip.state, chip.session.df
    if df is None:
        raise Refused(SW.FILE_NOT_FOUND)
    is_early = state.life is Life.ACTIVATED
    require(not is_early or (frame.p1 == P1_FIRST_MASTER and df is state.ssse), SW.CONDITIONS)
    require(state.life is not Life.PRE_PERSONALISED or frame.p1 == P1_REPLACE, SW.CONDITIONS)
    protecting, kid = _protecting_key(state, df, frame.p1)
    require(not protecting.is_locked, SW.LOCKED)
    require(chip.session.has_key(kid), SW.ACCESS_DENIED)
    cipher = _verify_master_mac(chip, frame, protecting)
    plain = crypto.open_envelope(state.algorithm, protecting.value, cipher)
    key = _parse_key(chip, df, frame.p2, plain)
    require((frame.p1 == P1_FIRST_MASTER) <= (key.type is KeyType.MASTER), SW.BAD_DATA)
    if key.type is KeyType.MASTER:
        _put_master(chip, df, key, frame.p1)
    else:
        _put_key(df, key, frame.p1)
        # IRK has id 00 as the master key has, but nothing is ever proved with it.
        if key.type is KeyType.PIN or (key.type is KeyType.AUTHENTICATION and not key.flags & FLAG_INTERNAL_ONLY):
            _forget(chip.session, key)
    chip.changed = True
    return b""


def _protecting_key(state: CardState, df: Df, p1: int) -> tuple[KeyObject, int]:
    """The master key that wraps the record, and the key reference that must be authenticated."""
    if p1 != P1_FIRST_MASTER:
        found, kid = df.master, 0x00 if df is state.ssse else LOCAL_KEY
    elif df is state.ssse:
        found, kid = state.transport, 0x00
    else:
        found, kid = state.ssse.master if state.ssse else None, 0x00
    if found is None:
        raise Refused(SW.KEY_NOT_FOUND)
    return found, kid


def _verify_master_mac(chip: Chip, frame: Frame, key: KeyObject) -> bytes:
    """The data before a MAC made with the whole master key, IV = 4-byte random || 00."""
    require(len(chip.session.challenge) in (0, RANDOM_LENGTH), SW.NO_CHALLENGE)
    iv = chip.take_challenge()
    body, received = frame.data[:-MAC_LENGTH], frame.data[-MAC_LENGTH:]
    expected = crypto.mac(chip.algorithm, key.value, frame.header + body, iv)
    require(crypto.is_equal(expected, received), SW.MAC_WRONG)
    return body


def _parse_key(chip: Chip, df: Df, reference: int, plain: bytes | None) -> KeyObject:
    """The record of the plain block. Raises 6A80."""
    if plain is None or len(plain) not in (KEY_HEADER + 8, KEY_HEADER + 16) or plain[0] not in set(KeyType):
        raise Refused(SW.BAD_DATA)
    kind, kid, version, algorithm, retry, flags = KeyType(plain[0]), *plain[1:6]
    value = plain[KEY_HEADER:]
    require(kid == reference and plain[6:8] == b"\0\0" and _is_retry(retry), SW.BAD_DATA)
    require(flags in (0, FLAG_INTERNAL_ONLY) and (not flags or kind is KeyType.AUTHENTICATION), SW.BAD_DATA)
    if kind is KeyType.PIN:
        is_bcd = value == EMPTY_PIN or value.rstrip(b"\xff").hex().rstrip("f").isdecimal()
        require(df is chip.state.ssse and (kid, version) == (1, 0) and len(value) == 8 and is_bcd, SW.BAD_DATA)
    else:
        require(1 <= version <= 3 and _fits_algorithm(chip.algorithm, algorithm, len(value)), SW.BAD_DATA)
        require(_is_reference(chip.state, df, kind, kid, flags), SW.BAD_DATA)
    return KeyObject(kind, kid, version, algorithm, retry >> 4, retry & 0x0F, flags, value)


def _fits_algorithm(card: Algorithm, algorithm: int, length: int) -> bool:
    if card is Algorithm.SM4:
        return (algorithm, length) == (0x03, 16)
    return (algorithm, length) in ((0x00, 16), (0x01, 8))


def _is_reference(state: CardState, df: Df, kind: KeyType, kid: int, flags: int) -> bool:
    """Global ids below 80 in the SSSE, local ones in applications; 00 for IRK, transaction and master keys."""
    local = df is not state.ssse
    if kind is KeyType.MASTER:
        return kid == (LOCAL_KEY if local else 0x00)
    if kind in TRANSACTION_KEYS:
        return local and kid == 0x00
    if kid in (0x00, LOCAL_KEY):
        return kid == 0x00 and kind is KeyType.AUTHENTICATION and bool(flags)
    return bool(kid & LOCAL_KEY) == local and not flags


def _put_master(chip: Chip, df: Df, key: KeyObject, p1: int) -> None:
    """A replaced master key must be proved anew; the first one of the SSSE hides the transport key."""
    is_first = p1 == P1_FIRST_MASTER
    require(p1 != P1_INSTALL and (df.master is None) == is_first, SW.BAD_DATA)
    if not key.retry_max:
        key.retry_max, key.retry_left = df.retry >> 4, df.retry & 0x0F
    df.master = key
    chip.session.set_key(key.kid, proved=False)
    if chip.state.life is Life.ACTIVATED:
        chip.state.life = Life.STRUCTURED


def _put_key(df: Df, key: KeyObject, p1: int) -> None:
    file = df.ef(FID_KEYS)
    if file is None:
        raise Refused(SW.FILE_NOT_FOUND)
    same = [(k.type, k.kid, k.version) == (key.type, key.kid, key.version) for k in df.keys]
    if p1 == P1_INSTALL:
        require(not any(same), SW.BAD_DATA)
        require(len(df.keys) < file.records_max, SW.NO_SPACE)
        df.keys.append(key)
    else:
        require(any(same), SW.KEY_NOT_FOUND)
        df.keys[same.index(True)] = key


def _forget(session: Session, key: KeyObject) -> None:
    """What the former value proved is no longer proved."""
    if key.type is KeyType.PIN:
        session.is_pin_verified = False
    else:
        session.set_key(key.kid, proved=False)


# ---- DELETE STRUCTURE, SET STATE


def _require_master(chip: Chip) -> KeyObject:
    ssse = chip.state.ssse
    if ssse is None or ssse.master is None:
        raise Refused(SW.KEY_NOT_FOUND)
    require(chip.session.has_key(0x00), SW.ACCESS_DENIED)
    return ssse.master


def delete_structure(chip: Chip, frame: Frame) -> bytes:
    """Remove the SSSE tree; the transport key is valid again."""
    require(chip.session.df is chip.state.ssse, SW.CONDITIONS)
    _verify_master_mac(chip, frame, _require_master(chip))
    chip.state.dfs = []
    chip.state.proof = None
    chip.state.life = Life.ACTIVATED
    chip.session = Session(df=None)
    chip.changed = True
    return b""


def set_state(chip: Chip, frame: Frame) -> bytes:
    """One step forward, never back; PRE-PERSONALISED needs the whole key set."""
    _verify_master_mac(chip, frame, _require_master(chip))
    target = Life(frame.p2)
    require(target == chip.state.life + 1, SW.BAD_DATA)
    require(target is not Life.PRE_PERSONALISED or not missing_keys(chip.state), SW.BAD_DATA)
    chip.state.life = target
    chip.changed = True
    return b""


_BUILDING = frozenset({Life.ACTIVATED, Life.STRUCTURED})
_KEYED = frozenset({Life.STRUCTURED, Life.PRE_PERSONALISED})


def _lengths(*allowed: int) -> Callable[[Frame], bool]:
    return lambda frame: len(frame.data) in allowed


def _zero(frame: Frame) -> bool:
    return frame.p1 == frame.p2 == 0


COMMANDS: dict[tuple[int, int], Command] = {
    (0x80, 0xF4): Command(activate, _zero, _lengths(30), lives=frozenset({Life.CHIP}), is_hidden_after_issue=True),
    (0x80, 0xF2): Command(card_status, _zero, lambda f: True, is_outgoing=lambda f: True, lives=frozenset(Life)),
    (0x80, 0xE0): Command(
        create_file,
        lambda f: True,
        _lengths(EF_BODY, *range(DF_BODY_MIN, DF_BODY_MAX + 1)),
        lives=_BUILDING,
        is_hidden_after_issue=True,
    ),
    (0x84, 0xD4): Command(
        write_key,
        lambda f: f.p1 <= P1_FIRST_MASTER,
        _lengths(0x1C, 0x24),
        lives=_BUILDING | _KEYED,
        is_hidden_after_issue=True,
    ),
    (0x84, 0xEE): Command(
        delete_structure, _zero, _lengths(MAC_LENGTH), lives=frozenset({Life.STRUCTURED}), is_hidden_after_issue=True
    ),
    (0x84, 0xF4): Command(
        set_state,
        lambda f: f.p1 == 0x01 and f.p2 in (0x03, 0x04),
        _lengths(MAC_LENGTH),
        lives=_KEYED,
        is_hidden_after_issue=True,
    ),
}
