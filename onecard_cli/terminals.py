"""`onecard issuance terminals`: the terminals of a centre as machines: invite, look, lock, diagnose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from onecard_cli import agent_journal
from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, answered, ask, centre
from onecard_cli.output import print_json, reports_failures

terminals_app = typer.Typer(help="终端 / terminals", no_args_is_help=True, add_completion=False)
terminals_app.command("records")(agent_journal.terminals)
Terminal = Annotated[str, typer.Argument(help="终端 / terminal: t-4f0c2b7e9a1d")]
_PAGE = 1000
_MARKS = {"ok": "✓", "new": "-", "off": "-", "trouble": "!", "locked": "✗", "silent": "✗"}


@terminals_app.command("invite")
@reports_failures
def invite(
    profile: Annotated[Literal["counter", "kiosk", "transit"], typer.Option(help="counter, kiosk, transit")],
    name: Annotated[str, typer.Option(help="名称 / the name that lists show")],
    region: Annotated[str | None, typer.Option(help="六位区划代码 / six-digit division code")] = None,
    hours: Annotated[int, typer.Option(min=1, max=168, help="有效小时数 / hours the code is good")] = 24,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """给一台新终端发一次性登记码；只显示这一次 / a one-time code that registers one new terminal, shown this once.

    \b
    Example: ./onecard issuance terminals invite --region 110000 --profile kiosk --name 大厅自助机
    """
    body = {"region": region, "profile": profile, "name": name, "hours": hours}
    with centre(url, client) as http:
        print_json(ask(http, "POST", "/v1/terminals/invitations", json=body))


@terminals_app.command("list")
@reports_failures
def list_terminals(
    state: Annotated[
        str | None, typer.Option(help="只看这种 / only these: ok, trouble, silent, locked, off, new")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """各终端现在怎样 / how each terminal is.

    \b
    Example: ./onecard issuance terminals list --state silent
    """
    with centre(url, client) as http:
        rows = [row for row in _rows(http) if state in (None, row["state"])]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        said = " ".join((row["heard_at"] or "", *row["failures"]))
        mark, lock = _MARKS[row["state"]], "" if row["lock"] is None else f"  停用 / lock: {row['lock']['reason']}"
        print(f"{mark} {row['terminal']}  {row['state']:<8}{row['profile']:<8} {row['name']}  {said}{lock}")


def _rows(http: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        after = rows[-1]["terminal"] if rows else ""
        page = ask(http, "GET", "/v1/terminals/states", params={"after": after, "limit": _PAGE})
        rows += page
        if len(page) < _PAGE:
            return rows


@terminals_app.command("show")
@reports_failures
def show(terminal: Terminal, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """一台终端：最近一次心跳、状态变化 / one terminal: its last heartbeat and changes of state.

    \b
    Example: ./onecard issuance terminals show t-4f0c2b7e9a1d
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", f"/v1/terminals/{terminal}"))


@terminals_app.command("lock")
@reports_failures
def lock(
    terminal: Terminal,
    reason: Annotated[str, typer.Option(help="原因，终端上的人看得到 / why, as people at the terminal read it")],
    contact: Annotated[str, typer.Option(help="联系谁 / whom to call")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """远程停用一台终端：从下一次心跳起不再办卡 / take a terminal out of use from its next heartbeat on.

    \b
    Example: ./onecard issuance terminals lock t-4f0c2b7e9a1d --reason 机器移机 --contact "市社保中心 12333"
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", f"/v1/terminals/{terminal}/lock", json={"reason": reason, "contact": contact}))


@terminals_app.command("unlock")
@reports_failures
def unlock(terminal: Terminal, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """恢复一台终端 / let a terminal work again.

    \b
    Example: ./onecard issuance terminals unlock t-4f0c2b7e9a1d
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", f"/v1/terminals/{terminal}/unlock"))


@terminals_app.command("diagnose")
@reports_failures
def diagnose(
    terminal: Terminal,
    out: Annotated[Path | None, typer.Option(help="存下已收到的诊断包 / save the last bundle that came")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """请终端上传诊断包；--out 存下最近收到的一份 / ask for a diagnosis bundle; --out saves the last that came.

    \b
    Example: ./onecard issuance terminals diagnose t-4f0c2b7e9a1d --out diagnosis.zip
    """
    with centre(url, client) as http:
        if out is None:
            print_json(ask(http, "POST", f"/v1/terminals/{terminal}/diagnosis-orders"))
            return
        out.write_bytes(answered(http, "GET", f"/v1/terminals/{terminal}/diagnosis").content)
    print(out)
