"""The purse session against the vectors; what happens when power goes stands in test_transit_cuts.py."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import CardBlockedError, CardRemovedError, NotFoundError, StatusWordError
from cardlib.errors import CardDataError, CardMismatchError, CardNotGenuineError
from cardlib.psam import PsamError
from cardlib.transit import Sale, TransitPurse
from cardlib.transit_host import LoadState
from cardlib.transit_journal import JournalError, Receipt, TransitJournal
from cardlib.transit_psam import SamRequest
from cardlib.transit_reader import PurseUnusableError
from cardlib.transit_records import (
    LogEntry,
    Management,
    PurseIdentity,
    Trip,
    TripContext,
    rail_entry,
    rail_exit,
    single_ride,
)
from simulators.card import SimCard
from tests.cardlib.transit import (
    LOAD_TERMINAL,
    RIDE,
    Bank,
    insert,
    pending_of,
    place,
    psam,
    sale,
    stand,
    when,
)
from tests.simulators.support import vectors

NAMES = stand.NAMES


# ---- the worked day, byte for byte


@pytest.mark.parametrize("name", NAMES)
def test_the_worked_day_byte_for_byte(name):
    """Purchase, metro entry, metro exit, load and bus ride through the session give the vectors' own commands."""
    steps = [stand.of(name)[step] for step in ("purchase", "entry", "exit", "load", "torn")]
    randoms = [s["init_rapdu"][16:24] if s["id"] == "load-5000" else s["init_rapdu"][22:30] for s in steps]
    card = stand.card(name, *randoms)
    purse = insert(card)
    assert purse.identity.face_number == stand.META["app_serial"][-19:]
    journal, bank = TransitJournal(), Bank(name)
    t1, t2 = psam(name), psam(name, "T2", 0x777)
    assert (t1.key_index, t2.key_index) == (1, 1)
    plans = {
        "composite-entry": lambda: rail_entry(place(2, 5), purse.process()),
        "composite-exit": lambda: rail_exit(place(2, 0x11), purse.process()),
        "torn-bus-100": lambda: single_ride(place(0x17, 9, industry=2)),
    }
    for step in steps:
        pending = pending_of(name, {"composite": "entry", "torn": "torn"}.get(step["id"].split("-")[0], "purchase"))
        sent, asked = purse._channel._channel.sent, {}
        for terminal in (t1, t2):
            asked[terminal] = terminal._channel._channel.sent
            asked[terminal].clear()
        if step["id"] == "load-5000":
            sent.clear()
            receipt = purse.load(step["id"], 5000, LOAD_TERMINAL, bank, journal)
            expected = [step["init_capdu"][:-2], step["credit_capdu"][:-2]]
            assert receipt.tac.upper() == step["TAC"]
        else:
            moment = when(step["debit_capdu"][18:32])
            plan = plans.get(step["id"], lambda: None)()
            sent.clear()
            terminal = t2 if step["id"] == "composite-exit" else t1
            receipt = purse.pay(Sale(step["id"], int(step["init_capdu"][12:20], 16), moment, plan), terminal, journal)
            caches = [update["capdu"] for update in step["update_cache"]]
            expected = [step["init_capdu"][:-2], *caches, step["debit_capdu"][:-2]]
            said = [command.hex().upper() for command in asked[terminal]]
            assert said[-3:] == [step["sam_init_capdu"][:-2], "00C0000008", step["sam_credit_capdu"]]
            assert (receipt.tac.upper(), receipt.is_verified) == (step["TAC"], True)
        told = [command.hex().upper() for command in sent if command[1] in (0x50, 0x52, 0x54, 0xDC)]
        assert told == expected, pending
        assert purse.balance().available == step["balance_after"]
        assert purse.prove(receipt.transaction.kind, receipt.transaction.number)[1].hex().upper() == step["TAC"]
    assert purse.process().hex().upper() == stand.RECORDS["ef1a_exit"]
    trips = [stand.RECORDS[name] for name in ("ef1e_bus", "ef1e_exit", "ef1e_entry")]
    assert [trip.to_bytes().hex().upper() for trip in purse.trips()] == trips
    assert [(entry.number, entry.type) for entry in purse.log()] == [(20, 9), (4, 2), (19, 9), (18, 9), (17, 6)]
    assert purse.management() == Management("9900", "9901", True, 1)


def test_entry_and_exit_records_are_the_vectors():
    first = bytes.fromhex("27017D0101").ljust(128, b"\0")
    context = TripContext("099900000001", bytes.fromhex("00000101"), "20250316080730", 0, 9800)
    process, trip = rail_entry(place(2, 5), first)(context)
    assert process.data.hex().upper() == stand.RECORDS["ef1a_entry"]
    assert trip.data.hex().upper() == stand.RECORDS["ef1e_entry"]
    context = TripContext("099900000002", bytes.fromhex("00000777"), "20250316083945", 300, 9800)
    process, trip = rail_exit(place(2, 0x11), process.data)(context)
    assert process.data.hex().upper() == stand.RECORDS["ef1a_exit"]
    assert trip.data.hex().upper() == stand.RECORDS["ef1e_exit"]
    with pytest.raises(CardDataError):
        rail_exit(place(2, 0x11), bytes(128))(context)


# ---- refusals


def test_a_wrong_mac2_is_kept_as_suspicious():
    card, journal, sam = stand.card("3DES"), TransitJournal(), psam("3DES")
    purse = insert(card)
    reader = purse._channel._channel
    original = reader.transmit

    def transmit(command: bytes) -> bytes:
        answer = original(command)
        return answer[:7] + bytes((answer[7] ^ 1,)) + answer[8:] if command == bytes.fromhex("00C0000008") else answer

    reader.transmit = transmit
    for _ in range(2):
        with pytest.raises(CardNotGenuineError):
            purse.pay(sale(), sam, journal)
    assert [r.is_verified for r in journal.receipts] == [False]
    assert purse.balance().available == 9800


def test_a_psam_that_gives_a_wrong_mac1_charges_nothing():
    sam, journal = psam("3DES"), TransitJournal()
    sam.initialize = lambda request: (b"\0\0\1\0", b"\0\0\0\0")
    purse = insert(stand.card("3DES"))
    with pytest.raises(StatusWordError, match="9302"):
        purse.pay(sale(), sam, journal)
    assert (journal.unresolved, journal.receipts) == ([], [])
    assert purse.balance().available == 10000


def test_no_money_no_purchase_and_no_trace():
    purse, journal = insert(stand.card("SM4", balance=100)), TransitJournal()
    with pytest.raises(StatusWordError, match="9401"):
        purse.pay(sale(), psam("SM4"), journal)
    assert journal.unresolved == []


def test_a_sale_belongs_to_one_purse():
    journal, sam = TransitJournal(), psam("3DES")
    insert(stand.card("3DES")).pay(sale(), sam, journal)
    other = stand.state("3DES")
    public = bytearray(other.neighbours.transit.public)
    public[19] ^= 1
    other.neighbours.transit.public = bytes(public)
    with pytest.raises(CardMismatchError):
        insert(SimCard(other)).pay(sale(), sam, journal)


def test_a_forged_load_request_is_refused_and_freed():
    name, journal = "3DES", TransitJournal()
    bank, state = Bank(name), stand.state(name)
    state.neighbours.transit.dlk = bytes(16)
    purse = insert(SimCard(state))
    with pytest.raises(CardNotGenuineError):
        purse.load("L1", 5000, LOAD_TERMINAL, bank, journal)
    assert purse.recover_load(journal, bank) is None
    assert (bank.account, journal.unresolved) == (50000, [])


# ---- what the purse says of itself


@pytest.mark.parametrize(
    ("offset", "value", "said"), [(9, 0, "activated"), (20, 0x21, "from"), (24, 0x19, "from"), (None, 4, "test card")]
)
def test_unusable_purses(offset, value, said):
    state = stand.state("3DES")
    name = "management" if offset is None else "public"
    raw = bytearray(getattr(state.neighbours.transit, name))
    raw[10 if offset is None else offset] = value
    setattr(state.neighbours.transit, name, bytes(raw))
    purse, journal = insert(SimCard(state)), TransitJournal()
    with pytest.raises(PurseUnusableError, match=said):
        purse.pay(sale(), psam("3DES"), journal)
    if offset is None:
        purse.pay(sale(), psam("3DES"), journal, allows_test_cards=True)


@pytest.mark.parametrize("name", NAMES)
def test_block_a_purse_of_the_black_list(name):
    purse = insert(stand.card(name))
    purse.block(psam(name))
    with pytest.raises(CardBlockedError):
        purse.balance()
    with pytest.raises(CardBlockedError):
        purse.open()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("act", "header"), [("block", "841E0000"), ("block_permanent", "841E0001"), ("unblock", "84180000")]
)
def test_maintenance_macs_of_the_psam(name, act, header):
    sam, block = psam(name), stand.of(name)["app_block"]
    numbers = (int(stand.of(name)["algorithm_id"], 16), bytes.fromhex(stand.META["serial_factor"]), stand.ISSUER)
    mac = sam.command_mac(*numbers, bytes.fromhex(block["challenge"]), bytes.fromhex(header))
    assert mac.hex().upper() == block[act]["MAC"]
    sent = [command.hex().upper() for command in sam._channel._channel.sent]
    assert sent[-3:-1] == [block["sam_init"], block[act]["sam_calc"]]


def test_cards_without_a_purse_and_psams_without_the_application():
    state = stand.state("3DES")
    state.neighbours.transit = None
    with pytest.raises(NotFoundError):
        insert(SimCard(state))
    sam = psam("3DES")
    sam._channel._channel.transmit = lambda command: b"\x6a\x82" if command[:4] == b"\0\xa4\0\0" else b"\x90\0"
    with pytest.raises(PsamError):
        _ = sam.key_index


def test_one_level_psam_is_found_out():
    sam = psam("3DES", levels=1)
    for number in range(2):
        insert(stand.card("3DES")).pay(sale(str(number)), sam, TransitJournal())
    sent = [command[4] for command in sam._channel._channel.sent if command[1] == 0x70]
    assert sent == [0x24, 0x1C, 0x1C], "the level is remembered"
    with pytest.raises(StatusWordError):
        sam.initialize(SamRequest(bytes(4), 0, 1, 6, bytes(7), 9, 0, bytes(8), bytes(8)))


@pytest.mark.parametrize("vector", vectors("vectors_transit")["overdraft"][:2], ids=["before", "after"])
def test_overdraft_vectors(vector):
    purse = insert(stand.card("3DES", balance=vector["actual"], overdraft_limit=vector["limit"]))
    assert list(purse.balance().to_json().values()) == [int(vector[f"P1_0{n}"], 16) for n in range(4)]


def test_overdraft_is_told_apart():
    purse = insert(stand.card("3DES", balance=-200, overdraft_limit=1000))
    assert purse.balance().to_json() == {"available": 800, "overdraft_limit": 1000, "overdraft_used": 200, "actual": 0}


@pytest.mark.parametrize("name", NAMES)
def test_another_overdraft_limit(name):
    """Approved by the host on the purse's MAC1; one below what is overdrawn is refused by the purse and voided."""
    card, journal, bank = stand.card(name, balance=-200, overdraft_limit=1000), TransitJournal(), Bank(name)
    purse = insert(card)
    receipt = purse.set_overdraft_limit("O1", 1500, LOAD_TERMINAL, bank, journal)
    assert purse.balance().to_json() == {
        "available": 1300,
        "overdraft_limit": 1500,
        "overdraft_used": 200,
        "actual": 0,
    }
    assert (receipt.transaction.kind, receipt.transaction.limit_fen, receipt.is_verified) == (7, 1000, True)
    assert purse.set_overdraft_limit("O1", 1500, LOAD_TERMINAL, bank, journal) == receipt
    with pytest.raises(StatusWordError, match="6985"):
        purse.set_overdraft_limit("O2", 100, LOAD_TERMINAL, bank, journal)
    assert (journal.unresolved, bank.ledger.find(receipt.transaction).state) == ([], LoadState.BOOKED)
    assert (bank.account, purse.log()[0].type, purse.balance().overdraft_limit) == (50000, 7, 1500)
    for limit in (-1, 1 << 24):
        with pytest.raises(ValueError, match="range"):
            purse.set_overdraft_limit(str(limit), limit, LOAD_TERMINAL, bank, journal)


# ---- the journal


def test_journal_survives_a_torn_line_and_refuses_a_broken_one(tmp_path):
    path = tmp_path / "journal.jsonl"
    pending = pending_of("3DES", "purchase")
    journal = TransitJournal(path)
    journal.begin(pending)
    whole = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("ab") as file:
        file.write(b'{"act": "fin')
    again = TransitJournal(path)
    assert again.unresolved == [pending]
    assert path.read_bytes() == whole
    again.finish(Receipt(pending, "01020304", True))
    assert TransitJournal(path).receipts == [Receipt(pending, "01020304", True)]
    assert TransitJournal(path).unresolved == []
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(JournalError):
        TransitJournal(path)


@pytest.mark.parametrize("amount", [-1, 0, 0x80000000])
def test_sales_that_are_none(amount):
    with pytest.raises(ValueError, match="range"):
        Sale("1", amount, RIDE)


@settings(max_examples=80)
@given(st.binary(max_size=60))
def test_records_are_read_or_refused(raw):
    for kind in (PurseIdentity, Management, LogEntry, Trip):
        try:
            value = kind.from_bytes(raw)
        except CardDataError:
            continue
        if kind in (LogEntry, Trip):
            assert json.dumps(value.to_json())


def ending(act) -> Exception | None:
    try:
        act()
    except Exception as error:
        return error
    return None


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=2, max_size=60), min_size=1, max_size=30))
def test_any_card_ends_in_a_typed_error(answers):
    """Whatever a card says, a purchase never books more than the card confirmed, and never raises anything untyped."""

    class Babbler:
        def __init__(self) -> None:
            self.left = [bytes.fromhex(stand.META["fci"]), *answers]

        def transmit(self, command: bytes) -> bytes:
            if not self.left:
                raise CardRemovedError("gone")
            return self.left.pop(0)

    journal = TransitJournal()
    purse = TransitPurse(Babbler(), protocol="T=1")
    error = ending(lambda: purse.pay(sale(), psam("3DES"), journal))
    assert error is None or getattr(error, "failure", None), repr(error)
    assert len(journal.receipts) <= 1
