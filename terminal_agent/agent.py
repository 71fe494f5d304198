"""The parts of one running agent and their order of start and stop."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import PackageNotFoundError, version

from apdu.errors import ReaderServiceError, TransportError
from apdu.readers import ReaderService
from cardlib.psam import PsamError
from terminal_agent.cards import CardDesk
from terminal_agent.centre import IssuanceClient, SecurityModule
from terminal_agent.devices import Device, DeviceHall
from terminal_agent.driver_desk import DriverDesk
from terminal_agent.guard import OwnPorts
from terminal_agent.hub import EventHub
from terminal_agent.jobs import JobService
from terminal_agent.pin_dialog import PinDialog
from terminal_agent.printer import PrinterDesk
from terminal_agent.printer_link import PrinterBridge
from terminal_agent.problems import AgentError
from terminal_agent.registry import ReaderRegistry
from terminal_agent.schemas import AgentInfo
from terminal_agent.settings import AgentSettings

DEVELOPMENT_VERSION = "0.1.0"
LOG = logging.getLogger("terminal_agent")


class Agent:
    """Shared by the HTTP API and the WebSocket port; lives on one event loop."""

    def __init__(self, settings: AgentSettings, readers: ReaderService, centre: IssuanceClient | None) -> None:
        self.settings = settings
        self.hub = EventHub()
        self.registry = ReaderRegistry(readers, self.hub, settings.psam_readers)
        self.desk = CardDesk(self.registry, settings)
        self.ports = OwnPorts()
        self.devices = DeviceHall(self.hub, settings)
        self.dialog = PinDialog(
            self.hub, self._page_url, total_s=settings.pin_dialog_s, command=settings.pin_dialog_command
        )
        module = centre if isinstance(centre, SecurityModule) else None
        self.driver = DriverDesk(
            self.registry, self.desk, settings, self.hub, module, dialog=self.dialog, devices=self.devices
        )
        bridge = PrinterBridge(settings.card_printer) if settings.card_printer else None
        self.printer = PrinterDesk(bridge, settings.card_printer or "", self.hub, settings.printer_wait_s)
        self.jobs = JobService(self.registry, self.hub, settings, centre, self.printer, self.driver.new_pin)

    async def start(self) -> None:
        self.dialog.start()
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

    async def stop(self) -> None:
        self.hub.close()
        self.dialog.close()
        await self.driver.close()
        await self.jobs.stop()
        self.desk.close()
        await self.registry.stop()
        await self.devices.stop()
        await self.printer.stop()

    def device_list(self) -> list[Device]:
        """Every configured device with its state."""
        return [*self.devices.all(self.registry.is_there), *self.printer.devices()]

    def _page_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.page or self.settings.port}"

    async def info(self) -> AgentInfo:
        psam = self.desk.psam()
        number: str | None = None
        if psam is not None:
            try:
                number = await asyncio.to_thread(lambda: psam.terminal_number)
            except (PsamError, TransportError, AgentError):
                number = None
        return AgentInfo(
            name="OneCard terminal agent",
            version=_version(),
            profile=self.settings.profile.value,
            device_number=self.settings.device_number,
            terminal_number=number,
            has_centre=self.jobs.has_centre,
            is_reader_service_lost=self.registry.is_service_lost,
            is_pin_wanted=self.dialog.is_wanted,
            http_port=self.ports.page,
            ws_port=self.ports.driver,
            jobs=[job.id for job in self.jobs.running()],
        )


def _version() -> str:
    try:
        return version("onecard")
    except PackageNotFoundError:
        return DEVELOPMENT_VERSION
