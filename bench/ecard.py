"""Codes of the electronic card: what a gate or counter needs, beside the bare operations it cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.table import Table

from bench.ecard_online import OnlineResult, online_tables
from bench.ecard_online import measure as measure_online
from bench.measure import Action, BenchError, agree, heading, mark, rates, times
from cardlib.transit_code import SPEC, Authorisation, TransitCode, issuer_signed_part, user_signed_part
from cardlib.transit_code_anchors import TrustAnchor, TrustAnchors
from cardlib.transit_code_issuer import authorise, issue_certificate
from cardlib.transit_code_uses import MemoryUses
from cardlib.transit_code_verifier import TransitCodeVerifier
from hsm.api import Algorithm, KeyRef
from hsm.primitives import decompress, default_engine
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from simulators import wallet_code

OURS, BARE = "ours", "bare"
OFFLINE_TARGET = 1.15
TRAVELLERS = 200
"""More than the engine keeps keys, because a gate meets every phone but once."""


@dataclass(frozen=True, slots=True)
class EcardRow:
    """Microseconds of one operation; `ratio` is ours to the peer's, at most `target`."""

    operation_zh: str
    operation: str
    peer: str
    peer_us: float
    ours_us: float
    ratio: float
    target: float
    is_met: bool


@dataclass(frozen=True, slots=True)
class EcardResult:
    rows: list[EcardRow]
    online: OnlineResult | None = None
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(title="电子社保卡的码，微秒 / codes of the electronic card, microseconds")
        table.add_column(heading("操作", "operation"))
        table.add_column(heading("对照", "peer"))
        for zh, en in (("对照", "peer"), ("本系统", "ours"), ("倍数", "ratio"), ("目标", "target")):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            table.add_row(
                f"{row.operation_zh}\n{row.operation}",
                row.peer,
                f"{row.peer_us:,.0f}",
                f"{row.ours_us:,.0f}",
                times(row.ratio),
                f"≤ {row.target:.2f}× {mark(row.is_met)}",
            )
        return [table, *([] if self.online is None else online_tables(self.online)), *self.problems]


def measure(*, rounds: int = 60, slot_s: float = 0.05, is_online: bool = True) -> EcardResult:
    rows = [_offline_row(rounds=rounds, slot_s=slot_s)]
    if not is_online:
        return EcardResult(rows)
    try:
        return EcardResult(rows, measure_online())
    except BenchError as error:
        return EcardResult(rows, problems=[str(error)])


def _offline_row(*, rounds: int, slot_s: float) -> EcardRow:
    """Every code of another phone, the issuer's certificate known; beside it two verifications and nothing else."""
    gate, codes = gate_and_codes()
    actions: dict[str, Action] = {OURS: _verification(gate, codes), BARE: _two_verifications(codes)}
    agree("offline verification", {name: action() for name, action in actions.items()})
    found = rates(actions, rounds=rounds, slot_s=slot_s, clock=time.thread_time)
    ratio = found[BARE] / found[OURS]
    return EcardRow(
        "脱机核验乘车码（证书已知）",
        "offline verification, certificate known",
        "2 × SM2",
        round(1e6 / found[BARE], 1),
        round(1e6 / found[OURS], 1),
        round(ratio, 3),
        OFFLINE_TARGET,
        ratio <= OFFLINE_TARGET,
    )


def _verification(gate: TransitCodeVerifier, codes: list[bytes]) -> Callable[[], bool]:
    """A used code is refused, so the memory is emptied each time the codes begin anew."""
    turns = cycle(range(len(codes)))

    def verify() -> bool:
        turn = next(turns)
        if turn == 0:
            gate.used = MemoryUses()
        return gate.verify(codes[turn], 300).generated_at > 0

    return verify


def _two_verifications(codes: list[bytes]) -> Callable[[], bool]:
    engine, prepared = default_engine(), []
    for raw in codes:
        code = TransitCode.parse(raw)
        fields = code.authorisation.fields
        issuer = (decompress(fields.certificate.public_key), issuer_signed_part(raw), code.authorisation.signature)
        prepared.append((issuer, (decompress(fields.user_key), user_signed_part(raw), code.user_signature)))
    turns = cycle(prepared)

    def verify() -> bool:
        issuer, user = next(turns)
        by_issuer = engine.sm2_verify(*issuer, user_id=SPEC.user_id)
        return engine.sm2_verify(*user, user_id=SPEC.user_id) and by_issuer

    return verify


def gate_and_codes() -> tuple[TransitCodeVerifier, list[bytes]]:
    root, issuer = KeyRef("TRANSIT_ROOT", Algorithm.SM2), KeyRef("TRANSIT_ISSUER", Algorithm.SM2)
    now = int(time.time())
    with TemporaryDirectory(prefix="onecard-bench-") as folder:
        keys = SoftKeyService.create(Path(folder) / "keys.json", "bench passphrase", cost=ScryptCost(n=2, r=8, p=1))
        anchors = TrustAnchors([TrustAnchor(1, "bench", keys.generate_pair(root), date(2099, 1, 1))])
        certificate = issue_certificate(
            keys,
            root,
            root_index=1,
            issuer="99010001",
            expires="1299",
            serial=b"\x00\x00\x01",
            public_key=keys.generate_pair(issuer),
        )
        codes = []
        for number in range(TRAVELLERS):
            private, _ = default_engine().sm2_generate()
            allowed = Authorisation(
                certificate=certificate,
                payment_account=f"{number:016d}",
                card_account=f"{number:020d}",
                issuer="99010001",
                platform=bytes.fromhex("99010000"),
                account_type=1,
                amount_limit_fen=2000,
                user_key=wallet_code.public_key(private),
                authorised_until=now + 3600,
                validity_s=3600,
                custom=bytes(16),
            )
            codes.append(wallet_code.finish(authorise(keys, issuer, allowed).encode(), now, private))
        keys.close()
    return TransitCodeVerifier(anchors, clock=lambda: now), codes
