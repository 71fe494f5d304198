"""The simulated bank: `onecard sim bank` over HTTP, or inside the service where its address is the word `simulated`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from onecard_cli.output import listen, print_json, reports_failures

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from starlette.applications import Starlette

    from issuance.bank.link import HttpBank
    from issuance.settings import Settings
    from onecard_cli.home import Home

SIMULATED = "simulated"
BOOKS = "bank.sqlite3"
HOLD_S = 30.0
"""How long a request without answer is kept: longer than the centre waits."""


def simulated_bank(home: Home, settings: Settings) -> HttpBank | None:
    """The bank of the home folder, spoken to in this process; None when the settings name another one or none."""
    if settings.bank_url != SIMULATED:
        return None
    import httpx

    from issuance.bank.link import HttpBank
    from issuance.clock import system_clock
    from simulators.bank import SimBank

    bank = SimBank(home.path / BOOKS)
    return HttpBank("http://bank.example", system_clock, transport=httpx.ASGITransport(bank.app))


@reports_failures
def bank(
    port: Annotated[int, typer.Option(help="端口，0 任选 / port, 0: any free one")] = 8700,
    fault: Annotated[list[str] | None, typer.Option(help="故障=次数 / fault=count, such as timeout_after=2")] = None,
) -> None:
    """模拟银行：开户、挂失、销户、对账单 / the simulated bank; prints the settings that make a centre speak to it.

    \b
    Example: ./onecard sim bank --fault timeout_after=2
    """
    from simulators.bank import FAULTS, SimBank

    run_partner(SimBank, FAULTS, BOOKS, port, fault, "ONECARD_ISSUANCE_BANK")


class Partner(Protocol):
    """A simulated office beside the centre."""

    app: Starlette
    faults: Counter[str]


class MakePartner(Protocol):
    def __call__(self, path: Path | None, *, token: str | None, hold_s: float) -> Partner: ...


def run_partner(
    make: MakePartner, known: tuple[str, ...], books: str, port: int, fault: list[str] | None, setting: str
) -> None:
    """Serve until interrupted; prints the settings, `setting` with _URL and _TOKEN, once the address is open."""
    import secrets

    import uvicorn

    from onecard_cli.home import Home

    counts = dict(fault_count(text, known) for text in fault or ())
    token = secrets.token_urlsafe(16)
    simulator = make(Home.default().path / books, token=token, hold_s=HOLD_S)
    simulator.faults.update(counts)
    listener = listen(port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print_json({f"{setting}_URL": url, f"{setting}_TOKEN": token})
    config = uvicorn.Config(simulator.app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def fault_count(text: str, known: tuple[str, ...]) -> tuple[str, int]:
    """Of `name=count`. Raises ValueError for an unknown name."""
    name, _, count = text.partition("=")
    if name not in known or not (count or "1").isdecimal():
        raise ValueError(f"no fault {name!r}; there are {', '.join(known)}, each with =count")
    return name, int(count or "1")
