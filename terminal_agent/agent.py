"""The parts of one running agent and their order of start and stop."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from apdu.errors import ReaderServiceError, TransportError
from apdu.readers import ReaderService
from cardlib.psam import PsamError
from terminal_agent.cards import CardDesk
from terminal_agent.catalog.configuration import CentreSettings
from terminal_agent.catalog.desk import CatalogDesk
from terminal_agent.centre import IssuanceClient, SecurityModule
from terminal_agent.counter_devices import CounterDevices
from terminal_agent.devices import Device, DeviceHall
from terminal_agent.driver_desk import DriverDesk
from terminal_agent.guard import LOOPBACK_HOSTS, OwnPorts
from terminal_agent.heartbeat import Heart
from terminal_agent.hub import EventHub
from terminal_agent.jobs import JobService
from terminal_agent.journal.desk import JournalDesk
from terminal_agent.leases import LeaseDesk
from terminal_agent.levels import API_LEVEL, OLDEST_API_LEVEL
from terminal_agent.lock import TerminalLock
from terminal_agent.origins import Origins
from terminal_agent.pairing import PAIRING_REVOKED, Pairing, Pairings
from terminal_agent.pin_dialog import PinDialog
from terminal_agent.printer import PrinterDesk
from terminal_agent.printer_link import PrinterBridge
from terminal_agent.problems import AgentError
from terminal_agent.redaction import LogRing
from terminal_agent.registry import ReaderRegistry
from terminal_agent.schemas import AgentInfo
from terminal_agent.settings import AgentSettings, Profile

if TYPE_CHECKING:
    from terminal_agent.transit.desk import GateDesk

DEVELOPMENT_VERSION = "0.1.0"
LOG = logging.getLogger("terminal_agent")


class Agent:
    """Shared by the HTTP API and the WebSocket port; lives on one event loop."""

    def __init__(self, settings: AgentSettings, readers: ReaderService, centre: IssuanceClient | None) -> None:
        self.settings = settings
        self.hub = EventHub()
        self.registry = ReaderRegistry(readers, self.hub, settings.psam_readers)
        self.origins = Origins(settings.allowed_origins, settings.pairing_origins)
        folder = settings.state_dir
        self.lock = TerminalLock(self.hub, folder / "lock.json" if folder else None)
        self.registry.gate = self.lock.demand_open
        self.pairings = Pairings(self.hub, folder / "pairings.json" if folder else None)
        self.leases = LeaseDesk(self.registry, self.hub)
        self.catalog = CatalogDesk(settings, self.hub, version=_version(), apply=self._apply)
        self.journal = JournalDesk(settings, self.hub, centre)
        self.desk = CardDesk(self.registry, settings, self.catalog.look_card, self.journal)
        self.ports = OwnPorts()
        self.devices = DeviceHall(self.hub, settings)
        self.counter = CounterDevices(settings, self.hub)
        self.devices.gate = self.lock.demand_open
        self.dialog = PinDialog(
            self.hub, self._page_url, total_s=settings.pin_dialog_s, command=settings.pin_dialog_command
        )
        module = centre if isinstance(centre, SecurityModule) else None
        self.driver = DriverDesk(
            self.registry,
            self.desk,
            settings,
            self.hub,
            module,
            dialog=self.dialog,
            devices=self.devices,
            journal=self.journal,
        )
        bridge = PrinterBridge(settings.card_printer) if settings.card_printer else None
        self.printer = PrinterDesk(bridge, settings.card_printer or "", self.hub, settings.printer_wait_s)
        self.jobs = JobService(self.registry, self.hub, settings, centre, self.printer, self.driver.new_pin)

        self.log_ring = LogRing()
        self.heart = Heart(self, centre, _version())
        self.gate: GateDesk | None = None
        if settings.transit_rules is not None and settings.state_dir is not None:
            from terminal_agent.transit.desk import GateDesk

            self.gate = GateDesk(self, settings.transit_rules, settings.state_dir)
        elif settings.profile is Profile.TRANSIT:
            LOG.warning("this gate has no rules (transit_rules and state_dir): it takes no card and no code")

    async def start(self) -> None:
        logging.getLogger().addHandler(self.log_ring)
        self.dialog.start()
        self.journal.start()
        try:
            serial = self.devices.card_readers()
        except ReaderServiceError as exc:
            LOG.warning("the MT3 readers cannot be used: %s", exc)
        else:
            if serial is not None:
                self.registry.add(serial)
        self.driver.start()
        await self.registry.start()
        self.devices.start()
        self.printer.start()
        self.counter.start()
        self.catalog.start()
        self.heart.start()
        if self.gate is not None:
            await self.gate.start()

    async def stop(self) -> None:
        if self.gate is not None:
            await self.gate.stop()
        await self.heart.stop()
        self.hub.close()
        self.dialog.close()
        await self.catalog.stop()
        await self.driver.close()
        await self.jobs.stop()
        self.desk.close()
        await self.registry.stop()
        await self.devices.stop()
        await self.printer.stop()
        await self.counter.stop()
        await self.journal.stop()
        logging.getLogger().removeHandler(self.log_ring)

    @property
    def version(self) -> str:
        return _version()

    def may_call(self, origin: str, token: str) -> bool:
        """Whether a page that was let in still may: lists and pairings change while it is connected."""
        if not origin or self._is_own(origin) or self.origins.is_allowed(origin):
            return True
        return self.origins.needs_pairing(origin) and self.pairings.has(origin, token)

    def _is_own(self, origin: str) -> bool:
        return origin in {f"http://{host}:{self.ports.page}" for host in LOOPBACK_HOSTS}

    def revoke(self, pairing_id: str) -> Pairing:
        """Take a pairing back, and what its page has with it. Raises UnknownPairingError, PairingFileError."""
        pairing = self.pairings.revoke(pairing_id)
        self.leases.end_of_origin(pairing.origin)
        self.hub.publish(PAIRING_REVOKED, {"origin": pairing.origin})
        return pairing

    def device_list(self) -> list[Device]:
        """Every configured device with its state."""
        return [*self.devices.all(self.registry.is_there), *self.printer.devices(), *self.counter.devices()]

    def _apply(self, settings: CentreSettings) -> None:
        """What the signed configuration sets while the agent runs; a page it no longer names loses its lease."""
        self.origins.configure(allowed=settings.allowed_origins, pairing=settings.pairing_origins)
        for origin in self.leases.origins:
            if not (self._is_own(origin) or self.origins.is_allowed(origin) or self.origins.needs_pairing(origin)):
                self.leases.end_of_origin(origin)

    def _page_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.page or self.settings.port}"

    async def info(self) -> AgentInfo:
        psam = self.desk.psam()
        number: str | None = (self.gate and self.gate.psam.number) or None
        if psam is not None:
            try:
                number = await asyncio.to_thread(lambda: psam.terminal_number)
            except (PsamError, TransportError, AgentError):
                number = None
        return AgentInfo(
            name="OneCard terminal agent",
            version=_version(),
            api_level=API_LEVEL,
            oldest_api_level=OLDEST_API_LEVEL,
            profile=self.settings.profile.value,
            device_number=self.settings.device_number,
            terminal_number=number,
            has_centre=self.jobs.has_centre,
            is_reader_service_lost=self.registry.is_service_lost,
            is_pin_wanted=self.dialog.is_wanted,
            is_pairing_wanted=self.pairings.is_asked,
            lock=self.lock.lock,
            http_port=self.ports.page,
            ws_port=self.ports.driver,
            jobs=[job.id for job in self.jobs.running()],
            catalog_alarms=[alarm.failure for alarm in self.catalog.alarms],
            update=None if (update := self.catalog.update()) is None else update[1],
        )


def _version() -> str:
    try:
        return version("onecard")
    except PackageNotFoundError:
        return DEVELOPMENT_VERSION
