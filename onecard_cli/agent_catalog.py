"""`onecard agent catalog`: how old catalog and block list of a terminal are, and what is wrong with them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onecard_cli.office import AGENT_URL, AgentOption, asked_of_agent
from onecard_cli.output import print_json, reports_failures

_MINUTE = 60
_UPDATES = {
    "current": "✓ 程序是最新的 / this program is up to date",
    "available": "- 有新版本 / there is a newer version",
    "required": "✗ 必须更新 / must be updated to",
}


@reports_failures
def state(
    fetch: Annotated[bool, typer.Option("--fetch", help="现在就去取 / ask the publisher now")] = False,
    agent: AgentOption = AGENT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """终端上的目录和黑名单：版本、多旧、告警、下次去取 / catalog and block list here: version, age, alarms, next try.

    Exit status 1 while an alarm stands.

    \b
    Example: ./onecard agent catalog --fetch
    """
    told = asked_of_agent(agent, *(("POST", "/v1/catalog/fetch") if fetch else ("GET", "/v1/catalog/state")))
    if as_json:
        print_json(told)
    else:
        print("\n".join(_lines(told)))
    if told["alarms"]:
        raise typer.Exit(1)


def _lines(told: dict[str, Any]) -> list[str]:
    shipped = told["source"] == "shipped"
    origin = "随程序带的，不是发布的 / shipped with the program" if shipped else _age(told["age_s"])
    lines = [f"目录   / catalog     {told['version']} · {origin}"]
    if (listed := told["block_list"]) is not None:
        lines.append(
            f"黑名单 / block list  {listed['edition']} · {listed['entries']} 张 / cards · "
            f"{_age(listed['age_s'])} · {listed['freshness']}"
        )
    else:
        lines.append("黑名单 / block list  没有 / none")
    if told["transit_roots"] is not None:
        lines.append(f"乘车码 / transit     {told['transit_roots']} 个根 / roots")
    if (configuration := told["configuration"]) is not None:
        skipped = "".join(f" · 不认识 / unknown: {name}" for name in configuration["unknown"])
        lines.append(f"配置   / settings    {', '.join(configuration['settings']) or '-'}{skipped}")
    if (update := told["update"]) is not None:
        lines.append(
            f"{_UPDATES[update['state']]} {update['newest']}: {update['notes']['zh']} / {update['notes']['en']}"
        )
    when = told["next_try"] if told["is_updating"] else "不取，没有配置发布地址 / never: no address configured"
    lines.append(f"下次   / next try    {when or '…'}")
    for alarm in told["alarms"]:
        lines.append(f"✗ {alarm['text_zh']} / {alarm['text_en']}  [{alarm['code']}] {alarm['detail']}")
        lines.append(f"  办法 {alarm['remedy_zh']} / {alarm['remedy_en']}")
    return lines


def _age(seconds: int | None) -> str:
    return "?" if seconds is None else f"{seconds // _MINUTE} 分钟前确认 / min ago"
