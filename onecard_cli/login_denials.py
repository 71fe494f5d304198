"""`onecard login deny`: from where, and to which systems, nobody may log in."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre
from onecard_cli.office_stock import order
from onecard_cli.output import print_json, reports_failures

deny_app = typer.Typer(help="禁止登录的名单 / the deny list", no_args_is_help=True, add_completion=False)
_PATH = "/v1/login-denials"
EntryArgument = Annotated[
    str, typer.Argument(metavar="ENTRY", help="网段、地址或 client_id / network, address or client_id")
]


@deny_app.command("add")
@reports_failures
def add(
    entry: EntryArgument,
    reason: Annotated[str, typer.Option(help="原因，记入审计 / reason, kept in the audit trail")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """禁止从某网段登录，或登录到某系统，马上生效 / deny a network or a system from now on.

    \b
    Example: ./onecard login deny add 203.0.113.0/24 --reason 钓鱼
    """
    with centre(url, client) as http:
        print_json(order(http, _PATH, {"entry": entry, "reason": reason}))


@deny_app.command("list")
@reports_failures
def list_denials(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """名单，不含设置里的 / the list, without what the settings deny.

    \b
    Example: ./onecard login deny list
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", _PATH))


@deny_app.command("remove")
@reports_failures
def remove(entry: EntryArgument, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """从名单上去掉 / take an entry off the list.

    \b
    Example: ./onecard login deny remove 203.0.113.0/24
    """
    with centre(url, client) as http:
        print_json(order(http, f"{_PATH}/remove", {"entry": entry}))
