"""Entry point of `./onecard`. A command's module is imported when the command runs, so that a start costs little."""

from __future__ import annotations

import gc
import signal
import sys
import tomllib
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from onecard_cli import ROOT
from onecard_cli.lazy import Place, lazy_group

HELP = """OneCard 一卡通：签发社会保障卡，处处可用 / issue the social security card and let it be used everywhere.

New here? Run  ./onecard demo  and then  ./onecard test.
"""

PASS_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
COMMANDS: Final = {
    "demo": Place("onecard_cli.demo", "demo"),
    "up": Place("onecard_cli.up", "up"),
    "doctor": Place("onecard_cli.doctor", "doctor"),
    "test": Place("onecard_cli.develop", "test", PASS_ON),
    "check": Place("onecard_cli.develop", "check"),
    "bench": Place("onecard_cli.develop", "bench"),
    "card": Place("onecard_cli.card", "card_app"),
    "sim": Place("onecard_cli.sim_police", "sim_app"),
    "issuance": Place("onecard_cli.services", "issuance_app"),
    "office": Place("onecard_cli.office_group", "office_app"),
    "clerk": Place("onecard_cli.clerk", "clerk_app"),
    "agent": Place("onecard_cli.services", "agent_app"),
    "hsm": Place("onecard_cli.hsm", "hsm_app"),
    "audit": Place("onecard_cli.audit", "audit_app"),
    "privacy": Place("onecard_cli.privacy", "privacy_app"),
    "catalog": Place("onecard_cli.catalog", "catalog_app"),
    "ecard": Place("onecard_cli.ecard", "ecard_app"),
    "wallet": Place("onecard_cli.wallet_group", "wallet_app"),
    "login": Place("onecard_cli.login", "login_app"),
}

app = typer.Typer(
    help=HELP,
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
    # What a command loads stays: with Python's own 700 the search for garbage is a quarter of the centre's start.
    gc.set_threshold(20_000, 20, 20)
    for name_of_signal in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name_of_signal):
            signal.signal(getattr(signal, name_of_signal), _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    app(prog_name="onecard")
