"""`onecard login`: the systems that people log in to with the electronic card."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre
from onecard_cli.office_stock import order
from onecard_cli.output import print_json, reports_failures

login_app = typer.Typer(help="扫码登录 / log-in by electronic card", no_args_is_help=True, add_completion=False)
client_app = typer.Typer(
    help="可登录的系统 / systems that people log in to", no_args_is_help=True, add_completion=False
)
login_app.add_typer(client_app, name="client")


@client_app.command("add")
@reports_failures
def add(
    party: Annotated[str, typer.Argument(metavar="ID", help="client_id")],
    name: Annotated[str, typer.Option(help="页面和手机上显示的名称 / what page and phone show")],
    redirect: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="登录后返回的地址，逐字比较 / address to go back to, exact")
    ] = None,
    logout: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="退出后的地址 / address after logging out")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="openid, profile, social_security；缺省为 openid / default openid")
    ] = None,
    auth: Annotated[
        Literal["client_secret_basic", "client_secret_post", "none"],
        typer.Option(help="none：网页或命令行程序，没有密钥 / a program that can keep no secret"),
    ] = "client_secret_basic",
    algorithm: Annotated[
        Literal["ES256", "RS256", "SM2-SM3"], typer.Option(help="令牌的签名算法 / signature of its tokens")
    ] = "ES256",
    region: Annotated[str | None, typer.Option(help="行政区划 / division that keeps it")] = None,
    sector: Annotated[
        str | None, typer.Option(help="同一 sector 的系统见到同一个人的标识相同 / who shares identifiers of people")
    ] = None,
    device: Annotated[
        bool, typer.Option("--device", help="自助机等设备登录 / log in on kiosks and command lines")
    ] = False,
    pushed: Annotated[bool, typer.Option("--pushed", help="只接受 PAR 请求 / pushed requests only")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记系统；密钥只显示这一次 / register a system; its secret is shown this once.

    \b
    Example: ./onecard login client add hall-1 --name 示例办事大厅 --redirect https://hall.example/callback
    """
    grants = ["authorization_code"] if redirect else []
    if device:
        grants.append("urn:ietf:params:oauth:grant-type:device_code")
    body = {
        "id": party,
        "name": name,
        "region": region,
        "sector": sector,
        "redirect_uris": redirect or [],
        "logout_uris": logout or [],
        "auth_method": auth,
        "grant_types": [*(grants or ["authorization_code"]), "refresh_token"],
        "scopes": ["openid", *(name for name in scope or () if name != "openid")],
        "signing_algorithm": algorithm,
        "needs_pushed_requests": pushed,
    }
    with centre(url, client) as http:
        print_json(order(http, "/v1/relying-parties", body))


@client_app.command("list")
@reports_failures
def list_parties(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """已登记的系统 / registered systems.

    \b
    Example: ./onecard login client list
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", "/v1/relying-parties"))


@client_app.command("suspend")
@reports_failures
def suspend(
    party: Annotated[str, typer.Argument(metavar="ID", help="client_id")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """停用系统，其令牌立即失效 / refuse a system and its tokens from now on.

    \b
    Example: ./onecard login client suspend hall-1
    """
    with centre(url, client) as http:
        print_json(order(http, f"/v1/relying-parties/{party}/suspend", {}))
