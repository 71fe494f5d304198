"""What a gate does with one card; whole days of many stand in test_transit_journeys.py."""

import errno
import os
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib import transit_journal
from cardlib.transit_clearing import Verdict, verdict_of
from cardlib.transit_gate import MAX_PENDING
from cardlib.transit_gate_result import Reason, State, words
from cardlib.transit_takings import TransitRefusal
from hsm.primitives import default_engine
from hsm.transit_transactions import SoftTransitTransactionKeys
from simulators.faults import Faults
from tests.cardlib.gate_stand import FARES, START, Gate, Time, card, purse, rules
from tests.cardlib.transit import Reader, RootsAtHand

ENTRY, EXIT, BUS = "metro_entry", "metro_exit", "bus_flat"


def gate(mode=BUS, station=5, path=None, time=None, **changes) -> Gate:
    return Gate(rules(mode, station, **changes), time or Time(), path=path)


def policy(**values) -> dict:
    return {"policy": values}


def entered(holder, time) -> None:
    assert gate(ENTRY, time=time).tap(holder).reason == "ENTRY"


# ---- what is said


def test_every_reason_has_a_state_and_words_that_fit_a_gate():
    assert set(words()) == set(Reason)
    for reason, (state, zh, en) in words().items():
        assert 0 < len(zh) <= 16, reason
        assert 0 < len(en) <= 40, reason
        assert isinstance(state, State)


@pytest.mark.parametrize(
    ("mode", "commands"),
    [(BUS, ["A4", "B0", "50", "DC", "54"]), (ENTRY, ["A4", "B0", "B2", "50", "DC", "DC", "54"])],
)
def test_the_fewest_commands(mode, commands):
    here, holder = gate(mode), Reader(card(purse(1)))
    sent = here.psam.sent
    sent.clear()
    assert here.gate.tap(holder, here.sam).state == "go"
    assert [f"{command[1]:02X}" for command in holder.sent] == commands
    assert [command[1] for command in sent if command[1] != 0xC0][-2:] == [0x70, 0x72]


def test_a_bus_that_needs_no_class_and_no_trip_record_takes_three_commands():
    here = gate(products=[], **policy(refuses_test_cards=False, writes_trip=False))
    holder = Reader(card(purse(1)))
    result = here.gate.tap(holder, here.sam)
    assert (len(holder.sent), result.amount_fen, result.records[0].payload.type) == (3, 200, 6)


def test_the_gate_opens_before_the_psam_has_looked_at_mac2():
    here, seen = gate(), []
    here.tap(card(purse(1)), lambda result: seen.append((result.reason, here.psam.sent[-1][1])))
    assert seen[0][0] == "PAID"
    assert seen[0][1] != 0x72
    assert here.psam.sent[-1][1] == 0x72


@pytest.mark.parametrize(
    ("kind", "items", "amount", "words_zh", "product"),
    [
        (1, {"joint-transport-free-ride"}, 200, "请通行", "plain"),
        (2, set(), 99, "学生半价", "student-half"),
        (3, {"joint-transport-free-ride"}, 0, "敬老免费", "senior-free"),
        (3, set(), 200, "请通行", "plain"),
        (9, set(), 200, "请通行", "plain"),
    ],
)
def test_discounts_hold_while_the_catalog_has_them(kind, items, amount, words_zh, product):
    here = gate()
    here.items.clear()
    here.items.update(items)
    result = here.tap(card(purse(1, passenger_class=kind)))
    told = here.told()[0]
    assert (result.amount_fen, result.words[0], told.product, told.fare_fen) == (amount, words_zh, product, 200)
    assert (told.amount_fen, told.passenger_class, told.is_verified) == (amount, kind, True)
    assert told.tac


def test_the_hour_at_which_a_trip_began_makes_its_fare():
    early = {"discounts": [{"begins": "00:00", "ends": "09:00", "percent": 70}]}
    time, holder = Time(passed_s=3590), card(purse(1, passenger_class=2))
    entered(holder, time)
    time.passed_s += 30
    assert gate(fares={"flat_fen": 200} | early, time=time).tap(card(purse(2))).amount_fen == 200
    assert gate(EXIT, 17, time=time, fares=FARES | early).tap(holder).amount_fen == 505 * 70 // 100 // 2 - 1


def test_purses_of_both_algorithms_in_turn():
    here, judge = gate(), SoftTransitTransactionKeys(RootsAtHand(default_engine()))
    for number, name in enumerate(("3DES", "SM4", "SM4", "3DES")):
        assert here.tap(card(purse(number, name))).reason == "PAID"
        told = here.told()[0]
        assert (told.is_verified, verdict_of(told, judge)) == (True, Verdict.GENUINE)


# ---- who is turned away


@pytest.mark.parametrize(
    ("part", "at", "value", "reason"),
    [
        ("public", 0, b"\x01\x00\x00\x00", "FOREIGN"),
        ("public", 9, b"\x00", "NOT_ACTIVE"),
        ("public", 24, b"\x20\x25", "EXPIRED"),
        ("public", 20, b"\x20\x27", "EXPIRED"),
        ("management", 10, b"\x04", "TEST_CARD"),
    ],
)
def test_purses_that_may_not_pay(part, at, value, reason):
    state = purse(1)
    raw = getattr(state, part)
    setattr(state, part, raw[:at] + value + raw[at + len(value) :])
    if reason == "FOREIGN":
        state.management = state.management[:8] + b"\0\0" + state.management[10:]
    here = gate()
    assert here.tap(card(state)).reason == reason
    assert here.told() == []


def test_issuers_and_classes_that_nobody_named():
    assert gate(issuers=[{"issuer": "01000000"}]).tap(card(purse(1))).reason == "ISSUER"
    assert gate(issuers=[{"issuer": "*", "key_index": 2}]).tap(card(purse(1))).reason == "ISSUER"
    strict = gate(**policy(unknown_class="refuse"))
    assert [strict.tap(card(purse(kind, passenger_class=kind))).reason for kind in (1, 3, 9)] == [
        "PAID",
        "FREE",
        "CLASS",
    ]


def test_a_purse_on_the_list_is_refused_locked_and_told():
    here, holder = gate(), card(purse(1))
    here.blocked.add(holder.state.neighbours.transit.public[10:20].hex())
    result = here.tap(holder)
    assert (result.state, result.words[0], holder.state.neighbours.transit.block) == ("stop", "此卡已挂失或停用", 1)
    refusal = result.records[-1].payload
    assert isinstance(refusal, TransitRefusal)
    assert (refusal.reason, refusal.is_locked) == ("BLOCKED", True)
    assert here.tap(holder).reason == "BLOCKED_CARD"


def test_a_list_that_only_suspects_locks_nobody():
    here, holder = gate(), card(purse(1))
    here.names_purses = False
    here.blocked.add(holder.state.neighbours.transit.public[10:20].hex())
    result = here.tap(holder)
    assert (result.reason, result.records[-1].payload.is_locked, holder.state.neighbours.transit.block) == (
        "BLOCKED",
        None,
        0,
    )


@pytest.mark.parametrize("command", range(2, 6))
def test_a_lock_that_fails_is_still_a_refusal(command):
    here, holder = gate(), card(purse(1))
    here.blocked.add(holder.state.neighbours.transit.public[10:20].hex())
    holder.faults = Faults(tear_before=command)
    result = here.tap(holder)
    assert (result.reason, result.records[-1].payload.is_locked) == ("BLOCKED", command > 4)


def test_without_a_list_to_trust():
    for demand, reason in (("required", "BLOCK_LIST"), ("preferred", "PAID")):
        here = gate(**policy(block_list=demand))
        here.has_list = False
        assert here.tap(card(purse(1))).reason == reason


def test_too_little_money_is_told_with_what_is_needed():
    here, poor = gate(), card(purse(1, balance=199))
    result = here.tap(poor)
    assert (result.reason, result.amount_fen) == ("BALANCE", 200)
    least = gate(ENTRY, limits={"minimum_entry_fen": 300})
    result = least.tap(poor)
    assert (result.reason, result.amount_fen, result.balance_fen) == ("BALANCE", 300, 199)
    assert least.told() == here.told() == []


# ---- trips


def test_degraded_modes():
    time, rider = Time(), card(purse(1))
    free = gate(EXIT, 17, time=time, **policy(degraded=["entry_free"]))
    assert free.tap(rider).amount_fen == 300, "without an entry the lowest fare"
    entered(rider, time)
    time.passed_s += 20000
    assert gate(EXIT, 17, time=time).tap(rider).reason == "OVERTIME"
    result = gate(EXIT, 17, time=time, **policy(degraded=["date_free"])).tap(rider)
    assert (result.reason, result.amount_fen) == ("EXIT", 505)
    entered(rider, time)
    result = gate(EXIT, 17, time=time, **policy(degraded=["fare_free"])).tap(rider)
    assert (result.reason, result.amount_fen) == ("EXIT", 0)
    entered(rider, time)
    fire = policy(degraded=["emergency"])
    out = gate(EXIT, 17, time=time, **fire)
    assert (out.tap(rider).amount_fen, out.told()[0].mode) == (0, "emergency")
    assert gate(ENTRY, time=time, **fire).tap(rider).reason == "CLOSED"
    entered(rider, time)


def test_a_fare_that_nobody_set_opens_no_gate():
    time, rider = Time(), card(purse(1))
    entered(rider, time)
    fares = FARES | {"pairs": {"1:1-2:17": 400}}
    assert gate(EXIT, 17, time=time, fares=fares).tap(rider).reason == "FARE_UNKNOWN"


# ---- torn taps


@pytest.mark.parametrize("mode", [BUS, ENTRY, EXIT])
def test_torn_at_every_command_with_the_program_killed(mode, tmp_path):
    """One fare, one open gate, one record of what was paid; the journal's file is all that is left."""
    fare = {BUS: 200, ENTRY: 0, EXIT: 505}[mode]
    for where in ("before", "after"):
        for number in range(1, 9):
            time, holder, opened = Time(), card(purse(1)), []
            if mode == EXIT:
                entered(holder, time)
            before = holder.state.neighbours.transit.offline
            here = gate(mode, 17 if mode == EXIT else 5, tmp_path / f"{where}{number}", time)
            holder.faults = Faults(**{f"tear_{where}": number})
            first = here.tap(holder, opened.append)
            holder.faults = Faults()
            time.passed_s += 30
            here.restart()
            if first.reason == "REMOVED":
                assert first.words == ("请重新刷卡", "Please tap again")
                second = here.tap(holder, opened.append)
                assert second.state == "go"
                assert second.records[
                    -1
                ].payload.time == f"{START + timedelta(seconds=time.passed_s):%Y%m%d%H%M%S}" or (
                    second.reason == "RECOVERED"
                )
            state = holder.state.neighbours.transit
            assert (state.balance, state.offline, len(opened)) == (10000 - fare, before + 1, 1), (where, number)
            paid = [tap for tap in here.told() if tap.outcome in ("paid", "recovered")]
            assert [tap.amount_fen for tap in paid] == [fare]
            assert here.gate.undelivered() == ()


def torn(here, holder, where="after", number=5):
    holder.faults = Faults(**{f"tear_{where}": number})
    assert here.tap(holder).reason == "REMOVED"
    holder.faults = Faults()


def test_a_torn_tap_is_told_as_suspicious_once_and_then_as_what_it_was():
    for where, outcome in (("after", "recovered"), ("before", "void")):
        here, holder = gate(), card(purse(1))
        torn(here, holder, where)
        assert here.gate.overdue() == ()
        here.time.passed_s += 60
        assert [record.payload.outcome for record in here.gate.overdue()] == ["suspicious"]
        assert [tap.outcome for tap in here.told()] == ["suspicious"]
        assert here.gate.overdue() == ()
        assert here.tap(holder).reason == ("RECOVERED" if where == "after" else "PAID")
        told = here.told()
        assert told[0].outcome == outcome
        assert (told[0].tac is None) == (outcome == "void")


def test_new_fares_are_for_what_is_decided_by_them():
    time, tapped, other = Time(), card(purse(1)), card(purse(2))
    entered(tapped, time)
    entered(other, time)
    here = gate(EXIT, 17, time=time)
    torn(here, tapped, number=7)
    here.gate.replace(rules(EXIT, 17, fares=FARES | {"pairs": {"2:5-2:17": 700}}))
    said = here.tap(tapped), here.tap(other)
    assert [(result.reason, result.amount_fen) for result in said] == [("RECOVERED", 505), ("EXIT", 700)]
    assert [(tap.amount_fen, tap.fare_fen) for tap in here.told()] == [(505, 505), (700, 700)]


def test_a_torn_tap_whose_proof_is_forged_opens_nothing():
    here, holder = gate(), card(purse(1))
    torn(here, holder)
    said = here.gate.tap(Liar(holder, 2, bytes(8) + b"\x90\x00"), here.sam), here.tap(holder)
    assert [result.reason for result in said] == ["NOT_GENUINE"] * 2
    assert [(tap.outcome, tap.is_verified) for tap in here.told()] == [("suspicious", False)]


def test_what_was_paid_long_ago_opens_no_gate_but_is_told():
    here, holder = gate(), card(purse(1))
    torn(here, holder)
    here.time.passed_s += 700
    result = here.tap(holder)
    assert (result.reason, result.balance_fen) == ("PAID", 9600)
    assert sorted(tap.outcome for tap in here.told()) == ["paid", "recovered"]


def test_more_torn_purses_than_a_gate_waits_for():
    here = gate()
    holders = [card(purse(number)) for number in range(MAX_PENDING + 1)]
    for holder in holders:
        torn(here, holder)
    assert len(here.journal.unresolved) == MAX_PENDING
    assert [tap.outcome for tap in here.told()] == ["suspicious"]
    assert here.tap(holders[1]).reason == "RECOVERED"


# ---- what fails


def test_a_wrong_mac2_is_an_alarm_and_a_suspicious_record():
    here, holder = gate(), card(purse(1))
    holder.faults = Faults(wrong_mac=True)
    result = here.tap(holder)
    assert (result.state, result.is_alarm) == ("go", True)
    assert [(tap.outcome, tap.is_verified) for tap in here.told()] == [("suspicious", False)]
    holder.faults = Faults()
    here.time.passed_s += 60
    assert here.tap(holder).reason == "NOT_GENUINE", "not a second time"


def test_a_gate_that_waits_for_mac2_does_not_open_for_a_wrong_one():
    here, opened = gate(**policy(waits_for_mac2=True)), []
    forged = card(purse(1))
    forged.faults = Faults(wrong_mac=True)
    result = here.tap(forged, opened.append)
    assert (result.reason, result.is_alarm, opened) == ("NOT_GENUINE", True, [])
    assert [tap.outcome for tap in here.told()] == ["suspicious"]
    assert here.tap(card(purse(2)), opened.append).reason == "PAID"
    assert [tap.is_verified for tap in here.told()] == [True]


def test_a_psam_that_is_gone_charges_nothing_and_one_that_goes_after_the_debit_says_nothing():
    here, holder = gate(), card(purse(1))
    here.psam.is_gone = True
    result = here.tap(holder)
    assert (result.reason, result.is_alarm, holder.state.neighbours.transit.balance) == ("PSAM", True, 10000)
    here.psam.is_gone = False

    def pull(_result):
        here.psam.is_gone = True

    assert here.tap(holder, pull).reason == "PAID"
    assert [(tap.outcome, tap.is_verified) for tap in here.told()] == [("paid", None)]


def test_wrong_keys_of_the_psam_are_told_apart_from_those_of_one_card():
    here = gate()
    cards = [card(purse(number)) for number in range(3)]
    for holder in cards:
        holder.state.neighbours.transit.dpk = bytes(16)
    assert [here.tap(holder).reason for holder in cards] == ["NOT_GENUINE", "NOT_GENUINE", "PSAM"]
    assert [tap.outcome for tap in here.told()] == ["void"] * 3


@pytest.mark.parametrize("write", [1, 2])
def test_a_full_disk_shuts_the_gate_and_loses_no_money(write, tmp_path, monkeypatch):
    here, holder = gate(path=tmp_path / "j"), card(purse(1))
    writes = iter(range(1, 99))

    def append(path, text, *, is_urgent, real=transit_journal.append_text):
        if next(writes) == write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, text, is_urgent=is_urgent)

    monkeypatch.setattr(transit_journal, "append_text", append)
    opened = []
    assert here.tap(holder, opened.append).reason == "JOURNAL"
    assert not opened
    here.restart()
    assert here.tap(holder, opened.append).reason == ("PAID" if write == 1 else "RECOVERED")
    assert holder.state.neighbours.transit.balance == 9800


class Liar:
    """A card whose nth answer is something else."""

    def __init__(self, holder, number, answer):
        self._inner, self._left, self._answer = Reader(holder), number, answer

    def transmit(self, command):
        said = self._inner.transmit(command)
        self._left -= 1
        return self._answer if self._left == 0 else said


@settings(max_examples=120)
@given(
    st.sampled_from([BUS, ENTRY, EXIT, "bus_board", "bus_alight", "service_entry", "service_exit"]),
    st.integers(1, 9),
    st.binary(max_size=140),
    st.sampled_from([b"", b"\x90\x00"]),
    st.booleans(),
)
def test_whatever_a_card_answers_the_gate_says_something(mode, number, data, end, is_torn):
    here, holder = gate(mode, 17), card(purse(1))
    if is_torn and mode in (BUS, ENTRY):
        torn(here, holder, number=7 if mode == ENTRY else 5)
    result = here.gate.tap(Liar(holder, number, data + end), here.sam)
    assert isinstance(result.reason, Reason)
    assert here.tap(holder).reason in Reason
    here.told()


@settings(max_examples=120)
@given(
    st.sampled_from([ENTRY, EXIT, "bus_board", "bus_alight", "service_entry", "service_exit", BUS]),
    st.binary(min_size=126, max_size=126),
    st.binary(min_size=50, max_size=50),
    st.sampled_from([0, 1, 2, 3, 4]),
)
def test_whatever_stands_on_a_card_costs_at_most_the_longest_ride(mode, process, management, status):
    state = purse(1)
    for number in (1, 2):
        raw = bytes((0x27, number)) + process
        state.processes[number - 1] = raw[:14] + bytes((status,)) + raw[15:]
    state.management = state.management[:4] + management + state.management[54:]
    here, holder = gate(mode, 17), card(state)
    result = here.tap(holder)
    assert 10000 - state.balance <= 900
    assert all(len(record.key) == 32 for record in result.records)
    here.told()


# ---- clock


def test_a_clock_that_was_set_back_decides_nothing_until_the_centre_agrees():
    here, holder = gate(), card(purse(1))
    here.off_s = 5000
    assert here.tap(holder).state == "go"
    here.off_s, here.is_trusted = 0, False
    here.time.passed_s += 10
    assert here.tap(holder).reason == "CLOCK"
    here.is_trusted = True
    assert here.tap(holder).reason == "PAID"
    here.is_trusted = False
    here.time.passed_s += 10
    assert here.tap(holder).reason == "PAID", "the wrong time is forgotten"


def test_rules_have_their_days():
    assert gate(valid_until="2026-03-15").tap(card(purse(1))).reason == "RULES"
    assert gate(valid_until="2026-03-16").tap(card(purse(1))).reason == "PAID"
