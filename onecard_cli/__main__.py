"""Entry point of `./onecard`. Command modules import what they need when they run, so that a start costs little."""

from __future__ import annotations

import signal
import sys
import tomllib
from types import FrameType
from typing import Annotated, NoReturn

import typer

from onecard_cli import (
    ROOT,
    audit,
    card,
    catalog,
    clerk,
    demo,
    develop,
    doctor,
    ecard,
    hsm,
    login,
    office_group,
    privacy,
    services,
    sim_police,
    up,
    wallet,
    wallet_family,
    wallet_login,
)

HELP = """OneCard 一卡通：签发社会保障卡，处处可用 / issue the social security card and let it be used everywhere.

New here? Run  ./onecard demo  and then  ./onecard test.
"""

app = typer.Typer(
    help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("test", context_settings=develop.PASS_ON)(develop.test)
app.command("check")(develop.check)
app.command("bench")(develop.bench)
for name, group in (
    ("card", card.card_app),
    ("sim", sim_police.sim_app),
    ("issuance", services.issuance_app),
    ("office", office_group.office_app),
    ("clerk", clerk.clerk_app),
    ("agent", services.agent_app),
    ("hsm", hsm.hsm_app),
    ("audit", audit.audit_app),
    ("privacy", privacy.privacy_app),
    ("catalog", catalog.catalog_app),
    ("ecard", ecard.ecard_app),
    ("wallet", wallet.wallet_app),
    ("login", login.login_app),
):
    app.add_typer(group, name=name)
wallet.wallet_app.add_typer(wallet_family.family_app, name="family")
wallet.wallet_app.command("login")(wallet_login.login)


def _version(value: bool) -> None:
    if value:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        print(f"onecard {project['version']}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="版本 / version")
    ] = False,
) -> None:
    """Options of the whole command line."""


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """An asked-for end runs every clean-up on its way out: services, private pcscd, folders with keys."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for name_of_signal in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name_of_signal):
            signal.signal(getattr(signal, name_of_signal), _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    app(prog_name="onecard")
