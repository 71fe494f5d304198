"""A simulated PSAM (网点终端安全存取模块): authentication, message keys and settlement (psam.md sections 1 to 4).

It lacks what only its issuer needs: loading of keys and the control keys for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cardlib.spec import Generation, KeyType, load
from simulators.apps.build import transit_sam
from simulators.apps.transit_psam import FID_APPLICATION as FID_TRANSIT
from simulators.card import crypto
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require, wrong_le
from simulators.factory import algorithm_name
from simulators.faults import CardGone
from simulators.ministry import RootKeys

AID_APPLICATION = bytes.fromhex("D15600000590")
_NAME_TAIL = bytes.fromhex("2E73682EC9E7BBE1B1A3D5CF")
ENVIRONMENTS = {Algorithm.TRIPLE_DES: (0x3F00, b"sx1" + _NAME_TAIL), Algorithm.SM4: (0xDDF2, b"sx3" + _NAME_TAIL)}
FID_MF, FID_APPLICATION = 0x3F00, 0xDF01
ISSUER, VERSION, KEY_CARD_TYPE = 0x01, 0x01, 0x00
ATR = bytes.fromhex("3B6D000000FE00000086FE990090000001")
TYPE_MAC, TYPE_ENCRYPTION, TYPE_BOTH, TYPE_PURCHASE = 6, 7, 8, 2
FACTOR_LENGTH = 8
LEVELS_MAX = 3
PURCHASE_LENGTH = 0x1C
CIPHER_BLOCKS_MAX = {Algorithm.TRIPLE_DES: 0x40, Algorithm.SM4: 0x80}
P1_ENCRYPT_LAST, P1_ENCRYPT_MORE = 0x00, 0x02
P1_MAC_SINGLE, P1_MAC_FIRST, P1_MAC_NEXT, P1_MAC_LAST = 0x05, 0x07, 0x03, 0x01
_APPLICATION_DATES = bytes.fromhex("2020010120991231")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """`usage`: bits 8-6 diversifications still to do, bits 5-1 type; `id` is the version of a purchase key."""

    usage: int
    id: int
    value: bytes

    @property
    def levels(self) -> int:
        return self.usage >> 5

    @property
    def type(self) -> int:
        return self.usage & 0x1F


@dataclass(slots=True)
class Register:
    """The temporary session key: good for one encryption and one MAC sequence (OPEN S8)."""

    session_key: bytes
    type: int
    is_encryption_done: bool = False
    is_mac_done: bool = False
    chain: bytes | None = None


@dataclass(slots=True)
class Purchase:
    """State between INIT SAM FOR PURCHASE and CREDIT SAM FOR PURCHASE."""

    session_key: bytes
    amounts: bytes


@dataclass(slots=True)
class _Environment:
    algorithm: Algorithm
    fid: int
    name: bytes
    records: list[KeyRecord]
    files: dict[int, bytes]
    counter: int = 0


@dataclass(slots=True)
class _Session:
    environment: _Environment
    in_application: bool = False
    in_transit: bool = False
    ef: int | None = None
    pending: bytes = b""
    register: Register | None = None
    purchase: Purchase | None = None
    province: int | None = field(default=None)


class SimPsam:
    """Thread-safe; same power and transmit interface as SimCard. `transit` is the transport ministry's application.

    `levels` sets for single keys how many diversifications are left to the PSAM, as city PSAMs differ in it; the root
    is then diversified beforehand with the region's own factors.
    """

    def __init__(
        self,
        roots: RootKeys,
        region: str = "990100",
        terminal_number: str = "990100000001",
        *,
        serial: str = "99010000000000000001",
        algorithms: tuple[Algorithm, ...] = (Algorithm.TRIPLE_DES, Algorithm.SM4),
        levels: Mapping[str, int] | None = None,
        without: frozenset[str] = frozenset(),
        counter: int = 0,
        rng: Callable[[int], bytes] = os.urandom,
        direct: bool = False,
    ) -> None:
        self.transit = transit_sam(roots.root, bytes.fromhex(terminal_number), sequence=counter)
        self._environments = []
        public = bytes((ISSUER,)) + bytes.fromhex(serial) + bytes((VERSION, KEY_CARD_TYPE, 0, 0))
        for algorithm in algorithms:
            fid, name = ENVIRONMENTS[algorithm]
            records = _records(roots, algorithm, region, dict(levels or {}), without)
            files = {0x0015: public, 0x0016: bytes.fromhex(terminal_number)}
            self._environments.append(_Environment(algorithm, fid, name, records, files, counter))
        self._rng = rng
        self._direct = direct
        self._session: _Session | None = None
        self._lock = threading.Lock()

    def add_key(self, algorithm: Algorithm, record: KeyRecord) -> None:
        """Put a further record into one environment, as the PSAM's issuer would."""
        next(e for e in self._environments if e.algorithm is algorithm).records.append(record)

    def power_on(self) -> bytes:
        with self._lock:
            self._session = _Session(self._environments[0])
            self.transit.select()
            return ATR

    def power_off(self) -> None:
        with self._lock:
            self._session = None

    def transmit(self, command: bytes) -> bytes:
        """Data and status word for any bytes at all. Raises CardGone without power."""
        with self._lock:
            session = self._session
            if session is None:
                raise CardGone("the PSAM has no power")
            if len(command) < 4:
                return SW.WRONG_LENGTH.to_bytes(2, "big")
            frame = Frame(command[0], command[1], command[2], command[3], command[4:])
            if frame.ins != 0xC0:
                session.pending = b""
            try:
                data = self._dispatch(session, frame)
            except Refused as refusal:
                return refusal.sw.to_bytes(2, "big")
            if data and frame.ins not in _OUTGOING and not self._direct:
                session.pending, data = data, b""
            sw = 0x6100 | len(session.pending) & 0xFF if session.pending else SW.OK
            return data + sw.to_bytes(2, "big")

    def _dispatch(self, session: _Session, frame: Frame) -> bytes:
        if session.in_transit and frame.ins not in (0xA4, 0xC0, 0x84):
            return self.transit.execute(session.environment.algorithm, frame)
        classes = _CLASSES.get(frame.ins)
        require(frame.cla in _ALL_CLASSES, SW.WRONG_CLA)
        require(classes is not None, SW.WRONG_INS)
        require(frame.cla == classes, SW.WRONG_CLA)
        require(_PARAMETERS[frame.ins](frame), SW.WRONG_P1P2)
        match frame.ins:
            case 0xA4:
                return self._select(session, frame)
            case 0xC0:
                return _get_response(session, frame)
            case 0xB0:
                return _read_binary(session, frame)
            case 0xD6:
                return _update_binary(session, frame)
            case 0x84:
                frame.expect()
                sizes = (4, 8, 16) if session.environment.algorithm is Algorithm.SM4 else (4, 8)
                require(frame.le in sizes, SW.WRONG_LENGTH)
                return self._rng(frame.le)
            case 0xEC:
                return _initialize(session, frame)
            case 0xDE:
                return _deliver(session, frame)
            case 0xFA:
                return _cipher(session, frame)
            case 0x70:
                return _init_purchase(session, frame)
            case _:
                return _credit_purchase(session, frame)

    def _select(self, session: _Session, frame: Frame) -> bytes:
        frame.receive()
        lengths = {0x00: (0, 2), 0x02: (2,), 0x04: range(5, 17)}[frame.p1]
        require(len(frame.data) in lengths, SW.WRONG_LENGTH)
        if frame.p1 == 0x02:
            fid = int.from_bytes(frame.data, "big")
            require(fid in _visible_files(session), SW.FILE_NOT_FOUND)
            session.ef = fid
            return b""
        is_transit = frame.p1 == 0x00 and frame.data == FID_TRANSIT.to_bytes(2, "big")
        name = b"" if is_transit else self._enter(session, frame)
        session.ef = None
        session.register = session.purchase = None
        session.in_transit = is_transit
        transit_fci = self.transit.select()
        if is_transit:
            session.in_application = False
            return transit_fci
        return b"\x6f" + bytes((len(name) + 2, 0x84, len(name))) + name

    def _enter(self, session: _Session, frame: Frame) -> bytes:
        """The current environment's application first, then environments by name or identifier (draft P9 5)."""
        by_name = frame.p1 == 0x04
        fid = int.from_bytes(frame.data, "big") if frame.data else FID_MF
        if frame.data == AID_APPLICATION if by_name else fid == FID_APPLICATION:
            session.in_application = True
            return AID_APPLICATION
        for environment in self._environments:
            if frame.data == environment.name if by_name else fid == environment.fid:
                session.environment, session.in_application = environment, False
                return environment.name
        raise Refused(SW.FILE_NOT_FOUND)


def _records(
    roots: RootKeys, algorithm: Algorithm, region: str, levels: dict[str, int], without: frozenset[str]
) -> list[KeyRecord]:
    """One record per key that the specification places in a PSAM, and the three versions of a purchase key."""
    factors = [region[:2].encode("ascii") + b"0000sh", region[:6].encode("ascii") + b"sx"]
    spec = load(Generation.V3 if algorithm is Algorithm.SM4 else Generation.V2)
    records = []
    for key in spec.keys:
        if key.psam is None or key.name in without:
            continue
        left = levels.get(key.name, key.psam.levels)
        if not 0 <= left <= LEVELS_MAX + 1 - key.root_level:
            raise ValueError(f"{key.name}: a level {key.root_level} root cannot leave {left} diversifications")
        value = roots.root(key.name, algorithm_name(algorithm))
        for factor in factors[key.root_level - 1 : LEVELS_MAX - left]:
            value = crypto.diversify(algorithm, value, factor)
        kind = TYPE_PURCHASE if key.type is KeyType.PURCHASE else key.psam.usage & 0x1F
        records.append(KeyRecord(left << 5 | kind, key.psam.id, value))
    return records


# ---- files


def _visible_files(session: _Session) -> dict[int, bytes]:
    environment = session.environment
    if not session.in_application:
        return environment.files
    dates = dict.fromkeys((26, 27, 28), b"\x01\x01" + _APPLICATION_DATES)
    return {0x0019: environment.counter.to_bytes(4, "big"), **dates}


def _address(session: _Session, frame: Frame) -> tuple[bytes, int]:
    """Content and offset; short identifiers are the low byte of the FID (terminals read 16 and 1C so)."""
    files = _visible_files(session)
    if frame.p1 & 0x80:
        sfi = frame.p1 & 0x1F
        require(sfi in files, SW.FILE_NOT_FOUND)
        session.ef = sfi
        return files[sfi], frame.p2
    if session.ef is None:
        raise Refused(SW.NO_CURRENT_EF)
    return files[session.ef], frame.p1 << 8 | frame.p2


def _read_binary(session: _Session, frame: Frame) -> bytes:
    frame.expect()
    content, offset = _address(session, frame)
    require(offset < len(content), SW.WRONG_OFFSET)
    return frame.fit(content[offset:])


def _update_binary(session: _Session, frame: Frame) -> bytes:
    """Every file needs a key this simulator does not offer to authenticate."""
    frame.receive()
    require(bool(frame.data), SW.WRONG_LENGTH)
    _address(session, frame)
    raise Refused(SW.ACCESS_DENIED)


def _get_response(session: _Session, frame: Frame) -> bytes:
    frame.expect()
    pending = session.pending
    require(bool(pending), SW.NOTHING_PENDING)
    if not 0 < frame.le <= len(pending):
        raise wrong_le(len(pending))
    session.pending = pending[frame.le :]
    return pending[: frame.le]


# ---- keys


def _initialize(session: _Session, frame: Frame) -> bytes:
    """INITIALIZE ENVIRONMENT: the card's province; session keys are cleared (OPEN S5)."""
    frame.receive()
    require(len(frame.data) == 1, SW.WRONG_LENGTH)
    require(frame.data.hex().isdecimal(), SW.BAD_DATA)
    session.province = frame.data[0]
    session.register = session.purchase = None
    return b""


def _find(records: list[KeyRecord], usage: int, key_id: int) -> KeyRecord:
    """Exact usage and id; the same key at another level is 6A80, so that hosts try again (OPEN S4)."""
    same = [record for record in records if record.id == key_id and record.type == usage & 0x1F]
    require(bool(same), SW.KEY_NOT_FOUND)
    exact = [record for record in same if record.usage == usage]
    require(bool(exact), SW.BAD_DATA)
    return exact[0]


def _diversified(algorithm: Algorithm, value: bytes, factors: bytes) -> bytes:
    """Factors come lowest level first and are used highest level first (psam.md section 3)."""
    for start in range(len(factors) - FACTOR_LENGTH, -1, -FACTOR_LENGTH):
        value = crypto.diversify(algorithm, value, factors[start : start + FACTOR_LENGTH])
    return value


def _deliver(session: _Session, frame: Frame) -> bytes:
    frame.receive()
    algorithm = session.environment.algorithm
    count, rest = divmod(len(frame.data) - algorithm.block, FACTOR_LENGTH)
    require(rest == 0 and 0 <= count <= LEVELS_MAX, SW.WRONG_LENGTH)
    require(session.in_application, SW.CONDITIONS)
    record = _find(session.environment.records, frame.p1, frame.p2)
    require(count == record.levels, SW.BAD_DATA)
    require(record.type in (TYPE_MAC, TYPE_ENCRYPTION, TYPE_BOTH), SW.CONDITIONS)
    factors, process = frame.data[: count * FACTOR_LENGTH], frame.data[count * FACTOR_LENGTH :]
    card_key = _diversified(algorithm, record.value, factors)
    session.register = Register(crypto.session_key(algorithm, card_key, process), record.type)
    return b""


def _cipher(session: _Session, frame: Frame) -> bytes:
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


# ---- settlement


def _init_purchase(session: _Session, frame: Frame) -> bytes:
    """The terminal's counter steps before the answer is out (OPEN S10)."""
    environment = session.environment
    frame.receive()
    count, rest = divmod(len(frame.data) - PURCHASE_LENGTH, FACTOR_LENGTH)
    require(rest == 0 and 1 <= count <= LEVELS_MAX, SW.WRONG_LENGTH)
    require(session.in_application, SW.CONDITIONS)
    data = frame.data
    seed, amounts, kind, moment = data[:6], data[6:18], data[18:19], data[19:26]
    version, algorithm = data[26], data[27]
    record = _find(environment.records, count << 5 | TYPE_PURCHASE, version)
    require(algorithm == environment.algorithm, SW.CONDITIONS)
    card_key = _diversified(environment.algorithm, record.value, data[PURCHASE_LENGTH:])
    number = environment.counter.to_bytes(4, "big")
    session_key = crypto.session_key(environment.algorithm, card_key, seed + number[2:])
    terminal = environment.files[0x0016]
    mac1 = crypto.mac(environment.algorithm, session_key, amounts + kind + terminal + moment)
    environment.counter = (environment.counter + 1) & 0xFFFFFFFF
    session.purchase = Purchase(session_key, amounts)
    return number + mac1


def _credit_purchase(session: _Session, frame: Frame) -> bytes:
    purchase = session.purchase
    if purchase is None:
        raise Refused(SW.WRONG_TRANSACTION_STATE)
    frame.receive()
    require(len(frame.data) == 4, SW.WRONG_LENGTH)
    session.purchase = None
    expected = crypto.mac(session.environment.algorithm, purchase.session_key, purchase.amounts)
    require(crypto.is_equal(expected, frame.data), SW.MEDICAL_MAC_WRONG)
    return b""


_ALL_CLASSES = frozenset({0x00, 0x80, 0xBF})
_OUTGOING = frozenset({0xC0, 0xB0, 0x84})
_CLASSES = {
    **dict.fromkeys((0xA4, 0xC0, 0xB0, 0xD6, 0x84), 0x00),
    **dict.fromkeys((0xEC, 0xDE), 0xBF),
    **dict.fromkeys((0xFA, 0x70, 0x72), 0x80),
}


def _no_parameters(frame: Frame) -> bool:
    return frame.p1 == frame.p2 == 0


def _binary_parameters(frame: Frame) -> bool:
    return not (frame.p1 & 0x80 and frame.p1 & 0x60)


_PARAMETERS: dict[int, Callable[[Frame], bool]] = {
    0xA4: lambda f: f.p1 in (0, 2, 4) and f.p2 == 0,
    0xC0: _no_parameters,
    0xB0: _binary_parameters,
    0xD6: _binary_parameters,
    0x84: _no_parameters,
    0xEC: _no_parameters,
    0xDE: lambda f: True,
    0xFA: lambda f: f.p2 == 0 and f.p1 in (0, 1, 2, 3, 5, 7),
    0x70: lambda f: (f.p1, f.p2) == (1, 0),
    0x72: _no_parameters,
}
