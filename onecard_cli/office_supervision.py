"""`onecard office queues`, `statistics`, `alerts` and `person-file`: what supervisors and clerks look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, answered, ask, centre, every_page
from onecard_cli.output import print_json, reports_failures

alerts_app = typer.Typer(help="预警 / alerts", no_args_is_help=True, add_completion=False)


@reports_failures
def queues(
    queue: Annotated[
        str | None, typer.Argument(help="队列名，不写列出各队列件数 / a queue; none: how much waits")
    ] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """工作队列：多少件在等，等了多久，下一步做什么 / work queues: how much waits, since when, and the next step.

    \b
    Example: ./onecard office queues stuck
    """
    with centre(url, client) as http:
        if queue is None:
            print_json(ask(http, "GET", "/v1/queues"))
        else:
            print_json(every_page(http, f"/v1/queues/{queue}", {"limit": 500}))


@reports_failures
def statistics(
    by: Annotated[Literal["day", "region", "office"], typer.Option(help="day 按天, region 地区, office 机构")] = "day",
    first: Annotated[str | None, typer.Option(help="首日 / first day, 2026-11-01")] = None,
    last: Annotated[str | None, typer.Option(help="末日 / last day")] = None,
    region: Annotated[str | None, typer.Option(help="只看这个地区 / only this region")] = None,
    output: Annotated[Path | None, typer.Option(help="存成 .csv 或 .xlsx / write a .csv or .xlsx file")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """统计：申领、发卡、用时、卡住、废卡 / applications, cards, times, stuck and spoiled; by default the last 14 days.

    \b
    Example: ./onecard office statistics --by region --output november.xlsx
    """
    given = {"by": by, "first": first, "last": last, "region": region}
    query: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with centre(url, client) as http:
        if output is None:
            print_json(ask(http, "GET", "/v1/statistics", params=query))
            return
        query["format"] = "xlsx" if output.suffix.lower() == ".xlsx" else "csv"
        output.write_bytes(answered(http, "GET", "/v1/statistics/export", params=query).content)
    print_json({"ok": True, "file": str(output)})


@alerts_app.command("list")
@reports_failures
def list_alerts(
    over: Annotated[bool, typer.Option("--over", help="已结束的 / those that are over")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """预警：哪条规则，在哪里，多严重，谁在处理 / alerts: which rule, where, how bad, and who sees to it.

    \b
    Example: ./onecard office alerts list
    """
    query = {"limit": "500"} | ({"state": "over"} if over else {"open": "true"})
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/alerts", query))


@alerts_app.command("acknowledge")
@reports_failures
def acknowledge(
    alert_id: Annotated[int, typer.Argument(help="预警编号 / number in the list")],
    note: Annotated[str, typer.Option(help="怎么处理 / what is being done")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """确认预警：有人在处理了 / say that somebody sees to an alert.

    \b
    Example: ./onecard office alerts acknowledge 7 --note "depot sends 500 tomorrow"
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", f"/v1/alerts/{alert_id}/acknowledge", json={"note": note}))


@reports_failures
def person_file(
    subject: Annotated[str, typer.Argument(help="card:卡号、application:编号、receipt:受理号 / what to find it by")],
    reason: Annotated[str, typer.Option(help="为什么看，会留痕 / why; it is recorded")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """一人一档：一个人和他的卡的全部记录，打码 / everything about one holder and the cards, masked.

    \b
    Example: ./onecard office person-file card:A00000011 --reason "holder asks"
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", "/v1/person-files", json={"subject": subject, "reason": reason}))
