"""The terminal's serial devices beside its card readers: ID-card module, QR scanner, PIN pad; and how each stands.

MT3 readers are readers like any other and live in the registry; here they are only started and listed. The ID-card
module has a worker of its own and is asked every few seconds how it is, so that its loss and return are events. What
was scanned goes to those who listen now, and is not kept for replay.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from apdu.errors import CardAbsentError, ReaderServiceError, TransportError
from apdu.serial.errors import IdCardError, PinEntryError
from apdu.serial.idcard import IdCard
from apdu.serial.idcard_reader import READ_TIMEOUT_S, IdCardReader
from apdu.serial.readers import Mt3Port, SerialReaders
from apdu.serial.scanner import QrScanner, ScanEvent
from cardlib.failures import FailureCode, failure_of
from terminal_agent.hub import EventHub
from terminal_agent.problems import AgentError, DeviceNotConfiguredError, ReaderBusyError
from terminal_agent.settings import AgentSettings
from terminal_agent.worker import ReaderWorker

LOOK_S: Final = 2.0
LOOK_TIMEOUT_S: Final = 5.0
READ_MARGIN_S: Final = 4 * READ_TIMEOUT_S
MAX_WAIT_S: Final = 60.0
DEVICE_READY, DEVICE_LOST = "device_ready", "device_lost"
QR_SCANNED, QR_REFUSED = "qr_scanned", "qr_refused"
LOG = logging.getLogger("terminal_agent.devices")


class DeviceKind(StrEnum):
    MT3_READER = "mt3_reader"
    ID_CARD_MODULE = "id_card_module"
    QR_SCANNER = "qr_scanner"
    PIN_PAD = "pin_pad"
    CARD_PRINTER = "card_printer"
    RECEIPT_PRINTER = "receipt_printer"
    CAMERA = "camera"


class DeviceState(StrEnum):
    """UNKNOWN until something was heard of the device; ATTENTION: it is there and wants a hand, `failure` says what."""

    READY = "ready"
    ATTENTION = "attention"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Health:
    """How a device has answered since the agent's start: a look, a read, a scan, an entry counts one."""

    successes: int = 0
    failures: int = 0
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure: FailureCode | None = None

    def note(self, failure: FailureCode | None) -> None:
        now = datetime.now(UTC)
        if failure is None:
            self.successes, self.last_success_at = self.successes + 1, now
        else:
            self.failures, self.last_failure_at, self.last_failure = self.failures + 1, now, failure


@dataclass(slots=True)
class Device:
    """`failure` says why it is lost. `readers` are the names of an MT3 reader's slots."""

    kind: DeviceKind
    port: str
    state: DeviceState = DeviceState.UNKNOWN
    failure: FailureCode | None = None
    readers: tuple[str, ...] = ()
    health: Health = field(default_factory=Health)

    @property
    def name(self) -> str:
        """What people call it: the last part of its port."""
        return self.port.rpartition("/")[2]

    def see(self, is_there: bool, lost_as: FailureCode = FailureCode.READER_NOT_FOUND) -> None:
        """For what is never asked by itself: its port is there or not, and each change counts."""
        state = DeviceState.READY if is_there else DeviceState.LOST
        if state is not self.state:
            self.state, self.failure = state, None if is_there else lost_as
            self.health.note(self.failure)


@dataclass(frozen=True, slots=True)
class Scan:
    text: str
    at: datetime


class DeviceHall:
    """Use from the event loop between `start` and `stop`; the devices' threads are their own."""

    def __init__(self, hub: EventHub, settings: AgentSettings) -> None:
        self._hub = hub
        self._settings = settings
        self.gate: Callable[[], None] = lambda: None
        """Raises where nobody's card may be read now."""
        self._mt3_ports = [
            Mt3Port(reader.port, reader.form, reader.baud, reader.slots, reader.label)
            for reader in settings.mt3_readers
        ]
        self._mt3_devices = [
            Device(DeviceKind.MT3_READER, port.path, readers=tuple(port.reader_name(slot) for slot in port.slots))
            for port in self._mt3_ports
        ]
        self._pad_device = Device(DeviceKind.PIN_PAD, settings.pin_pad or "")
        self._serial: SerialReaders | None = None
        self._module: IdCardReader | None = None
        self._module_worker: ReaderWorker | None = None
        self._module_device = Device(DeviceKind.ID_CARD_MODULE, settings.id_card_module or "")
        self._look: asyncio.Task[None] | None = None
        self._reads = 0
        self._scanner: QrScanner | None = None
        self._scanner_device = Device(DeviceKind.QR_SCANNER, settings.scanner or "")
        self._scans: set[asyncio.Future[Scan]] = set()

    def card_readers(self) -> SerialReaders | None:
        """The MT3 readers, started; None without any. Raises ReaderServiceError without pyserial."""
        if self._mt3_ports and self._serial is None:
            self._serial = SerialReaders(self._mt3_ports)
        return self._serial

    def start(self) -> None:
        if self._settings.id_card_module:
            self._module = IdCardReader(self._settings.id_card_module, baud=self._settings.id_card_baud)
            self._module_worker = ReaderWorker("id card module")
            self._look = asyncio.create_task(self._follow_module(self._module, self._module_worker))
        if self._settings.scanner:
            self._start_scanner(self._settings.scanner)

    async def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
            with suppress(asyncio.CancelledError):
                await self._look
        for scan in self._scans:
            scan.cancel()
        closing: list[Callable[[], None]] = []
        if self._module is not None and self._module_worker is not None:
            self._module_worker.stop()
            closing.append(self._module.close)
        closing += [part.close for part in (self._scanner, self._serial) if part is not None]
        await asyncio.gather(*(asyncio.to_thread(close) for close in closing))

    def all(self, is_reader_there: Callable[[str], bool]) -> list[Device]:
        """Every configured device. `is_reader_there` knows the readers by name."""
        for device in self._mt3_devices:
            device.see(any(map(is_reader_there, device.readers)))
        if self._pad_device.port and os.name == "posix":
            # The pad is opened for each entry; before that only its port can be seen, and not on every system.
            self._pad_device.see(Path(self._pad_device.port).exists())
        others = (self._module_device, self._scanner_device, self._pad_device)
        return [*self._mt3_devices, *(device for device in others if device.port)]

    def pad_used(self, error: Exception | None) -> None:
        """After an entry at the PIN pad; on any thread. What the holder did is no failure of the pad."""
        if not isinstance(error, PinEntryError):
            self._pad_device.health.note(failure_of(error) if error else None)

    # -- ID cards ---------------------------------------------------------------------------------------------------

    async def read_id_card(self, wait_s: float) -> IdCard:
        """The ID card laid on the module within `wait_s`. Raises DeviceNotConfiguredError, CardAbsentError,
        IdCardError, IdCardDataError, or what a lost module raises."""
        self.gate()
        module, worker = self._module, self._module_worker
        if module is None or worker is None:
            raise DeviceNotConfiguredError("no ID-card module is configured")

        def read() -> IdCard:
            if not module.wait(wait_s):
                raise CardAbsentError("no ID card on the module; one that was read is lifted first")
            return module.read()

        self._reads += 1
        try:
            card = await worker.call(read, wait_s + READ_MARGIN_S)
        except (IdCardError, CardAbsentError, ReaderBusyError):
            raise
        except (TransportError, AgentError) as error:
            self._note(self._module_device, error)
            raise
        finally:
            self._reads -= 1
        self._note(self._module_device, None)
        LOG.info("ID card read")
        return card

    async def _follow_module(self, module: IdCardReader, worker: ReaderWorker) -> None:
        while True:
            if not self._reads:  # a read that waits for a card says itself how the module is
                try:
                    await worker.call(module.check, LOOK_TIMEOUT_S)
                    self._note(self._module_device, None)
                except (TransportError, AgentError) as error:
                    if not self._reads:
                        self._note(self._module_device, error)
            await asyncio.sleep(LOOK_S)

    # -- codes ------------------------------------------------------------------------------------------------------

    async def wait_scan(self, timeout_s: float) -> Scan | None:
        """The next code from now on; None when the time is over. Raises DeviceNotConfiguredError."""
        if self._scanner is None:
            raise DeviceNotConfiguredError("no QR scanner is configured")
        scan: asyncio.Future[Scan] = asyncio.get_running_loop().create_future()
        self._scans.add(scan)
        try:
            return await asyncio.wait_for(scan, timeout_s)
        except TimeoutError:
            return None
        finally:
            self._scans.discard(scan)

    def _start_scanner(self, port: str) -> None:
        loop = asyncio.get_running_loop()

        def carry(event: ScanEvent) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._apply_scan, event)

        settings = self._settings
        try:
            self._scanner = QrScanner(
                port,
                carry,
                baud=settings.scanner_baud,
                framing=settings.scanner_framing,
                max_length=settings.scanner_max_bytes,
            )
        except ReaderServiceError as error:
            self._note(self._scanner_device, error)

    def _apply_scan(self, event: ScanEvent) -> None:
        port = self._scanner_device.port
        if event.kind == "scanner_lost":
            self._set(self._scanner_device, DeviceState.LOST, FailureCode(event.failure or FailureCode.READER_LOST))
            return
        self._set(self._scanner_device, DeviceState.READY, None)
        if event.kind == "refused":
            self._hub.publish(QR_REFUSED, {"port": port, "failure": event.failure})
        elif event.kind == "scanned":
            self._hub.publish(QR_SCANNED, {"port": port, "text": event.text, "at": event.at.isoformat()}, is_kept=False)
            for waiting in self._scans:
                if not waiting.done():
                    waiting.set_result(Scan(event.text, event.at))

    # -- states -----------------------------------------------------------------------------------------------------

    def _note(self, device: Device, error: Exception | None) -> None:
        self._set(device, DeviceState.LOST if error else DeviceState.READY, failure_of(error) if error else None)

    def _set(self, device: Device, state: DeviceState, failure: FailureCode | None) -> None:
        """An event for each change; the first good word of a device is none."""
        device.health.note(failure)
        before, device.state, device.failure = device.state, state, failure
        if state is before or (before is DeviceState.UNKNOWN and state is DeviceState.READY):
            return
        name = DEVICE_LOST if state is DeviceState.LOST else DEVICE_READY
        LOG.log(logging.WARNING if failure else logging.INFO, "%s: %s", name, device.kind.value)
        self._hub.publish(
            name, {"kind": device.kind.value, "port": device.port, "failure": failure.value if failure else None}
        )
