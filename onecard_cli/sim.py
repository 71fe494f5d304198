"""`onecard sim`: simulated cards and PSAMs, on a PC/SC service of their own or on slots a command opens itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli import sim_bank, sim_ca, sim_codes, sim_fees, sim_national, sim_printer, sim_wallet
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from simulators.vpcd import VirtualCard

CARD_TIMEOUT_S = 20.0
PSAM_SLOT = "00 01"
REGION = "990100"

sim_app = typer.Typer(help="模拟卡片与读卡器 / simulated cards and readers", no_args_is_help=True, add_completion=False)

sim_app.command("printer")(sim_printer.printer)
sim_app.command("bank")(sim_bank.bank)
sim_app.command("fees")(sim_fees.fees)
sim_app.command("wallet")(sim_wallet.wallet)
sim_app.command("codes")(sim_codes.codes)
sim_app.command("national")(sim_national.national)
sim_app.add_typer(sim_ca.ca_app, name="ca")

FreshOption = Annotated[bool, typer.Option(help="重新发一张，不沿用上次的状态 / a new one, not last time's")]


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
    fresh: FreshOption = False,
    with_psam: Annotated[bool, typer.Option("--psam/--no-psam", help="第二卡槽放 PSAM / PSAM in slot 2")] = True,
    is_contactless: Annotated[
        bool, typer.Option("--contactless", help="非接触：放进射频场 / in the field of a contactless reader")
    ] = False,
    no_pcsc: Annotated[
        bool, typer.Option("--no-pcsc", help="不用 pcscd，由 onecard 命令自己当读卡器 / no pcscd, onecard reads itself")
    ] = False,
) -> None:
    """把一张模拟卡放进私有的 PC/SC 服务 / put a simulated card into a private PC/SC service.

    Card and PSAM keep their state between runs, as chips do. Keys are those of this installation.

    \b
    Examples: ./onecard sim card --persona adult-2.0
              ./onecard sim card --persona adult-3.0 --exec './onecard card read --json'
              ./onecard sim card --persona adult-3.0 --contactless --exec './onecard card transit balance'
              ./onecard sim card --persona adult-3.0 --no-pcsc --exec './onecard card read'
    """
    from onecard_cli.home import Home
    from onecard_cli.personas import installed_psam, persona_card

    home = Home.default()
    home.key_service()
    chip = persona_card(home, persona, fresh=fresh, is_contactless=is_contactless)
    cards: list[VirtualCard] = [chip.card]
    sam = installed_psam(home, chip.region) if with_psam else None
    if sam is not None:
        cards.append(sam.psam)
    with (_standing if no_pcsc else _in_pcsc)(cards) as environment:
        environment |= {"ONECARD_HOME": str(home.path)}
        if sam is not None:
            environment["ONECARD_PSAM_READER"] = PSAM_SLOT
        if command is not None:
            raise typer.Exit(_run(command, os.environ | environment))
        for name, value in environment.items():
            print(f"export {name}='{value}'", flush=True)
        print("# Ctrl-C 取出卡片 / takes the card out", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@sim_app.command("psam")
@reports_failures
def psam(
    region: Annotated[str, typer.Option(help="六位区划代码 / six-digit division code")] = REGION,
    fresh: FreshOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """模拟 PSAM 里有什么：终端号、交易序号、密钥 / what the simulated PSAM holds: terminal, transaction numbers, keys.

    It is the one `sim card` puts into the second slot; no key is shown.

    \b
    Examples: ./onecard sim psam
              ./onecard sim psam --region 110000 --fresh
    """
    from onecard_cli.home import Home
    from onecard_cli.personas import installed_psam

    sam = installed_psam(Home.default(), region, fresh=fresh)
    sam.lock.close()
    state = sam.psam.state
    environments = {
        environment.algorithm.name: {
            "transaction_number": environment.counter,
            "keys": [f"{record.usage:02X}/{record.id:02X}" for record in environment.records],
            "tries_left": {f"{key.kid:02X}": key.tries_left for key in environment.controls},
        }
        for environment in state.environments
    }
    told = {"terminal_number": state.terminal.hex(), "transit_transaction_number": state.transit_sequence}
    if as_json:
        print_json({"ok": True} | told | {"environments": environments})
        return
    print(f"终端机编号 / terminal number: {told['terminal_number']}")
    print(f"交通终端交易序号 / transit transaction number: {told['transit_transaction_number']}")
    for environment in state.environments:
        print(f"{environment.algorithm.name}: 终端交易序号 / transaction number {environment.counter}", end="，")
        print(f"密钥 / keys {' '.join(f'{record.usage:02X}/{record.id:02X}' for record in environment.records)}")


@contextlib.contextmanager
def _in_pcsc(cards: list[VirtualCard]) -> Iterator[dict[str, str]]:
    """The cards in the slots of a PC/SC service of their own; the variables its clients need."""
    from simulators.pcscd import PrivatePcscd
    from simulators.vpcd import VpcdLink

    with PrivatePcscd(vpcds=1) as pcscd:
        links = [VpcdLink(card, port) for card, port in zip(cards, pcscd.ports, strict=False)]
        for link in links:
            link.insert()
        try:
            _wait_for_cards(pcscd.env, len(links))
            yield dict(pcscd.env)
        finally:
            for link in links:
                link.remove()


@contextlib.contextmanager
def _standing(cards: list[VirtualCard]) -> Iterator[dict[str, str]]:
    """The cards lie ready for the slots that `./onecard card` and `./onecard agent run` open themselves."""
    from onecard_cli.readers import PORTS
    from simulators.vpcd import StandingCard, free_ports

    ports = free_ports(len(cards))
    with contextlib.ExitStack() as stack:
        for card, port in zip(cards, ports, strict=True):
            stack.enter_context(StandingCard(card, port))
        yield {PORTS: ",".join(map(str, ports))}


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
    """Return when the service has noticed the cards: it looks 2.5 times a second. Raises CommandError."""
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
