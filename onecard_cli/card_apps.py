"""`onecard card transit`, `pki` and `bank`: the applications beside the social security part."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.card_account import fen, yuan
from onecard_cli.desk import JsonOption, LastTryOption, ReaderOption, TraceOption, ask_pin, desk
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from cardlib.transit_journal import Receipt, TransitJournal
    from cardlib.transit_psam import TransitPsam
    from cardlib.transit_records import TripPlan

BUS = 2

transit_app = typer.Typer(help="交通联合电子钱包 / the transit purse", no_args_is_help=True)
pki_app = typer.Typer(help="数字证书应用 / the certificate application", no_args_is_help=True)


def register(group: typer.Typer) -> None:
    """Add the commands of this module to `onecard card`."""
    group.add_typer(transit_app, name="transit")
    group.add_typer(pki_app, name="pki")
    group.command("bank")(bank)


# -- transit ----------------------------------------------------------------------------------------------------------


@transit_app.command("balance")
@reports_failures
def transit_balance(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """余额、卡号、有效期 / balance, card number, dates. No key and no PIN is needed.

    \b
    Example: ./onecard card transit balance
    """
    from cardlib.transit import TransitPurse
    from cardlib.transit_records import PASSENGER_CLASSES

    with desk(reader, "none", trace=trace) as here:
        purse = TransitPurse(here.channel, protocol=here.protocol)
        identity, balance, management = purse.open(), purse.balance(), purse.management()
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
        "balance": balance.to_json(),
    }
    if as_json:
        print_json(data)
        return
    print(f"余额 / balance: {yuan(balance.available)}")
    print(f"卡号 / number: {identity.face_number}，{data['passenger_class']}，{identity.start}-{identity.expiry}")
    if balance.overdraft_limit:
        print(f"透支限额 / overdraft limit: {yuan(balance.overdraft_limit)}，已透支 {yuan(balance.overdraft_used)}")
    if trouble:
        print(f"✗ 不可用 / not usable: {trouble}")


@transit_app.command("log")
@reports_failures
def transit_log(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """交易明细与行程，最新在前 / transactions and trips, newest first.

    \b
    Example: ./onecard card transit log --json
    """
    from cardlib.transit import TransitPurse
    from cardlib.transit_records import INDUSTRIES, TRIP_TYPES, TYPES

    with desk(reader, "none", trace=trace) as here:
        purse = TransitPurse(here.channel, protocol=here.protocol)
        purse.open()
        log, trips = purse.log(), purse.trips()
    if as_json:
        print_json({"ok": True, "log": [e.to_json() for e in log], "trips": [t.to_json() for t in trips]})
        return
    for entry in log:
        kind = TYPES.get(entry.type, f"{entry.type:02X}")
        print(f"{entry.moment} #{entry.number} {kind} {yuan(entry.amount_fen)}  {entry.terminal}")
    for trip in trips:
        kind, industry = TRIP_TYPES.get(trip.type, f"{trip.type:02X}"), INDUSTRIES.get(trip.industry, "")
        print(f"{trip.moment} {industry}{kind} {trip.line}/{trip.station} {yuan(trip.amount_fen)}")
    if not log and not trips:
        print("没有记录 / no records")


@transit_app.command("purchase")
@reports_failures
def transit_purchase(
    amount: Annotated[str, typer.Argument(help="元 / yuan: 2.00")],
    line: Annotated[int | None, typer.Option("--line", help="线路，写行程记录 / line, writes a trip record")] = None,
    station: Annotated[int, typer.Option("--station", help="站点 / stop")] = 1,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """消费（用 PSAM）；先了结此卡中断的一笔 / pay under the PSAM, after settling what was interrupted.

    When an interrupted purchase of this card turns out to have been charged, that is the answer and nothing more is
    charged.
    \b
    Examples: ./onecard card transit purchase 2.00
              ./onecard card transit purchase 2.00 --line 17 --station 9
    """
    from cardlib.transit import Sale, TransitPurse
    from cardlib.transit_psam import TransitPsam

    price = fen(amount)
    with desk(reader, "none", trace=trace) as here, _psam() as slot:
        sam = TransitPsam(slot, protocol=slot.protocol)
        purse = TransitPurse(here.channel, protocol=here.protocol)
        purse.open()
        journal = _journal()
        receipt = purse.recover(journal, sam)
        if receipt is None:
            trip = None if line is None else _ride(sam, line, station)
            sale = Sale(secrets.token_hex(8), price, datetime.now().replace(microsecond=0), trip)
            receipt = purse.pay(sale, sam, journal)
        left = purse.balance().available
    _print_receipt(receipt, left, as_json=as_json)


@contextmanager
def _psam() -> Iterator[Any]:
    """The connection to the PSAM's reader, named by ONECARD_PSAM_READER. Raises CommandError without one."""
    from apdu.pcsc import PcscReaders
    from cardlib.failures import FailureCode

    wanted = os.environ.get("ONECARD_PSAM_READER")
    readers = PcscReaders()
    name = next((n for n in readers.readers() if wanted and wanted in n), None)
    if name is None:
        raise CommandError(FailureCode.PSAM_ABSENT, "ONECARD_PSAM_READER names no reader here")
    with readers.connect(name) as connection:
        yield connection


def _ride(sam: TransitPsam, line: int, station: int) -> TripPlan:
    from cardlib.failures import FailureCode
    from cardlib.transit_records import Place, single_ride

    if not (0 <= line <= 0xFFFF and 0 <= station <= 0xFFFF):
        raise CommandError(FailureCode.INPUT_INVALID, "line and station are numbers up to 65535")
    acceptor = sam.acceptor
    return single_ride(Place(BUS, line, station, acceptor[1:3].hex(), acceptor))


def _journal() -> TransitJournal:
    from cardlib.transit_journal import TransitJournal
    from onecard_cli.home import Home

    return TransitJournal(Home.default().path / "transit-journal.jsonl")


def _print_receipt(receipt: Receipt, left: int, *, as_json: bool) -> None:
    paid = receipt.transaction
    if as_json:
        data = {"is_recovered": receipt.is_recovered, "is_verified": receipt.is_verified, "tac": receipt.tac.upper()}
        told = {"number": paid.number, "amount_fen": paid.amount_fen, "time": paid.moment, "balance_fen": left}
        print_json({"ok": True} | told | data)
        return
    if receipt.is_recovered:
        print("上一笔中断的消费已经扣款，未再扣款 / the interrupted purchase had been charged; nothing more was")
    print(f"✓ {yuan(paid.amount_fen)} 元 / yuan，序号 / number {paid.number}，TAC {receipt.tac.upper() or '-'}")
    print(f"余额 / balance: {yuan(left)}")


# -- certificates -----------------------------------------------------------------------------------------------------


@pki_app.command("info")
@reports_failures
def pki_info(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """公钥、证书、PIN 剩余次数 / public keys, certificates, tries left.

    \b
    Example: ./onecard card pki info --json
    """
    from cardlib.pki import PkiSession

    with desk(reader, "none", trace=trace) as here:
        session = PkiSession(here.channel, protocol=here.protocol)
        session.open()
        info = session.info()
    if as_json:
        certificates = {
            "signing_certificate": info.signing_certificate.hex().upper(),
            "encryption_certificate": info.encryption_certificate.hex().upper(),
        }
        print_json({"ok": True} | info.to_json() | certificates)
        return
    for name, value in info.to_json().items():
        print(f"{name}: {'-' if value is None else value}")


@pki_app.command("sign")
@reports_failures
def pki_sign(
    file: Annotated[Path, typer.Argument(help="要签名的文件 / file to sign", exists=True, dir_okay=False)],
    out: Annotated[Path | None, typer.Option("--out", help="签名存入文件 / write the signature here")] = None,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """用卡内私钥做 SM2 签名；PIN 从终端输入 / sign with the card's SM2 key; the PIN is typed here.

    \b
    Example: ./onecard card pki sign letter.pdf --out letter.sig
    """
    from cardlib.pki import PkiSession

    message = file.read_bytes()
    with desk(reader, "none", trace=trace) as here:
        session = PkiSession(here.channel, protocol=here.protocol)
        session.open()
        session.verify(ask_pin("证书 PIN / certificate PIN"), use_last_try=use_last_try)
        signature, public = session.sign(message), session.public_key()
    if out is not None:
        out.write_text(signature.hex().upper() + "\n", encoding="ascii")
    if as_json:
        print_json({"ok": True, "signature": signature.hex().upper(), "public_key": public.hex().upper()})
    elif out is not None:
        print(f"✓ {out}")
    else:
        print(signature.hex().upper())


@pki_app.command("verify")
@reports_failures
def pki_verify(
    file: Annotated[Path, typer.Argument(help="被签名的文件 / the signed file", exists=True, dir_okay=False)],
    signature_file: Annotated[Path, typer.Argument(help="签名文件 / signature file", exists=True, dir_okay=False)],
    key: Annotated[str | None, typer.Option("--key", help="公钥，不给则读卡 / public key, else the card's")] = None,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """验证 SM2 签名；给出公钥就不需要卡 / verify an SM2 signature; with a public key no card is needed.

    The exit status is 1 when the signature does not fit.
    \b
    Example: ./onecard card pki verify letter.pdf letter.sig
    """
    from cardlib.pki import PkiSession
    from hsm.primitives import default_engine

    signature = bytes.fromhex(signature_file.read_text(encoding="ascii"))
    if key is not None:
        public = bytes.fromhex(key)
    else:
        with desk(reader, "none", trace=trace) as here:
            session = PkiSession(here.channel, protocol=here.protocol)
            session.open()
            public = session.public_key()
    is_valid = default_engine().sm2_verify(public, file.read_bytes(), signature)
    if as_json:
        print_json({"ok": True, "is_valid": is_valid, "public_key": public.hex().upper()})
    else:
        print("✓ 签名有效 / the signature is valid" if is_valid else "✗ 签名与文件或公钥不符 / it does not fit")
    if not is_valid:
        raise typer.Exit(1)


# -- bank -------------------------------------------------------------------------------------------------------------


@reports_failures
def bank(
    full: Annotated[bool, typer.Option("--full", help="显示完整卡号 / show the whole number")] = False,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """读银行卡号（遮盖显示），不做支付 / the bank card number, masked; nothing is paid.

    \b
    Example: ./onecard card bank --full
    """
    from cardlib.bank import read_bank_card

    with desk(reader, "none", trace=trace) as here:
        card = read_bank_card(here.channel, protocol=here.protocol)
    data = card.to_json(shows_number=full)
    if as_json:
        print_json({"ok": True} | data)
    else:
        print(f"{data['number']}  {card.expiry}")
