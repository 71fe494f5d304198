"""`onecard agent pairings`: the web pages that a person at this terminal has let in."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.office import AGENT_URL, AgentOption, asked_of_agent
from onecard_cli.output import print_json, reports_failures

pairings_app = typer.Typer(help="已配对的网页 / pages let in", no_args_is_help=True, add_completion=False)


@pairings_app.command("list")
@reports_failures
def list_pairings(
    agent: AgentOption = AGENT_URL, as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False
) -> None:
    """已配对的网页 / the pages a person has let in, oldest first.

    \b
    Example: ./onecard agent pairings list
    """
    pairings = asked_of_agent(agent, "GET", "/v1/pairings")
    if as_json:
        print_json(pairings)
        return
    for pairing in pairings:
        print(f"{pairing['id']}  {pairing['origin']}  {pairing['name']}  {pairing['created'][:10]}")
    if not pairings:
        print("没有 / none")


@pairings_app.command("revoke")
@reports_failures
def revoke(
    pairing_id: Annotated[str, typer.Argument(help="编号，list 第一列 / the first column of list")],
    agent: AgentOption = AGENT_URL,
) -> None:
    """收回：这个网页的令牌立即作废 / take it back; the page's token is refused at once.

    \b
    Example: ./onecard agent pairings revoke 5f0c2b7e9a1d
    """
    asked_of_agent(agent, "DELETE", f"/v1/pairings/{pairing_id}")
    print("✓")
