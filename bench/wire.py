"""What goes over the wire to a card: data objects taken apart and commands secured, each beside yubikit.

yubikit (yubikey-manager) is the peer where it is installed: `requirements/bench.txt`. Its secure messaging is SCP03
over AES with keys of a session; ours makes a session key for every command, as the card's challenge demands.
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.table import Table

from apdu import tlv
from bench.measure import Action, agree, heading, mark, rates, times
from hsm.api import CARD_ALGORITHMS, Algorithm, CardFactors, KeyRef, KeyService, Purpose
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService

FCI = bytes.fromhex("6F1C840F7378312E73682EC9E7BBE1B1A3D5CFA50988011E9F0C03860103")
"""Of the social security environment of a 3.0 card: five objects on three levels."""
TLV_TARGET, WRAP_TARGET = 160_000.0, 42_000.0
PEER, OURS = "yubikit", "ours"
ABSENT = "同类缺席：未安装 yubikey-manager（requirements/bench.txt）/ peer absent: yubikey-manager is not installed"
WHY = (
    "安全报文低于同类的原因：卡片每条命令给出新随机数，过程密钥因此每次新建；同类在会话内沿用密钥。\n"
    "Why secured commands are below the peer: a card's challenge makes a new session key for each of them, the peer "
    "keeps its keys for a session."
)
DATA = 32
_HEADER = bytes.fromhex("04D68500")
_FACTORS = CardFactors("990100", bytes.fromhex("86FE990100000001"))
_CHALLENGE = bytes.fromhex("A1A2A3A4A5A6A7A8")
_MASTER_LEVEL, _CARD_LEVEL = 1, 0
_CONSTRUCTED = 0x20


@dataclass(frozen=True, slots=True)
class WireRow:
    """Per second on one core. `ratio` is ours to the peer's, None without one; `is_met` None without a target."""

    operation_zh: str
    operation: str
    ours_per_s: float
    peer: str
    peer_per_s: float | None
    ratio: float | None
    target_per_s: float | None
    is_met: bool | None


@dataclass(frozen=True, slots=True)
class WireResult:
    rows: list[WireRow]
    has_peer: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title="数据对象与安全报文，每核每秒 / data objects and secured commands, per second on one core",
            caption=f"报文 {DATA} 字节，每条命令新过程密钥 / {DATA} bytes, a new session key for every command",
        )
        table.add_column(heading("运算", "operation"), no_wrap=True)
        table.add_column(heading("同类", "peer"))
        for zh, en in (("同类", "peer"), ("本系统", "ours"), ("倍数", "ratio"), ("目标", "target")):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            table.add_row(
                f"{row.operation_zh} / {row.operation}",
                row.peer,
                f"{row.peer_per_s:,.0f}" if row.peer_per_s else "—",
                f"{row.ours_per_s:,.0f}",
                times(row.ratio) if row.ratio else "—",
                f"≥ {row.target_per_s:,.0f} {mark(row.is_met)}" if row.target_per_s else "—",
            )
        return [table, WHY] if self.has_peer else [table, ABSENT]


@dataclass(frozen=True, slots=True)
class _Case:
    operation_zh: str
    operation: str
    peer: str
    target: float | None
    actions: dict[str, Action]


def measure(*, rounds: int = 7, slot_s: float = 0.03) -> WireResult:
    """Raises BenchError when both read different objects out of the FCI."""
    yubikit = _yubikit()
    with _services() as services:
        cases = [*_tlv_cases(yubikit), *_wrap_cases(services, yubikit)]
        rows = [_row(case, rounds=rounds, slot_s=slot_s) for case in cases]
    return WireResult(rows, yubikit is not None)


def _yubikit() -> tuple[Any, Any] | None:
    """Its TLV class and its module of secure channels."""
    try:
        return importlib.import_module("yubikit.core").Tlv, importlib.import_module("yubikit.core.smartcard.scp")
    except ImportError:
        return None


def _row(case: _Case, *, rounds: int, slot_s: float) -> WireRow:
    found = rates(case.actions, rounds=rounds, slot_s=slot_s)
    ours, theirs = round(found[OURS]), found.get(PEER)
    return WireRow(
        case.operation_zh,
        case.operation,
        ours,
        case.peer if theirs else "—",
        round(theirs) if theirs else None,
        round(ours / theirs, 2) if theirs else None,
        case.target,
        ours >= case.target if case.target else None,
    )


# -- data objects -----------------------------------------------------------------------------------------------------


def _tlv_cases(yubikit: tuple[Any, Any] | None) -> list[_Case]:
    """The whole tree, and the one value a session looks for."""
    tree: dict[str, Action] = {OURS: lambda: [(item.tag, item.value) for _, item in tlv.walk(FCI)]}
    one: dict[str, Action] = {OURS: lambda: _value(tlv.find(FCI, 0x6F, 0xA5, 0x9F0C, 0x86))}
    if yubikit is not None:
        kind = yubikit[0]
        tree[PEER] = lambda: [(item.tag, item.value) for item in _tree(kind, FCI)]
        one[PEER] = lambda: _path(kind, FCI, 0x6F, 0xA5, 0x9F0C, 0x86)
    for name, actions in (("tree", tree), ("path", one)):
        agree(name, {who: action() for who, action in actions.items()})
    return [
        _Case("FCI 全部对象", "FCI, all objects", "yubikit Tlv", TLV_TARGET, tree),
        _Case("FCI 算法标识", "FCI, the algorithm", "yubikit Tlv", TLV_TARGET, one),
    ]


def _value(item: tlv.Tlv | None) -> bytes:
    return item.value if item else b""


def _tree(kind: Any, data: bytes) -> Iterator[Any]:
    """By the usual means of a user of the library: levels of a list."""
    for item in kind.parse_list(data):
        yield item
        if (item.tag >> 8 if item.tag > 0xFF else item.tag) & _CONSTRUCTED:
            yield from _tree(kind, item.value)


def _path(kind: Any, data: bytes, *path: int) -> bytes:
    for tag in path:
        data = kind.parse_dict(data)[tag]
    return data


# -- secured commands -------------------------------------------------------------------------------------------------


@contextmanager
def _services() -> Iterator[dict[int, KeyService]]:
    """A key service by the level of its keys: the card's own, and a root that is diversified for every command."""
    with TemporaryDirectory(prefix="onecard-bench-") as folder:
        services: dict[int, KeyService] = {}
        for level in (_CARD_LEVEL, _MASTER_LEVEL):
            service = SoftKeyService.create(
                Path(folder) / f"{level}.json", secrets.token_urlsafe(16), cost=ScryptCost(n=2, r=8, p=1)
            )
            for algorithm in CARD_ALGORITHMS:
                shares = [secrets.token_bytes(16), secrets.token_bytes(16)]
                service.import_components(KeyRef("STK", algorithm), Purpose.MESSAGE, shares, level=level)
            services[level] = service
        yield services


_LEVELS: Final = ((_CARD_LEVEL, "", ""), (_MASTER_LEVEL, "，含三级分散", ", 3 diversifications"))


def _wrap_cases(services: dict[int, KeyService], yubikit: tuple[Any, Any] | None) -> list[_Case]:
    """The command side of secure messaging; the target is for a key at hand."""
    data = secrets.token_bytes(DATA)
    cases = []
    for level, zh, en in _LEVELS:
        for algorithm in CARD_ALGORITHMS:
            for encrypts in (False, True):
                actions = {OURS: _wrap(services[level], algorithm, data, encrypt=encrypts)}
                if yubikit is not None and level == _CARD_LEVEL:
                    actions[PEER] = _scp03(yubikit[1], data, encrypt=encrypts)
                act_zh, act = ("加密+MAC", "encrypt and MAC") if encrypts else ("MAC", "MAC")
                target = WRAP_TARGET if level == _CARD_LEVEL else None
                cases.append(
                    _Case(f"{algorithm} {act_zh}{zh}", f"{algorithm} {act}{en}", "yubikit SCP03", target, actions)
                )
    return cases


def _wrap(service: KeyService, algorithm: Algorithm, data: bytes, *, encrypt: bool) -> Callable[[], object]:
    key = KeyRef("STK", algorithm)
    return lambda: service.secured_data(key, _FACTORS, _CHALLENGE, _HEADER, data, encrypt=encrypt)


def _scp03(module: Any, data: bytes, *, encrypt: bool) -> Callable[[], object]:
    state = module.ScpState(module.SessionKeys(*(secrets.token_bytes(16) for _ in range(3))))
    head = bytes((0x84, 0xD6, 0x85, 0x00, DATA + 8))

    def wrap() -> bytes:
        body = state.encrypt(data) if encrypt else data
        return bytes(body + state.mac(head + body))

    return wrap
