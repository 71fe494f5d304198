"""`onecard card account`: the medical account of the card in the reader.

A transaction whose answer was lost is kept in the home folder until `recover` has asked the card what it did; until
then no other transaction with that card is begun.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cardlib import money
from cardlib.money import yuan
from onecard_cli.desk import (
    AuthOption,
    Desk,
    JsonOption,
    LastTryOption,
    PinOption,
    ReaderOption,
    TraceOption,
    desk,
    keys_of_home,
)
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from cardlib.medical import PurchaseAuthority, Receipt
    from cardlib.session import SocialSecurityCard
    from cardlib.settlement_journal import SettlementJournal, Slip
    from hsm.transactions import TransactionKeys

account_app = typer.Typer(help="医疗保险个人账户 / the medical account", no_args_is_help=True)

TerminalOption = Annotated[
    str | None, typer.Option("--terminal", help="终端机编号，12 位；缺省由地区得出 / terminal number, 12 digits")
]
NOTHING_INTERRUPTED = "✓ 没有中断的交易 / nothing was interrupted"
NOT_CARRIED_OUT = "✓ 没有发生，可以重做 / it did not happen; do it again"
IndexOption = Annotated[int, typer.Option("--index", help="密钥索引号 / key index", min=1, max=3)]


@account_app.command("show")
@reports_failures
def show(
    pin: PinOption = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """余额、年度累计、交易明细 / balance, totals of the year, log.

    \b
    Example: ./onecard card account show --pin
    """
    from cardlib.medical import LOG, MedicalAccount

    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        card = here.opened(pin=pin)
        balances = MedicalAccount(card).balances()
        log = card.read_file(LOG)
    if as_json:
        print_json({"ok": True} | balances.to_json() | {"log": log})
        return
    print(f"余额 / balance: {yuan(balances.balance)}")
    print(f"{balances.payment_year} 年度自付 / self-paid: {yuan(balances.self_paid_total)}", end="，")
    print(f"统筹 / pooling: {yuan(balances.pooling_total)}")
    print(f"年度起始日期 / starting day: {balances.starting_day}")
    for record in log:
        amounts = [yuan(int(record.get(name, 0))) for name in ("account_amount", "self_paid_amount", "pooling_amount")]
        print(f"  {record['transaction_time']} #{record['transaction_number']} {' '.join(amounts)}")


@account_app.command("load")
@reports_failures
def load(
    amount: Annotated[str, typer.Argument(help="元 / yuan: 100.00")],
    pin: PinOption = False,
    terminal: TerminalOption = None,
    index: IndexOption = 1,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """账户划入 / put money into the account, under the key service.

    \b
    Example: ./onecard card account load 100.00 --pin
    """
    from cardlib.medical import MedicalAccount

    wanted = fen(amount)
    check_moves_money(wanted)
    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        card = here.opened(pin=pin)
        slip = _slip(card)
        number = terminal or f"{card.region}000001"
        receipt = MedicalAccount(card).load(wanted, _keys(), number, _now(), slip, index=index)
        slip.end(tac=receipt.tac)
    _print_receipt(receipt, as_json=as_json)


@account_app.command("purchase")
@reports_failures
def purchase(
    account: Annotated[str, typer.Option("--account", help="个人账户支付，元 / from the account, yuan")],
    self_paid: Annotated[str, typer.Option("--self-paid", help="个人自付，元 / self-paid, yuan")] = "0",
    pooling: Annotated[str, typer.Option("--pooling", help="统筹基金支付，元 / pooling fund, yuan")] = "0",
    pin: PinOption = False,
    terminal: TerminalOption = None,
    index: IndexOption = 1,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """医疗消费结算：有 PSAM 用 PSAM，否则用密钥库 / settle a purchase, under the PSAM or the key service.

    \b
    Example: ./onecard card account purchase --account 40.00 --self-paid 10.00 --pooling 50.00 --pin
    """
    from cardlib.medical import MedicalAccount

    amounts = (fen(account), fen(self_paid), fen(pooling))
    check_moves_money(sum(amounts))
    with desk(reader, auth, trace=trace, use_last_try=use_last_try) as here:
        card = here.opened(pin=pin)
        slip = _slip(card)
        authority = _authority(here, card, terminal)
        keys = None if here.psam else _keys()
        receipt = MedicalAccount(card).purchase(amounts, authority, _now(), slip, keys=keys, index=index)
        slip.end(mac2=receipt.mac2, tac=receipt.tac)
    _print_receipt(receipt, as_json=as_json)


@account_app.command("recover")
@reports_failures
def recover(
    pin: PinOption = False,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """中断的交易做了没有：问卡，了结 / was the interrupted transaction carried out? Ask the card and settle it.

    \b
    Example: ./onecard card account recover --pin
    """
    from cardlib.failures import FailureCode
    from cardlib.settlement_journal import Outcome, resolve

    with desk(reader, auth, trace=trace, use_last_try=use_last_try) as here:
        ended = resolve(_journal(), here.opened(pin=pin), None if here.psam else _keys())
    if not ended:
        if as_json:
            print_json({"ok": True, "is_interrupted": False})
        else:
            print(NOTHING_INTERRUPTED)
        return
    entry, receipt = ended[-1]
    if entry.outcome is Outcome.UNRESOLVED:
        raise CommandError(FailureCode.CARD_STATE, "the card cannot tell any more; the centre's books decide")
    if as_json:
        done = {"is_done": False} if receipt is None else _receipt_data(receipt)
        print_json({"ok": True, "is_interrupted": True} | done)
    elif receipt is not None:
        _print_receipt(receipt, as_json=False)
    else:
        print(NOT_CARRIED_OUT)


@account_app.command("starting-day")
@reports_failures
def starting_day(
    month_day: Annotated[str, typer.Argument(help="新的年度起始日期 MMDD / new first day of the year")],
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """设置年度起始日期 / set the first day of the settlement year.

    \b
    Example: ./onecard card account starting-day 0701
    """
    from cardlib.medical import MedicalAccount

    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        MedicalAccount(here.opened()).set_starting_day(month_day, keys_of_home())
    if as_json:
        print_json({"ok": True, "starting_day": month_day})
    else:
        print(f"✓ {month_day}")


def fen(text: str) -> int:
    """Yuan with at most two decimals. Raises CommandError."""
    from cardlib.failures import FailureCode

    try:
        return money.fen(text)
    except ValueError as error:
        raise CommandError(FailureCode.INPUT_INVALID, str(error)) from None


def check_moves_money(amount: int) -> None:
    """Raises CommandError for 0."""
    from cardlib.failures import FailureCode

    if not amount:
        raise CommandError(FailureCode.INPUT_INVALID, "an amount above 0 was expected")


def _authority(here: Desk, card: SocialSecurityCard, terminal: str | None) -> PurchaseAuthority:
    from cardlib.medical import KeyPurchase, PsamPurchase

    if here.psam is not None:
        return PsamPurchase(here.psam)
    return KeyPurchase(_keys(), terminal or f"{card.region}000001", _next_number)


def _next_number() -> int:
    """The transaction numbers of this installation as a terminal, each given once."""
    from hsm.sealed_store import exclusive, write_atomically
    from onecard_cli.home import Home

    path = Home.default().path / "terminal-transactions"
    with exclusive(path):
        number = int(path.read_text()) if path.exists() else 0
        write_atomically(path, str((number + 1) & 0xFFFFFFFF).encode("ascii"))
    return number


def _journal() -> SettlementJournal:
    from cardlib.settlement_journal import SettlementJournal
    from onecard_cli.home import Home

    return SettlementJournal(Home.default().path / "settlements.jsonl")


def _slip(card: SocialSecurityCard) -> Slip:
    """Raises CommandError while an earlier transaction of this card is unresolved."""
    from cardlib.failures import FailureCode
    from cardlib.settlement_journal import Slip

    journal = _journal()
    if journal.open_of(card.identification_code, card.card_number):
        detail = "an earlier transaction of this card was interrupted; ./onecard card account recover first"
        raise CommandError(FailureCode.CONFLICT, detail)
    return Slip(journal)


def _keys() -> TransactionKeys:
    from hsm.transactions import transaction_keys

    return transaction_keys(keys_of_home())


def _now() -> datetime:
    return datetime.now()


def _receipt_data(receipt: Receipt) -> dict[str, Any]:
    transaction: Any = receipt.transaction
    amount = getattr(transaction, "account", None)
    return {
        "is_done": True,
        "sequence": transaction.sequence,
        "amount_fen": transaction.amount if amount is None else amount,
        "time": transaction.time.hex(),
        "tac": receipt.tac.hex().upper(),
    }


def _print_receipt(receipt: Receipt, *, as_json: bool) -> None:
    data = _receipt_data(receipt)
    if as_json:
        print_json({"ok": True} | data)
    else:
        print(f"✓ {yuan(data['amount_fen'])} 元 / yuan，序号 / number {data['sequence']}，TAC {data['tac'] or '-'}")
