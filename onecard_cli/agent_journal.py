"""`onecard agent journal`: what this terminal keeps for the centre; `onecard issuance terminals records`, `reconcile`:
the other side of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onecard_cli.office import AGENT_URL, CENTRE_URL, AgentOption, ClientOption, UrlOption, ask, asked_of_agent, centre
from onecard_cli.output import print_json, reports_failures

_STATES = {
    "none": "- 不记：没有数据文件夹或没有中心 / nothing is kept: no state folder or no centre",
    "sent": "✓ 中心都有了 / the centre has all",
    "sending": "✓ 正在上报 / on the way",
    "waiting": "✗ 报不上去 / the centre cannot be told",
    "full": "✗ 停办新业务 / nothing new is begun",
}


@reports_failures
def journal(
    agent: AgentOption = AGENT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """终端上等着上报中心的记录：多少、多久、为什么 / records that wait for the centre: how many, since when, and why.

    Exit status 1 while the centre cannot be told, nothing new is begun, or a record is set aside.

    \b
    Example: ./onecard agent journal
    """
    told = asked_of_agent(agent, "GET", "/v1/journal")
    if as_json:
        print_json(told)
    else:
        print("\n".join(_lines(told)))
    if told["state"] in ("waiting", "full") or told["aside"]:
        raise typer.Exit(1)


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [_STATES[told["state"]]]
    if told["failure"]:
        lines.append(f"  {told['text_zh']} / {told['text_en']}  [{told['failure']}] {told['detail']}")
        lines.append(f"  办法 {told['remedy_zh']} / {told['remedy_en']}")
    if (kept := told["journal"]) is None:
        return lines
    waits = kept["sequence"] - kept["acknowledged"]
    kinds = ", ".join(f"{kind} {count}" for kind, count in kept["kinds"].items())
    lines.append(f"记录   / records     {kept['sequence']}")
    lines.append(f"等着   / waiting     {waits}{f' ({kinds})' if kinds else ''}")
    if kept["oldest_at"]:
        lines.append(f"最早   / oldest      {kept['oldest_at']}")
    lines.append(f"上次   / last told   {told['told_at'] or '-'}")
    if told["next_try_at"]:
        lines.append(f"下次   / next try    {told['next_try_at']} ({told['attempts']} 次没成 / attempts)")
    if kept["follows"]:
        lines.append(f"另起   / begun anew  {kept['reason']} {kept['begun_at']}")
    lines += [
        f"✗ 搁置 / set aside   {one['sequence']} {one['kind']} {one['at']} [{one['failure']}] {one['detail']}"
        for one in told["aside"]
    ]
    return lines


@reports_failures
def terminals(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """上报过记录的终端：还差多少，哪些用不了 / terminals that sent records, what is outstanding, what was refused.

    \b
    Example: ./onecard issuance terminals records
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", "/v1/terminals"))


@reports_failures
def reconcile(
    terminal: Annotated[str, typer.Argument(help="终端 / terminal: terminal-1")],
    day: Annotated[str, typer.Option(help="哪一天 / the day in China, 2026-11-22")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """终端一天的账：两边对不对得上 / a terminal's day in both sides' books. Exit status 1 when they differ.

    \b
    Example: ./onecard issuance reconcile terminal-1 --day 2026-11-22
    """
    with centre(url, client) as http:
        report = ask(http, "GET", f"/v1/terminals/{terminal}/reconciliation", params={"day": day})
    print_json(report)
    if report["difference"]:
        raise typer.Exit(1)
