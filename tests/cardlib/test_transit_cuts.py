"""The purse when power goes: money is never lost and never doubled, whatever was cut off and whenever."""

import contextlib
import datetime
import itertools
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import CardRemovedError
from cardlib.transit import TransactionUnresolvedError
from cardlib.transit_journal import TransitJournal
from cardlib.transit_records import rail_entry, single_ride
from simulators.card import CardStore, Faults, SimCard
from simulators.contactless import ContactlessCard
from tests.cardlib.transit import FARE, LOAD_TERMINAL, RIDE, Bank, insert, keys, place, psam, sale, stand

NAMES = stand.NAMES
FACES = [pytest.param(SimCard, id="contact"), pytest.param(ContactlessCard, id="field")]


def torn_at(card: SimCard, where: str, count: int) -> None:
    card.faults = Faults(**{f"tear_{where}": count})


def cuts(attempt) -> int:
    """Run `attempt(where, n)` for a power cut at every command, until one run needs no more commands."""
    for n in itertools.count(1):
        finished = [attempt(where, n) for where in ("before", "after")]
        if all(finished):
            return n - 1
    raise AssertionError


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["purchase", "composite"])
@pytest.mark.parametrize("is_psam_alive", [True, False])
@pytest.mark.parametrize("face", FACES)
def test_purchase_torn_after_every_command(name, kind, is_psam_alive, face, tmp_path):
    def attempt(where: str, n: int) -> bool:
        store = CardStore(tmp_path / f"{where}{n}.json")
        card = face(stand.state(name), store=store)
        journal, sam, path = None, psam(name), tmp_path / f"{where}{n}.jsonl"
        torn_at(card, where, n)
        journal = TransitJournal(path)
        is_torn = False
        for _ in range(2):
            try:
                purse = insert(card)
                trip = rail_entry(place(2, 5), purse.process()) if kind == "composite" else None
                receipt = purse.pay(sale(trip=trip), sam, journal)
                break
            except CardRemovedError:
                is_torn = True
                card, journal = face(store.load(), store=store), TransitJournal(path)
                sam = sam if is_psam_alive else psam(name, sequence=0x200)
        card.faults = Faults()
        state = card.state.neighbours.transit
        assert (state.balance, state.offline) == (10000 - FARE, 0x11), f"{where} {n}"
        assert [r.transaction.reference for r in journal.receipts] == ["1"]
        assert journal.unresolved == []
        assert keys(name).is_genuine(receipt)
        assert receipt.is_verified is (None if receipt.is_recovered and not is_psam_alive else True)
        assert len(state.trips) == (1 if kind == "composite" else 0)
        assert insert(card).pay(sale(), sam, journal) == receipt, "the same sale again costs nothing"
        assert store.load().neighbours.transit.balance == 10000 - FARE
        return not is_torn

    # No GET RESPONSE in the field: an answer comes with its command.
    assert cuts(attempt) >= (9 if kind == "composite" else 5) - 2 * (face is ContactlessCard)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(1, 24)), max_size=6), st.booleans())
def test_cuts_while_recovering_from_cuts(faults, is_load):
    """However often power goes, also in the middle of looking into what happened: one fare, one receipt."""
    card, journal, sam, bank = stand.card("3DES"), TransitJournal(), psam("3DES"), Bank("3DES")
    card._rng = secrets.token_bytes
    for where, count in [*faults, ("before", 99)]:
        torn_at(card, where, count)
        with contextlib.suppress(CardRemovedError):
            purse = insert(card)
            if is_load:
                purse.load("1", FARE, LOAD_TERMINAL, bank, journal)
            else:
                purse.pay(sale(trip=single_ride(place(1, 1))), sam, journal)
    state = card.state.neighbours.transit
    assert state.balance == 10000 + (FARE if is_load else -FARE)
    assert len(journal.receipts) == 1
    assert journal.unresolved == []
    assert bank.account == 50000 - (FARE if is_load else 0)
    assert len(state.trips) == (0 if is_load else 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("face", FACES)
def test_load_torn_after_every_command(name, face, tmp_path):
    """The host's own power goes with the terminal's: its ledger is read anew."""

    def attempt(where: str, n: int) -> bool:
        store, loads = CardStore(tmp_path / f"{where}{n}.json"), tmp_path / f"{where}{n}.loads"
        card, bank = face(stand.state(name), store=store), Bank(name, path=loads)
        before, journal, path = bank.total(card), None, tmp_path / f"{where}{n}.jsonl"
        torn_at(card, where, n)
        journal = TransitJournal(path)
        is_torn = False
        for _ in range(2):
            try:
                receipt = insert(card).load("L1", 5000, LOAD_TERMINAL, bank, journal)
                break
            except CardRemovedError:
                is_torn = True
                card, journal, bank = face(store.load(), store=store), TransitJournal(path), Bank(name, path=loads)
                assert bank.total(card) in (before, before + 5000), "until it is resolved the host holds the money too"
        assert bank.total(card) == before - 5000 + card.state.neighbours.transit.balance - 10000
        assert (card.state.neighbours.transit.balance, bank.account, bank.aside) == (15000, 45000, 0)
        assert (bank.booked, len(journal.receipts)) == (5000, 1)
        assert journal.unresolved == []
        assert receipt.tac
        return not is_torn

    assert cuts(attempt) >= (4 if face is SimCard else 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("face", FACES)
def test_change_of_limit_torn_after_every_command(name, face, tmp_path):
    def attempt(where: str, n: int) -> bool:
        store, loads = CardStore(tmp_path / f"{where}{n}.json"), tmp_path / f"{where}{n}.loads"
        card, path = face(stand.state(name), store=store), tmp_path / f"{where}{n}.jsonl"
        torn_at(card, where, n)
        is_torn = False
        for _ in range(2):
            bank, journal = Bank(name, path=loads), TransitJournal(path)
            try:
                receipt = insert(card).set_overdraft_limit("O1", 700, LOAD_TERMINAL, bank, journal)
                break
            except CardRemovedError:
                is_torn = True
                card = face(store.load(), store=store)
        state = card.state.neighbours.transit
        assert (state.overdraft_limit, state.balance, state.online) == (700, 10000, 4)
        assert (len(journal.receipts), journal.unresolved, bank.aside) == (1, [], 0)
        assert receipt.tac
        return not is_torn

    assert cuts(attempt) >= 3


def elsewhere(card: SimCard, count: int, name: str = "3DES") -> None:
    """The purse is used at another terminal meanwhile."""
    other, book = psam(name, "T2", 0x900), TransitJournal()
    for number in range(count):
        insert(card).pay(sale(f"x{number}", 10, moment=RIDE + datetime.timedelta(minutes=number)), other, book)


def debit_cut(where: str) -> tuple:
    card, journal, sam = stand.card("3DES"), TransitJournal(), psam("3DES")
    purse = insert(card)
    original = purse._channel._channel.transmit

    def transmit(command: bytes) -> bytes:
        if command[1] == 0x54:
            if where == "after":
                original(command)
            card.power_off()
            raise CardRemovedError("torn")
        return original(command)

    purse._channel._channel.transmit = transmit
    with pytest.raises(CardRemovedError):
        purse.pay(sale(), sam, journal)
    return card, journal, sam


@pytest.mark.parametrize(("where", "charged"), [("before", 0), ("after", 1)])
def test_the_log_decides_when_the_purse_was_used_elsewhere(where, charged):
    """The proof is of the other terminal's purchase now, with the very number ours would have had."""
    card, journal, sam = debit_cut(where)
    elsewhere(card, 1)
    purse = insert(card)
    receipt = purse.recover(journal, sam)
    assert (receipt is not None) == bool(charged)
    assert journal.unresolved == []
    if receipt:
        assert (receipt.tac, receipt.is_verified, receipt.is_recovered) == ("", None, True)
    assert purse.balance().available == 10000 - 10 - FARE * charged
    purse.pay(sale(), sam, journal)
    assert purse.balance().available == 10000 - 10 - FARE


def test_a_log_that_has_gone_on_leaves_the_decision_to_clearing():
    card, journal, sam = debit_cut("after")
    elsewhere(card, 10)
    with pytest.raises(TransactionUnresolvedError):
        insert(card).pay(sale("2"), sam, journal)
    assert len(journal.unresolved) == 1


def test_a_refused_get_response_is_no_refused_debit():
    """6108 says that the purse was charged; an error after it must not be read as 'nothing happened'."""
    card, journal, sam = stand.card("3DES"), TransitJournal(), psam("3DES")
    purse = insert(card)
    reader = purse._channel._channel
    original, debited = reader.transmit, []

    def transmit(command: bytes) -> bytes:
        if command[1] == 0x54:
            debited.append(command)
        elif command[1] == 0xC0 and len(debited) == 1:
            debited.append(command)
            return b"\x6f\x00"
        return original(command)

    reader.transmit = transmit
    receipt = purse.pay(sale(), sam, journal)
    assert (receipt.is_recovered, receipt.is_verified) == (True, True)
    assert purse.balance().available == 9800
