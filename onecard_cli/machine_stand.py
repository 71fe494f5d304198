"""A simulated machine beside a `System`: an agent as a process of its own, its readers and its registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onecard_cli.readers import PORTS
from onecard_cli.system import PSAM_SLOT, REGION, Service, Standing, System, unused_port
from simulators.card_machine import Link
from simulators.cut import CutLine
from simulators.pcscd import PrivatePcscd
from simulators.vpcd import StandingCard, VirtualCard, VpcdLink, free_ports


class MachineStand(Standing):
    """Starts in `__enter__` over a running system and ends with the block. `settings` are the agent's, as environment;
    what the machine keeps is in a folder of its `name`."""

    def __init__(self, system: System, name: str, port: int, settings: Mapping[str, str]) -> None:
        super().__init__()
        self.system = system
        self.name = name
        self.port = port or unused_port()
        self._folder = system.home.path / name
        self._settings = settings
        self._environment: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _readers(self, count: int, *, vpcds: int) -> Sequence[int]:
        """Ports of the slots in their order: `count` without PC/SC, those of `vpcds` readers with it."""
        if not self.system.use_pcsc:
            ports = free_ports(count)
            self._environment[PORTS] = ",".join(map(str, ports))
            return ports
        pcscd = self._stack.enter_context(PrivatePcscd(vpcds=vpcds))
        self._environment |= pcscd.env
        return pcscd.ports

    def _plugged(self, card: VirtualCard, port: int) -> Link:
        link: Link = VpcdLink(card, port) if self.system.use_pcsc else StandingLink(card, port)
        self._stack.callback(link.remove)
        return link

    def _line_to_centre(self) -> CutLine:
        host, _, port = self.system.issuance_url.removeprefix("http://").rpartition(":")
        return self._stack.enter_context(CutLine((host, int(port))))

    def _register(self, line: CutLine, profile: str, shown: str) -> None:
        """By a one-time code, as any new terminal; its key stays in its folder."""
        from terminal_agent.registration import FOLDER, register

        state = self._folder / "state"
        if not (state / FOLDER).exists():
            invitation = {"region": REGION, "profile": profile, "name": shown, "hours": 1}
            told = self.system.client("operator-1").post("/v1/terminals/invitations", json=invitation)
            register(line.url, told.raise_for_status().json()["code"], state)

    def _spawn(self, profile: str, line: CutLine, settings: Mapping[str, str], *options: object) -> Service:
        """Its computer is switched on."""
        given = {f"ONECARD_AGENT_{name}": value for name, value in {**settings, **self._settings}.items()}
        return self.system.spawn(
            self.name,
            *("agent", "run", "--profile", profile, "--port", self.port, "--ws-port", 0),
            *("--readers", "pcsc" if self.system.use_pcsc else "vpcd", "--psam-reader", PSAM_SLOT),
            *("--issuance-url", line.url, "--catalog-url", f"{line.url}/v1/distribution"),
            *("--catalog-root", self.system.home.repository_root, "--state-dir", self._folder / "state"),
            *options,
            environment=self._environment | given,
        )


class Computer:
    """The machine's agent as a process that can be killed and started again at the same address."""

    def __init__(self, start: Any, url: str) -> None:
        self._start = start
        self._agent: Service | None = None
        self.url = url

    @property
    def is_on(self) -> bool:
        return self._agent is not None and self._agent.process.poll() is None

    def cut(self) -> None:
        if self._agent is not None:
            self._agent.process.kill()
            self._agent.process.wait()

    def stop(self) -> None:
        """As the system's own end of it."""
        if self._agent is not None:
            self._agent.stop()

    def on(self) -> None:
        if not self.is_on:
            self._agent = self._start()


class StandingLink:
    """A card in a slot of an agent without PC/SC, which has its slots only while it runs."""

    def __init__(self, card: VirtualCard, port: int) -> None:
        self._card, self._port = card, port
        self._standing: StandingCard | None = None

    def insert(self) -> None:
        self._standing = StandingCard(self._card, self._port).__enter__()

    def remove(self) -> None:
        if self._standing is not None:
            self._standing.__exit__(None, None, None)
            self._standing = None
