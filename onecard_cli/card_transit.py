"""`onecard card transit`: the 交通联合 purse of the card in the reader.

Whatever moves money stands in `transit-journal.jsonl` of the home folder before the card is told; a transaction whose
answer was lost is settled by the next command that moves money with this card, or by `recover`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cardlib.money import yuan
from onecard_cli.card_account import NOT_CARRIED_OUT, NOTHING_INTERRUPTED, check_moves_money, fen
from onecard_cli.desk import Desk, JsonOption, ReaderOption, TraceOption, desk, keys_of_home
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from cardlib.transit import TransitPurse
    from cardlib.transit_host import KeyLoadHost
    from cardlib.transit_journal import Pending, Receipt, TransitJournal
    from cardlib.transit_psam import TransitPsam
    from cardlib.transit_records import TripPlan

BUS, RAIL = 2, 1
LOAD_TERMINAL_END = "0099"

transit_app = typer.Typer(help="交通联合电子钱包 / the transit purse", no_args_is_help=True)

AmountArgument = Annotated[str, typer.Argument(help="元 / yuan: 2.00")]
TerminalOption = Annotated[
    str | None, typer.Option("--terminal", help="终端机编号，12 位 / terminal number, 12 digits")
]


@transit_app.command("balance")
@reports_failures
def balance(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """余额、卡号、有效期 / balance, card number, dates. No key and no PIN is needed.

    \b
    Example: ./onecard card transit balance
    """
    from cardlib.transit_records import PASSENGER_CLASSES

    with desk(reader, "none", trace=trace) as here:
        tap = _tap(here)
        identity, amounts, management = tap.purse.open(), tap.purse.balance(), tap.purse.management()
        trouble = identity.trouble(datetime.now().date())
    data = {
        "ok": True,
        "face_number": identity.face_number,
        "issuer": identity.issuer.hex().upper(),
        "start": identity.start,
        "expiry": identity.expiry,
        "is_usable": not trouble,
        "trouble": trouble,
        "is_interoperable": management.is_interoperable,
        "passenger_class": PASSENGER_CLASSES.get(management.passenger_class, str(management.passenger_class)),
        "balance": amounts.to_json(),
        "interrupted": [_told(pending) for pending in tap.interrupted()],
    }
    if as_json:
        print_json(data)
        return
    print(f"余额 / balance: {yuan(amounts.available)}")
    print(f"卡号 / number: {identity.face_number}，{data['passenger_class']}，{identity.start}-{identity.expiry}")
    if amounts.overdraft_limit:
        print(f"透支限额 / overdraft limit: {yuan(amounts.overdraft_limit)}，已透支 {yuan(amounts.overdraft_used)}")
    if trouble:
        print(f"✗ 不可用 / not usable: {trouble}")
    if data["interrupted"]:
        print("! 有中断的交易，下次交易或 recover 时了结 / interrupted; the next transaction or recover settles it")


@transit_app.command("log")
@reports_failures
def log(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """交易明细与行程，最新在前 / transactions and trips, newest first.

    \b
    Example: ./onecard card transit log --json
    """
    from cardlib.transit_records import INDUSTRIES, TRIP_TYPES, TYPES

    with desk(reader, "none", trace=trace) as here:
        purse = _tap(here).purse
        entries, trips = purse.log(), purse.trips()
    if as_json:
        print_json({"ok": True, "log": [e.to_json() for e in entries], "trips": [t.to_json() for t in trips]})
        return
    for entry in entries:
        kind = TYPES.get(entry.type, f"{entry.type:02X}")
        print(f"{entry.moment} #{entry.number} {kind} {yuan(entry.amount_fen)}  {entry.terminal}")
    for trip in trips:
        kind, industry = TRIP_TYPES.get(trip.type, f"{trip.type:02X}"), INDUSTRIES.get(trip.industry, "")
        print(f"{trip.moment} {industry}{kind} {trip.line}/{trip.station} {yuan(trip.amount_fen)}")
    if not entries and not trips:
        print("没有记录 / no records")


@transit_app.command("purchase")
@reports_failures
def purchase(
    amount: AmountArgument,
    line: Annotated[int | None, typer.Option("--line", help="线路，写行程记录 / line, writes a trip record")] = None,
    station: Annotated[int, typer.Option("--station", help="站点 / stop")] = 1,
    trip: Annotated[
        Literal["ride", "entry", "exit"], typer.Option("--trip", help="公交单次、进站、出站 / bus ride, metro in, out")
    ] = "ride",
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """消费（用 PSAM）；先了结此卡中断的交易 / pay under the PSAM, after settling what was interrupted.

    When an interrupted purchase of this card turns out to have been charged, that is the answer and nothing more is
    charged. With --line a trip record is written in the same step (复合消费); an entry may cost 0.

    \b
    Examples: ./onecard card transit purchase 2.00
              ./onecard card transit purchase 2.00 --line 17 --station 9
              ./onecard card transit purchase 0 --line 2 --station 5 --trip entry
    """
    from cardlib.transit import Sale
    from cardlib.transit_psam import TransitPsam

    price = fen(amount)
    with desk(reader, "none", trace=trace) as here, _psam() as slot:
        sam, tap = TransitPsam(slot, protocol=slot.protocol), _tap(here)
        tap.settle_online()
        receipt = tap.purse.recover(tap.journal, sam)
        if receipt is None:
            plan = None if line is None else _plan(tap.purse, sam, line, station, trip)
            sale = Sale(secrets.token_hex(8), price, datetime.now().replace(microsecond=0), plan)
            receipt = tap.purse.pay(sale, sam, tap.journal)
        left = tap.purse.balance().available
    _print_receipt(receipt, left, as_json=as_json)


@transit_app.command("load")
@reports_failures
def load(
    amount: AmountArgument,
    terminal: TerminalOption = None,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """圈存：在线充值，密钥库作运营方主机 / load the purse online; the key service is the operator's host.

    An interrupted load of this card is settled first; when the card had been credited, that is the answer and nothing
    more is loaded.

    \b
    Examples: ./onecard card transit load 50.00
              ./onecard card transit load 50.00 --terminal 099900000099 --json
    """
    wanted = fen(amount)
    check_moves_money(wanted)
    with desk(reader, "none", trace=trace) as here:
        tap = _tap(here)
        receipt = tap.settle_online()
        if receipt is None:
            number = _terminal(tap, terminal)
            receipt = tap.purse.load(secrets.token_hex(8), wanted, number, tap.host(), tap.journal)
        left = tap.purse.balance().available
    _print_receipt(receipt, left, as_json=as_json)


@transit_app.command("overdraft")
@reports_failures
def overdraft(
    limit: Annotated[str, typer.Argument(help="新的透支限额，元 / new limit, yuan: 10.00")],
    terminal: TerminalOption = None,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """修改透支限额（在线）/ change the overdraft limit, online like a load.

    The card refuses a limit below what is overdrawn already.

    \b
    Example: ./onecard card transit overdraft 10.00
    """
    wanted = fen(limit)
    with desk(reader, "none", trace=trace) as here:
        tap = _tap(here)
        receipt = tap.settle_online()
        if receipt is None:
            number = _terminal(tap, terminal)
            reference = secrets.token_hex(8)
            receipt = tap.purse.set_overdraft_limit(reference, wanted, number, tap.host(), tap.journal)
        left = tap.purse.balance().available
    _print_receipt(receipt, left, as_json=as_json)


@transit_app.command("recover")
@reports_failures
def recover(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """中断的交易做了没有：问卡，了结，不再扣款 / settle what was interrupted with this card; nothing is charged.

    \b
    Example: ./onecard card transit recover
    """
    with desk(reader, "none", trace=trace) as here:
        tap = _tap(here)
        is_interrupted = bool(tap.interrupted())
        receipts = tap.settle() if is_interrupted else []
        left = tap.purse.balance().available
    if as_json:
        told = {"balance_fen": left, "carried_out": [_receipt_data(receipt) for receipt in receipts]}
        print_json({"ok": True, "is_interrupted": is_interrupted} | told)
        return
    for receipt in receipts:
        _print_receipt(receipt, left, as_json=False)
    if not receipts:
        print(NOT_CARRIED_OUT if is_interrupted else NOTHING_INTERRUPTED)


@transit_app.command("unresolved")
@reports_failures
def unresolved(as_json: JsonOption = False) -> None:
    """没有了结的交易（卡没有回来）；不需要卡 / transactions of cards that have not come back; no card needed.

    \b
    Example: ./onecard card transit unresolved --json
    """
    found = [_told(pending) for pending in _journal().unresolved]
    if as_json:
        print_json({"ok": True, "unresolved": found})
        return
    for each in found:
        print(f"{each['card']} {each['kind_zh']} {yuan(each['amount_fen'])} #{each['number']} {each['time']}".rstrip())
    if not found:
        print("没有 / none")


@dataclass(slots=True)
class _Tap:
    """The opened purse and what this installation knows of it."""

    purse: TransitPurse
    journal: TransitJournal
    serial: str

    def interrupted(self) -> list[Pending]:
        found = (self.journal.pending(self.serial, is_online=is_online) for is_online in (False, True))
        return [pending for pending in found if pending is not None]

    def settle_online(self) -> Receipt | None:
        """The receipt of an interrupted load or change of limit that the card carried out."""
        if self.journal.pending(self.serial, is_online=True) is None:
            return None
        return self.purse.recover_load(self.journal, self.host())

    def settle(self) -> list[Receipt]:
        """Receipts of what was carried out, proved by the PSAM where there is one; nothing is charged."""
        from cardlib.transit_psam import TransitPsam

        found = [self.settle_online()]
        with _psam(is_needed=False) as slot:
            sam = TransitPsam(slot, protocol=slot.protocol) if slot is not None else None
            found.append(self.purse.recover(self.journal, sam))
        return [receipt for receipt in found if receipt is not None]

    def host(self) -> KeyLoadHost:
        from cardlib.transit_host import KeyLoadHost, LoadLedger
        from cardlib.transit_keys import TransitKeys
        from hsm.transit_transactions import SoftTransitTransactionKeys
        from onecard_cli.home import Home

        keys = TransitKeys(SoftTransitTransactionKeys(keys_of_home()))
        return KeyLoadHost(keys, LoadLedger(Home.default().path / "transit-loads.jsonl"))


def _tap(here: Desk) -> _Tap:
    from cardlib.transit import TransitPurse

    purse = TransitPurse(here.channel, protocol=here.protocol)
    return _Tap(purse, _journal(), purse.open().serial)


@contextmanager
def _psam(*, is_needed: bool = True) -> Iterator[Any]:
    """The connection to the PSAM's reader, named by ONECARD_PSAM_READER; None without one where it is not needed."""
    from cardlib.failures import FailureCode
    from onecard_cli.readers import card_readers

    wanted = os.environ.get("ONECARD_PSAM_READER")
    readers = card_readers()
    name = next((n for n in readers.readers() if wanted and wanted in n), None)
    if name is None:
        if is_needed:
            raise CommandError(FailureCode.PSAM_ABSENT, "ONECARD_PSAM_READER names no reader here")
        yield None
        return
    with readers.connect(name) as connection:
        yield connection


def _plan(purse: TransitPurse, sam: TransitPsam, line: int, station: int, trip: str) -> TripPlan:
    from cardlib.failures import FailureCode
    from cardlib.transit_records import Place, rail_entry, rail_exit, single_ride

    if not (0 <= line <= 0xFFFF and 0 <= station <= 0xFFFF):
        raise CommandError(FailureCode.INPUT_INVALID, "line and station are numbers up to 65535")
    acceptor = sam.acceptor
    place = Place(BUS if trip == "ride" else RAIL, line, station, acceptor[1:3].hex(), acceptor)
    if trip == "ride":
        return single_ride(place)
    return (rail_entry if trip == "entry" else rail_exit)(place, purse.process())


def _terminal(tap: _Tap, given: str | None) -> bytes:
    from cardlib.failures import FailureCode

    assert tap.purse.identity is not None
    number = given or tap.purse.identity.issuer[:4].hex() + LOAD_TERMINAL_END
    if len(number) != 12 or not (number.isascii() and number.isdecimal()):
        raise CommandError(FailureCode.INPUT_INVALID, "a terminal number has 12 digits")
    return bytes.fromhex(number)


def _journal() -> TransitJournal:
    from cardlib.transit_journal import TransitJournal
    from onecard_cli.home import Home

    return TransitJournal(Home.default().path / "transit-journal.jsonl")


def _told(pending: Pending) -> dict[str, Any]:
    from cardlib.identity import mask_id
    from cardlib.transit_records import TYPES

    return {
        "card": mask_id(pending.serial[-19:]),
        "kind": pending.kind,
        "kind_zh": TYPES.get(pending.kind, ""),
        "amount_fen": pending.amount_fen,
        "number": pending.number,
        "terminal": pending.terminal,
        "time": pending.moment,
    }


def _receipt_data(receipt: Receipt) -> dict[str, Any]:
    paid = receipt.transaction
    told = {"kind": paid.kind, "number": paid.number, "amount_fen": paid.amount_fen, "time": paid.moment}
    return told | {
        "is_recovered": receipt.is_recovered,
        "is_verified": receipt.is_verified,
        "tac": receipt.tac.upper(),
    }


def _print_receipt(receipt: Receipt, left: int, *, as_json: bool) -> None:
    paid = receipt.transaction
    if as_json:
        print_json({"ok": True} | _receipt_data(receipt) | {"balance_fen": left})
        return
    if receipt.is_recovered:
        print("上一笔中断的交易已经完成，没有再做 / the interrupted transaction had been done; it was not repeated")
    print(f"✓ {yuan(paid.amount_fen)} 元 / yuan，序号 / number {paid.number}，TAC {receipt.tac.upper() or '-'}")
    print(f"余额 / balance: {yuan(left)}")
