"""The medical account: every byte of the vectors through host code, and money under power cuts at every command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from apdu.errors import AccessDeniedError, StatusWordError
from cardlib.codec import CodecError
from cardlib.driver import error_answer
from cardlib.errors import CardMismatchError
from cardlib.failures import FailureCode, failure_of
from cardlib.medical import (
    KeyPurchase,
    MedicalAccount,
    PendingTransaction,
    PsamPurchase,
    PurchaseAuthority,
    Receipt,
    TransactionUnresolvedError,
)
from cardlib.psam import PsamAuthenticator
from cardlib.session import SocialSecurityCard
from hsm.api import BadInputError, KeyPurposeError
from hsm.soft import SoftKeyService
from hsm.transactions import CryptogramError, Load, TransactionKeys
from hsm.transactions import transaction_keys as account_side
from simulators.card import Algorithm, CardGone, CardState, Faults, SimCard
from simulators.psam import SimPsam
from tests.cardlib.support import key_service_of
from tests.simulators.support import BOTH, FixedRandom, algorithm_of, of_kind, vector_roots, vector_state

TERMINAL = "990100000001"
NOW = datetime(2026, 3, 16, 10, 15)
AMOUNTS = (4000, 1000, 5000)


@cache
def keys() -> SoftKeyService:
    return key_service_of(vector_roots())


@cache
def transaction_keys() -> TransactionKeys:
    return account_side(keys())


def state(algorithm: Algorithm, account: str = "", pin: str = "") -> CardState:
    found = vector_state(algorithm, pin=pin, balance=15000)
    if account:
        next(df for df in found.dfs if df.fid == 0xDF04).ef(0x0002).content = bytes.fromhex(account)  # type: ignore[union-attr]
    return found


def opened(card: SimCard) -> tuple[SocialSecurityCard, MedicalAccount]:
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    return session, MedicalAccount(session)


def by_keys(numbers: Callable[[], int] = lambda: 0x2A) -> PurchaseAuthority:
    return KeyPurchase(transaction_keys(), TERMINAL, numbers)


def by_psam() -> PurchaseAuthority:
    psam = SimPsam(vector_roots(), region="990100", terminal_number=TERMINAL, counter=0x2A)
    psam.power_on()
    return PsamPurchase(PsamAuthenticator(psam))


def ignore(_pending: PendingTransaction) -> None:
    pass


class Recorder:
    """The commands and answers that crossed it, GET RESPONSE joined to its command."""

    def __init__(self, card: SimCard) -> None:
        self._card = card
        self.commands: list[str] = []
        self.answers: list[str] = []

    def transmit(self, command: bytes) -> bytes:
        answer = self._card.transmit(command)
        if command[1] == 0xC0:
            self.answers[-1] = answer.hex().upper()
        else:
            self.commands.append(command.hex().upper())
            self.answers.append(answer.hex().upper())
        return answer


def without_le(command: str) -> str:
    return command[: 10 + 2 * int(command[8:10], 16)]


# -- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", of_kind("load"), ids=lambda vector: vector["id"])
def test_load_vectors(vector: dict[str, Any]) -> None:
    account = "0001000300001388000000000000000000000101"
    card = SimCard(state(algorithm_of(vector), account), rng=FixedRandom(vector["random"]))
    line = Recorder(card)
    session = SocialSecurityCard(line, card.power_on())
    session.open()
    receipt = MedicalAccount(session).load(10000, transaction_keys(), TERMINAL, datetime(2025, 3, 15, 9, 30), ignore)
    assert line.commands[-2:] == [without_le(vector[name]) for name in ("init_capdu", "credit_capdu")]
    assert line.answers[-2:] == [vector["init_response"], vector["credit_response"]]
    assert receipt.tac.hex().upper() == vector["TAC"]
    assert isinstance(receipt.transaction, Load)
    assert receipt.transaction.mac1_message.hex().upper() == vector["mac1_data"]
    assert receipt.transaction.tac_message.hex().upper() == vector["tac_data"]


@pytest.mark.parametrize("authority", [by_keys, by_psam])
@pytest.mark.parametrize("vector", of_kind("purchase"), ids=lambda vector: vector["id"])
def test_purchase_vectors(vector: dict[str, Any], authority: Callable[[], PurchaseAuthority]) -> None:
    account = "0002000300003A98000007D00000177020250101"
    card = SimCard(state(algorithm_of(vector), account), rng=FixedRandom(vector["random"]))
    line = Recorder(card)
    session = SocialSecurityCard(line, card.power_on())
    session.open()
    medical = MedicalAccount(session)
    pending: list[PendingTransaction] = []
    medical.purchase(AMOUNTS, authority(), datetime(2025, 3, 16, 10, 15), pending.append, keys=transaction_keys())
    assert line.commands[-2:] == [without_le(vector[name]) for name in ("init_capdu", "debit_capdu")]
    assert line.answers[-2:] == [vector["init_response"], vector["debit_response"]]
    after = medical.balances()
    assert (after.balance, after.self_paid_total, after.pooling_total) == (11000, 3000, 11000)
    assert (after.payment_year, after.starting_day) == ("2025", "0101")
    receipt = medical.recover(pending[0], transaction_keys())
    assert line.commands[-1] == without_le(vector["proof_capdu"])
    assert line.answers[-1] == vector["proof_response"]
    assert receipt is not None
    assert receipt.tac.hex().upper() == vector["TAC"]


# -- power cuts -------------------------------------------------------------------------------------------------------

Act = Callable[[MedicalAccount, Callable[[PendingTransaction], None]], Receipt]


def load_100(medical: MedicalAccount, journal: Callable[[PendingTransaction], None]) -> Receipt:
    return medical.load(10000, transaction_keys(), TERMINAL, NOW, journal)


def pay_40(medical: MedicalAccount, journal: Callable[[PendingTransaction], None]) -> Receipt:
    return medical.purchase(AMOUNTS, by_keys(), NOW, journal, keys=transaction_keys())


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize(("act", "change"), [(load_100, 10000), (pay_40, -4000)])
@pytest.mark.parametrize("where", ["tear_before", "tear_after"])
def test_money_is_never_lost_or_doubled(algorithm: Algorithm, act: Act, change: int, where: str) -> None:
    """Torn at every command in turn; the next insertion tells, and doing it again where it had not happened ends right.

    The books of the centre move exactly when a receipt exists, so card and books must agree each time.
    """
    tears = 0
    for command in range(1, 20):
        card = SimCard(state(algorithm))
        _, medical = opened(card)
        card.faults = Faults(**{where: command})
        pending: list[PendingTransaction] = []
        books = 15000
        try:
            act(medical, pending.append)
            is_torn = False
            books += change
        except CardGone:
            is_torn = True
            tears += 1
        card.faults = Faults()
        _, medical = opened(card)
        if is_torn:
            stored = [PendingTransaction.from_json(each.to_json()) for each in pending]
            receipt = medical.recover(stored[0], transaction_keys()) if stored else None
            if receipt is None:
                assert medical.balances().balance == books
                act(medical, ignore)
            books += change
        assert medical.balances().balance == books, command
        if not is_torn:
            break
    # SELECT, INITIALIZE, GET RESPONSE, CREDIT or DEBIT, GET RESPONSE
    assert tears == 5


def interrupted(act: Act, *, is_done: bool, pin: str = "") -> tuple[SimCard, PendingTransaction]:
    """A card torn at the last command of a transaction, before or after it was executed."""
    card = SimCard(state(Algorithm.SM4, pin=pin))
    session, medical = opened(card)
    if pin:
        session.verify_pin(pin)
    card.faults = Faults(tear_after=4) if is_done else Faults(tear_before=4)
    pending: list[PendingTransaction] = []
    with pytest.raises(CardGone):
        act(medical, pending.append)
    card.faults = Faults()
    return card, pending[0]


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("act", [load_100, pay_40])
def test_a_later_transaction_does_not_hide_what_happened(act: Act, is_done: bool) -> None:
    """The proof is of the last transaction alone: counter and log decide (another terminal was faster)."""
    card, pending = interrupted(act, is_done=is_done)
    _, medical = opened(card)
    other = KeyPurchase(transaction_keys(), "990100000077", lambda: 7)
    for _ in range(2):
        medical.load(1, transaction_keys(), "990100000077", NOW, ignore)
        medical.purchase((1, 0, 0), other, NOW, ignore)
    receipt = medical.recover(pending, transaction_keys())
    assert (receipt is not None) == is_done
    assert receipt is None or receipt.is_from_log


def test_a_log_that_no_longer_reaches_back_says_so() -> None:
    card, pending = interrupted(pay_40, is_done=True)
    _, medical = opened(card)
    for _ in range(31):
        medical.purchase((1, 0, 0), by_keys(), NOW, ignore)
    with pytest.raises(TransactionUnresolvedError):
        medical.recover(pending, transaction_keys())


def test_recovery_of_another_card_is_refused() -> None:
    _, pending = interrupted(pay_40, is_done=True)
    other = state(Algorithm.SM4)
    issuer = next(ef for ef in other.dfs[0].efs if ef.fid == 0xEF05)
    issuer.records = [r.replace(b"A00000011", b"B00000027") for r in issuer.records]
    with pytest.raises(CardMismatchError):
        opened(SimCard(other))[1].recover(pending, transaction_keys())


def test_recovery_of_a_done_transaction_needs_no_pin_and_of_an_undone_one_does() -> None:
    card, pending = interrupted(pay_40, is_done=True, pin="123456")
    assert opened(card)[1].recover(pending, transaction_keys()) is not None
    card, pending = interrupted(pay_40, is_done=False, pin="123456")
    session, medical = opened(card)
    with pytest.raises(AccessDeniedError):
        medical.recover(pending, transaction_keys())
    session.verify_pin("123456")
    assert medical.recover(pending, transaction_keys()) is None


# -- what must not pass -----------------------------------------------------------------------------------------------


def test_nothing_moves_when_the_journal_cannot_keep_it() -> None:
    _, medical = opened(SimCard(state(Algorithm.SM4)))

    def full(_pending: PendingTransaction) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        pay_40(medical, full)
    assert medical.balances().balance == 15000


@pytest.mark.parametrize("position", [0, 4, 8, 12, 15])
def test_a_changed_answer_never_loads(position: int) -> None:
    """Balance, counter, random, MAC1 in turn: MAC2 is only given for what the card itself signed."""
    card = SimCard(state(Algorithm.SM4))

    class Flip:
        def transmit(self, command: bytes) -> bytes:
            answer = card.transmit(command)
            if command[:2] == b"\x00\xc0" and len(answer) == 18:
                answer = answer[:position] + bytes((answer[position] ^ 1,)) + answer[position + 1 :]
            return answer

    session = SocialSecurityCard(Flip(), card.power_on())
    session.open()
    with pytest.raises((CryptogramError, BadInputError)):
        load_100(MedicalAccount(session), ignore)
    assert opened(card)[1].balances().balance == 15000


@pytest.mark.parametrize("act", [load_100, pay_40])
def test_a_false_cryptogram_at_the_end_is_noticed_and_recoverable(act: Act) -> None:
    card = SimCard(state(Algorithm.TRIPLE_DES))
    _, medical = opened(card)
    pending: list[PendingTransaction] = []

    def journal(transaction: PendingTransaction) -> None:
        pending.append(transaction)
        card.faults = Faults(wrong_mac=True)

    with pytest.raises(CryptogramError) as wrong:
        act(medical, journal)
    assert failure_of(wrong.value) is FailureCode.SECURE_MESSAGING_FAILED
    with pytest.raises(CryptogramError):
        medical.recover(pending[0], transaction_keys())
    card.faults = Faults()
    assert medical.recover(pending[0], transaction_keys()) is not None


def test_refusals_keep_their_words() -> None:
    _, medical = opened(SimCard(state(Algorithm.SM4)))
    with pytest.raises(StatusWordError) as poor:
        medical.purchase((15001, 0, 0), by_keys(), NOW, ignore)
    assert (poor.value.sw, poor.value.failure) == (0x9401, "BALANCE_INSUFFICIENT")
    assert error_answer(poor.value)[0] == -0x9401
    with pytest.raises(StatusWordError) as index:
        medical.purchase((1, 0, 0), by_keys(), NOW, ignore, index=3)
    assert index.value.sw == 0x9403
    with pytest.raises(CodecError):
        medical.load(1 << 32, transaction_keys(), TERMINAL, NOW, ignore)


def test_starting_day() -> None:
    _, medical = opened(SimCard(state(Algorithm.SM4)))
    medical.set_starting_day("0701", keys())
    assert medical.balances().starting_day == "0701"
    with pytest.raises(CodecError):
        medical.set_starting_day("0231", keys())


@pytest.mark.parametrize("junk", [{}, {"kind": "gift"}, {"kind": "load", "fields": {}}])
def test_what_is_no_pending_transaction_is_refused(junk: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        PendingTransaction.from_json(junk)


def test_each_key_serves_its_own_act_only() -> None:
    session, _ = opened(SimCard(state(Algorithm.SM4)))
    load = Load(bytes(4), 0, 0, 1, bytes(6), bytes(7))
    for wrong in ("DPK", "DTK", "STK"):
        with pytest.raises(KeyPurposeError):
            transaction_keys().load_mac2(session.ref(wrong, keys()), session.factors, load, bytes(4))
    with pytest.raises(KeyPurposeError):
        transaction_keys().check_tac(session.ref("DLK", keys()), session.factors, load, bytes(4))
