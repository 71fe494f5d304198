"""Our engines beside plain gmssl and pycryptodome, and what the key service makes of them.

Every contender gets its key with every message, as cards have keys of their own; SM2 keys are kept by all, as signers
have few. Peers are written the quickest way a user of the library would write them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from Crypto.Cipher import DES
from gmssl import sm2, sm3, sm4
from rich.table import Table

from bench.measure import Action, agree, heading, mark, rates, times
from hsm.api import CARD_ALGORITHMS, Algorithm, CardFactors, KeyRef, KeyService, Purpose
from hsm.primitives import Engine, default_engine, portable_engine
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService

SIZES = (32, 256, 4096)
SM4_TARGET_FROM = 256
SM2_TARGET, SYMMETRIC_TARGET, MAC_TARGET = 15.0, 100.0, 3.0
SM2_BYTES, MAC_BYTES, SM4_BLOCK = 32, 32, 16
PEER, PORTABLE, OURS = "peer", "portable", "ours"

# gmssl has no types; what is taken from it passes through these names.
_CryptSM2: Any = sm2.CryptSM2
_CryptSM4: Any = sm4.CryptSM4
_sm3_hash: Any = sm3.sm3_hash

_NO_PADDING = 0xFF
"""A padding mode gmssl does not know: it then works on whole blocks, no more of them than we do."""


@dataclass(frozen=True, slots=True)
class Case:
    """One operation by all contenders; `same` maps a result to what must be equal among them."""

    operation_zh: str
    operation_en: str
    size: int
    peer: str
    target: float | None
    actions: dict[str, Action]
    same: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class CryptoRow:
    """Operations per second; `ratio` is ours to the peer's, `is_met` None without a target."""

    operation_zh: str
    operation_en: str
    size: int
    peer: str
    peer_per_s: float
    portable_per_s: float
    ours_per_s: float
    ratio: float
    target: float | None
    is_met: bool | None


@dataclass(frozen=True, slots=True)
class KeyServiceRow:
    """Operations per second of the key service on each engine."""

    operation: str
    algorithm: str
    diversifications: int
    portable_per_s: float
    ours_per_s: float


@dataclass(frozen=True, slots=True)
class CryptoResult:
    engine: str
    engines: list[CryptoRow]
    key_service: list[KeyServiceRow]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        return [self._engine_table(), self._key_service_table()]

    def _engine_table(self) -> Table:
        table = Table(
            title=f"密码运算，每秒次数 / ciphers, operations per second · {self.engine}",
            caption="每条消息都换密钥（SM2 除外） / a new key with every message, SM2 excepted",
        )
        table.add_column(heading("运算", "operation"), no_wrap=True)
        table.add_column(heading("字节", "bytes"), justify="right")
        table.add_column(heading("同类", "peer"))
        for zh, en in (("同类", "peer"), ("便携", "portable"), ("本系统", "ours"), ("倍数", "ratio")):
            table.add_column(heading(zh, en), justify="right")
        table.add_column(heading("目标", "target"), justify="right")
        for row in self.engines:
            table.add_row(
                f"{row.operation_zh} / {row.operation_en}",
                str(row.size),
                row.peer,
                *(f"{value:,.0f}" for value in (row.peer_per_s, row.portable_per_s, row.ours_per_s)),
                times(row.ratio),
                f"≥ {row.target:.0f}× {mark(row.is_met)}" if row.target else "—",
            )
        return table

    def _key_service_table(self) -> Table:
        table = Table(title="密钥服务，每秒次数 / key service, operations per second")
        table.add_column(heading("运算", "operation"), no_wrap=True)
        table.add_column(heading("算法", "algorithm"))
        for zh, en in (("分散次数", "diversifications"), ("便携", "portable"), ("本系统", "ours"), ("倍数", "ratio")):
            table.add_column(heading(zh, en), justify="right")
        for row in self.key_service:
            table.add_row(
                row.operation,
                row.algorithm,
                str(row.diversifications),
                f"{row.portable_per_s:,.0f}",
                f"{row.ours_per_s:,.0f}",
                times(row.ours_per_s / row.portable_per_s),
            )
        return table


def measure(*, rounds: int = 7, slot_s: float = 0.02) -> CryptoResult:
    """Raises BenchError when contenders disagree on a result."""
    ours, portable = default_engine(), portable_engine()
    cases = _sm2_cases(ours, portable)
    for size in SIZES:
        cases.append(_sm3_case(ours, portable, size))
    for size in SIZES:
        cases.append(_sm4_cbc_case(ours, portable, size))
    cases += [_sm4_ecb_case(ours, portable, size) for size in (SM4_BLOCK, *SIZES)]
    cases.append(_retail_mac_case(ours, portable))
    rows = [_row(case, rounds=rounds, slot_s=slot_s) for case in cases]
    return CryptoResult(ours.name, rows, _key_service_rows(ours, portable, rounds=rounds, slot_s=slot_s))


def _row(case: Case, *, rounds: int, slot_s: float) -> CryptoRow:
    agree(case.operation_en, {name: case.same(action()) for name, action in case.actions.items()})
    found = rates(case.actions, rounds=rounds, slot_s=slot_s)
    ratio = found[OURS] / found[PEER]
    return CryptoRow(
        case.operation_zh,
        case.operation_en,
        case.size,
        case.peer,
        round(found[PEER], 1),
        round(found[PORTABLE], 1),
        round(found[OURS], 1),
        round(ratio, 2),
        case.target,
        ratio >= case.target if case.target else None,
    )


def _raw(result: str | bytes) -> bytes:
    return bytes.fromhex(result) if isinstance(result, str) else result


def _sm2_cases(ours: Engine, portable: Engine) -> list[Case]:
    """Both sides hash Z and the message; gmssl's bare `sign` would start from a ready digest."""
    private, public = ours.sm2_generate()
    while public[1] == 0x04:
        # gmssl takes such a point for one with its prefix and damages it
        private, public = ours.sm2_generate()
    message = secrets.token_bytes(SM2_BYTES)
    plain = _CryptSM2(private_key=private.hex(), public_key=public.hex()[2:])
    signature = ours.sm2_sign(private, message)
    signature_hex = signature.hex()
    sign: dict[str, Action] = {
        PEER: lambda: plain.sign_with_sm3(message),
        PORTABLE: lambda: portable.sm2_sign(private, message),
        OURS: lambda: ours.sm2_sign(private, message),
    }
    verify: dict[str, Action] = {
        PEER: lambda: plain.verify_with_sm3(signature_hex, message),
        PORTABLE: lambda: portable.sm2_verify(public, message, signature),
        OURS: lambda: ours.sm2_verify(public, message, signature),
    }

    def is_valid(made: str | bytes) -> bool:
        return ours.sm2_verify(public, message, _raw(made))

    return [
        Case("SM2 签名", "sign", SM2_BYTES, "gmssl", SM2_TARGET, sign, is_valid),
        Case("SM2 验签", "verify", SM2_BYTES, "gmssl", SM2_TARGET, verify, bool),
    ]


def _sm3_case(ours: Engine, portable: Engine, size: int) -> Case:
    message = secrets.token_bytes(size)
    actions: dict[str, Action] = {
        PEER: lambda: _sm3_hash(list(message)),
        PORTABLE: lambda: portable.sm3(message),
        OURS: lambda: ours.sm3(message),
    }
    return Case("SM3 摘要", "digest", size, "gmssl", SYMMETRIC_TARGET, actions, _raw)


def _sm4_target(size: int) -> float | None:
    """None for a few blocks: preparing a cipher with a new key from Python costs more than a hundredth of theirs."""
    return SYMMETRIC_TARGET if size >= SM4_TARGET_FROM else None


def _sm4_cbc_case(ours: Engine, portable: Engine, size: int) -> Case:
    """gmssl always pads in CBC, so we pad as well."""
    key, iv, message = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(size)
    fill = SM4_BLOCK - size % SM4_BLOCK
    padding = bytes((fill,)) * fill

    def plain() -> object:
        cipher = _CryptSM4()
        cipher.set_key(key, sm4.SM4_ENCRYPT)
        return cipher.crypt_cbc(iv, message)

    actions: dict[str, Action] = {
        PEER: plain,
        PORTABLE: lambda: portable.sm4_cbc(key, iv, message + padding),
        OURS: lambda: ours.sm4_cbc(key, iv, message + padding),
    }
    return Case("SM4-CBC 加密", "encrypt", size, "gmssl", _sm4_target(size), actions, _raw)


def _sm4_ecb_case(ours: Engine, portable: Engine, size: int) -> Case:
    """One block under a new key is a step of every diversification."""
    key, message = secrets.token_bytes(16), secrets.token_bytes(size)

    def plain() -> object:
        cipher = _CryptSM4(padding_mode=_NO_PADDING)
        cipher.set_key(key, sm4.SM4_ENCRYPT)
        return cipher.crypt_ecb(message)

    actions: dict[str, Action] = {
        PEER: plain,
        PORTABLE: lambda: portable.sm4_ecb(key, message),
        OURS: lambda: ours.sm4_ecb(key, message),
    }
    is_block = size == SM4_BLOCK
    return Case(
        "SM4 单分组" if is_block else "SM4-ECB 加密",
        "one block" if is_block else "encrypt",
        size,
        "gmssl",
        _sm4_target(size),
        actions,
        _raw,
    )


def _retail_mac_case(ours: Engine, portable: Engine) -> Case:
    key, message = secrets.token_bytes(16), secrets.token_bytes(MAC_BYTES)

    def plain() -> bytes:
        chained = DES.new(key[:8], DES.MODE_CBC, bytes(8)).encrypt(message)[-8:]
        middle = DES.new(key[8:], DES.MODE_ECB).decrypt(chained)
        return DES.new(key[:8], DES.MODE_ECB).encrypt(middle)

    actions: dict[str, Action] = {
        PEER: plain,
        PORTABLE: lambda: portable.des_retail_mac(key, message),
        OURS: lambda: ours.des_retail_mac(key, message),
    }
    return Case("3DES MAC", "retail MAC", MAC_BYTES, "pycryptodome", MAC_TARGET, actions, _raw)


def _key_service_rows(ours: Engine, portable: Engine, *, rounds: int, slot_s: float) -> list[KeyServiceRow]:
    rows = []
    shares = {name: [secrets.token_bytes(16), secrets.token_bytes(16)] for name in ("IRK", "MK_SSSE")}
    with TemporaryDirectory(prefix="onecard-bench-") as folder:
        services = {PORTABLE: _service(Path(folder), portable, shares), OURS: _service(Path(folder), ours, shares)}
        for algorithm in CARD_ALGORITHMS:
            for operation, diversifications, make in (
                ("authentication_value", 3, _authentication),
                ("wrap_card_key", 4, _wrapping),
            ):
                actions = {name: make(service, algorithm) for name, service in services.items()}
                agree(operation, {name: action() for name, action in actions.items()})
                found = rates(actions, rounds=rounds, slot_s=slot_s)
                rows.append(
                    KeyServiceRow(
                        operation, algorithm.value, diversifications, round(found[PORTABLE], 1), round(found[OURS], 1)
                    )
                )
        for service in services.values():
            service.close()
    return rows


def _service(folder: Path, engine: Engine, shares: dict[str, list[bytes]]) -> SoftKeyService:
    """IRK from the ministry's level, so that all three diversifications are done; the master key from the city's."""
    path, passphrase = folder / f"{engine.name}-{secrets.token_hex(4)}.json", secrets.token_urlsafe(16)
    service = SoftKeyService.create(path, passphrase, engine=engine, cost=ScryptCost(n=2, r=8, p=1))
    for algorithm in CARD_ALGORITHMS:
        service.import_components(KeyRef("IRK", algorithm), Purpose.AUTHENTICATION, shares["IRK"], level=1)
        service.import_components(KeyRef("MK_SSSE", algorithm), Purpose.MASTER, shares["MK_SSSE"], level=3)
    return service


_FACTORS = CardFactors("990100", bytes.fromhex("86FE990100000001"))
_CHALLENGE, _ORIGINAL = bytes.fromhex("A1A2A3A4A5A6A7A8"), bytes.fromhex("0102030405060708")


def _authentication(service: KeyService, algorithm: Algorithm) -> Action:
    key = KeyRef("IRK", algorithm)
    return lambda: service.authentication_value(key, _FACTORS, _CHALLENGE, _ORIGINAL)


def _wrapping(service: KeyService, algorithm: Algorithm) -> Action:
    key, master = KeyRef("IRK", algorithm), KeyRef("MK_SSSE", algorithm)
    return lambda: service.wrap_card_key(
        key,
        _FACTORS,
        bytes.fromhex("0000000000000000"),
        under=master,
        under_factors=_FACTORS,
        challenge=_CHALLENGE[:4],
        header=bytes.fromhex("84D40000"),
    )
