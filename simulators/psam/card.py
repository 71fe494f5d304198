"""The PSAM as a reader sees it: power, ATR, one exchange at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulators.apps.build import transit_sam
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Check, Frame, Refused, require
from simulators.faults import CardGone
from simulators.ministry import RootKeys
from simulators.psam import files, keys, management, settlement
from simulators.psam.build import build_psam
from simulators.psam.files import AID_APPLICATION
from simulators.psam.session import Rng, Session
from simulators.psam.state import KeyRecord, PsamStore

__all__ = ["AID_APPLICATION", "ATR", "COMMANDS", "SimPsam"]

ATR = bytes.fromhex("3B6D000000FE00000086FE990090000001")
INS_SELECT, INS_GET_RESPONSE, INS_CHALLENGE = 0xA4, 0xC0, 0x84


@dataclass(frozen=True, slots=True)
class Command:
    """`is_outgoing`: P3 is Le, the answer is never held back by 61xx."""

    run: Callable[[Session, Frame], bytes]
    cla: int
    parameters: Check
    is_outgoing: bool = False


class SimPsam:
    """Thread-safe; same power and transmit interface as SimCard. `transit` is the transport ministry's application.

    With a `store` the PSAM of an earlier run goes on: its transaction numbers, keys and tries. Every changed image is
    on disk before its response is given, so that no transaction number is ever given twice. Without an image there
    the arguments are those of `build_psam`.
    """

    def __init__(
        self,
        roots: RootKeys,
        region: str = "990100",
        terminal_number: str = "990100000001",
        *,
        serial: str = "99010000000000000001",
        algorithms: tuple[Algorithm, ...] = (Algorithm.TRIPLE_DES, Algorithm.SM4),
        levels: Mapping[str, int] | None = None,
        without: frozenset[str] = frozenset(),
        counter: int = 0,
        rng: Rng = os.urandom,
        direct: bool = False,
        store: PsamStore | None = None,
    ) -> None:
        self._store = store
        if store is not None and store.exists():
            self.state = store.load()
        else:
            self.state = build_psam(
                roots,
                region,
                terminal_number,
                serial=serial,
                algorithms=algorithms,
                levels=levels,
                without=without,
                counter=counter,
            )
            if store is not None:
                store.save(self.state)
        self.transit = transit_sam(roots.root, self.state.terminal, sequence=self.state.transit_sequence)
        self._rng = rng
        self._direct = direct
        self._session: Session | None = None
        self._lock = threading.Lock()

    def add_key(self, algorithm: Algorithm, record: KeyRecord) -> None:
        """Put a further record into one environment, as the PSAM's issuer would."""
        next(e for e in self.state.environments if e.algorithm is algorithm).records.append(record)

    def power_on(self) -> bytes:
        with self._lock:
            self._reset()
            return ATR

    def power_off(self) -> None:
        with self._lock:
            self._session = None

    def transmit(self, command: bytes) -> bytes:
        """Data and status word for any bytes at all. Raises CardGone without power."""
        with self._lock:
            session = self._session
            if session is None:
                raise CardGone("the PSAM has no power")
            if len(command) < 4:
                return SW.WRONG_LENGTH.to_bytes(2, "big")
            frame = Frame(command[0], command[1], command[2], command[3], command[4:])
            if frame.ins != INS_GET_RESPONSE:
                session.pending = b""
            try:
                data, sw = self._dispatch(session, frame), SW.OK
            except Refused as refusal:
                data, sw = b"", refusal.sw
            if not self._commit(session):
                return SW.WRITE_FAILED.to_bytes(2, "big")
            if data and not self._direct and not _is_outgoing(frame):
                session.pending, data = data, b""
            if session.pending and sw == SW.OK:
                sw = 0x6100 | len(session.pending) & 0xFF
            return data + sw.to_bytes(2, "big")

    def _dispatch(self, session: Session, frame: Frame) -> bytes:
        require(not self.state.is_blocked, SW.CARD_BLOCKED)
        if session.in_transit and frame.ins not in (INS_SELECT, INS_GET_RESPONSE, INS_CHALLENGE):
            data = self.transit.execute(session.environment.algorithm, frame)
            session.changed = self.transit.sequence != self.state.transit_sequence
            self.state.transit_sequence = self.transit.sequence
            return data
        require(frame.cla in _CLASSES, SW.WRONG_CLA)
        command = COMMANDS.get(frame.ins)
        if command is None:
            raise Refused(SW.WRONG_INS)
        require(frame.cla == command.cla, SW.WRONG_CLA)
        require(command.parameters(frame), SW.WRONG_P1P2)
        return command.run(session, frame)

    def _commit(self, session: Session) -> bool:
        """Write the image; a failed write leaves the old image and a freshly reset PSAM."""
        is_changed, session.changed = session.changed, False
        if not is_changed or self._store is None:
            return True
        try:
            self._store.save(self.state)
        except OSError:
            self.state = self._store.load()
            self.transit.sequence = self.state.transit_sequence
            self._reset()
            return False
        return True

    def _reset(self) -> None:
        self._session = Session(self.state, self.transit, self._rng, self.state.environments[0])
        self.transit.select()


def _is_outgoing(frame: Frame) -> bool:
    command = COMMANDS.get(frame.ins)
    return command is not None and command.is_outgoing


def _no_parameters(frame: Frame) -> bool:
    return frame.p1 == frame.p2 == 0


def _binary_parameters(frame: Frame) -> bool:
    return not (frame.p1 & 0x80 and frame.p1 & 0x60)


COMMANDS: dict[int, Command] = {
    INS_SELECT: Command(files.select, 0x00, lambda f: f.p1 in (0, 2, 4) and f.p2 == 0),
    INS_GET_RESPONSE: Command(files.get_response, 0x00, _no_parameters, is_outgoing=True),
    0xB0: Command(files.read_binary, 0x00, _binary_parameters, is_outgoing=True),
    0xD6: Command(files.update_binary, 0x00, _binary_parameters),
    INS_CHALLENGE: Command(files.get_challenge, 0x00, _no_parameters, is_outgoing=True),
    0x82: Command(management.external_authentication, 0x00, lambda f: f.p1 == 0),
    0xD4: Command(management.write_key, 0x84, lambda f: f.p1 in (0, 1)),
    0xEC: Command(keys.initialize, 0xBF, _no_parameters),
    0xDE: Command(keys.deliver, 0xBF, lambda f: True),
    0xFA: Command(keys.cipher, 0x80, lambda f: f.p2 == 0 and f.p1 in (0, 1, 2, 3, 5, 7)),
    0x70: Command(settlement.init_purchase, 0x80, lambda f: (f.p1, f.p2) == (1, 0)),
    0x72: Command(settlement.credit_purchase, 0x80, _no_parameters),
}
_CLASSES = frozenset(command.cla for command in COMMANDS.values())
