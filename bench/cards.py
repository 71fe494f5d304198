"""What a read and an issued card cost: commands, bytes, network round trips, and the time on a real contact card."""

from __future__ import annotations

import copy
import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from apdu.channel import CountingChannel, T0Channel
from apdu.sw import Ins
from bench.keys import simulated_keys
from bench.measure import heading, mark
from cardlib.identity import card_number, citizen_number, institution_number, reset_information
from cardlib.initialization import InitializationOrder, initialize
from cardlib.personalization import PersonalizationOrder, personalize
from cardlib.psam import PsamAuthenticator
from cardlib.script import Script, run
from cardlib.session import SocialSecurityCard
from cardlib.spec import Generation
from cardlib.spec import load as load_spec
from hsm.api import KeyService
from simulators import personas
from simulators.card import Algorithm, CardState, SimCard
from simulators.factory import activate, build_card, historical_bytes
from simulators.ministry import RootKeys
from simulators.psam import SimPsam
from simulators.vpcd import VirtualCard

READ_BUDGETS = {"adult-1.0": 3, "adult-2.0": 3, "adult-3.0": 7}
STAGES_ZH = {"initialization": "初始化", "personalization": "个人化"}
ISSUED = (Generation.V2, Generation.V3)
REGION = "990100"
ETU_PER_CHARACTER = 12
"""T=0: start, eight bits, parity and two of guard time (ISO/IEC 7816-3, 7.2)."""
SPEEDS = (9_600, 115_200)
AIR_BIT_S = 128 / 13_560_000
"""One bit at 106 kbit/s (ISO/IEC 14443-2, 8.1.1)."""
AIR_FRAME = 256
"""Bytes of a frame of a card with FSCI 8, three of them PCB and CRC (ISO/IEC 14443-4, 5.2.3 and 7.1)."""


class ContactLine(CountingChannel):
    """Counts also the characters a T=0 contact card would exchange for the same, the bits a contactless card of type A
    would, the challenges, and the card's time.

    A command costs its five-byte header and two status bytes, and with data one procedure byte and the data
    (7816-3, 10.3). What the card itself needs to compute and to write comes on top.
    """

    def __init__(self, card: VirtualCard) -> None:
        super().__init__(card)
        self.clear()

    def clear(self) -> None:
        self.apdus = self.bytes_sent = self.bytes_received = 0
        self.characters = self.air_bits = self.challenges = 0
        self.card_s = 0.0

    def transmit(self, command: bytes) -> bytes:
        started = time.perf_counter()
        response = super().transmit(command)
        self.card_s += time.perf_counter() - started
        moved = max(0, len(command) - 5) + len(response) - 2
        self.characters += 5 + 2 + (1 + moved if moved else 0)
        self.air_bits += air_bits(len(command)) + air_bits(len(response))
        self.challenges += command[1] == Ins.GET_CHALLENGE
        return response


def air_bits(length: int) -> int:
    """On the air for one message: nine bits a byte and two a frame (ISO/IEC 14443-3, 6.2.3.2); chained frames but the
    last are each acknowledged with three bytes."""
    frames = max(1, -(-length // (AIR_FRAME - 3)))
    return 9 * (length + 3 * frames) + 2 * frames + (frames - 1) * (9 * 3 + 2)


@dataclass(frozen=True, slots=True)
class ReadRow:
    """`ms` with the simulated card's own ciphers, which are pure Python; `own_ms` without them."""

    card: str
    commands: int
    budget: int | None
    is_met: bool | None
    bytes_sent: int
    bytes_received: int
    ms: float
    own_ms: float | None
    line_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class IssueRow:
    """`round_trips` = batches and the request that starts the session; the budget is challenges + 2."""

    stage: str
    generation: str
    commands: int
    bytes_sent: int
    bytes_received: int
    batches: int
    challenges: int
    round_trips: int
    budget: int
    is_met: bool
    ms: float
    own_ms: float
    line_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class CardsResult:
    reads: list[ReadRow]
    issues: list[IssueRow]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        return [self._read_table(), self._issue_table()]

    def _read_table(self) -> Table:
        title = "读基本信息 / reading the basic information"
        table = _table(title, ("卡", "card"), ("命令/预算", "commands/max"))
        _finish_columns(table)
        for row in self.reads:
            table.add_row(
                row.card,
                f"{row.commands}/{row.budget or '—'} {mark(row.is_met) or ' '}",
                f"{row.bytes_sent}/{row.bytes_received}",
                f"{row.ms:.2f}",
                "—" if row.own_ms is None else f"{row.own_ms:.2f}",
                "/".join(f"{seconds:.2f}" for seconds in row.line_s.values()),
            )
        table.caption = (
            "本系统：不含模拟卡 / ours: without the simulated card\n"
            "线路秒：9600 与 115200 波特，计算值 / line: at 9600 and 115200 baud, computed"
        )
        return table

    def _issue_table(self) -> Table:
        table = _table("制卡 / making a card", ("阶段", "stage"), ("命令", "commands"))
        for zh, en in (("批次", "batches"), ("随机数", "challenges"), ("往返/预算", "trips/max")):
            table.add_column(heading(zh, en), justify="right")
        _finish_columns(table)
        for row in self.issues:
            table.add_row(
                f"{row.generation} {STAGES_ZH[row.stage]} {row.stage}",
                str(row.commands),
                str(row.batches),
                str(row.challenges),
                f"{row.round_trips}/{row.budget} {mark(row.is_met)}",
                f"{row.bytes_sent}/{row.bytes_received}",
                f"{row.ms:.0f}",
                f"{row.own_ms:.0f}",
                "/".join(f"{seconds:.1f}" for seconds in row.line_s.values()),
            )
        table.caption = "往返 = 批次 + 1，预算 = 随机数 + 2 / network trips = batches + 1, at most challenges + 2"
        return table


def _table(title: str, first: tuple[str, str], second: tuple[str, str]) -> Table:
    table = Table(title=title)
    table.add_column(heading(*first), no_wrap=True)
    table.add_column(heading(*second), justify="right")
    return table


def _finish_columns(table: Table) -> None:
    for zh, en in (("发/收", "B out/in"), ("毫秒", "ms"), ("本系统", "ours ms"), ("线路秒", "line s")):
        table.add_column(heading(zh, en), justify="right")


def measure(*, rounds: int = 5) -> CardsResult:
    with simulated_keys() as (keys, roots):
        reads = [row for name in READ_BUDGETS for row in _read_rows(name, roots, rounds)]
        issues = [row for generation in ISSUED for row in _issue_rows(generation, keys, roots, rounds)]
    return CardsResult(reads, issues)


def line_seconds(characters: int) -> dict[str, float]:
    """On the contact line alone, by speed in baud."""
    return {str(speed): round(characters * ETU_PER_CHARACTER / speed, 3) for speed in SPEEDS}


def _median_ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 3)


def _read_rows(name: str, roots: RootKeys, rounds: int) -> list[ReadRow]:
    """A 3.0 card needs the terminal's PSAM, which has its environment selected since an earlier card."""
    persona = personas.load(name)
    card = SimCard(build_card(persona, roots))
    chip = SimPsam(roots, region=persona.region)
    chip.power_on()
    psam = ContactLine(chip)
    authenticator = PsamAuthenticator(psam) if persona.generation is Generation.V3 else None
    total: list[float] = []
    own: list[float] = []
    psam_s: list[float] = []
    for number in range(rounds + 1):
        psam.clear()
        atr, line = card.power_on(), ContactLine(card)
        started = time.perf_counter()
        SocialSecurityCard(line, atr).read_basic(authenticator)
        elapsed = time.perf_counter() - started
        card.power_off()
        if number:
            total.append(elapsed)
            psam_s.append(psam.card_s)
            own.append(elapsed - line.card_s - psam.card_s)
    budget = READ_BUDGETS[name]
    rows = [
        ReadRow(
            name,
            line.apdus,
            budget,
            line.apdus <= budget,
            line.bytes_sent,
            line.bytes_received,
            _median_ms(total),
            _median_ms(own),
            line_seconds(line.characters),
        )
    ]
    if authenticator is not None:
        sent, received, seconds = psam.bytes_sent, psam.bytes_received, line_seconds(psam.characters)
        rows.append(
            ReadRow(f"{name} · PSAM", psam.apdus, None, None, sent, received, _median_ms(psam_s), None, seconds)
        )
    return rows


def _issue_rows(generation: Generation, keys: KeyService, roots: RootKeys, rounds: int) -> list[IssueRow]:
    chip = _chip(generation, roots)
    blank = copy.deepcopy(chip)

    def initialization(atr: bytes) -> Script:
        order = InitializationOrder(secrets.token_bytes(16), generation, REGION, reset_information(atr), 1)
        return initialize(order, keys)

    def personalization(atr: bytes) -> Script:
        return personalize(order(atr, generation), keys)

    card = SimCard(blank)
    run(initialization(card.power_on()), T0Channel(card))
    card.power_off()
    return [
        _issue_row("initialization", generation, chip, initialization, rounds),
        _issue_row("personalization", generation, blank, personalization, rounds),
    ]


def _issue_row(
    stage: str, generation: Generation, start: CardState, script: Callable[[bytes], Script], rounds: int
) -> IssueRow:
    total: list[float] = []
    own: list[float] = []
    for _ in range(rounds):
        card = SimCard(copy.deepcopy(start))
        atr, line = card.power_on(), ContactLine(card)
        started = time.perf_counter()
        done = run(script(atr), T0Channel(line))
        total.append(time.perf_counter() - started)
        own.append(total[-1] - line.card_s)
    return IssueRow(
        stage=stage,
        generation=generation.value,
        commands=line.apdus,
        bytes_sent=line.bytes_sent,
        bytes_received=line.bytes_received,
        batches=done.batches,
        challenges=line.challenges,
        round_trips=done.batches + 1,
        budget=line.challenges + 2,
        is_met=done.batches + 1 <= line.challenges + 2,
        ms=_median_ms(total),
        own_ms=_median_ms(own),
        line_s=line_seconds(line.characters),
    )


def _chip(generation: Generation, roots: RootKeys) -> CardState:
    spec, state = load_spec(generation), CardState()
    historical = historical_bytes(REGION, 1)
    activate(state, roots.root("TK", spec.algorithm), Algorithm(spec.algorithm_id), historical)
    return state


def order(atr: bytes, generation: Generation) -> PersonalizationOrder:
    """An invented person; every item of every application is written, named or not."""
    return PersonalizationOrder(
        seed=secrets.token_bytes(16),
        generation=generation,
        region=REGION,
        reset_information=reset_information(atr),
        card_number=card_number("A0000001"),
        institution=institution_number(REGION, REGION, 2),
        issue_date="20261122",
        expiry_date="20361122",
        card_class="3",
        social_security_number=citizen_number("99010119900101011"),
        name="测试甲",
        sex="1",
        ethnic_group="01",
        birthplace="990100",
        birth_date="19900101",
    )
