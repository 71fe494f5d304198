"""The parts of one running agent and their order of start and stop."""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, version

from apdu.errors import TransportError
from apdu.readers import ReaderService
from cardlib.psam import PsamError
from terminal_agent.cards import CardDesk
from terminal_agent.centre import IssuanceClient
from terminal_agent.driver_desk import DriverDesk
from terminal_agent.guard import OwnPorts
from terminal_agent.hub import EventHub
from terminal_agent.jobs import JobService
from terminal_agent.problems import AgentError
from terminal_agent.registry import ReaderRegistry
from terminal_agent.schemas import AgentInfo
from terminal_agent.settings import AgentSettings

DEVELOPMENT_VERSION = "0.1.0"


class Agent:
    """Shared by the HTTP API and the WebSocket port; lives on one event loop."""

    def __init__(self, settings: AgentSettings, readers: ReaderService, centre: IssuanceClient | None) -> None:
        self.settings = settings
        self.hub = EventHub()
        self.registry = ReaderRegistry(readers, self.hub, settings.psam_readers)
        self.desk = CardDesk(readers, self.registry, settings)
        self.driver = DriverDesk(self.registry, self.desk, settings)
        self.jobs = JobService(self.registry, self.hub, settings, centre)
        self.ports = OwnPorts()

    async def start(self) -> None:
        await self.registry.start()

    async def stop(self) -> None:
        self.hub.close()
        await self.driver.close()
        await self.jobs.stop()
        self.desk.close()
        await self.registry.stop()

    async def info(self) -> AgentInfo:
        psam = self.desk.psam()
        number: str | None = None
        if psam is not None:
            try:
                number = await asyncio.to_thread(psam.terminal_number)
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
            http_port=self.ports.page,
            ws_port=self.ports.driver,
            jobs=[job.id for job in self.jobs.running()],
        )


def _version() -> str:
    try:
        return version("onecard")
    except PackageNotFoundError:
        return DEVELOPMENT_VERSION
