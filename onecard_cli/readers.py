"""Which readers a command uses: PC/SC, or the virtual slots `sim card --no-pcsc` offers its cards on."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING

from onecard_cli.output import CommandError

if TYPE_CHECKING:
    from apdu.readers import ReaderService
    from apdu.vpcd import VpcdReaders

PORTS = "ONECARD_VPCD_PORTS"
CARD_TIMEOUT_S = 20.0


def offered_ports() -> tuple[int, ...]:
    """TCP ports of the slots, in their order; none without `sim card --no-pcsc`."""
    from cardlib.failures import FailureCode

    try:
        return tuple(int(port) for port in os.environ.get(PORTS, "").split(",") if port)
    except ValueError:
        raise CommandError(FailureCode.INPUT_INVALID, f"{PORTS} lists TCP ports") from None


def card_readers() -> ReaderService:
    """Raises CommandError when an offered card does not come."""
    from apdu.pcsc import PcscReaders

    ports = offered_ports()
    return _slots(ports) if ports else PcscReaders()


@cache
def _slots(ports: tuple[int, ...]) -> VpcdReaders:
    """Listening for the whole life of this process: its ports can be had once."""
    from apdu.vpcd import VpcdReaders
    from cardlib.failures import FailureCode

    readers = VpcdReaders(ports)
    watch = readers.watch()
    try:
        end = time.monotonic() + CARD_TIMEOUT_S
        while time.monotonic() < end:
            if all(slot.is_present for slot in watch.wait(0.2).values()):
                return readers
    finally:
        watch.close()
    readers.close()
    raise CommandError(FailureCode.CARD_ABSENT, "the simulated card was not offered")
