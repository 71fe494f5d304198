"""`onecard sim`: simulated cards on a PC/SC service of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Annotated

import typer

from onecard_cli.output import CommandError, print_json, reports_failures

CARD_TIMEOUT_S = 5.0

sim_app = typer.Typer(help="模拟卡片与读卡器 / simulated cards and readers", no_args_is_help=True, add_completion=False)


@sim_app.command("list")
@reports_failures
def list_personas(as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False) -> None:
    """有哪些模拟卡 / which simulated cards there are.

    \b
    Example: ./onecard sim list
    """
    from simulators.personas import load, names

    found = {name: load(name) for name in names()}
    if as_json:
        print_json({name: {"zh": persona.title_zh, "en": persona.title_en} for name, persona in found.items()})
        return
    for name, persona in found.items():
        print(f"{name:18} {persona.title_zh} / {persona.title_en}")


@sim_app.command("card")
@reports_failures
def card(
    persona: Annotated[str, typer.Option(help="模拟卡名称，见 sim list / see sim list")],
    command: Annotated[
        str | None, typer.Option("--exec", help="在此环境运行命令后退出 / run a command with the card in")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="重新发一张，不沿用上次的状态 / a new card, not last time's")] = False,
    with_psam: Annotated[bool, typer.Option("--psam/--no-psam", help="第二卡槽放 PSAM / PSAM in slot 2")] = True,
) -> None:
    """把一张模拟卡放进私有的 PC/SC 服务 / put a simulated card into a private PC/SC service.

    The card keeps its state between runs, as a chip does. Keys are those of this installation.

    \b
    Examples: ./onecard sim card --persona adult-2.0
              ./onecard sim card --persona adult-3.0 --exec './onecard card read --json'
    """
    from onecard_cli.home import Home
    from onecard_cli.personas import persona_card
    from simulators.pcscd import PrivatePcscd
    from simulators.psam import SimPsam
    from simulators.vpcd import VpcdLink

    home = Home.default()
    home.key_service()
    chip = persona_card(home, persona, fresh=fresh)
    with PrivatePcscd(vpcds=1) as pcscd:
        links = [VpcdLink(chip.card, pcscd.ports[0])]
        if with_psam:
            links.append(VpcdLink(SimPsam(home.roots(), region=chip.region), pcscd.ports[1]))
        environment = dict(pcscd.env) | {"ONECARD_HOME": str(home.path)}
        if with_psam:
            environment["ONECARD_PSAM_READER"] = "00 01"
        for link in links:
            link.insert()
        try:
            _wait_for_cards(pcscd.env, len(links))
            if command is not None:
                raise typer.Exit(_run(command, os.environ | environment))
            for name, value in environment.items():
                print(f"export {name}='{value}'", flush=True)
            print("# Ctrl-C 取出卡片 / takes the card out", file=sys.stderr, flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
        finally:
            for link in links:
                link.remove()


def _run(command: str, environment: Mapping[str, str]) -> int:
    """Exit status of a shell command, 128 + n when signal n ended it. Ended with us, children and all."""
    # At a terminal the command stays in the foreground group, which Ctrl-C reaches as a whole.
    group = None if sys.stdin.isatty() else 0
    with subprocess.Popen(["/bin/sh", "-c", command], env=dict(environment), process_group=group) as shell:
        try:
            status = shell.wait()
        except BaseException:
            if group is None:
                shell.terminate()
            else:
                os.killpg(shell.pid, signal.SIGTERM)
            raise
    return status if status >= 0 else 128 - status


def _wait_for_cards(environment: Mapping[str, str], count: int) -> None:
    """Return when the service has noticed the cards: it looks 2.5 times a second. Raises CommandError after 5 s."""
    from apdu.pcsc import PcscReaders
    from cardlib.failures import FailureCode

    # The PC/SC library reads its socket's name once per process; this process uses no other service.
    os.environ.update(environment)
    watch = PcscReaders().watch()
    try:
        end = time.monotonic() + CARD_TIMEOUT_S
        while time.monotonic() < end:
            if sum(slot.is_present for slot in watch.wait(0.2).values()) >= count:
                return
    finally:
        watch.close()
    raise CommandError(FailureCode.CARD_ABSENT, "the simulated card was not noticed")
