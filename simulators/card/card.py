"""A simulated card as a reader sees it: power, ATR, one exchange at a time."""

from __future__ import annotations

import os
import threading

from simulators.card import files, medical, rcp, security
from simulators.card.chip import Chip, Command, Rng
from simulators.card.frame import SW
from simulators.card.state import CardState
from simulators.card.store import CardStore
from simulators.faults import CardGone, CardSilent, Faults

COMMANDS: dict[tuple[int, int], Command] = {
    **files.COMMANDS,
    **security.COMMANDS,
    **rcp.COMMANDS,
    **medical.COMMANDS,
}


class SimCard:
    """A social security card. Thread-safe; `state` is the image a store would hold.

    With a `store` every changed image is on disk before its response is given. `direct` answers case 4 commands at
    once, as over a block protocol, instead of 61xx.
    """

    def __init__(
        self,
        state: CardState,
        *,
        faults: Faults | None = None,
        rng: Rng = os.urandom,
        store: CardStore | None = None,
        direct: bool = False,
    ) -> None:
        self.state = state
        self.faults = faults or Faults()
        self._rng = rng
        self._store = store
        self._direct = direct
        self._chip: Chip | None = None
        self._lock = threading.Lock()
        if store is not None and not store.exists():
            store.save(state)

    @classmethod
    def from_store(cls, store: CardStore, *, faults: Faults | None = None) -> SimCard:
        """The card whose image is in `store`. Raises CardStateError."""
        return cls(store.load(), faults=faults, store=store)

    @property
    def is_powered(self) -> bool:
        return self._chip is not None

    def power_on(self) -> bytes:
        """Cold reset: the ATR, or nothing from a dead chip."""
        with self._lock:
            if self.faults.no_atr:
                self._chip = None
                return b""
            self._chip = Chip(self.state, COMMANDS, self._rng)
            return self.faults.atr or self.state.atr

    def power_off(self) -> None:
        with self._lock:
            self._chip = None

    def transmit(self, command: bytes) -> bytes:
        """Data and status word for any bytes at all. Raises CardGone when power is off or a fault strikes."""
        with self._lock:
            if self.faults.no_atr:
                raise CardSilent("the chip is dead")
            if self._chip is None:
                raise CardGone("the card has no power")
            try:
                self.faults.before()
                response = self._execute(self._chip, command)
                self.faults.after()
            except CardSilent:
                raise
            except CardGone:
                self._chip = None
                raise
            return self.faults.distort(command, response)

    def _execute(self, chip: Chip, command: bytes) -> bytes:
        data, sw, outgoing = chip.execute(command)
        if chip.changed and not self._commit(chip):
            return SW.WRITE_FAILED.to_bytes(2, "big")
        data = self.faults.distort_data(command, data)
        if data and not outgoing and not self._direct:
            chip.session.pending = data
            data = b""
        if chip.session.pending:
            sw = 0x6100 | (len(chip.session.pending) & 0xFF) if sw == SW.OK else sw
        return data + sw.to_bytes(2, "big")

    def _commit(self, chip: Chip) -> bool:
        """Write the image; a failed write leaves the old image and a freshly reset card."""
        chip.changed = False
        if self._store is None:
            return True
        try:
            self._store.save(self.state)
        except OSError:
            self.state = self._store.load()
            self._chip = Chip(self.state, COMMANDS, self._rng)
            return False
        return True
