"""Medical account: load, settlement, balance, proof, starting day (card_commands.md 6.15 and section 7)."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from simulators.card import crypto
from simulators.card.access import Transaction
from simulators.card.chip import MAC_LENGTH, Chip, Command
from simulators.card.files import append_cyclic, find_account
from simulators.card.frame import SW, Frame, Refused, require
from simulators.card.state import Df, Ef, KeyObject, KeyType, Proof

FID_LOG = 0xEF08
LOG_FULL, LOG_ACCOUNT_ONLY = 0x1C, 0x14
TYPE_LOAD, TYPE_PURCHASE = 0x31, 0x32
PROOF_TYPES = {0x31: TYPE_LOAD, 0x32: TYPE_PURCHASE, 0x01: TYPE_LOAD, 0x02: TYPE_PURCHASE}
COUNTER_MAX = 0xFFFF
AMOUNT_MAX = 0xFFFFFFFF
KID_STARTING_DAY = 0x87
SAME_YEAR = 10000
LOAD_SEED_END = b"\x80\x00"


@dataclass(slots=True)
class Account:
    """The 20 bytes of the account file (V2.0 after T9)."""

    loads: int
    purchases: int
    balance: int
    own_pay: int
    pool: int
    year: bytes
    starting_day: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Account:
        def number(start: int, end: int) -> int:
            return int.from_bytes(raw[start:end], "big")

        return cls(number(0, 2), number(2, 4), number(4, 8), number(8, 12), number(12, 16), raw[16:18], raw[18:20])

    def to_bytes(self) -> bytes:
        counters = self.loads.to_bytes(2, "big") + self.purchases.to_bytes(2, "big")
        amounts = b"".join(value.to_bytes(4, "big") for value in (self.balance, self.own_pay, self.pool))
        return counters + amounts + self.year + self.starting_day


def _open(chip: Chip) -> tuple[Df, Ef, Account]:
    """The account of the current application, else 6985."""
    df = chip.session.df
    file = find_account(chip.state, df)
    if df is None or file is None:
        raise Refused(SW.CONDITIONS)
    return df, file, Account.from_bytes(file.content)


def _require_pin(chip: Chip) -> None:
    require(chip.session.is_pin_verified or not chip.state.has_pin, SW.ACCESS_DENIED)


def _key(df: Df, kind: KeyType, index: int | None = None) -> KeyObject:
    """Transaction key by type and version; the version is the key index of the command (draft P7 7.5)."""
    key = df.key({kind}, 0x00, index)
    if key is None:
        raise Refused(SW.KEY_INDEX if index is not None else SW.KEY_NOT_FOUND)
    return key


def _alg_byte(chip: Chip) -> bytes:
    return bytes((chip.algorithm,))


def initialize(chip: Chip, frame: Frame) -> bytes:
    """INITIALIZE FOR LOAD (P1 00) or PURCHASE (P1 01)."""
    chip.session.transaction = None
    df, _, account = _open(chip)
    _require_pin(chip)
    if frame.p1 == 0x00:
        return _initialize_load(chip, df, account, frame.data)
    return _initialize_purchase(chip, df, account, frame.data)


def _initialize_load(chip: Chip, df: Df, account: Account, data: bytes) -> bytes:
    index, amount, terminal = data[0], data[1:5], data[5:11]
    key = _key(df, KeyType.LOAD, index)
    require(account.loads < COUNTER_MAX, SW.COUNTER_EXHAUSTED)
    require(account.balance + int.from_bytes(amount, "big") <= AMOUNT_MAX, SW.CONDITIONS)
    random, sequence = chip.rng(4), account.loads.to_bytes(2, "big")
    session_key = crypto.session_key(chip.algorithm, key.value, random + sequence + LOAD_SEED_END)
    balance = account.balance.to_bytes(4, "big")
    message = balance + amount + bytes((TYPE_LOAD,)) + terminal
    mac1 = crypto.mac(chip.algorithm, session_key, message)
    chip.session.transaction = Transaction(TYPE_LOAD, key.value, random + sequence, amount, b"", b"", terminal)
    return balance + sequence + bytes((index,)) + _alg_byte(chip) + random + mac1


def _initialize_purchase(chip: Chip, df: Df, account: Account, data: bytes) -> bytes:
    index, amount, own_pay, pool, terminal = data[0], data[1:5], data[5:9], data[9:13], data[13:19]
    key = _key(df, KeyType.PURCHASE, index)
    require(int.from_bytes(amount, "big") <= account.balance, SW.BALANCE_TOO_LOW)
    require(account.purchases < COUNTER_MAX, SW.COUNTER_EXHAUSTED)
    random, sequence = chip.rng(4), account.purchases.to_bytes(2, "big")
    seed = random + sequence  # the terminal's transaction number completes it, and arrives only with DEBIT
    chip.session.transaction = Transaction(TYPE_PURCHASE, key.value, seed, amount, own_pay, pool, terminal)
    amounts = b"".join(v.to_bytes(4, "big") for v in (account.balance, account.own_pay, account.pool))
    return amounts + account.year + sequence + bytes((index,)) + _alg_byte(chip) + random


def credit(chip: Chip, frame: Frame) -> bytes:
    df, file, account = _open(chip)
    transaction = _take(chip)
    time, mac2 = frame.data[:7], frame.data[7:]
    kind = bytes((TYPE_LOAD,))
    message = transaction.amount + kind + transaction.terminal + time
    session_key = crypto.session_key(chip.algorithm, transaction.key, transaction.seed + LOAD_SEED_END)
    _check_mac(chip, session_key, message, mac2)
    sequence = account.loads.to_bytes(2, "big")
    account.balance += int.from_bytes(transaction.amount, "big")
    account.loads += 1
    balance = account.balance.to_bytes(4, "big")
    tac_message = balance + sequence + transaction.amount + kind + transaction.terminal + time
    tac = crypto.tac(chip.algorithm, _key(df, KeyType.TAC).value, tac_message)
    record = sequence + kind + transaction.terminal + time + transaction.amount + bytes(8)
    _commit(chip, df, file, account, record, Proof(TYPE_LOAD, int.from_bytes(sequence, "big"), mac2, tac))
    return tac


def debit(chip: Chip, frame: Frame) -> bytes:
    df, file, account = _open(chip)
    transaction = _take(chip)
    number, time, mac1 = frame.data[:4], frame.data[4:11], frame.data[11:]
    session_key = crypto.session_key(chip.algorithm, transaction.key, transaction.seed + number[2:])
    kind = bytes((TYPE_PURCHASE,))
    amounts = transaction.amount + transaction.own_pay + transaction.pool
    _check_mac(chip, session_key, amounts + kind + transaction.terminal + time, mac1)
    require(time.hex().isdecimal(), SW.BAD_DATA)
    mac2 = crypto.mac(chip.algorithm, session_key, amounts)
    tac_message = amounts + kind + transaction.terminal + number + time
    tac = crypto.tac(chip.algorithm, _key(df, KeyType.TAC).value, tac_message)
    sequence = account.purchases.to_bytes(2, "big")
    _add_up(account, transaction, time)
    account.balance -= int.from_bytes(transaction.amount, "big")
    account.purchases += 1
    record = sequence + kind + transaction.terminal + time + amounts
    _commit(chip, df, file, account, record, Proof(TYPE_PURCHASE, int.from_bytes(sequence, "big"), mac2, tac))
    return tac + mac2


def _take(chip: Chip) -> Transaction:
    transaction, chip.session.transaction = chip.session.transaction, None
    if transaction is None:
        raise Refused(SW.WRONG_TRANSACTION_STATE)
    return transaction


def _check_mac(chip: Chip, session_key: bytes, message: bytes, received: bytes) -> None:
    expected = crypto.mac(chip.algorithm, session_key, message)
    require(len(received) == MAC_LENGTH and crypto.is_equal(expected, received), SW.MEDICAL_MAC_WRONG)


def _add_up(account: Account, transaction: Transaction, time: bytes) -> None:
    """Year totals go on or start again with a new settlement year (draft P7 12.6, OPEN C14)."""
    own_pay, pool = (int.from_bytes(value, "big") for value in (transaction.own_pay, transaction.pool))
    date = int(time[:4].hex())
    start = int(account.starting_day.hex())
    if date - (int(account.year.hex()) * SAME_YEAR + start) < SAME_YEAR:
        account.own_pay = min(account.own_pay + own_pay, AMOUNT_MAX)
        account.pool = min(account.pool + pool, AMOUNT_MAX)
        return
    year, month_day = divmod(date, SAME_YEAR)
    settlement_year = year if month_day >= start else max(year - 1, 0)
    account.year = bytes.fromhex(f"{settlement_year:04d}")
    account.own_pay, account.pool = own_pay, pool


def _commit(chip: Chip, df: Df, file: Ef, account: Account, record: bytes, proof: Proof) -> None:
    """Account, log and proof change together (draft P7 11.8, 12.6)."""
    log = df.ef(FID_LOG)
    if log is not None and log.record_length in (LOG_FULL, LOG_ACCOUNT_ONLY):
        append_cyclic(log, record[: log.record_length])
    file.content = account.to_bytes()
    chip.state.proof = proof
    chip.changed = True


def get_balance(chip: Chip, frame: Frame) -> bytes:
    _, _, account = _open(chip)
    amount = {1: account.balance, 2: account.own_pay, 3: account.pool}[frame.p2].to_bytes(4, "big")
    answer = amount if frame.p2 == 1 else amount + account.year
    require(frame.le in (0, len(answer)), SW.WRONG_LENGTH)
    _require_pin(chip)
    return frame.fit(answer)


def get_proof(chip: Chip, frame: Frame) -> bytes:
    _open(chip)
    proof = chip.state.proof
    wanted = (PROOF_TYPES.get(frame.p2), int.from_bytes(frame.data, "big"))
    if proof is None or (proof.type, proof.sequence) != wanted:
        raise Refused(SW.NO_PROOF)
    return proof.mac + proof.tac


def starting_day(chip: Chip, frame: Frame) -> bytes:
    """UPDATE (P1 00) under KEY(DSK), GET (P1 01) freely."""
    _, file, account = _open(chip)
    if frame.p1 == 0x01:
        return frame.fit(account.starting_day)
    require(chip.session.has_key(KID_STARTING_DAY), SW.ACCESS_DENIED)
    require(_is_month_day(frame.data), SW.BAD_DATA)
    account.starting_day = frame.data
    file.content = account.to_bytes()
    chip.changed = True
    return b""


def _is_month_day(raw: bytes) -> bool:
    try:
        datetime.datetime.strptime("2024" + raw.hex(), "%Y%m%d")
    except ValueError:
        return False
    return True


def _is_get_day(frame: Frame) -> bool:
    return frame.p1 == 0x01


COMMANDS: dict[tuple[int, int], Command] = {
    (0xB0, 0x28): Command(
        initialize,
        lambda f: f.p1 in (0, 1) and f.p2 == 1,
        lambda f: len(f.data) == (0x13 if f.p1 else 0x0B),
    ),
    (0xB0, 0x2A): Command(credit, lambda f: (f.p1, f.p2) == (0, 0), lambda f: len(f.data) == 0x0B),
    (0xB0, 0x2C): Command(debit, lambda f: (f.p1, f.p2) == (1, 0), lambda f: len(f.data) == 0x0F),
    (0xB0, 0x26): Command(
        get_balance, lambda f: f.p1 == 0 and f.p2 in (1, 2, 3), lambda f: True, is_outgoing=lambda f: True
    ),
    (0xB0, 0x2E): Command(get_proof, lambda f: f.p1 == 0, lambda f: len(f.data) == 2),
    (0xB0, 0x56): Command(
        starting_day,
        lambda f: f.p1 in (0, 1) and f.p2 == 0,
        lambda f: f.p1 == 1 or len(f.data) == 2,
        is_outgoing=_is_get_day,
    ),
}
