"""Loss of service and readers, in the short form: no event missed, nothing leaked, back again."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from apdu.readers import ReaderEvent
from bench import chaos, ifd
from bench.client import EVENT_S, ClientError, EventLog, run_client
from bench.removals import LIMIT_MS, ChaosRow
from simulators.pcscd import is_available


def test_kills_and_removals_leave_nothing_behind() -> None:
    # In a process of its own: what other tests leave behind in this one would count as a leak.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        result = alone.submit(chaos.measure, kills=3, removals=20).result()
    rows = {(row.what, row.transport): row for row in result.rows}
    assert {("removed", name) for name in ("in process", "vpcd link", "serial")} <= rows.keys()
    if is_available("onecard")[0] and is_available("vpcd")[0]:
        assert sum(row.rounds for row in result.rows if row.what == "pcscd killed") == 3
        assert len(rows) == 7
    else:
        assert result.skipped
    for row in result.rows:
        assert row.is_clean, row  # how soon is for quiet machines
    assert result.to_json()["is_met"] == all(row.is_met for row in result.rows)


@pytest.mark.parametrize("fault", ["missed_events", "wrong", "dead_threads", "leaked_threads", "leaked_descriptors"])
def test_any_fault_fails_a_row(fault: str) -> None:
    good = dict.fromkeys(("missed_events", "wrong", "dead_threads", "leaked_threads", "leaked_descriptors"), 0)
    named = {"what": "x", "name_zh": "x", "transport": "x", "rounds": 1, "median_ms": 1.0, "max_ms": LIMIT_MS}
    assert ChaosRow(**named, **good).is_met
    bad = ChaosRow(**named, **good | {fault: 1})
    assert (bad.is_clean, bad.is_met) == (False, False)
    late = ChaosRow(**named | {"max_ms": LIMIT_MS + 1}, **good)
    assert (late.is_clean, late.is_met) == (True, False)


def test_events_are_missed_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.client.EVENT_S", 0.05)
    log = EventLog()
    log.put(ReaderEvent("card_inserted", "a"))
    log.expect("card_inserted")
    assert log.finish() == 0
    log.put(ReaderEvent("card_removed", "a"))
    log.expect("card_inserted")
    assert log.finish() == 1
    log.expect("card_inserted")
    log.put(ReaderEvent("card_removed", "a"))
    assert log.finish() == 3


def test_a_measuring_process_that_fails_says_why() -> None:
    with pytest.raises(ClientError, match="no such with vpcd"):
        run_client("bench.chaos", "such", "vpcd", 1)


@pytest.mark.pcsc
@pytest.mark.skipif(not is_available("onecard")[0], reason=is_available("onecard")[1] or "available")
def test_our_driver_notices_cards_and_lets_go_of_one_that_hangs() -> None:
    result = ifd.measure(rounds=3, peer_rounds=1, hung_rounds=1)
    rows = {(row.what, row.driver): row for row in result.rows}
    ours = ifd.DRIVERS["onecard"]
    hung = rows["a card that hangs", ours]
    assert ifd.CARD_TIMEOUT_S * 1000 <= hung.median_ms < EVENT_S * 1000, "then the card lets go by itself"
    assert {what for what, driver in rows if driver == ours} == set(ifd.NAMES_ZH)
    assert rows["insertion", ours].target_ms == ifd.EVENT_TARGET_MS
