"""`onecard office stock`: places, movements and the daily balance, over the centre's own interface."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre, every_page
from onecard_cli.output import print_json, reports_failures

stock_app = typer.Typer(help="库存与调拨 / stock and its movements", no_args_is_help=True, add_completion=False)

Kind = Literal["blank", "pre_printed", "finished", "spoiled"]
PlaceArgument = Annotated[str, typer.Argument(help="库或网点 / depot or outlet")]
CardsFile = Annotated[
    Path, typer.Argument(help="复位信息清单，每行一张 / reset information, one card a line", exists=True)
]
Reason = Annotated[str, typer.Option(help="原因 / why")]
KindOption = Annotated[Kind, typer.Option(help="blank 白卡, pre_printed 预制卡, finished 成品卡, spoiled 废卡")]


def order(http: Any, path: str, body: dict[str, Any], method: str = "POST") -> Any:
    """A request that must not be done twice, under a key of its own."""
    return ask(http, method, path, json=body, headers={"Idempotency-Key": secrets.token_hex(16)})


def cards_of(file: Path) -> list[str]:
    lines = file.read_text(encoding="ascii", errors="replace").split()
    return [line.upper() for line in lines]


@stock_app.command("places")
@reports_failures
def places(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """列出库与网点 / list depots and outlets.

    \b
    Example: ./onecard office stock places
    """
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/stock/places", {"limit": 500}))


@stock_app.command("add-place")
@reports_failures
def add_place(
    place_id: PlaceArgument,
    name: Annotated[str, typer.Option(help="名称 / name")],
    region: Annotated[str, typer.Option(help="六位区划代码 / six-digit division code")],
    kind: Annotated[Literal["depot", "outlet"], typer.Option(help="depot 库, outlet 网点")] = "outlet",
    parent: Annotated[str | None, typer.Option(help="上级库 / the depot it is supplied from")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记库或网点 / register a depot or an outlet.

    \b
    Example: ./onecard office stock add-place chaoyang-1 --name 朝阳一所 --region 110105 --parent depot-110000
    """
    body = {"id": place_id, "kind": kind, "name": name, "region": region, "parent_id": parent}
    with centre(url, client) as http:
        print_json(order(http, "/v1/stock/places", body))


@stock_app.command("send")
@reports_failures
def send(
    cards: CardsFile,
    source: Annotated[str, typer.Option("--from", help="发出地 / where they lie")],
    target: Annotated[str, typer.Option("--to", help="接收地 / where they go")],
    kind: KindOption = "blank",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """调拨发出：对方确认之前算在途 / send cards; they are on their way until the other side confirms.

    \b
    Example: ./onecard office stock send cards.txt --from depot-110000 --to chaoyang-1
    """
    body = {"from_place": source, "to_place": target, "kind": kind, "cards": cards_of(cards)}
    with centre(url, client) as http:
        print_json(order(http, "/v1/stock/transfers", body))


@stock_app.command("transfers")
@reports_failures
def transfers(
    state: Annotated[
        Literal["sent", "received", "short", "settled"] | None, typer.Option(help="sent, received, short, settled")
    ] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """列出调拨单 / list transfers, newest first.

    \b
    Example: ./onecard office stock transfers --state sent
    """
    query = {"limit": 500} | ({"state": state} if state else {})
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/stock/transfers", query))


@stock_app.command("receive")
@reports_failures
def receive(
    transfer_id: Annotated[str, typer.Argument(help="调拨单 / transfer")],
    cards: Annotated[
        Path | None, typer.Option(help="实收清单，不给即全部 / what arrived; everything without it", exists=True)
    ] = None,
    version: Annotated[int, typer.Option(help="看到的版本 / version as shown")] = 1,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """确认调拨到货 / confirm what arrived.

    \b
    Example: ./onecard office stock receive 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001
    """
    body = {"version": version, "cards": None if cards is None else cards_of(cards)}
    with centre(url, client) as http:
        print_json(order(http, f"/v1/stock/transfers/{transfer_id}/receipt", body))


@stock_app.command("settle")
@reports_failures
def settle(
    transfer_id: Annotated[str, typer.Argument(help="调拨单 / transfer")],
    outcome: Annotated[Literal["returned", "lost"], typer.Option(help="returned 退回, lost 遗失")],
    reason: Reason,
    version: Annotated[int, typer.Option(help="看到的版本 / version as shown")] = 2,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """短少的卡去了哪里 / say what became of the cards that did not arrive.

    \b
    Example: ./onecard office stock settle 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001 --outcome returned --reason "in the box"
    """
    body = {"version": version, "outcome": outcome, "reason": reason}
    with centre(url, client) as http:
        print_json(order(http, f"/v1/stock/transfers/{transfer_id}/settlement", body))


@stock_app.command("spoil")
@reports_failures
def spoil(
    place_id: PlaceArgument,
    cards: CardsFile,
    reason: Reason,
    kind: Annotated[Literal["blank", "pre_printed"], typer.Option(help="blank 白卡, pre_printed 预制卡")] = "blank",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """白卡、预制卡报废 / set blank or pre-printed cards aside as spoiled.

    \b
    Example: ./onecard office stock spoil depot-110000 cards.txt --reason "chip is cracked"
    """
    body = {"place_id": place_id, "kind": kind, "cards": cards_of(cards), "reason": reason}
    with centre(url, client) as http:
        print_json(order(http, "/v1/stock/spoils", body))


@stock_app.command("destroy")
@reports_failures
def destroy(
    place_id: PlaceArgument,
    cards: CardsFile,
    witness: Annotated[list[str], typer.Option(help="见证人，两名 / witness, two of them")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """销毁废卡：两名见证人 / record that spoiled cards were destroyed before two witnesses.

    \b
    Example: ./onecard office stock destroy depot-110000 cards.txt --witness clerk-7 --witness clerk-9
    """
    body = {"place_id": place_id, "cards": cards_of(cards), "witnesses": witness}
    with centre(url, client) as http:
        print_json(order(http, "/v1/stock/destructions", body))


@stock_app.command("take-back")
@reports_failures
def take_back(
    place_id: PlaceArgument,
    cards: CardsFile,
    reason: Reason,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """收回持卡人交回的卡 / take cards back that holders gave up.

    \b
    Example: ./onecard office stock take-back chaoyang-1 cards.txt --reason "replaced by a new one"
    """
    body = {"place_id": place_id, "cards": cards_of(cards), "reason": reason}
    with centre(url, client) as http:
        print_json(order(http, "/v1/stock/returns", body))


@stock_app.command("count")
@reports_failures
def count(
    place_id: PlaceArgument,
    cards: CardsFile,
    reason: Reason,
    kind: KindOption = "blank",
    correct: Annotated[bool, typer.Option("--correct", help="按实物调账 / post the differences")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """盘点：实物清单与账比较 / compare the cards found at a place with the books.

    \b
    Example: ./onecard office stock count chaoyang-1 cards.txt --reason "month's end"
    """
    body = {"place_id": place_id, "kind": kind, "cards": cards_of(cards), "correct": correct, "reason": reason}
    with centre(url, client) as http:
        print_json(order(http, "/v1/stock/stocktakes", body))


@stock_app.command("balance")
@reports_failures
def balance(
    day: Annotated[str | None, typer.Option(help="日期 2026-01-31，默认今天 / date, today without one")] = None,
    place: Annotated[str | None, typer.Option(help="只看一处 / one place only")] = None,
    close: Annotated[
        bool, typer.Option("--close", help="先结那一天的账（要 --day） / keep the counts of that --day first")
    ] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """日平衡：期初+入−出−期末=0，不为零时指出是哪张卡 / opening + in - out - closing must be 0; if not, which cards.

    \b
    Example: ./onecard office stock balance
    """
    if close and not day:
        raise ValueError("结账要指明哪一天 / which day is to be closed? Give it with --day")
    query = {name: value for name, value in (("day", day), ("place_id", place)) if value}
    with centre(url, client) as http:
        if close:
            ask(http, "POST", f"/v1/stock/days/{day}/close")
        found = ask(http, "GET", "/v1/stock/balance", params=query)
    print_json(found)
    if not found["is_zero"]:
        raise typer.Exit(1)


@stock_app.command("numbers")
@reports_failures
def numbers(
    act: Annotated[Literal["lock", "unlock", "void"], typer.Argument(help="lock 锁定, unlock 解锁, void 作废")],
    number: Annotated[list[str], typer.Argument(help="卡号 / card numbers")],
    reason: Reason,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """锁定、解锁或作废卡号 / lock, unlock or void card numbers of the pool.

    \b
    Example: ./onecard office stock numbers lock A00000011 --reason "printed on a test card"
    """
    with centre(url, client) as http:
        print_json(order(http, "/v1/card-numbers/changes", {"act": act, "numbers": number, "reason": reason}))
