"""A PSAM as its issuer hands it out: files, roots of the simulated ministry, control keys of its own."""

from __future__ import annotations

from collections.abc import Mapping

from cardlib.spec import Generation, KeyType, load
from simulators.card import crypto
from simulators.card.crypto import Algorithm
from simulators.factory import algorithm_name
from simulators.ministry import RootKeys
from simulators.psam.state import (
    FID_TERMINAL,
    KEY_FILES,
    KID_ADF_MASTER,
    KID_DDF_MASTER,
    TYPE_PURCHASE,
    ControlKey,
    Environment,
    KeyRecord,
    PsamFile,
    PsamState,
)

_NAME_TAIL = bytes.fromhex("2E73682EC9E7BBE1B1A3D5CF")
ENVIRONMENTS = {Algorithm.TRIPLE_DES: (0x3F00, b"sx1" + _NAME_TAIL), Algorithm.SM4: (0xDDF2, b"sx3" + _NAME_TAIL)}
ISSUER, VERSION, KEY_CARD_TYPE = 0x01, 0x01, 0x00
FID_PUBLIC = 0x15
FID_NATIONAL, FID_PROVINCE, FID_CITY = 0x1A, 0x1B, 0x1C
CONTROL_NAMES = {
    KID_DDF_MASTER: "PSAM_DDF",
    0x01: "PSAM_K01",
    0x02: "PSAM_K02",
    0x03: "PSAM_K03",
    KID_ADF_MASTER: "PSAM_ADF",
}
"""Control keys by id (OPEN S11) and the eight characters their roots are made with."""
LEVELS_MAX = 3
_APPLICATION_INFORMATION = bytes.fromhex("01012020010120991231")
_PROVINCE_IDS = (range(0x10, 0x18), range(0x40, 0x80))
_CITY_IDS = (range(0x18, 0x20), range(0x80, 0xC0))


def control_root(roots: RootKeys, kid: int, algorithm: Algorithm) -> bytes:
    """The issuer's root of a control key. It follows from a root of the simulated ministry, so that one file makes
    the PSAMs of an installation and its key service belong together."""
    seed = roots.root("MK_SSSE", algorithm_name(algorithm))
    return crypto.diversify(algorithm, seed, CONTROL_NAMES[kid].encode("ascii"))


def build_psam(
    roots: RootKeys,
    region: str = "990100",
    terminal_number: str = "990100000001",
    *,
    serial: str = "99010000000000000001",
    algorithms: tuple[Algorithm, ...] = (Algorithm.TRIPLE_DES, Algorithm.SM4),
    levels: Mapping[str, int] | None = None,
    without: frozenset[str] = frozenset(),
    counter: int = 0,
) -> PsamState:
    """`levels` sets for single keys how many diversifications are left to the PSAM, as city PSAMs differ in it; the
    root is then diversified beforehand with the region's own factors. Raises ValueError for an impossible number."""
    public = bytes((ISSUER,)) + bytes.fromhex(serial) + bytes((VERSION, KEY_CARD_TYPE, 0, 0))
    terminal = bytes.fromhex(terminal_number)
    factor = bytes.fromhex(serial)[2:]
    environments = [
        Environment(
            algorithm=algorithm,
            fid=ENVIRONMENTS[algorithm][0],
            name=ENVIRONMENTS[algorithm][1],
            files=_files(public, terminal),
            records=_records(roots, algorithm, region, dict(levels or {}), without),
            controls=[
                ControlKey(kid, crypto.diversify(algorithm, control_root(roots, kid, algorithm), factor))
                for kid in CONTROL_NAMES
            ],
            counter=counter,
        )
        for algorithm in algorithms
    ]
    return PsamState(environments, counter)


def _files(public: bytes, terminal: bytes) -> list[PsamFile]:
    """Tables 2, 3 and 5 to 7 of draft P9; 0019 is the counter itself."""
    information = zip((FID_NATIONAL, FID_PROVINCE, FID_CITY), (0x01, 0x02, 0x03), strict=True)
    return [
        PsamFile(FID_PUBLIC, public, KID_DDF_MASTER, False),
        PsamFile(FID_TERMINAL, terminal, KID_DDF_MASTER, False),
        *(PsamFile(fid, _APPLICATION_INFORMATION, kid, True) for fid, kid in information),
    ]


def key_file(usage: int, key_id: int) -> int:
    """Where appendix A puts a key; purchase keys, whose id is a version, come from the nation."""
    if usage & 0x1F != TYPE_PURCHASE:
        for file, ranges in ((KEY_FILES[1], _PROVINCE_IDS), (KEY_FILES[2], _CITY_IDS)):
            if any(key_id in ids for ids in ranges):
                return file
    return KEY_FILES[0]


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
        usage = left << 5 | kind
        records.append(KeyRecord(usage, key.psam.id, value, key_file(usage, key.psam.id)))
    return records
