"""`onecard office found`, `bank`, `outbox` and `tasks`: found cards, the bank link, and what runs by itself."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Literal

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre, every_page
from onecard_cli.office_stock import order
from onecard_cli.output import print_json, reports_failures

found_app = typer.Typer(help="拾获卡 / found cards", no_args_is_help=True, add_completion=False)
bank_app = typer.Typer(help="社银联动 / the bank link", no_args_is_help=True, add_completion=False)
outbox_app = typer.Typer(help="待发消息 / messages to be sent", no_args_is_help=True, add_completion=False)
tasks_app = typer.Typer(help="后台任务 / background jobs", no_args_is_help=True, add_completion=False)


@found_app.command("register")
@reports_failures
def register(
    number: Annotated[str, typer.Argument(help="卡号 / card number")],
    outlet: Annotated[str, typer.Option(help="卡存放的网点 / where the card is kept")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记拾获的卡并通知持卡人 / register a card that was handed in; its holder is told.

    \b
    Example: ./onecard office found register A00000011 --outlet hall-3
    """
    with centre(url, client) as http:
        print_json(order(http, "/v1/found-cards", {"card_number": number, "outlet": outlet}))


@found_app.command("list")
@reports_failures
def list_found(
    overdue: Annotated[bool, typer.Option("--overdue", help="保管期已过的 / kept longer than they have to be")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """在保管的拾获卡 / found cards that are kept.

    \b
    Example: ./onecard office found list --overdue
    """
    query = {"limit": "500", "state": "kept"} | ({"overdue": "true"} if overdue else {})
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/found-cards", query))


@found_app.command("end")
@reports_failures
def end(
    found_id: Annotated[int, typer.Argument(help="登记号 / its number in the list")],
    how: Annotated[Literal["hand-back", "destroy"], typer.Argument(help="hand-back 交还, destroy 销毁")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """交还或销毁拾获卡 / hand a found card back, or destroy it.

    \b
    Example: ./onecard office found end 4 hand-back
    """
    with centre(url, client) as http:
        print_json(order(http, f"/v1/found-cards/{found_id}/{how}", {}))


@bank_app.command("reconcile")
@reports_failures
def reconcile(
    reason: Annotated[str, typer.Option(help="原因 / why")] = "",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """立即对账：逐卡比较，按规则处理差异 / compare all accounts with the bank's now, and mend what differs.

    \b
    Example: ./onecard office bank reconcile
    """
    with centre(url, client) as http:
        run = order(http, "/v1/bank/reconciliations", {"reason": reason})
        print_json(
            run | {"list": every_page(http, f"/v1/bank/reconciliations/{run['id']}/differences", {"limit": 500})}
        )


@bank_app.command("reports")
@reports_failures
def reports(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """历次对账结果 / the comparisons with the bank, newest first.

    \b
    Example: ./onecard office bank reports
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", "/v1/bank/reconciliations")["items"])


@outbox_app.command("list")
@reports_failures
def list_outbox(
    state: Annotated[Literal["pending", "delivered", "dead"], typer.Option(help="pending 待发, dead 未送达")] = "dead",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """待发或未送达的消息：原因与经办 / messages that wait or could not be delivered: why, and whose they are.

    \b
    Example: ./onecard office outbox list --state dead
    """
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/outbox", {"limit": 500, "state": state}))


@outbox_app.command("retry")
@reports_failures
def retry(
    message_id: Annotated[str, typer.Argument(help="消息编号 / message")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """重发一条未送达的消息，用原来的编号 / send a dead message again, under the same key.

    \b
    Example: ./onecard office outbox retry 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001
    """
    with centre(url, client) as http:
        print_json(order(http, f"/v1/outbox/{message_id}/retry", {}))


@tasks_app.command("run")
@reports_failures
def run_tasks(
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="默认内置 SQLite / default: embedded")
    ] = None,
) -> None:
    """到期的事都办一遍：解挂、发消息、对账 / do once, on the server itself, whatever is due: for a timer instead of
    the running service's own jobs.

    \b
    Example: ./onecard office tasks run
    """
    from issuance.app import close_services, create_services
    from issuance.settings import Settings
    from issuance.tasks import run_once
    from onecard_cli.audit import with_heads
    from onecard_cli.home import Home
    from onecard_cli.sim_bank import simulated_bank

    home = Home.default()
    url = database_url or os.environ.get("ONECARD_ISSUANCE_DATABASE_URL") or home.database_url
    settings = with_heads(home, Settings(database_url=url))

    async def run() -> dict[str, int]:
        with home.keys_in_use() as keys:
            services = create_services(settings, keys, bank=simulated_bank(home, settings))
            try:
                return await run_once(services)
            finally:
                await close_services(services)

    done = asyncio.run(run())
    print_json(done)
    if -1 in done.values():
        raise typer.Exit(1)
