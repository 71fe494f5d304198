"""The 交通联合 purse on the card: files, balance, load, purchase, trip records, overdraft, block (transit_card.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from simulators.apps import transit_crypto as crypto
from simulators.apps.neighbour import AppCommand, Neighbour, Services, lc, le, p1p2, read_slice, tlv
from simulators.apps.state import LastTransaction, PurseState
from simulators.card.frame import SW, Frame, Refused, require, wrong_le

AID = bytes.fromhex("A000000632010105")
LABEL = b"MOT_T_EP"
SFI_PUBLIC, SFI_HOLDER, SFI_MANAGEMENT, SFI_LOG, SFI_PROCESS, SFI_TRIPS = 0x15, 0x16, 0x17, 0x18, 0x1A, 0x1E
LOG_LENGTH, PROCESS_LENGTH, TRIP_LENGTH = 23, 128, 48
LOG_RECORDS, TRIP_RECORDS = 10, 30
PROCESS_ID = 0x27
TYPE_LOAD, TYPE_PURCHASE, TYPE_OVERDRAFT, TYPE_COMPOSITE = 0x02, 0x06, 0x07, 0x09
P1_LOAD, P1_PURCHASE, P1_COMPOSITE, P1_OVERDRAFT = 0x00, 0x01, 0x03, 0x04
BALANCE_MAX = 0x7FFFFFFF
COUNTER_MAX = 0xFFFF
OPEN, BLOCKED, LOCKED = range(3)
MAC_FAILURES_MAX = 3
MAC_LENGTH = AMOUNT_LENGTH = 4
BINARY_FILES = {SFI_PUBLIC: "public", SFI_HOLDER: "holder", SFI_MANAGEMENT: "management"}
SEED_END = b"\x80\x00"
SW_SELECTED_BLOCKED, SW_BLOCKED = 0x6283, 0x6A81
INS_BLOCK, INS_UNBLOCK, INS_CHALLENGE, INS_CACHE = 0x1E, 0x18, 0x84, 0xDC


class Step(IntEnum):
    """What INIT opened (transit_card.md 4.1); IDLE is the absence of an `Exchange`."""

    LOAD = P1_LOAD
    PURCHASE = P1_PURCHASE
    COMPOSITE = P1_COMPOSITE
    OVERDRAFT = P1_OVERDRAFT


@dataclass(slots=True)
class Exchange:
    """An initialised transaction. `seed` is random and sequence number; `cache` holds 80DC data by target."""

    step: Step
    seed: bytes
    amount: bytes
    terminal: bytes
    cache: dict[tuple[int, int], bytes] = field(default_factory=dict)


class TransitPurse(Neighbour):
    """The command set of section 4 over one purse."""

    def __init__(self, state: PurseState) -> None:
        super().__init__(AID)
        self.state = state
        self._next: Exchange | None = None
        self._open: Exchange | None = None
        self.commands = {
            (0x00, INS_CHALLENGE): AppCommand(self.get_challenge, p1p2(0, 0), le(4, 8), is_outgoing=True),
            (0x00, 0xB0): AppCommand(self.read_binary, _by_sfi, is_outgoing=True),
            (0x00, 0xB2): AppCommand(self.read_record, lambda f: f.p1 != 0 and f.mode == 4, is_outgoing=True),
            (0x00, 0xD6): AppCommand(_unprotected, lambda f: True),
            (0x00, 0xDC): AppCommand(_unprotected, lambda f: True),
            (0x04, 0xD6): AppCommand(self.update_binary, _by_sfi, lambda f: len(f.data) > MAC_LENGTH),
            (0x04, 0xDC): AppCommand(self.update_record, lambda f: f.p1 != 0 and f.mode == 4, lambda f: bool(f.data)),
            (0x80, 0x5C): AppCommand(self.get_balance, lambda f: f.p1 < 4 and f.p2 == 2, is_outgoing=True),
            (0x80, 0x50): AppCommand(self.initialize, lambda f: f.p1 in list(Step) and f.p2 == 2, _init_length),
            (0x80, 0x52): AppCommand(self.credit, p1p2(0, 0), lc(0x0B)),
            (0x80, 0x54): AppCommand(self.debit, p1p2(1, 0), lc(0x0F)),
            (0x80, 0x58): AppCommand(self.update_overdraft, p1p2(0, 0), lc(0x0E)),
            (0x80, INS_CACHE): AppCommand(self.cache, lambda f: f.mode == 0, lambda f: bool(f.data)),
            (0x80, 0x5A): AppCommand(self.prove, lambda f: f.p1 == 0, lc(2)),
            (0x84, INS_BLOCK): AppCommand(self.block, lambda f: f.p1 == 0 and f.p2 in (0, 1), lc(MAC_LENGTH)),
            (0x84, INS_UNBLOCK): AppCommand(self.unblock, p1p2(0, 0), lc(MAC_LENGTH)),
        }

    # ---- selection and state

    def fci(self) -> bytes:
        proprietary = tlv(0x9F08, b"\x02") + tlv(0x9F0C, self.state.public)
        found = tlv(0x6F, tlv(0x84, AID) + tlv(0xA5, proprietary))
        if self.state.block == BLOCKED:
            raise Refused(SW_SELECTED_BLOCKED, found)
        require(self.state.block != LOCKED, SW_BLOCKED)
        return found

    def interrupt(self) -> None:
        self._next = self._open = None

    def admit(self, frame: Frame) -> None:
        require(self.state.block != LOCKED, SW.APPLICATION_BLOCKED)
        if self.state.block == BLOCKED:
            require(frame.ins in (INS_BLOCK, INS_UNBLOCK, INS_CHALLENGE), SW_BLOCKED)

    def execute(self, services: Services, frame: Frame) -> tuple[bytes, bool]:
        """Whatever happens, the open transaction ends, unless the command itself opens or continues one (4.1)."""
        self._open, self._next = self._next, None
        return super().execute(services, frame)

    def _expect(self, *steps: Step) -> Exchange:
        if self._open is None or self._open.step not in steps:
            raise Refused(SW.WRONG_TRANSACTION_STATE)
        return self._open

    @property
    def _available(self) -> int:
        return self.state.balance + self.state.overdraft_limit

    # ---- files

    def read_binary(self, services: Services, frame: Frame) -> bytes:
        name = _binary_file(frame.p1 & 0x1F)
        require(name != "holder", SW.ACCESS_DENIED)  # OPEN X9
        return read_slice(frame, getattr(self.state, name), frame.p2)

    def read_record(self, services: Services, frame: Frame) -> bytes:
        state = self.state
        require(frame.sfi not in BINARY_FILES, SW.WRONG_STRUCTURE)
        files = {SFI_LOG: state.log, SFI_PROCESS: state.processes, SFI_TRIPS: state.trips}
        require(frame.sfi in files, SW.FILE_NOT_FOUND)
        records = files[frame.sfi]
        require(frame.p1 <= len(records), SW.RECORD_NOT_FOUND)
        record = records[frame.p1 - 1]
        if frame.le != len(record):
            raise wrong_le(len(record))
        return record

    def update_binary(self, services: Services, frame: Frame) -> bytes:
        name, offset = _binary_file(frame.p1 & 0x1F), frame.p2
        body = self._secured_body(frame)
        content: bytes = getattr(self.state, name)
        require(offset + len(body) <= len(content), SW.WRONG_OFFSET)
        setattr(self.state, name, content[:offset] + body + content[offset + len(body) :])
        services.changed = True
        return b""

    def update_record(self, services: Services, frame: Frame) -> bytes:
        """Process records only; the cyclic files grow by transactions alone."""
        require(frame.sfi in (SFI_LOG, SFI_PROCESS, SFI_TRIPS), SW.FILE_NOT_FOUND)
        require(frame.sfi == SFI_PROCESS, SW.ACCESS_DENIED)
        require(frame.p1 <= len(self.state.processes), SW.RECORD_NOT_FOUND)
        require(len(frame.data) == PROCESS_LENGTH + MAC_LENGTH, SW.WRONG_LENGTH)
        body = self._secured_body(frame)
        require(body[:2] == bytes((PROCESS_ID, frame.p1)), SW.BAD_DATA)
        self.state.processes[frame.p1 - 1] = body
        services.changed = True
        return b""

    def _secured_body(self, frame: Frame) -> bytes:
        require(self._is_mac_right(frame), SW.MAC_WRONG)
        return frame.data[:-MAC_LENGTH]

    def _is_mac_right(self, frame: Frame) -> bool:
        message = frame.header + frame.data[:-MAC_LENGTH]
        expected = crypto.secured_mac(self.state.algorithm, self.state.damk, self.take_challenge(), message)
        return crypto.is_equal(expected, frame.data[-MAC_LENGTH:])

    def get_balance(self, services: Services, frame: Frame) -> bytes:
        """P1: 00 available, 01 overdraft limit, 02 overdraft used, 03 actual without overdraft."""
        balance = self.state.balance
        amounts = (self._available, self.state.overdraft_limit, max(-balance, 0), max(balance, 0))
        if frame.le != AMOUNT_LENGTH:
            raise wrong_le(AMOUNT_LENGTH)
        return amounts[frame.p1].to_bytes(AMOUNT_LENGTH, "big")

    # ---- transactions

    def initialize(self, services: Services, frame: Frame) -> bytes:
        state, data, step = self.state, frame.data, Step(frame.p1)
        require(data[0] == state.key_index, SW.KEY_INDEX)
        amount = b"" if step is Step.OVERDRAFT else data[1:5]
        terminal = data[-6:]
        is_online = step in (Step.LOAD, Step.OVERDRAFT)
        sequence = state.online if is_online else state.offline
        if not is_online:
            require(int.from_bytes(amount, "big") <= self._available, SW.BALANCE_TOO_LOW)
        require(sequence < COUNTER_MAX, SW.COUNTER_EXHAUSTED)
        if step is Step.LOAD:
            require(self._available + int.from_bytes(amount, "big") <= BALANCE_MAX, SW.CONDITIONS)
        random = services.rng(4)
        exchange = Exchange(step, random + sequence.to_bytes(2, "big"), amount, terminal)
        self._next = exchange
        balance, limit = self._available.to_bytes(4, "big"), state.overdraft_limit.to_bytes(3, "big")
        tail = bytes((state.key_version, state.algorithm)) + random
        if step is Step.LOAD:
            mac1 = self._online_mac(exchange, balance + amount + bytes((TYPE_LOAD,)) + terminal)
            return balance + exchange.seed[4:] + tail + mac1
        if step is Step.OVERDRAFT:
            mac1 = self._online_mac(exchange, balance + limit + bytes((TYPE_OVERDRAFT,)) + terminal)
            return balance + exchange.seed[4:] + limit + tail + mac1
        return balance + exchange.seed[4:] + limit + tail

    def _online_mac(self, exchange: Exchange, message: bytes) -> bytes:
        key = self.state.dlk if exchange.step is Step.LOAD else self.state.duk
        return self._mac(self._session_key(key, exchange.seed + SEED_END), message)

    def _session_key(self, key: bytes, seed: bytes) -> bytes:
        return crypto.session_key(self.state.algorithm, key, seed)

    def _tac(self, message: bytes) -> bytes:
        return crypto.tac(self.state.algorithm, self.state.dtk, message, is_folded=self.state.is_mac_folded)

    def _mac(self, session_key: bytes, message: bytes) -> bytes:
        return crypto.mac(self.state.algorithm, session_key, message, is_folded=self.state.is_mac_folded)

    def credit(self, services: Services, frame: Frame) -> bytes:
        exchange = self._expect(Step.LOAD)
        moment, mac2 = frame.data[:7], frame.data[7:]
        kind = bytes((TYPE_LOAD,))
        expected = self._online_mac(exchange, exchange.amount + kind + exchange.terminal + moment)
        require(crypto.is_equal(expected, mac2), SW.MEDICAL_MAC_WRONG)
        amount = int.from_bytes(exchange.amount, "big")
        after = (self._available + amount).to_bytes(4, "big")
        tac = self._tac(after + exchange.seed[4:] + exchange.amount + kind + exchange.terminal + moment)
        self.state.balance += amount
        self._finish(services, exchange, TYPE_LOAD, exchange.amount, moment, (bytes(4), tac))  # OPEN X12
        return tac

    def update_overdraft(self, services: Services, frame: Frame) -> bytes:
        exchange = self._expect(Step.OVERDRAFT)
        limit, moment, mac2 = frame.data[:3], frame.data[3:10], frame.data[10:]
        kind = bytes((TYPE_OVERDRAFT,))
        expected = self._online_mac(exchange, limit + kind + exchange.terminal + moment)
        require(crypto.is_equal(expected, mac2), SW.MEDICAL_MAC_WRONG)
        available = self.state.balance + int.from_bytes(limit, "big")
        require(0 <= available <= BALANCE_MAX, SW.CONDITIONS)  # a limit below what is overdrawn already
        after = available.to_bytes(4, "big")
        tac = self._tac(after + exchange.seed[4:] + limit + kind + exchange.terminal + moment)
        self.state.overdraft_limit = int.from_bytes(limit, "big")
        self._finish(services, exchange, TYPE_OVERDRAFT, b"\0" + limit, moment, (bytes(4), tac))
        return tac

    def cache(self, services: Services, frame: Frame) -> bytes:
        """UPDATE CAPP DATA CACHE: nothing is written before DEBIT; the last data for a record win."""
        exchange = self._expect(Step.COMPOSITE)
        data = frame.data
        require(frame.sfi in (SFI_PROCESS, SFI_TRIPS), SW.FILE_NOT_FOUND)
        if frame.sfi == SFI_TRIPS:
            require(frame.p1 == 0, SW.WRONG_P1P2)
            require(len(data) == TRIP_LENGTH, SW.WRONG_LENGTH)
        else:
            require(1 <= frame.p1 <= len(self.state.processes), SW.RECORD_NOT_FOUND)
            require(len(data) == PROCESS_LENGTH, SW.WRONG_LENGTH)
            require(data[:2] == bytes((PROCESS_ID, frame.p1)), SW.BAD_DATA)
        exchange.cache[frame.sfi, frame.p1] = data
        self._next = exchange
        return b""

    def debit(self, services: Services, frame: Frame) -> bytes:
        exchange = self._expect(Step.PURCHASE, Step.COMPOSITE)
        is_composite = exchange.step is Step.COMPOSITE
        require(not is_composite or bool(exchange.cache), SW.WRONG_TRANSACTION_STATE)
        number, moment, mac1 = frame.data[:4], frame.data[4:11], frame.data[11:]
        session_key = self._session_key(self.state.dpk, exchange.seed + number[2:])
        kind = TYPE_COMPOSITE if is_composite else TYPE_PURCHASE
        start = exchange.amount + bytes((kind,)) + exchange.terminal
        expected = self._mac(session_key, start + moment)
        require(crypto.is_equal(expected, mac1), SW.MEDICAL_MAC_WRONG)
        mac2 = self._mac(session_key, exchange.amount)
        tac = self._tac(start + number + moment)
        self.state.balance -= int.from_bytes(exchange.amount, "big")
        for (sfi, record), data in exchange.cache.items():
            if sfi == SFI_TRIPS:
                self.state.trips = [data, *self.state.trips][:TRIP_RECORDS]
            else:
                self.state.processes[record - 1] = data
        self._finish(services, exchange, kind, exchange.amount, moment, (mac2, tac))
        return tac + mac2

    def _finish(
        self,
        services: Services,
        exchange: Exchange,
        kind: int,
        amount: bytes,
        moment: bytes,
        proof: tuple[bytes, bytes],
    ) -> None:
        """Counter, log and proof move with the balance in one commit. The log has the number after +1 (OPEN X5)."""
        state = self.state
        number = int.from_bytes(exchange.seed[4:], "big") + 1
        if kind in (TYPE_LOAD, TYPE_OVERDRAFT):
            state.online = number
        else:
            state.offline = number
        limit = state.overdraft_limit.to_bytes(3, "big")
        record = number.to_bytes(2, "big") + limit + amount + bytes((kind,)) + exchange.terminal + moment
        state.log = [record, *state.log][:LOG_RECORDS]
        state.last = LastTransaction(kind, number, *proof)
        services.changed = True

    def prove(self, services: Services, frame: Frame) -> bytes:
        last = self.state.last
        if last is None or (last.type, last.number) != (frame.p2, int.from_bytes(frame.data, "big")):
            raise Refused(SW.NO_PROOF)
        return last.mac + last.tac

    # ---- blocking

    def block(self, services: Services, frame: Frame) -> bytes:
        self._check_block_mac(services, frame)
        self.state.block = LOCKED if frame.p2 == 1 else BLOCKED
        return b""

    def unblock(self, services: Services, frame: Frame) -> bytes:
        require(self.state.block == BLOCKED, SW.CONDITIONS)
        self._check_block_mac(services, frame)
        self.state.block = OPEN
        return b""

    def _check_block_mac(self, services: Services, frame: Frame) -> None:
        """Three wrong MACs in a row lock the purse for good (4.2)."""
        state = self.state
        is_right = self._is_mac_right(frame)
        services.changed = True
        state.mac_failures = 0 if is_right else state.mac_failures + 1
        if state.mac_failures >= MAC_FAILURES_MAX:
            state.block = LOCKED
            raise Refused(SW.APPLICATION_BLOCKED)
        require(is_right, SW.MAC_WRONG)


def _by_sfi(frame: Frame) -> bool:
    return frame.p1 & 0xE0 == 0x80


def _binary_file(sfi: int) -> str:
    """The field of the purse that holds this file."""
    require(sfi not in (SFI_LOG, SFI_PROCESS, SFI_TRIPS), SW.WRONG_STRUCTURE)
    require(sfi in BINARY_FILES, SW.FILE_NOT_FOUND)
    return BINARY_FILES[sfi]


def _init_length(frame: Frame) -> bool:
    return len(frame.data) == (0x07 if frame.p1 == P1_OVERDRAFT else 0x0B)


def _unprotected(services: Services, frame: Frame) -> bytes:
    raise Refused(SW.MAC_MISSING)
