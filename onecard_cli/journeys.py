"""`onecard issuance journeys`: what transit terminals took, day by day, and where a purse has travelled."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

import typer

from cardlib.money import yuan
from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre
from onecard_cli.output import print_json, reports_failures

journeys_app = typer.Typer(help="行程与收款 / journeys and takings", no_args_is_help=True, add_completion=False)
JsonOption = Annotated[bool, typer.Option("--json", help="JSON")]
_amount = partial(yuan, is_grouped=True)
_TROUBLES: Final = {
    "no_exit": "没有出站 / no exit",
    "no_entry": "没有进站 / no entry",
    "under_way": "在途 / under way",
    None: "",
}
_SUMS: Final = {
    "taps": "刷卡   / taps",
    "rides": "扫码   / codes",
    "free": "免费   / free",
    "recovered": "追回   / recovered",
    "executed": "判为已付 / held paid",
    "open": "未决   / undecided",
    "foreign": "外地卡 / other issuers",
    "refused": "不入账 / not booked",
}


@journeys_app.command("day")
@reports_failures
def day(
    when: Annotated[str, typer.Argument(metavar="DAY", help="哪一天 / the day in China, 2026-11-22")],
    terminal: Annotated[str | None, typer.Option(help="只看这台 / this terminal alone")] = None,
    as_json: JsonOption = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """一天的行程与收款，差额逐条说清 / a day's journeys and takings, every difference explained.

    Exit status 1 when a difference is not explained.

    \b
    Example: ./onecard issuance journeys day 2026-11-22
    """
    params = {} if terminal is None else {"terminal": terminal}
    with centre(url, client) as http:
        report = ask(http, "GET", f"/v1/journeys/days/{when}", params=params)
    if as_json:
        print_json(report)
    else:
        print("\n".join(day_lines(report)))
    if not report["is_explained"]:
        raise typer.Exit(1)


def day_lines(report: dict[str, Any]) -> list[str]:
    """For a person."""
    lines = [f"{report['day']}  收款 / takings {_amount(report['takings_fen'])}"]
    for name, text in _SUMS.items():
        part = report["sums"][name]
        if part["count"]:
            lines.append(f"  {text:<24}{part['count']:>8}{_amount(part['fen']):>14}")
    for one in report["terminals"]:
        mark = "✓" if one["is_explained"] else "✗"
        said = "没报 / none" if one["said"] is None else _amount(one["said"]["fen"])
        lines.append(f"{mark} {one['terminal']}  {one['name']}")
        lines.append(f"    终端报 / said {said}  账上 / booked {_amount(one['takings_fen'])}")
        for line in one["lines"]:
            mark = "·" if line["is_explained"] else "✗"
            lines.append(f"    {mark} {_amount(line['fen'], is_signed=True)}  {line['count']}  {line['text_zh']}")
            lines.append(f"      {line['text_en']}")
    return lines


@journeys_app.command("purse")
@reports_failures
def purse(
    face_number: Annotated[str, typer.Argument(help="卡面号，19 位 / 19 digits, as on the card")],
    as_json: JsonOption = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """一张交通卡的行程；查看会记录在案 / where a purse has travelled; looking is recorded.

    \b
    Example: ./onecard issuance journeys purse 9990100000000001234
    """
    with centre(url, client) as http:
        found = ask(http, "GET", f"/v1/journeys/purses/{face_number}")
    if as_json:
        print_json(found)
        return
    for one in found["purses"]:
        print(f"{one['issuer']} {one['serial']}  {one['card_number'] or ''}")
        for journey in one["journeys"]:
            places = " → ".join(f"{tap['line']}/{tap['station']}" for tap in journey["taps"])
            at, trouble = journey["taps"][-1]["at"], _TROUBLES[journey["trouble"]]
            print(f"  {at}  {places}  {_amount(journey['amount_fen'])}  {trouble}")


@journeys_app.command("set-purse")
@reports_failures
def set_purse(
    card_number: Annotated[str, typer.Argument(help="卡号 / card number")],
    issuer: Annotated[str, typer.Argument(help="发卡机构标识 / issuer of the purse, 16 hex digits")],
    serial: Annotated[str, typer.Argument(help="应用序列号 / its serial, 20 digits")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记卡上的交通钱包，挂失时一并列入黑名单 / say which purse a card's chip bears: a lost card's is blocked too.

    \b
    Example: ./onecard issuance journeys set-purse A00000011 09990100FFFFFFFF 09990100000000001234
    """
    with centre(url, client) as http:
        code = ask(http, "GET", f"/v1/cards/{card_number}")["identification_code"]
        body = {"identification_code": code, "issuer": issuer, "serial": serial}
        print_json(ask(http, "PUT", f"/v1/cards/{card_number}/purse", json=body))
