"""Receipt printer and camera in the agent: one job at a time, and how each stands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from cardlib.failures import FailureCode, failure_of
from terminal_agent.camera import FileCamera, Picture
from terminal_agent.devices import Device, DeviceKind, DeviceState
from terminal_agent.hub import EventHub
from terminal_agent.printer import EVENTS
from terminal_agent.problems import AgentError, DeviceNotConfiguredError
from terminal_agent.receipts import Receipt, ReceiptPrinter, ReceiptPrinterLostError
from terminal_agent.settings import AgentSettings

T = TypeVar("T")

LOOK_S: Final = 10.0
LOG = logging.getLogger("terminal_agent.devices")


class CounterDevices:
    """Use from the event loop between `start` and `stop`. What blocks runs on a thread."""

    def __init__(self, settings: AgentSettings, hub: EventHub) -> None:
        self._hub = hub
        where, camera = settings.receipt_printer, settings.camera
        self._printer = ReceiptPrinter(where, baud=settings.receipt_printer_baud) if where else None
        self._printer_device = Device(DeviceKind.RECEIPT_PRINTER, where or "")
        self._camera = FileCamera(camera) if camera else None
        self._camera_device = Device(DeviceKind.CAMERA, camera or "")
        self._turn = asyncio.Lock()
        self._look: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._printer is not None:
            self._look = asyncio.create_task(self._follow(self._printer))

    async def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
            with suppress(asyncio.CancelledError):
                await self._look

    def devices(self) -> list[Device]:
        if self._camera is not None:
            self._camera_device.see(self._camera.is_there, FailureCode.CAMERA_UNAVAILABLE)
        return [device for device in (self._printer_device, self._camera_device) if device.port]

    async def print(self, receipt: Receipt) -> None:
        """Returns when it is printed. Raises DeviceNotConfiguredError, and as `ReceiptPrinter.print`."""
        printer = self._printer
        if printer is None:
            raise DeviceNotConfiguredError("no receipt printer is configured")
        await self._do(self._printer_device, lambda: printer.print(receipt))
        LOG.info("receipt printed, %d lines", len(receipt.lines))

    async def take_picture(self) -> Picture:
        """Raises DeviceNotConfiguredError, CameraLostError."""
        if self._camera is None:
            raise DeviceNotConfiguredError("no camera is configured")
        return await self._do(self._camera_device, self._camera.take)

    async def preview(self) -> bytes:
        """A picture of what the camera sees, kept nowhere. Raises as `take_picture`."""
        if self._camera is None:
            raise DeviceNotConfiguredError("no camera is configured")
        return await self._do(self._camera_device, self._camera.preview)

    async def _follow(self, printer: ReceiptPrinter) -> None:
        while True:
            with suppress(AgentError):
                await self._do(self._printer_device, printer.check)
            await asyncio.sleep(LOOK_S)

    async def _do(self, device: Device, act: Callable[[], T]) -> T:
        async with self._turn:
            try:
                done = await asyncio.to_thread(act)
            except AgentError as error:
                lost = isinstance(error, ReceiptPrinterLostError) or device.kind is DeviceKind.CAMERA
                self._note(device, DeviceState.LOST if lost else DeviceState.ATTENTION, error)
                raise
        self._note(device, DeviceState.READY, None)
        return done

    def _note(self, device: Device, state: DeviceState, error: AgentError | None) -> None:
        """An event for each change; the first good word of a device is none."""
        failure = failure_of(error) if error else None
        device.health.note(failure)
        before = (device.state, device.failure)
        device.state, device.failure = state, failure
        if before == (state, failure) or (before[0] is DeviceState.UNKNOWN and state is DeviceState.READY):
            return
        LOG.log(logging.WARNING if failure else logging.INFO, "%s: %s", device.kind.value, failure or "ready")
        event = {"kind": device.kind.value, "port": device.port, "failure": failure.value if failure else None}
        self._hub.publish(EVENTS[state], event)
