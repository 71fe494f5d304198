"""The contactless face of a simulated card, as a PC/SC reader shows it (PC/SC part 3; transit_card.md section 11)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import reduce
from operator import xor

from simulators.card import SimCard
from simulators.card.state import CardState
from simulators.card.store import CardStore
from simulators.faults import Faults

ATS_INTERFACE = bytes.fromhex("78808002")
"""T0 with FSCI 8 (256-byte frames), TA 106 kbit/s only, TB with FWI 8, TC with CID."""
RANDOM_UID_START = 0x08
INS_GET_DATA, UID, HISTORICAL = 0xCA, 0x00, 0x01
_OK, _END_OF_DATA, _WRONG_FUNCTION = b"\x90\x00", b"\x62\x82", b"\x6a\x81"
_RETRIED_READS = frozenset({0xB0, 0xB2, 0x5C, 0x84})


class ContactlessCard:
    """A card in the field of a reader: block protocol, answers at once, UID by the reader's own FF CA 00 00.

    Without a `uid` every activation gives another random one, as ISO/IEC 14443-3 allows: a UID is no identity.
    """

    def __init__(
        self,
        state: CardState,
        *,
        uid: bytes | None = None,
        faults: Faults | None = None,
        rng: Callable[[int], bytes] = os.urandom,
        store: CardStore | None = None,
    ) -> None:
        if uid is not None and len(uid) not in (4, 7, 10):
            raise ValueError("a UID has 4, 7 or 10 bytes")
        self._card = SimCard(state, faults=faults, rng=rng, store=store, direct=True)
        self._fixed_uid = uid
        self.uid = uid or b""

    @property
    def state(self) -> CardState:
        return self._card.state

    @property
    def faults(self) -> Faults:
        return self._card.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._card.faults = faults

    @property
    def ats(self) -> bytes:
        """TL, the interface bytes, then the reset information as historical bytes (OPEN F10)."""
        body = ATS_INTERFACE + self.state.historical
        return bytes((len(body) + 1,)) + body

    def power_on(self) -> bytes:
        """The ATR a reader makes of the ATS: 3B 8n 80 01, historical bytes, check byte (PC/SC part 3, 3.1.3.2.3)."""
        if not self._card.power_on():
            return b""
        self.uid = self._fixed_uid or bytes((RANDOM_UID_START,)) + os.urandom(3)
        historical = self.ats[1 + len(ATS_INTERFACE) :]
        body = bytes((0x80 | len(historical), 0x80, 0x01)) + historical
        return b"\x3b" + body + bytes((reduce(xor, body),))

    def power_off(self) -> None:
        self._card.power_off()

    def transmit(self, command: bytes) -> bytes:
        """Data and status word. Raises CardGone when power is off or a fault strikes."""
        if command[:2] == bytes((0xFF, INS_GET_DATA)):
            return self._get_data(command)
        answer = self._card.transmit(command)
        is_open_le = len(command) == 5 and command[4] == 0 and command[1] in _RETRIED_READS
        if is_open_le and answer[0] == 0x6C:
            # Le 00 means "as much as there is" on a block protocol; only T=0 has to name the length.
            return self._card.transmit(command[:4] + answer[1:2])
        return answer

    def _get_data(self, command: bytes) -> bytes:
        """What the reader answers itself: UID (P1 00) and historical bytes (P1 01)."""
        if len(command) != 5 or command[3] or command[2] not in (UID, HISTORICAL):
            return _WRONG_FUNCTION
        data = self.uid if command[2] == UID else self.ats[1 + len(ATS_INTERFACE) :]
        wanted = command[4]
        if wanted and wanted < len(data):
            return bytes((0x6C, len(data)))
        return data + (_OK if wanted in (0, len(data)) else _END_OF_DATA)
