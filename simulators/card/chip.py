"""The card operating system: command dispatch in the order of card_commands.md section 3, and shared services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulators.card import crypto
from simulators.card.access import LOCAL_KEY, Session, is_satisfied
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Check, Frame, Refused, require
from simulators.card.state import (
    FLAG_INTERNAL_ONLY,
    FLAG_SECURED_UPDATE,
    CardState,
    Df,
    Ef,
    KeyObject,
    KeyType,
    Life,
)

CLASSES = frozenset({0x00, 0x04, 0x80, 0x84, 0xB0})
CLA_MEDICAL = 0xB0
INS_SELECT, INS_GET_RESPONSE, INS_APPLICATION_BLOCK = 0xA4, 0xC0, 0x1E
INS_CREDIT_DEBIT = frozenset({0x2A, 0x2C})
MAC_LENGTH = 4
AFTER_CHIP = frozenset({Life.ACTIVATED, Life.STRUCTURED, Life.PRE_PERSONALISED, Life.ISSUED})

Rng = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Command:
    """How one CLA/INS pair is checked and run. `is_outgoing`: P3 is Le, the answer is never held back by 61xx."""

    run: Callable[[Chip, Frame], bytes]
    parameters: Check
    lengths: Check
    is_outgoing: Check = lambda frame: False
    lives: frozenset[Life] = AFTER_CHIP
    is_hidden_after_issue: bool = False


class Chip:
    """A powered chip. `changed` tells the caller that `state` must be committed."""

    def __init__(self, state: CardState, commands: dict[tuple[int, int], Command], rng: Rng) -> None:
        # Applications stand on this package's frames and ciphers, so they can be named only once it is complete.
        from simulators.apps.registry import neighbours

        self.state = state
        self.session = Session(df=state.ssse)
        self.rng = rng
        self.changed = False
        self.neighbours = neighbours(state.neighbours)
        self._commands = commands
        self._instructions = frozenset(ins for _, ins in commands)

    def execute(self, raw: bytes) -> tuple[bytes, int, bool]:
        """Run one command; (data, status word, whether P3 was Le). Never raises on any bytes."""
        if len(raw) < 4:
            return b"", SW.WRONG_LENGTH, True
        frame = Frame(raw[0], raw[1], raw[2], raw[3], raw[4:])
        if frame.ins != INS_GET_RESPONSE:
            self.session.pending = b""
        try:
            neighbour = self.session.neighbour
            if neighbour is not None and frame.ins not in (INS_SELECT, INS_GET_RESPONSE):
                require(not self.state.is_blocked, SW.CARD_BLOCKED)
                data, outgoing = neighbour.execute(self, frame)
                return data, SW.OK, outgoing
            command = self._find(frame)
            outgoing = command.is_outgoing(frame)
            self._check_transaction_state(frame)
            self._check_application(frame)
            require(command.parameters(frame), SW.WRONG_P1P2)
            if outgoing:
                frame.expect()
            else:
                frame.receive()
            require(command.lengths(frame), SW.WRONG_LENGTH)
            return command.run(self, frame), SW.OK, outgoing
        except Refused as refusal:
            if frame.cla == CLA_MEDICAL and refusal.sw >> 8 != 0x6C:
                self.session.transaction = None
            return refusal.data, refusal.sw, not refusal.data

    def _find(self, frame: Frame) -> Command:
        """Steps 1 to 3: transport, card block, class and instruction, life-cycle state."""
        require(frame.cla != 0xFF and frame.ins & 1 == 0 and frame.ins >> 4 not in (6, 9), SW.WRONG_INS)
        require(not self.state.is_blocked, SW.CARD_BLOCKED)
        require(frame.cla in CLASSES, SW.WRONG_CLA)
        require(frame.ins in self._instructions, SW.WRONG_INS)
        command = self._commands.get((frame.cla, frame.ins))
        if command is None:
            raise Refused(SW.WRONG_CLA)
        require(not (command.is_hidden_after_issue and self.state.life is Life.ISSUED), SW.WRONG_INS)
        require(self.state.life in command.lives, SW.CONDITIONS)
        return command

    def _check_transaction_state(self, frame: Frame) -> None:
        """Any command outside the transaction ends it, except GET RESPONSE (OPEN C11)."""
        transaction = self.session.transaction
        if frame.ins in INS_CREDIT_DEBIT:
            wanted = 0x31 if frame.ins == 0x2A else 0x32
            require(transaction is not None and transaction.type == wanted, SW.WRONG_TRANSACTION_STATE)
        elif frame.cla != CLA_MEDICAL and frame.ins != INS_GET_RESPONSE:
            self.session.transaction = None

    def _check_application(self, frame: Frame) -> None:
        df = self.session.df
        if df is not None and df.is_blocked:
            require(frame.ins in (INS_SELECT, INS_APPLICATION_BLOCK), SW.APPLICATION_BLOCKED)

    # ---- services for the command modules

    @property
    def algorithm(self) -> Algorithm:
        return self.state.algorithm

    def require_access(self, condition: bytes) -> None:
        require(is_satisfied(condition, self.state, self.session), SW.ACCESS_DENIED)

    def address(self, sfi: int) -> Ef:
        """The EF of this short identifier, which becomes current; 0 means the current EF (draft P3 5.3.1)."""
        if sfi:
            ef = self.session.df.ef_by_sfi(sfi) if self.session.df else None
            if ef is None:
                raise Refused(SW.FILE_NOT_FOUND)
            self.session.ef = ef
            self.session.pointer = None
        if self.session.ef is None:
            raise Refused(SW.NO_CURRENT_EF)
        return self.session.ef

    def take_challenge(self) -> bytes:
        """The stored challenge, usable once. Raises 6984 when there is none."""
        challenge, self.session.challenge = self.session.challenge, b""
        require(bool(challenge), SW.NO_CHALLENGE)
        return challenge

    def authentication_key(self, kid: int, version: int | None) -> KeyObject:
        """What EXTERNAL AUTHENTICATION with this P2 proves: the transport key, a master key or a key record."""
        df = self.session.df
        found: KeyObject | None = None
        if kid == 0x00:
            ssse = self.state.ssse
            found = self.state.transport if self.state.life is Life.ACTIVATED else ssse.master if ssse else None
        elif kid == LOCAL_KEY:
            found = df.master if df and not df.is_environment else None
        else:
            owner = df if kid & LOCAL_KEY else self.state.ssse
            candidate = owner.key({KeyType.AUTHENTICATION}, kid, version) if owner else None
            found = candidate if candidate and not candidate.flags & FLAG_INTERNAL_ONLY else None
        if found is None or version not in (None, found.version):
            raise Refused(SW.KEY_NOT_FOUND)
        return found

    def message_key(self, df: Df | None) -> KeyObject:
        """STK of the SSSE (id 02) or STKDFnn of an application (id 82)."""
        kid = 0x02 if df is self.state.ssse else 0x82
        key = df.key({KeyType.MAC, KeyType.MAC_ENCRYPTION}, kid) if df else None
        if key is None:
            raise Refused(SW.KEY_NOT_FOUND)
        return key

    def verify_mac(self, frame: Frame, key: KeyObject) -> bytes:
        """Check the last four data bytes as the MAC of a secured command; returns the session key."""
        session_key = crypto.session_key(self.algorithm, key.value, self.take_challenge())
        body, received = frame.data[:-MAC_LENGTH], frame.data[-MAC_LENGTH:]
        expected = crypto.mac(self.algorithm, session_key, frame.header + body)
        require(crypto.is_equal(expected, received), SW.MAC_WRONG)
        return session_key

    def update_body(self, frame: Frame, ef: Ef, least: int) -> bytes:
        """The plain data of UPDATE, after access (10) and secure messaging (11); at least `least` bytes plus MAC."""
        is_secured = frame.cla == 0x04
        key = self.message_key(self.session.df) if is_secured else None
        self.require_access(ef.write)
        if key is None:
            require(not ef.flags & FLAG_SECURED_UPDATE, SW.MAC_MISSING)
            return frame.data
        require(len(frame.data) >= least + MAC_LENGTH, SW.MAC_MISSING)
        self.verify_mac(frame, key)
        return frame.data[:-MAC_LENGTH]
