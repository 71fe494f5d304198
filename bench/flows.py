"""What every use of a card costs: commands, bytes, and the time they take on a contact line and on the air.

Each flow runs on a simulated 3.0 card (2.0 where it says so) with the keys that belong to it, once as a contact card
over T=0 and once as a contactless one. What the card and the PSAM need to compute comes on top of the line's time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

from rich.table import Table

from apdu.channel import follow_up
from bench.cards import AIR_BIT_S, REGION, ContactLine, line_seconds, order
from bench.keys import simulated_keys
from bench.measure import heading, mark
from cardlib.bank import read_bank_card
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import DriverSession, DriverTerminal
from cardlib.guard import KeyTries
from cardlib.hsm_route import HsmRoute, chain
from cardlib.identity import reset_information
from cardlib.initialization import InitializationOrder, initialize
from cardlib.medical import MedicalAccount, PsamPurchase
from cardlib.personalization import personalize
from cardlib.pki import PkiSession
from cardlib.psam import PsamAuthenticator
from cardlib.script import run
from cardlib.session import SocialSecurityCard
from cardlib.spec import Generation
from cardlib.spec import load as load_spec
from cardlib.transit import Sale, TransitPurse
from cardlib.transit_journal import Pending, TransitJournal
from cardlib.transit_psam import TransitPsam
from cardlib.transit_records import Place, encode_moment, rail_entry
from hsm.soft import SoftKeyService
from hsm.transactions import transaction_keys
from simulators import personas
from simulators.apps import transit_crypto
from simulators.apps.build import ACCEPTOR, transit_sam
from simulators.card import Algorithm, CardState, SimCard
from simulators.contactless import ContactlessCard
from simulators.factory import activate, build_card, historical_bytes
from simulators.ministry import RootKeys
from simulators.psam import SimPsam

TERMINAL = "990100000001"
PIN = "123456"
NOW = datetime(2026, 3, 16, 8, 5)
MESSAGE = bytes(32)
TYPE_LOAD = b"\x02"
CONTACT, CONTACTLESS = "T=0", "T=1"


@dataclass(frozen=True, slots=True)
class FlowRow:
    """Of the contact card; `air_*` of the same on a contactless one. Bytes both ways, headers and status words too.

    `sam_commands` and `sam_s` are the PSAM's own line, always contacts, its environment not yet selected.
    """

    flow_zh: str
    flow: str
    commands: int
    command_budget: int
    byte_count: int
    byte_budget: int
    is_met: bool
    line_s: dict[str, float]
    air_commands: int
    air_s: float
    sam_commands: int
    sam_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class FlowsResult:
    rows: list[FlowRow]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def tables(self) -> list[Table | str]:
        table = Table(
            title="各流程的命令、字节与线路时间 / commands, bytes and line time of every flow",
            caption="秒为计算值，不含卡片自身运算 / seconds are computed, without the card's own work",
        )
        table.add_column(heading("流程", "flow"), no_wrap=True)
        for zh, en in (
            ("命令/预算", "commands/max"),
            ("字节/预算", "bytes/max"),
            ("线路秒", "9600/115200 s"),
            ("非接触", "106k cmds · s"),
            ("PSAM", "cmds · 9600 s"),
        ):
            table.add_column(heading(zh, en), justify="right")
        for row in self.rows:
            table.add_row(
                f"{row.flow_zh} / {row.flow}",
                f"{row.commands}/{row.command_budget} {mark(row.is_met)}",
                f"{row.byte_count}/{row.byte_budget}",
                "/".join(f"{seconds:.2f}" for seconds in row.line_s.values()),
                f"{row.air_commands} · {row.air_s:.3f}",
                f"{row.sam_commands} · {row.sam_s['9600']:.2f}" if row.sam_commands else "—",
            )
        return [table]


@dataclass(frozen=True, slots=True)
class Desk:
    """One card just inserted, and what a terminal and its centre have for it."""

    card: ContactLine
    atr: bytes
    protocol: str
    state: CardState
    psam: ContactLine
    keys: SoftKeyService

    def session(self) -> SocialSecurityCard:
        session = SocialSecurityCard(self.card, self.atr, protocol=self.protocol, tries=KeyTries())
        session.open()
        return session

    def authenticator(self) -> PsamAuthenticator:
        return PsamAuthenticator(self.psam)


# -- flows ------------------------------------------------------------------------------------------------------------


def _basic(desk: Desk) -> None:
    card = SocialSecurityCard(desk.card, desk.atr, protocol=desk.protocol, tries=KeyTries())
    needs_psam = desk.state.algorithm is Algorithm.SM4
    assert card.read_basic(desk.authenticator() if needs_psam else None).name


def _basic_by_hsm(desk: Desk) -> None:
    """The two-step flow of the driver interface; the key service is the centre."""
    terminal = DriverTerminal(journal=lambda _pending: None, number=TERMINAL)
    flow = HsmSteps(DriverSession(desk.card, desk.atr, terminal, protocol=desk.protocol, tries=KeyTries()))
    route = HsmRoute(desk.keys, transaction_keys(desk.keys), count(1).__next__)
    code, text = chain(flow.read_card_bas_step1(), (route.card_bas, flow.read_card_bas_step2))
    assert code == 0, text


def _all_files(desk: Desk) -> None:
    card = desk.session()
    card.verify_pin(PIN)
    assert not card.read_all(desk.keys).refused


def _pin(desk: Desk) -> None:
    desk.session().verify_pin(PIN)


def _purchase(desk: Desk) -> None:
    card = desk.session()
    card.verify_pin(PIN)
    authority = PsamPurchase(desk.authenticator())
    MedicalAccount(card).purchase((100, 0, 0), authority, NOW, lambda _pending: None)


def _medical_load(desk: Desk) -> None:
    card = desk.session()
    card.verify_pin(PIN)
    MedicalAccount(card).load(1000, transaction_keys(desk.keys), TERMINAL, NOW, lambda _pending: None)


def _purse(desk: Desk) -> TransitPurse:
    purse = TransitPurse(desk.card, protocol=desk.protocol)
    purse.open()
    return purse


def _tap(desk: Desk) -> None:
    _purse(desk).pay(Sale("1", 200, NOW), TransitPsam(desk.psam), TransitJournal())


def _rail_entry(desk: Desk) -> None:
    purse = _purse(desk)
    trip = rail_entry(Place(1, 3, 7, "9901", ACCEPTOR), purse.process())
    purse.pay(Sale("1", 0, NOW, trip), TransitPsam(desk.psam), TransitJournal())


class _LoadHost:
    """An operator who holds this very purse's load key and believes whatever the purse says."""

    def __init__(self, state: CardState) -> None:
        assert state.neighbours.transit is not None
        self._purse = state.neighbours.transit

    def approve(self, load: Pending) -> tuple[bytes, bytes]:
        moment, algorithm = encode_moment(NOW), self._purse.algorithm
        seed = bytes.fromhex(load.random) + load.sequence.to_bytes(2, "big") + b"\x80\x00"
        key = transit_crypto.session_key(algorithm, self._purse.dlk, seed)
        message = load.amount_fen.to_bytes(4, "big") + TYPE_LOAD + bytes.fromhex(load.terminal) + moment
        return moment, transit_crypto.mac(algorithm, key, message)

    def confirm(self, load: Pending, tac: bytes) -> None: ...

    def reverse(self, load: Pending) -> None: ...


def _transit_load(desk: Desk) -> None:
    _purse(desk).load("1", 1000, bytes.fromhex(TERMINAL), _LoadHost(desk.state), TransitJournal())


def _sign(desk: Desk) -> None:
    session = PkiSession(desk.card, protocol=desk.protocol)
    session.open()
    session.verify(PIN)
    session.sign(MESSAGE)


def _bank(desk: Desk) -> None:
    read_bank_card(desk.card, protocol=desk.protocol)


def _initialize(desk: Desk) -> None:
    _make(desk, initialize(_initialization(desk), desk.keys))


def _personalize(desk: Desk) -> None:
    _make(desk, personalize(order(desk.atr, Generation.V3), desk.keys))


def _initialization(desk: Desk) -> InitializationOrder:
    return InitializationOrder(bytes(16), Generation.V3, REGION, reset_information(desk.atr), 1)


def _make(desk: Desk, script: Any) -> None:
    run(script, follow_up(desk.card, desk.protocol))


@dataclass(frozen=True, slots=True)
class Flow:
    """`start` is the card it begins with: a persona, or a stage of making a card."""

    zh: str
    en: str
    start: str
    act: Callable[[Desk], None]
    commands: int
    byte_count: int


CHIP, BLANK = "chip", "blank"
FLOWS: Final = (
    Flow("读基本信息 2.0", "basic read, 2.0", "adult-2.0", _basic, 3, 191),
    Flow("读基本信息 3.0，PSAM", "basic read, 3.0, PSAM", "adult-3.0", _basic, 7, 267),
    Flow("读基本信息 3.0，加密机", "basic read, 3.0, HSM steps", "adult-3.0", _basic_by_hsm, 8, 282),
    Flow("全卡读取 2.0", "read all, 2.0", "adult-2.0", _all_files, 107, 10117),
    Flow("全卡读取 3.0", "read all, 3.0", "adult-3.0", _all_files, 107, 10117),
    Flow("验证密码", "PIN", "adult-3.0", _pin, 4, 109),
    Flow("医疗消费，PSAM", "medical purchase, PSAM", "adult-3.0", _purchase, 9, 214),
    Flow("医疗划入", "medical load", "adult-3.0", _medical_load, 9, 192),
    Flow("公交单次", "transit tap", "adult-3.0", _tap, 7, 217),
    Flow("轨道进站，复合", "rail entry, composite", "adult-3.0", _rail_entry, 10, 542),
    Flow("交通充值", "transit load", "adult-3.0", _transit_load, 6, 143),
    Flow("证书签名", "PKI sign", "adult-3.0", _sign, 9, 279),
    Flow("银行卡号", "bank number", "adult-3.0", _bank, 6, 134),
    Flow("初始化 3.0", "initialization, 3.0", CHIP, _initialize, 220, 5333),
    Flow("个人化 3.0", "personalization, 3.0", BLANK, _personalize, 255, 7810),
)


# -- measuring --------------------------------------------------------------------------------------------------------


def measure() -> FlowsResult:
    with simulated_keys() as (keys, roots):
        starts = _starts(keys, roots)
        return FlowsResult([_row(flow, starts[flow.start], keys, roots) for flow in FLOWS])


def _starts(keys: SoftKeyService, roots: RootKeys) -> dict[str, CardState]:
    starts = {name: build_card(personas.load(name), roots) for name in ("adult-2.0", "adult-3.0")}
    spec, chip = load_spec(Generation.V3), CardState()
    activate(chip, roots.root("TK", spec.algorithm), Algorithm(spec.algorithm_id), historical_bytes(REGION, 1))
    starts[CHIP] = chip
    blank = copy.deepcopy(chip)
    _initialize(_desk(blank, CONTACT, keys, roots))
    starts[BLANK] = blank
    return starts


def _desk(state: CardState, protocol: str, keys: SoftKeyService, roots: RootKeys) -> Desk:
    chip = SimPsam(roots, region="990100", terminal_number=TERMINAL)
    chip.transit = transit_sam(roots.root, bytes.fromhex(TERMINAL))
    chip.power_on()
    card = SimCard(state) if protocol == CONTACT else ContactlessCard(state)
    atr = card.power_on()
    return Desk(ContactLine(card), atr, protocol, state, ContactLine(chip), keys)


def _row(flow: Flow, start: CardState, keys: SoftKeyService, roots: RootKeys) -> FlowRow:
    desks = [_desk(copy.deepcopy(start), protocol, keys, roots) for protocol in (CONTACT, CONTACTLESS)]
    for desk in desks:
        flow.act(desk)
    card, air, sam = desks[0].card, desks[1].card, desks[0].psam
    moved = card.bytes_sent + card.bytes_received
    return FlowRow(
        flow.zh,
        flow.en,
        card.apdus,
        flow.commands,
        moved,
        flow.byte_count,
        card.apdus <= flow.commands and moved <= flow.byte_count,
        line_seconds(card.characters),
        air.apdus,
        round(air.air_bits * AIR_BIT_S, 4),
        sam.apdus,
        line_seconds(sam.characters),
    )
