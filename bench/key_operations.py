"""Each operation of the key service on every backend, beside the same cipher calls on the bare library; SM2 beside
`openssl speed` and gmssl; the 1 000 000 rounds of GB/T 32907; two threads beside one.

Batches are of cards of one city: the bare side, too, computes the city's key once for a batch.
"""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from gmssl import sm2 as gmssl_sm2
from rich.table import Table

from bench.key_backends import BACKENDS, BackendMissingError, Roots, Stand, opened
from bench.measure import Action, agree, heading, mark, rates, times
from hsm import card_rules
from hsm.api import Algorithm, Authentication, CardFactors, KeyRef, SecuredMessage
from hsm.primitives import DEFAULT_USER_ID, Engine, default_engine

BATCH: Final = 256
REGION: Final = "990100"
COST_TARGET: Final = 2.0
SPEED_TARGET, SIGN_TARGET, VERIFY_TARGET = 0.85, 15.0, 20.0
THREADS_TARGET: Final = 1.5
HEADER, DATA, ORIGINAL = bytes.fromhex("84D60000"), bytes(16), bytes(range(8))
SM4_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
AFTER_A_MILLION = bytes.fromhex("595298C7C6FD271F0402F804C33D3F66")
ROUNDS_OF_SM4: Final = 1_000_000
BIG: Final = 16 << 20
THREAD_ROUNDS: Final = 12
MAC, DIVERSIFICATION, AUTHENTICATION, SIGNATURE = "MAC", "diversification", "authentication", "signature"
_CryptSM2: Any = gmssl_sm2.CryptSM2
_ZH = {MAC: "报文 MAC（批）", DIVERSIFICATION: "分散（批）", AUTHENTICATION: "鉴别数据", SIGNATURE: "签名"}


@dataclass(frozen=True, slots=True)
class Operation:
    """`items` per call; `same` maps both results to what must be equal."""

    name: str
    algorithm: Algorithm
    items: int
    through: Action
    bare: Action
    same: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class OperationRow:
    """Items per second; `cost` is the bare rate to this one; `is_met` None without a target."""

    backend: str
    operation: str
    algorithm: str
    batch: int
    per_s: float
    bare_per_s: float
    cost: float
    is_met: bool | None


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One comparison; `ratio` is ours to the peer's."""

    what_zh: str
    what_en: str
    unit: str
    ours: float
    peer: str
    peer_value: float | None
    ratio: float | None
    target: float | None
    is_met: bool | None


@dataclass(frozen=True, slots=True)
class KeysResult:
    engine: str
    is_constant_time: bool
    operations: list[OperationRow]
    figures: list[FigureRow]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        return [self._operations_table(), self._figures_table(), *self.skipped]

    def _operations_table(self) -> Table:
        table = Table(
            title=f"密钥服务与裸库，每秒项数 / key service and bare library, items per second · {self.engine}",
            caption=f"倍数 = 裸库 ÷ 密钥服务；soft 的 SM4 批运算 ≤ {COST_TARGET:.0f}× / bare by service",
        )
        table.add_column(heading("运算", "operation"), no_wrap=True)
        for zh, en in (("算法", "algorithm"), ("后端", "backend")):
            table.add_column(heading(zh, en))
        for zh, en in (("每批", "batch"), ("密钥服务", "service"), ("裸库", "bare"), ("倍数", "cost"), ("", "")):
            table.add_column(heading(zh, en), justify="right")
        for row in sorted(self.operations, key=lambda row: (row.operation, row.algorithm)):
            table.add_row(
                f"{_ZH[row.operation]} / {row.operation}",
                row.algorithm,
                row.backend,
                str(row.batch),
                f"{row.per_s:,.0f}",
                f"{row.bare_per_s:,.0f}",
                times(row.cost),
                mark(row.is_met),
            )
        return table

    def _figures_table(self) -> Table:
        stands = "是 / yes" if self.is_constant_time else "否 / no"
        table = Table(
            title="密码引擎 / cipher engine",
            caption=f"SM2 恒定时间（依靠 libcrypto）/ SM2 in constant time (rests on libcrypto): {stands}",
        )
        table.add_column(heading("项目", "what"), no_wrap=True)
        table.add_column(heading("同类", "peer"))
        for zh, en in (("本系统", "ours"), ("同类", "peer"), ("倍数", "ratio"), ("目标", "target")):
            table.add_column(heading(zh, en), justify="right")
        for row in self.figures:
            table.add_row(
                f"{row.what_zh} / {row.what_en}",
                row.peer,
                f"{row.ours:,.0f} {row.unit}",
                "" if row.peer_value is None else f"{row.peer_value:,.0f}",
                "" if row.ratio is None else times(row.ratio),
                f"{f'≥ {row.target:g}× ' if row.target else ''}{mark(row.is_met)}",
            )
        return table


def measure(*, rounds: int = 9, slot_s: float = 0.03, sm4_rounds: int = ROUNDS_OF_SM4, speed_s: int = 1) -> KeysResult:
    """Raises BenchError when a backend and the bare library disagree."""
    engine, roots = default_engine(), Roots.random()
    rows, skipped = [], []
    for name in BACKENDS:
        try:
            with opened(name, roots) as stand:
                rows += [_row(stand, found, rounds, slot_s) for found in operations(stand, roots, engine)]
        except BackendMissingError as error:
            skipped.append(f"{name}: {error}")
    figures = [*_sm2_figures(engine, rounds, slot_s, speed_s), _million(engine, sm4_rounds), *_thread_figures(engine)]
    return KeysResult(engine.name, engine.is_constant_time, rows, figures, skipped)


def operations(stand: Stand, roots: Roots, engine: Engine) -> Iterator[Operation]:
    """Those the backend can do."""
    for ref in stand.refs("IRK"):
        yield from _card_operations(stand, ref, roots, engine)
    issuer = KeyRef("issuer", Algorithm.SM2)
    if Algorithm.SM2 in stand.algorithms:
        private, public = engine.sm2_generate()[0], stand.service.public_key(issuer)
        own = engine.sm2_public_key(private)
        yield Operation(
            SIGNATURE,
            Algorithm.SM2,
            1,
            lambda: stand.service.sign(issuer, DATA, user_id=DEFAULT_USER_ID),
            lambda: engine.sm2_sign(private, DATA),
            lambda made: any(engine.sm2_verify(point, DATA, made) for point in (public, own)),
        )


def _card_operations(stand: Stand, irk: KeyRef, roots: Roots, engine: Engine) -> Iterator[Operation]:
    service, algorithm, stk = stand.service, irk.algorithm, KeyRef("STK", irk.algorithm)
    is_sm4, size = algorithm is Algorithm.SM4, card_rules.block_size(algorithm)
    ecb, cbc = (engine.sm4_ecb, engine.sm4_cbc) if is_sm4 else (engine.des_ecb, engine.des_cbc)
    cards = [CardFactors(REGION, secrets.token_bytes(8)) for _ in range(BATCH)]
    challenge = secrets.token_bytes(8)
    messages = [SecuredMessage(card, challenge, HEADER, DATA) for card in cards]
    # Whoever works with the bare library has these at hand before the measurement begins.
    factors = [card_rules.diversification_data(16, card.card) for card in cards]
    region = [card_rules.diversification_data(16, part) for part in card_rules.region_factors(REGION)]
    filled, zeros = challenge.ljust(size, b"\0"), bytes(size)
    message = HEADER + bytes((len(DATA) + card_rules.MAC_LENGTH,)) + DATA + b"\x80"
    message += bytes(-len(message) % size)
    original = ORIGINAL.ljust(size, b"\0")

    def city(ref: KeyRef) -> bytes:
        return ecb(ecb(roots.values[ref], region[0]), region[1])

    def bare_kcvs() -> list[bytes]:
        key = city(irk)
        return [ecb(ecb(key, factor), zeros) for factor in factors]

    def bare_macs() -> list[bytes]:
        key = city(stk)
        return [cbc(ecb(ecb(key, factor), filled), zeros, message) for factor in factors]

    def bare_value() -> bytes:
        return ecb(ecb(ecb(city(irk), factors[0]), filled), original)

    def kcvs(found: list[bytes]) -> object:
        return [value[:3] for value in found]

    def macs(found: list[bytes]) -> object:
        return [mac if len(mac) == len(DATA) + card_rules.MAC_LENGTH else DATA + _folded(mac, is_sm4) for mac in found]

    def value(found: bytes) -> object:
        return found if len(found) == 8 else bytes(a ^ b for a, b in zip(found[:8], found[8:], strict=True))

    asked = [Authentication(cards[0], challenge, ORIGINAL)]
    yield Operation(DIVERSIFICATION, algorithm, BATCH, lambda: service.card_kcv_batch(irk, cards), bare_kcvs, kcvs)
    yield Operation(MAC, algorithm, BATCH, lambda: service.secured_data_batch(stk, messages), bare_macs, macs)
    yield Operation(
        AUTHENTICATION, algorithm, 1, lambda: service.authentication_value_batch(irk, asked)[0], bare_value, value
    )


def _folded(chained: bytes, is_sm4: bool) -> bytes:
    """The card's 4-byte MAC of a CBC chain (P4 §8.2.4)."""
    if not is_sm4:
        return chained[-8:-4]
    last = [chained[at : at + 4] for at in range(len(chained) - 16, len(chained), 4)]
    return bytes(a ^ b ^ c ^ d for a, b, c, d in zip(*last, strict=True))


def _row(stand: Stand, operation: Operation, rounds: int, slot_s: float) -> OperationRow:
    actions = {"service": operation.through, "bare": operation.bare}
    agree(operation.name, {name: operation.same(action()) for name, action in actions.items()})
    is_here = stand.name == "soft"
    found = rates(actions, rounds=rounds, slot_s=slot_s, clock=time.thread_time if is_here else time.perf_counter)
    cost = found["bare"] / found["service"]
    has_target = is_here and operation.algorithm is Algorithm.SM4 and operation.name in (MAC, DIVERSIFICATION)
    return OperationRow(
        stand.name,
        operation.name,
        operation.algorithm.value,
        operation.items,
        round(found["service"] * operation.items, 1),
        round(found["bare"] * operation.items, 1),
        round(cost, 2),
        cost <= COST_TARGET if has_target else None,
    )


def _sm2_figures(engine: Engine, rounds: int, slot_s: float, speed_s: int) -> Iterator[FigureRow]:
    private, public = engine.sm2_generate()
    while public[1] in (0x04, 0x40, 0x44):  # gmssl damages such keys
        private, public = engine.sm2_generate()
    signature = engine.sm2_sign(private, DATA)
    peer = _CryptSM2(private_key=private.hex(), public_key=public.hex()[2:])
    signed = peer.sign_with_sm3(DATA)
    ours: dict[str, Action] = {
        "sign": lambda: engine.sm2_sign(private, DATA),
        "verify": lambda: engine.sm2_verify(public, DATA, signature),
    }
    theirs: dict[str, Action] = {
        "sign": lambda: peer.sign_with_sm3(DATA),
        "verify": lambda: peer.verify_with_sm3(signed, DATA),
    }
    names = {"sign": ("SM2 签名", SIGN_TARGET), "verify": ("SM2 验签", VERIFY_TARGET)}
    native = _beside_openssl(ours, rounds, speed_s)
    for what, (zh, target) in names.items():
        found = rates({"ours": ours[what], "gmssl": theirs[what]}, rounds=rounds, slot_s=slot_s, clock=time.thread_time)
        yield _figure(zh, what, "/s", found["ours"], "gmssl", found["gmssl"], target)
        if native:
            mine, libcrypto = native[what]
            yield _figure(zh, what, "/s", mine, "openssl speed", libcrypto, SPEED_TARGET)


def _beside_openssl(ours: dict[str, Action], rounds: int, speed_s: int) -> dict[str, tuple[float, float]]:
    """(ours, libcrypto's) per second of CPU time, which is what `openssl speed` counts: the best of rounds in turn.

    Empty where the program is missing or has no SM2.
    """
    if shutil.which("openssl") is None:
        return {}
    best = dict.fromkeys(ours, (0.0, 0.0))
    for _ in range(max(1, rounds // 2)):
        command = ["openssl", "speed", "-mr", "-seconds", str(speed_s), "sm2"]
        said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        line = re.search(r"^\+F\d+:\d+:\d+:CurveSM2:([\d.]+):([\d.]+)$", said, re.M)
        if line is None:
            return {}
        for what, theirs in zip(ours, map(float, line.groups()), strict=True):
            mine = rates({what: ours[what]}, rounds=3, slot_s=speed_s / 3, clock=time.thread_time)[what]
            best[what] = max(best[what][0], mine), max(best[what][1], theirs)
    return best


def _million(engine: Engine, count: int) -> FigureRow:
    """GB/T 32907 A.2, block by block through the engine."""
    block, started = SM4_KEY, time.thread_time()
    for _ in range(count):
        block = engine.sm4_ecb(SM4_KEY, block)
    rate = count / (time.thread_time() - started)
    is_right = block == AFTER_A_MILLION if count == ROUNDS_OF_SM4 else None
    return FigureRow(
        f"SM4 连续 {count:,} 次", "rounds", "/s", round(rate), "GB/T 32907 A.2", None, None, None, is_right
    )


def _thread_figures(engine: Engine) -> Iterator[FigureRow]:
    """Two big inputs on two threads beside one on one; the best of rounds in turn, as it needs two free cores."""
    data = bytes(BIG)
    calls: dict[str, Action] = {
        "SM4-CBC": lambda: engine.sm4_cbc(SM4_KEY, SM4_KEY, data),
        "SM3": lambda: engine.sm3(data),
    }
    for name, call in calls.items():
        spans = [(_elapsed(call, 1), _elapsed(call, 2)) for _ in range(THREAD_ROUNDS)]
        one, two = (min(column) for column in zip(*spans, strict=True))
        size = BIG / 1e6
        yield _figure(
            f"{name} 两线程", "two threads", "MB/s", 2 * size / two, "1 线程 / thread", size / one, THREADS_TARGET
        )


def _elapsed(call: Action, count: int) -> float:
    threads = [threading.Thread(target=call) for _ in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def _figure(zh: str, en: str, unit: str, ours: float, peer: str, value: float, target: float) -> FigureRow:
    ratio = ours / value
    return FigureRow(zh, en, unit, round(ours), peer, round(value), round(ratio, 2), target, ratio >= target)
