"""Cards as they leave the card maker, the initialisation centre or the issuer, built without any commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cardlib.spec import CardSpec, DfSpec, EfSpec, KeySpec, KeyType, Structure, load
from simulators.apps.build import neighbours
from simulators.apps.state import NeighbourState
from simulators.card import crypto
from simulators.card.card import SimCard
from simulators.card.crypto import Algorithm
from simulators.card.rcp import ACCOUNT_START, TRIES
from simulators.card.state import (
    DF_TYPE_ADF,
    DF_TYPE_DDF,
    EMPTY_PIN,
    FID_ACCOUNT,
    FLAG_INTERNAL_ONLY,
    CardState,
    Df,
    Ef,
    FileType,
    KeyObject,
    Life,
)
from simulators.card.state import KeyType as StoredKeyType
from simulators.content import encode_records, encode_transparent
from simulators.ministry import RootKeys
from simulators.personas import Persona, PersonaError

VENDOR_BYTES = bytes.fromhex("00FE000000")
CARD_MAKER = bytes.fromhex("86FE")
MASTER_RETRY = 0x33
DIR_SFI = 0x1E
CREATE_BY_MASTER = b"\x03\x00"


@dataclass(frozen=True, slots=True)
class Factors:
    """Diversification factors of one card (draft P9 7.3): province, city, card."""

    region: str
    historical: bytes

    def of_level(self, root_level: int) -> list[bytes]:
        """What a root of this level still needs; level 0 is used as it is."""
        chain = [
            self.region[:2].encode("ascii") + b"0000sh",
            self.region[:6].encode("ascii") + b"sx",
            self.historical[5:13],
        ]
        return chain[root_level - 1 :] if root_level else []


def historical_bytes(region: str, serial: int) -> bytes:
    """Reset information of a simulated card: T8-T9 region, TA-TD serial (draft P2 T16)."""
    return VENDOR_BYTES + CARD_MAKER + bytes.fromhex(region[:4]) + serial.to_bytes(4, "big")


def card_key(roots: RootKeys, key: KeySpec, algorithm: Algorithm, factors: Factors) -> bytes:
    """The value this card holds of a key, diversified from the level of its root on."""
    value = roots.root(key.name, algorithm_name(algorithm))
    for factor in factors.of_level(key.root_level):
        value = crypto.diversify(algorithm, value, factor)
    return value


def algorithm_name(algorithm: Algorithm) -> str:
    return "SM4" if algorithm is Algorithm.SM4 else "3DES"


def activate(state: CardState, transport_key: bytes, algorithm: Algorithm, historical: bytes) -> None:
    """The card maker's act on a chip, through ACTIVATE COS itself. Raises ValueError when the chip refuses."""
    card = SimCard(state)
    card.power_on()
    body = transport_key + bytes((algorithm,)) + historical
    answer = card.transmit(bytes((0x80, 0xF4, 0, 0, len(body))) + body)
    card.power_off()
    if answer != b"\x90\x00":
        raise ValueError(f"ACTIVATE COS answered {answer.hex().upper()}")


def build_card(persona: Persona, roots: RootKeys) -> CardState:
    """The card image of a persona. Raises PersonaError when its data do not fit the specification."""
    if persona.life is Life.CHIP:
        return CardState()
    spec = load(persona.generation)
    algorithm = Algorithm(spec.algorithm_id)
    historical = historical_bytes(persona.region, persona.serial)
    state = CardState(life=persona.life, algorithm=algorithm, historical=historical, is_blocked=persona.is_blocked)
    factors = Factors(persona.region, historical)
    state.transport = _key_object(spec.key("TK"), algorithm, roots, factors)
    present = [df for df in spec.dfs if not df.is_optional or df.name in persona.optional_applications]
    state.dfs = [_build_df(spec, df, algorithm, roots, factors) for df in present]
    _write_directory(state, present)
    pin = persona.pin_bytes() if persona.pin else EMPTY_PIN
    state.dfs[0].keys.append(KeyObject(StoredKeyType.PIN, 1, 0, 0, spec.pin.tries, spec.pin.tries, 0, pin))
    if persona.life is Life.ISSUED:
        _write_items(state, spec, persona)
    state.neighbours = _neighbours(persona, roots, persona.applications)
    for name in persona.blocked_applications:
        next(df for df in state.dfs if df.fid == spec.df(name).fid).is_blocked = True
    return state


def complete(state: CardState, persona: Persona, roots: RootKeys) -> bool:
    """Give a stored card the applications its persona has by now and its image lacks; False when it lacked none."""
    missing = {name: t for name, t in persona.applications.items() if getattr(state.neighbours, name, None) is None}
    if not missing or persona.life is Life.CHIP:
        return False
    built = _neighbours(persona, roots, missing)
    for name in missing:
        setattr(state.neighbours, name, getattr(built, name))
    return True


def _neighbours(persona: Persona, roots: RootKeys, tables: dict[str, dict[str, Any]]) -> NeighbourState:
    try:
        return neighbours(roots.root, tables)
    except (KeyError, ValueError) as exc:
        raise PersonaError(f"{persona.name}: applications: {exc}") from exc


def _build_df(spec: CardSpec, df: DfSpec, algorithm: Algorithm, roots: RootKeys, factors: Factors) -> Df:
    master = next(k for k in spec.keys if k.df == df.name and k.name == f"MK_{df.name}")
    return Df(
        fid=df.fid,
        type=DF_TYPE_DDF if df.is_environment else DF_TYPE_ADF,
        size=df.size,
        create=CREATE_BY_MASTER,
        block_kid=df.block_kid,
        retry=MASTER_RETRY,
        dir_sfi=DIR_SFI if df.is_environment else 0,
        algorithm=algorithm,
        name=df.aid,
        efs=[_build_ef(ef) for ef in df.files],
        keys=[_key_object(key, algorithm, roots, factors) for key in spec.keys_of(df.name)],
        master=_key_object(master, algorithm, roots, factors),
    )


def _build_ef(ef: EfSpec) -> Ef:
    kind = FileType(ef.structure)
    content = b""
    if ef.structure is Structure.TRANSPARENT:
        content = bytes(ef.size)
    elif ef.structure is Structure.ACCOUNT:
        content = ACCOUNT_START
    return Ef(
        ef.fid,
        kind,
        ef.size,
        ef.record_length,
        ef.records,
        ef.read.to_bytes(),
        ef.write.to_bytes(),
        ef.sfi,
        0,
        content,
    )


def _key_object(key: KeySpec, algorithm: Algorithm, roots: RootKeys, factors: Factors) -> KeyObject:
    value = card_key(roots, key, algorithm, factors)
    record_algorithm = 0x01 if len(value) == 8 else int(algorithm)
    retry = TRIES if key.type is KeyType.MASTER else key.retry
    flags = FLAG_INTERNAL_ONLY if key.is_internal_only else 0
    return KeyObject(StoredKeyType(key.type), key.kid, 1, record_algorithm, retry, retry, flags, value)


def _write_directory(state: CardState, present: list[DfSpec]) -> None:
    """One 61 template per application (card_files.md section 3)."""
    directory = state.dfs[0].ef_by_sfi(DIR_SFI)
    if directory is None:
        raise PersonaError("the specification has no directory file")
    for df in present[1:]:
        label = df.label.encode("gb18030")[:16]
        value = b"\x4f" + bytes((len(df.aid),)) + df.aid + b"\x50" + bytes((len(label),)) + label
        directory.records.append(b"\x61" + bytes((len(value),)) + value)


def _write_items(state: CardState, spec: CardSpec, persona: Persona) -> None:
    """Every standard item exists on an issued card; the ones a persona does not name are filled (V2.0 7)."""
    unknown = set(persona.items) - {ef.path for df in spec.dfs for ef in df.files}
    if unknown:
        raise PersonaError(f"{persona.name}: no file {', '.join(sorted(unknown))}")
    for df in state.dfs:
        described = next(d for d in spec.dfs if d.fid == df.fid)
        for ef in described.efs:
            stored = df.ef(ef.fid)
            assert stored is not None
            if ef.structure is Structure.TRANSPARENT:
                stored.content = encode_transparent(ef, persona.items.get(ef.path, {}))
            else:
                stored.records = encode_records(ef, persona.items.get(ef.path, {}))
        account = df.ef(FID_ACCOUNT)
        if account is not None:
            account.content = ACCOUNT_START[:4] + persona.balance_fen.to_bytes(4, "big") + ACCOUNT_START[8:]
