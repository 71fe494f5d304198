"""Taps on the thread of the card's reader: the core decides, the display hears at once, the records follow."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from apdu.readers import CardConnection
from cardlib.transit_gate import TransitGate
from cardlib.transit_gate_result import Reason, TapRecord, TapResult
from cardlib.transit_psam import TransitPsam
from cardlib.transit_rules import TransitRules
from terminal_agent.journal.store import JournalFullError
from terminal_agent.transit.books import Books

SPEEDS: Final = 512
TURN_S: Final = 5.0
LOG = logging.getLogger("terminal_agent.transit")


class Tapper:
    """Any thread may call; one tap at a time. `told` hears each result on the thread of the tap, for a ride before
    anything that can wait."""

    def __init__(self, gate: TransitGate, books: Books, told: Callable[[TapResult, float], None]) -> None:
        self._gate = gate
        self._books = books
        self._told = told
        self._turn = threading.Lock()
        self.speeds_ms: deque[float] = deque(maxlen=SPEEDS)
        """From the moment a card was seen to the decision."""
        self.is_stuck = False
        """Records are there that the journal does not take."""

    def tap(
        self, connection: CardConnection, sam: TransitPsam, seen_at: float, *, was_there: bool = False
    ) -> TapResult:
        """`seen_at`: seconds of the monotonic clock; `was_there` as the core has it."""
        if not self._turn.acquire(timeout=TURN_S):
            return TapResult(Reason.CARD_FAULT)
        try:
            shown: list[Reason] = []

            def opened(result: TapResult) -> None:
                shown.append(result.reason)
                self._tell(result, seen_at)

            protocol = connection.protocol
            result = self._gate.tap(connection, sam, protocol=protocol, opened=opened, was_there=was_there)
            if result.reason not in shown:
                self._tell(result, seen_at)
            self._hand_on(result.records)
            return result
        finally:
            self._turn.release()

    def look_after(self) -> bool:
        """Between taps, now and then: purses that did not come back, records that wait. False while a tap runs."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            self._hand_on(self._gate.overdue())
            return True
        finally:
            self._turn.release()

    def deliver_again(self) -> None:
        """At the start: what was not handed on before the last end."""
        with self._turn:
            self._hand_on(self._gate.undelivered())

    def replace(self, rules: TransitRules) -> None:
        with self._turn:
            self._gate.replace(rules)

    def _tell(self, result: TapResult, seen_at: float) -> None:
        self.speeds_ms.append((time.monotonic() - seen_at) * 1000)
        self._told(result, self.speeds_ms[-1])

    def _hand_on(self, records: Sequence[TapRecord]) -> None:
        try:
            for record in records:
                # Told before, when a former try ended between the two journals.
                self._books.take(record.payload, key=record.key, is_repeat=True)
                self._gate.delivered((record,))
        except JournalFullError as error:
            LOG.error("%d records of taps wait: %s", len(records), error)
            self.is_stuck = True
        else:
            self.is_stuck = False
