"""The simulated fee system: `onecard sim fees`."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.output import print_json, reports_failures
from onecard_cli.sim_bank import HOLD_S, fault_count, serve

BOOKS = "fees.sqlite3"


@reports_failures
def fees(
    port: Annotated[int, typer.Option(help="端口，0 任选 / port, 0: any free one")] = 8701,
    fault: Annotated[list[str] | None, typer.Option(help="故障=次数 / fault=count, such as refuse=1")] = None,
) -> None:
    """模拟收费系统：登记与退还工本费 / the simulated fee system; prints the settings that make a centre speak to it.

    \b
    Example: ./onecard sim fees --fault timeout_after=1
    """
    import secrets

    from onecard_cli.home import Home
    from simulators.fees import FAULTS, SimFees

    counts = dict(fault_count(text, FAULTS) for text in fault or ())
    token = secrets.token_urlsafe(16)
    simulator = SimFees(Home.default().path / BOOKS, token=token, hold_s=HOLD_S)
    simulator.faults.update(counts)
    serve(
        simulator.app,
        port,
        lambda url: print_json({"ONECARD_ISSUANCE_PAYMENT_URL": url, "ONECARD_ISSUANCE_PAYMENT_TOKEN": token}),
    )
