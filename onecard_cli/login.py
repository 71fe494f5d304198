"""`onecard login`: the systems that people log in to with the electronic card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cardlib.failures import FailureCode
from onecard_cli import login_card, login_ministry
from onecard_cli.login_denials import deny_app
from onecard_cli.login_keys import keys_app
from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre
from onecard_cli.office_stock import order
from onecard_cli.output import CommandError, print_json, reports_failures

login_app = typer.Typer(help="扫码登录 / log-in by electronic card", no_args_is_help=True, add_completion=False)
client_app = typer.Typer(
    help="可登录的系统 / systems that people log in to", no_args_is_help=True, add_completion=False
)
login_app.add_typer(client_app, name="client")
login_app.add_typer(deny_app, name="deny")
login_app.add_typer(keys_app, name="keys")
login_app.command("card")(login_card.card)
login_app.command("channel")(login_ministry.channel)
login_app.command("national")(login_ministry.national)


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
        Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
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
    channel: Annotated[
        bool, typer.Option("--channel", help="按部里的扫码登录接口对接 / speaks the ministry's scan log-in")
    ] = False,
    counter: Annotated[
        bool,
        typer.Option("--counter", help="窗口点名请本人确认 / ask a holder by name, who approves on the phone"),
    ] = False,
    pushed: Annotated[bool, typer.Option("--pushed", help="只接受 PAR 请求 / pushed requests only")] = False,
    signed: Annotated[bool, typer.Option("--signed", help="只接受签名的请求 / signed requests only")] = False,
    jwks: Annotated[Path | None, typer.Option(metavar="FILE", help="该系统的公钥 (JWK Set) / its public keys")] = None,
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
    if counter:
        grants.append("urn:openid:params:grant-type:ciba")
    if channel:
        grants.append("urn:onecard:params:grant-type:channel")
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
        "needs_signed_requests": signed,
        "jwks": None if jwks is None else _document(jwks),
    }
    with centre(url, client) as http:
        print_json(order(http, "/v1/relying-parties", body))


def _document(file: Path) -> Any:
    """Raises CommandError for a file that is no JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CommandError(FailureCode.INPUT_INVALID, f"{file}: no JSON") from None


@client_app.command("list")
@reports_failures
def list_parties(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """已登记的系统 / registered systems.

    \b
    Example: ./onecard login client list
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", "/v1/relying-parties"))


@client_app.command("keys")
@reports_failures
def replace_keys(
    party: Annotated[str, typer.Argument(metavar="ID", help="client_id")],
    jwks: Annotated[Path, typer.Argument(metavar="FILE", help="该系统的公钥 (JWK Set) / its public keys")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """更换系统的公钥，不在其中的马上失效 / replace a system's public keys; others count no more.

    \b
    Example: ./onecard login client keys hall-1 hall-1-keys.json
    """
    with centre(url, client) as http:
        print_json(order(http, f"/v1/relying-parties/{party}/keys", {"jwks": _document(jwks)}, "PUT"))


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
