"""The gate's PSAM: connected, selected and asked for what never changes before the first card comes.

The gate has the PSAM for itself. A command to it runs on the thread of its reader; the thread of the card's reader
waits for it there.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AsyncExitStack
from typing import Final

from apdu.channel import Channel
from apdu.errors import ApduError, CardMuteError, ReaderLostError
from cardlib.psam import PsamError
from cardlib.transit_psam import TransitPsam
from hsm.api import HsmError
from terminal_agent.problems import AgentError
from terminal_agent.registry import HeldCard, Holder, Reader, ReaderRegistry

OWNER: Final = "transit gate"
ANSWER_S: Final = 2.0
RETRY_S: Final = 1.0
LOG = logging.getLogger("terminal_agent.transit")


class _OnWorker(Channel):
    """A held card behind the thread that owns its reader."""

    def __init__(self, held: HeldCard) -> None:
        self._held = held

    def transmit(self, command: bytes) -> bytes:
        """Raises a TransportError, also where the thread has no time for it."""
        try:
            future = self._held.worker.submit(lambda: self._held.connection.transmit(command), ANSWER_S)
        except AgentError as error:
            raise ReaderLostError(str(error)) from error
        try:
            return future.result(ANSWER_S)
        except FutureTimeoutError:
            future.cancel()
            raise CardMuteError("the PSAM does not answer") from None


class GatePsam:
    """`keep` runs on the event loop and makes `sam` anew whenever the PSAM or its reader was away."""

    def __init__(self, registry: ReaderRegistry) -> None:
        self._registry = registry
        self.sam: TransitPsam | None = None
        self.number = ""
        """Twelve digits of the last PSAM that was here."""
        self.changed = asyncio.Event()
        self._is_wanted_anew = False

    def lose(self) -> None:
        """It did not answer a tap as it should: connect again. On the event loop."""
        self._is_wanted_anew = True

    async def keep(self) -> None:
        while True:
            reader = self._reader()
            if reader is None:
                self._set(None)
                await asyncio.sleep(RETRY_S / 4)
                continue
            try:
                await self._serve(reader)
            except (ApduError, HsmError, AgentError) as error:
                LOG.warning("the PSAM cannot be used: %s", error)
                self._set(None)
                await asyncio.sleep(RETRY_S)

    async def _serve(self, reader: Reader) -> None:
        """Until it goes away."""
        insertion = reader.insertions
        reader.holder = reader.holder or Holder(OWNER, kind="session")
        async with AsyncExitStack() as stack:
            stack.callback(self._let_go, reader)
            held = await stack.enter_async_context(self._registry.hold(reader, ANSWER_S))
            sam = await asyncio.to_thread(_ready, held)
            self.number = sam.terminal_number.hex().upper()
            self._is_wanted_anew = False
            self._set(sam)
            LOG.info("PSAM %s is ready", self.number)
            while reader.has_card and reader.insertions == insertion and not self._is_wanted_anew:
                await self._registry.wait_change(reader, RETRY_S / 4)
        self._set(None)

    def _let_go(self, reader: Reader) -> None:
        reader.holder = None

    def _reader(self) -> Reader | None:
        return next((reader for reader in self._registry.all() if reader.is_psam and reader.has_card), None)

    def _set(self, sam: TransitPsam | None) -> None:
        if sam is not self.sam:
            self.sam = sam
            self.changed.set()


def _ready(held: HeldCard) -> TransitPsam:
    sam = TransitPsam(_OnWorker(held), protocol=held.connection.protocol)
    if not sam.key_index:
        raise PsamError("the PSAM has no key index")
    return sam
