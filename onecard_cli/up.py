"""`onecard up`: everything running, with addresses to open."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.output import reports_failures

if TYPE_CHECKING:
    from onecard_cli.personas import PersonaCard
    from onecard_cli.system import System

REGION = "110000"
ISSUANCE_PORT, AGENT_PORT, WS_PORT, WALLET_PORT = 8400, 12343, 12342, 8500
KIOSK_PORT, HANDS_PORT = 8510, 8511
GATE_PORT, GATE_HANDS_PORT = 8520, 8521


@reports_failures
def up(
    persona: Annotated[str, typer.Option(help="插在读卡器里的模拟卡，见 sim list / simulated card")] = "adult-3.0",
    no_pcsc: Annotated[bool, typer.Option("--no-pcsc", help="用内置读卡器 / built-in reader, no pcscd")] = False,
) -> None:
    """启动全部服务并保持运行：发卡、终端、手机、模拟卡 / start everything, print the addresses, run until Ctrl-C.

    \b
    Example: ./onecard up --persona child-3.0
    """
    from onecard_cli.demo import has_pcsc
    from onecard_cli.demo_holder import demo_holder
    from onecard_cli.demo_staff import bind_clerk, demo_staff, print_staff
    from onecard_cli.gate_stand import GateStand, purses
    from onecard_cli.home import Home
    from onecard_cli.kiosk_stand import STAFF_PIN, KioskStand
    from onecard_cli.output import listen
    from onecard_cli.personas import persona_card
    from onecard_cli.system import System
    from simulators.panel import running_panel

    home = Home.default()
    ports = (_free(ISSUANCE_PORT), _free(AGENT_PORT), _free(WS_PORT))
    chip = persona_card(home, persona)
    staff = demo_staff(home, REGION)
    use_pcsc = not no_pcsc and has_pcsc(is_silent=False)
    whole = System(home, use_pcsc=use_pcsc, region=chip.region, ports=ports, wallet_port=_free(WALLET_PORT))
    with whole as system, ExitStack() as ends:
        holder = demo_holder(system)
        if staff:
            bind_clerk(home, holder["card_number"])
        system.plug(0, chip.card)
        kiosk = ends.enter_context(KioskStand(system, port=_free(KIOSK_PORT)))
        hands = ends.enter_context(running_panel(kiosk.hands, listen(_free(HANDS_PORT))))
        gate = ends.enter_context(GateStand(system, "bus", port=_free(GATE_PORT)))
        gate.hands.purses = purses(system)
        gate_hands = ends.enter_context(running_panel(gate.hands, listen(_free(GATE_HANDS_PORT))))
        print(f"经办工作台 / console      {system.issuance_url}/console/")
        print(f"应用目录 / catalog        {system.issuance_url}/catalog/")
        print(f"柜台页面 / counter page   {system.agent_url}/")
        print(f"终端服务 / agent API      {system.agent_url}/v1/info")
        print(f"驱动接口 / driver socket  {system.ws_url}")
        print(f"手机     / phone          {system.wallet_url}/")
        print(f"自助机   / kiosk          {kiosk.url}/kiosk  (工作人员 / staff {STAFF_PIN})")
        print(f"模拟的手 / hands          {hands}/  放证、插卡、取卡、故障、断网、断电 / ID card, cards, faults, power")
        print(f"公交闸机 / bus gate       {gate.url}/gate  (值班 / staff {gate.url}/gate/staff)")
        print(f"闸机的手 / its hands      {gate_hands}/  刷卡、扫码、断网、断电 / cards, codes, cable, power")
        print(f"发卡服务 / issuance API   {system.issuance_url}/openapi.json")
        print(f"发布目录 / publication    {system.issuance_url}/v1/distribution/metadata/timestamp.json")
        if system.pcscd is not None:
            for name, value in system.pcscd.env.items():
                print(f"读卡器   / readers       export {name}={value}")
        _stock(system, chip)
        print_staff(staff)
        who = " ".join(holder.values())
        print(f"持卡人   / card holder    {who}  → 在手机上申领 / for the phone")
        print("Ctrl-C 结束 / ends everything", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()


def _stock(system: System, chip: PersonaCard) -> None:
    """Card numbers to issue with, and the simulated blank on stock, so that a newcomer can issue at once."""
    from onecard_cli.demo import PERSON
    from simulators.card import Life

    operator = system.client("operator-1")
    operator.post("/v1/card-numbers", json={"region": REGION, "body_from": "A0000001", "count": 1000})
    if chip.card.state.life is not Life.PRE_PERSONALISED:
        return
    delivery = {
        "delivery": "simulated",
        "region": chip.region,
        "generation": chip.generation,
        "reset_information": [chip.card.state.historical.hex().upper()],
    }
    operator.post("/v1/blanks", json=delivery)
    person = system.home.path / "person.json"
    person.write_text(json.dumps(PERSON, ensure_ascii=False), encoding="utf-8")
    print(f"制卡     / issue         ./onecard issuance apply {person} --region {chip.region}")
    print("                        ./onecard agent issue <上一步给出的 id / the id it prints>")


def _free(port: int) -> int:
    """The usual port, or 0 (any) when another program has it."""
    with socket.socket() as probe:
        # As the services bind: connections of a run just ended do not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
