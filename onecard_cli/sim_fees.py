"""The simulated fee system: `onecard sim fees`."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.output import reports_failures
from onecard_cli.sim_bank import run_partner

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
    from simulators.fees import FAULTS, SimFees

    run_partner(SimFees, FAULTS, BOOKS, port, fault, "ONECARD_ISSUANCE_PAYMENT")
