"""The PSAM in the terminal's own slot, shared by all card readers.

Every call runs on the thread of the PSAM's reader; the thread of a card reader waits for it there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import TypeVar

from apdu.errors import TransportError
from apdu.readers import CardConnection, ReaderService
from cardlib.psam import PsamAuthenticator, PsamError
from hsm.api import CardFactors, KeyRef
from hsm.transactions import Purchase
from terminal_agent.problems import OperationTimeoutError
from terminal_agent.registry import Reader
from terminal_agent.worker import ReaderWorker

T = TypeVar("T")

NO_TERMINAL_NUMBER = "000000000000"  # what the installed drivers report without a PSAM (card_digest.md §4)
LOG = logging.getLogger("terminal_agent.psam")


class TerminalPsam:
    """`MessageKeys` over the PSAM in `reader`. The connection is kept: a PSAM stays powered.

    A lost connection is made anew once per call, because a PSAM loses its selection whenever its slot is reset.
    """

    def __init__(self, service: ReaderService, reader: Reader, timeout_s: float) -> None:
        self._service = service
        self._reader_name = reader.name
        self._worker: ReaderWorker = reader.worker
        # Until `close`: a slot that went away must still let go of its connection.
        self._worker.pin()
        self._timeout_s = timeout_s
        self._connection: CardConnection | None = None
        self._psam: PsamAuthenticator | None = None

    @property
    def terminal_number(self) -> str:
        """Twelve digits of the terminal. Raises PsamAbsentError, or a TransportError. Blocks."""

        def read() -> str:
            return self._connected().terminal_number

        return self._on_worker(read)

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        return self._repeatable(lambda psam: psam.authentication_value(key, factors, challenge, original))

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        return self._repeatable(lambda psam: psam.secured_data(key, factors, challenge, header, data, encrypt=encrypt))

    def init_purchase(self, key: KeyRef, factors: CardFactors, purchase: Purchase) -> tuple[bytes, bytes]:
        """As `PsamAuthenticator.init_purchase`; a lost connection costs a transaction number, never money."""
        return self._repeatable(lambda psam: psam.init_purchase(key, factors, purchase))

    def credit_purchase(self, mac2: bytes) -> None:
        """As `PsamAuthenticator.credit_purchase`; not repeated, as a new connection knows of no purchase."""
        self._on_worker(lambda: self._connected().credit_purchase(mac2))

    def close(self) -> None:
        """Once, and last of all."""
        self._worker.unpin(self._disconnect)

    def _repeatable(self, call: Callable[[PsamAuthenticator], T]) -> T:
        def run() -> T:
            try:
                return call(self._connected())
            except TransportError as exc:
                LOG.info("PSAM connection lost (%s); connecting again", exc)
                self._disconnect()
                return call(self._connected())

        return self._on_worker(run)

    def _on_worker(self, call: Callable[[], T]) -> T:
        future = self._worker.submit(call, self._timeout_s)
        try:
            return future.result(self._timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise OperationTimeoutError("the PSAM does not answer") from None

    def _connected(self) -> PsamAuthenticator:
        if self._psam is None:
            connection = self._service.connect(self._reader_name)
            try:
                self._psam = PsamAuthenticator(connection, protocol=connection.protocol)
            except (TransportError, PsamError):
                connection.close()
                raise
            self._connection = connection
        return self._psam

    def _disconnect(self) -> None:
        connection, self._connection, self._psam = self._connection, None, None
        if connection is not None:
            with suppress(TransportError):
                connection.close()
