"""`onecard agent devices`: every reader and device of this terminal, as a table that follows what happens."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from onecard_cli.office import AGENT_URL, AgentOption, asked_of_agent
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from rich.table import Table

LOOK_S: Final = 0.5
STYLES: Final = {
    "ready": "green",
    "PRESENT": "green",
    "IN_USE": "cyan",
    "attention": "yellow",
    "lost": "red",
    "LOST": "red",
}
STATES: Final = {
    "ready": "✓ 正常 / ready",
    "attention": "! 要人处理 / wants a hand",
    "lost": "✗ 断开 / lost",
    "unknown": "- 未知 / unknown",
    "EMPTY": "- 无卡 / empty",
    "PRESENT": "✓ 有卡 / card in",
    "IN_USE": "✓ 使用中 / in use",
    "AWAIT_REMOVAL": "! 等取卡 / take it out",
    "LOST": "✗ 断开 / lost",
}


@reports_failures
def devices(
    once: Annotated[bool, typer.Option("--once", help="只看一次 / once, not live")] = False,
    agent: AgentOption = AGENT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="JSON，只看一次 / JSON, once")] = False,
) -> None:
    """读写器和设备的实时表：状态、原因、上次正常、次数 / live table of readers and devices; Ctrl-C ends it.

    With --once or --json exit status 1 if one is lost or wants a hand.

    \b
    Example: ./onecard agent devices --once
    """
    from rich.console import Console
    from rich.live import Live

    rows = rows_of(agent)
    if as_json:
        print_json(rows)
    elif once:
        Console().print(table_of(rows))
    if as_json or once:
        raise typer.Exit(0 if all(row["state"] not in ("lost", "LOST", "attention") for row in rows) else 1)
    with Live(table_of(rows), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(LOOK_S)
                live.update(_now(agent), refresh=True)
        except KeyboardInterrupt:
            return


def _now(agent: str) -> Table | str:
    try:
        return table_of(rows_of(agent))
    except CommandError as error:  # the agent may come back
        return f"✗ 终端服务没有回答 / the terminal service gives no answer  [{error.failure}]"


def rows_of(agent: str) -> list[dict[str, Any]]:
    """Readers of PC/SC and of serial lines first, then the devices as the API has them. Raises CommandError."""
    listed = asked_of_agent(agent, "GET", "/v1/devices")
    readers = [_reader_row(reader) for reader in asked_of_agent(agent, "GET", "/v1/readers")]
    return [*readers, *listed]


def _reader_row(reader: dict[str, Any]) -> dict[str, Any]:
    holder = reader["holder"]
    return {
        "kind": "psam_reader" if reader["role"] == "psam" else "card_reader",
        "name": reader["name"],
        "port": "",
        "state": reader["state"],
        "failure": None,
        "holder": holder["owner"] if holder else None,
    }


def table_of(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="设备 / devices")
    for head in ("种类\nkind", "名称\nname", "状态\nstate", "原因\nwhy", "上次正常\nlast good", "好/坏\ngood/bad"):
        table.add_column(head, overflow="fold")  # nothing is cut off in a narrow window or a pipe
    for row in rows:
        health = row.get("health")
        kind = row["kind"] + ("\n模拟 / simulated" if row.get("is_simulated") else "")
        counts = f"{health['successes']}/{health['failures']}" if health else ""
        last = _clock(health["last_success_at"]) if health else ""
        state = Text(STATES.get(row["state"], row["state"]).replace(" / ", "\n  "), style=STYLES.get(row["state"], ""))
        # Text, not markup: a reader's name is not ours.
        table.add_row(kind, Text(row["name"]), state, Text(_why(row)), last, counts)
    return table


def _why(row: dict[str, Any]) -> str:
    if row["failure"] is None:
        return row.get("holder") or ""
    from cardlib.failures import FailureCode, describe

    if row["failure"] not in FailureCode.__members__:  # of a newer agent
        return str(row["failure"])
    words = describe(FailureCode(row["failure"]))
    return f"{words.text_zh} / {words.text_en}"


def _clock(moment: str | None) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S") if moment else "-"
