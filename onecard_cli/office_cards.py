"""`onecard office card`: the life of a card, over the centre's own interface.

Every command looks at the card first and names the version it saw, so that it never acts on a card that somebody else
has changed in between.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre, every_page
from onecard_cli.output import print_json, reports_failures

card_app = typer.Typer(help="卡的全生命周期 / the life of a card", no_args_is_help=True, add_completion=False)

Number = Annotated[str, typer.Argument(help="卡号 / card number")]
Reason = Annotated[str, typer.Option(help="原因代码，小写字母 / why, a short code in small letters")]
Keeps = Annotated[bool, typer.Option("--keep-number", help="同号换卡 / keep the card number")]
RequestFile = Annotated[
    Path | None,
    typer.Option("--request", help="监护人、照片等 JSON / guardian, photo and the like as JSON", exists=True),
]


@card_app.command("show")
@reports_failures
def show(number: Number, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """卡的状态、账户、可办的事 / a card with its state, its account and what may be done to it.

    \b
    Example: ./onecard office card show A00000011
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", f"/v1/cards/{number}"))


@card_app.command("list")
@reports_failures
def find(
    state: Annotated[
        list[str] | None, typer.Option(help="卡应用状态 0 1 2 3 4 9 / state; several may be given")
    ] = None,
    expires_until: Annotated[str | None, typer.Option(help="到期日不晚于 / expiring on this day or before")] = None,
    to_rewrite: Annotated[
        bool, typer.Option("--to-rewrite", help="芯片待更新的 / chips that wait for new data")
    ] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """列出卡 / list cards by number, every page of them.

    \b
    Example: ./onecard office card list --state 2 --state 4
    """
    query: dict[str, Any] = {"limit": 500}
    query |= {"state": state} if state else {}
    query |= {"expires_until": expires_until} if expires_until else {}
    query |= {"rewrite_pending": True} if to_rewrite else {}
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/cards", query))


@card_app.command("history")
@reports_failures
def history(number: Number, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """卡的全部经历，最新在前 / everything that happened to a card, newest first.

    \b
    Example: ./onecard office card history A00000011
    """
    with centre(url, client) as http:
        print_json(every_page(http, f"/v1/cards/{number}/history", {"limit": 500}))


@card_app.command("lose")
@reports_failures
def lose(
    number: Number,
    formal: Annotated[bool, typer.Option("--formal", help="正式挂失 / a formal loss")] = False,
    reason: Reason = "",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """挂失，默认临时挂失，到期自动解除 / report a card lost, for a while unless --formal.

    \b
    Example: ./onecard office card lose A00000011
    """
    _command(url, client, number, "loss", {"kind": "formal" if formal else "temporary", "reason": reason})


@card_app.command("release")
@reports_failures
def release(
    number: Number, reason: Reason = "", url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1"
) -> None:
    """解挂，是否允许由地区规则定 / release a loss, as far as the region's rules allow.

    \b
    Example: ./onecard office card release A00000011
    """
    _command(url, client, number, "release", {"reason": reason})


@card_app.command("cancel")
@reports_failures
def cancel(
    number: Number, reason: Reason = "", url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1"
) -> None:
    """注销：卡不能再用，账户销户 / cancel a card for good; its account is closed.

    \b
    Example: ./onecard office card cancel A00000011
    """
    _command(url, client, number, "cancel", {"reason": reason})


@card_app.command("do")
@reports_failures
def do(
    number: Number,
    act: Annotated[
        Literal["enable", "lock", "unlock", "account"],
        typer.Argument(help="enable 启用, lock 锁定, unlock 解锁, account 开户"),
    ],
    reason: Reason = "",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """启用、锁定、解锁、申请开户 / enable, lock or unlock a card, or ask the bank for an account.

    \b
    Example: ./onecard office card do A00000011 lock
    """
    _command(url, client, number, act, {"reason": reason})


@card_app.command("end")
@reports_failures
def end(
    number: Number,
    cause: Annotated[Literal["death", "exit"], typer.Argument(help="death 死亡, exit 出境定居")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """持卡人死亡或出境定居：两侧都注销 / the holder died or left for good: both sides end.

    \b
    Example: ./onecard office card end A00000011 death
    """
    _command(url, client, number, "holder-end", {"cause": cause})


@card_app.command("change")
@reports_failures
def change(
    number: Number,
    name: Annotated[str | None, typer.Option(help="姓名 / name")] = None,
    sex: Annotated[str | None, typer.Option(help="性别 1 2 9 / sex")] = None,
    ethnic_group: Annotated[str | None, typer.Option(help="民族代码 / ethnic group")] = None,
    birthplace: Annotated[str | None, typer.Option(help="出生地区划 / birthplace, division code")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """信息变更；下次来时用 agent rewrite 更新芯片 / change the holder's data; the chip follows at the next visit.

    \b
    Example: ./onecard office card change A00000011 --ethnic-group 11
    """
    given = {"name": name, "sex": sex, "ethnic_group": ethnic_group, "birthplace": birthplace}
    body = {field: value for field, value in given.items() if value is not None}
    _command(url, client, number, "holder", body)


@card_app.command("replace")
@reports_failures
def replace(
    number: Number,
    cause: Annotated[
        Literal["lost", "damaged", "quality"], typer.Argument(help="lost 遗失, damaged 损坏, quality 质量")
    ],
    keep_number: Keeps = False,
    request: RequestFile = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """补换卡：得到一份申领，再用 agent issue 制卡 / replace a card: prints the application to make it with.

    \b
    Example: ./onecard office card replace A00000011 damaged
    """
    _command(url, client, number, "replacements", _more(request) | {"cause": cause, "keeps_number": keep_number})


@card_app.command("renew")
@reports_failures
def renew(
    number: Number,
    keep_number: Keeps = False,
    request: RequestFile = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """到期换卡 / renew a card that is about to expire: prints the application to make it with.

    \b
    Example: ./onecard office card renew A00000011
    """
    _command(url, client, number, "renewals", _more(request) | {"keeps_number": keep_number})


def _more(request: Path | None) -> dict[str, Any]:
    import json

    more: dict[str, Any] = {} if request is None else json.loads(request.read_text(encoding="utf-8"))
    return more


def _command(url: str, client: str, number: str, path: str, body: dict[str, Any]) -> None:
    with centre(url, client) as http:
        seen = ask(http, "GET", f"/v1/cards/{number}")["version"]
        headers = {"Idempotency-Key": secrets.token_hex(16), "If-Match": f'"{seen}"'}
        print_json(ask(http, "POST", f"/v1/cards/{number}/{path}", json=body, headers=headers))
