"""`onecard office stuck` and `onecard office next-action`: the cases that wait for a person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre
from onecard_cli.office_stock import order
from onecard_cli.output import print_json, reports_failures

PAGE = 500


@reports_failures
def stuck(
    region: Annotated[str | None, typer.Option(help="发卡地区 / issuing region")] = None,
    owner: Annotated[str | None, typer.Option(help="谁的 / whose")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """卡住的申领：为什么、谁负责、期限、下一步 / cases that wait for a person, the nearest deadline first.

    \b
    Example: ./onecard office stuck --region 110000
    """
    with centre(url, client) as http:
        cases = _all(http, {"region": region, "owner": owner})
    if as_json:
        print_json(cases)
        return
    for case in cases:
        late = " !" if case["is_overdue"] else ""
        print(f"{case['application_id']}  {case['step']}  {case['reason']}  {case['owner']}  {case['deadline']}{late}")
        print(f"    {case['text_zh']} / {case['text_en']}")
        for action in case["actions"]:
            print(f"    → {action['action']}: {action['text_zh']} / {action['text_en']}")
    print(f"{len(cases)} 件 / cases")


def _all(http: Any, query: dict[str, str | None]) -> list[dict[str, Any]]:
    """Of every page."""
    found: list[dict[str, Any]] = []
    wanted = {name: value for name, value in query.items() if value} | {"limit": str(PAGE)}
    while True:
        page = ask(http, "GET", "/v1/applications/stuck", params=wanted)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        wanted["cursor"] = page["next_cursor"]


@reports_failures
def next_action(
    application_id: Annotated[str, typer.Argument(help="申领编号 / application")],
    action: Annotated[str | None, typer.Option(help="不写则做最常用的一步 / default: what helps mostly")] = None,
    reason: Annotated[str, typer.Option(help="原因，记入审计 / why, for the audit trail")] = "",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """给卡住的申领做下一步 / do what a stuck case needs.

    \b
    Example: ./onecard office next-action 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001 --action resume
    """
    body = {"action": action, "reason": reason}
    with centre(url, client) as http:
        print_json(order(http, f"/v1/applications/{application_id}/next-action", body))
