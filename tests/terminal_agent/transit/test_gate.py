"""A gate as its passengers meet it: decisions, money, troubles of every part, and what the centre hears."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from apdu.inprocess import InProcessReaders
from apps_catalog.block_list import BlockList, Kind, build, purse_number, transit_account_number
from cardlib.terminal_state import Lock
from cardlib.transit_journal import TransitJournal
from cardlib.transit_rules import TransitRulesError
from simulators.card import Faults
from simulators.serial import SimScanner
from terminal_agent.app import create_app
from terminal_agent.journal.store import JournalFullError, RecordJournal
from terminal_agent.transit.codes import MAX_CHARS, scanned_bytes
from terminal_agent.transit.desk import GateDesk
from terminal_agent.transit.rules import RuleBook
from terminal_agent.transit.words import words
from tests.cardlib.transit_code_stand import Stand
from tests.simulators import transit as vectors
from tests.terminal_agent.stand import settings, until
from tests.terminal_agent.transit.stand import FIELD, FIELD_2, PSAM, RULES, Gate, card, gate, rules_text


def balance(tapped) -> int:
    return tapped.state.neighbours.transit.balance


def counts(day: dict[str, Any]) -> dict[str, int]:
    """Of a statement of takings."""
    return {name: sums["count"] for name, sums in day["sums"].items()} | day["refusals"]


async def test_a_day_at_a_bus_door_and_what_the_centre_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminal_agent.transit.desk.TICK_S", 0.02)
    adult, poor = card(), card(balance=100, number=8)
    async with gate(tmp_path, rules_text("bus"), transit_statement_s=0.01) as bus:
        shown = await bus.tap(adult)
        assert (shown["sign"], shown["beeps"], shown["zh"]["text"]) == ("pass", 1, "2.00 元，余额 98.00 元")
        assert (await bus.tap(card(passenger_class=3, number=7)))["zh"]["text"] == "敬老免费"
        assert (await bus.tap(card(passenger_class=2, number=9)))["zh"]["money"].startswith("1.00 元")
        refused = await bus.tap(poor)
        assert (refused["sign"], refused["beeps"], refused["zh"]["note"]) == ("stop", 3, "代码 BALANCE")
        assert (await bus.tap(adult, FIELD_2))["sign"] == "pass", "another reader of the same gate, seconds later"
        whole = {"paid": 4, "BALANCE": 1}
        said = await until(lambda: [day for day in bus.centre.payloads("transit_day") if counts(day) == whole])
        state = await bus.state()
    taps = bus.centre.payloads("transit_tap")
    assert balance(adult) == 10_000 - sum(tap["amount_fen"] for tap in taps if tap["serial"].endswith("1234"))
    assert balance(poor) == 100
    assert said[-1]["sums"]["paid"]["fen"] == sum(tap["amount_fen"] for tap in taps) == state["today"]["takings_fen"]
    assert (said[-1]["free"], said[-1]["refusals"]) == ({"count": 1, "fare_fen": 200}, {"BALANCE": 1})
    assert state["today"]["refusals"] == {"BALANCE": 1}
    assert 0 < state["speed_ms"][0] <= state["speed_ms"][1]


async def test_a_card_that_came_before_the_psam_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gate(tmp_path, rules_text("bus"), psam=False, ready=False) as bus:
        bus.readers.insert(FIELD, card())
        await until(lambda: bus.desk.tapper and bus.app.state.agent.registry.card_readers()[0].has_card)
        bus.desk._settle()
        assert bus.desk.screen.picture.to_json()["en"]["title"] == "Getting ready"
        bus.readers.insert(PSAM, vectors.sam("3DES"))
        await until(lambda: bus.desk.screen.picture.sign == "pass")
    monkeypatch.setattr("terminal_agent.transit.desk.START_S", 0.0)
    async with gate(tmp_path, rules_text("bus"), psam=False, ready=False) as bus:
        assert (await bus.tap(card()))["sign"] == "staff"


async def test_a_card_left_in_the_field_pays_once(tmp_path: Path) -> None:
    adult = card()
    async with gate(tmp_path, rules_text("bus", retap_s=60)) as bus:
        bus.readers.insert(FIELD, adult)
        await until(lambda: bus.shown)
        bus.desk._look_at_readers()
        bus.app.state.agent.hub.publish("card_inserted", {"reader": FIELD})
        await until(lambda: len(bus.desk._tasks) == 4)
        bus.readers.remove(FIELD)
        bus.desk.screen._return()
        assert (await bus.tap(adult))["zh"]["text"] == "已刷过，请勿重复刷卡"
    assert balance(adult) == 9800


@pytest.mark.parametrize("after", [False, True])
async def test_a_torn_tap_is_made_good_at_the_next_one(tmp_path: Path, after: bool) -> None:
    """The card leaves at DEBIT, before or after it paid; either way it pays one fare."""
    adult = card()
    async with gate(tmp_path, rules_text("bus")) as bus:
        # SELECT, EF17, INIT, 1E, DEBIT
        adult.faults = Faults(tear_after=5) if after else Faults(tear_before=5)
        torn = await bus.tap(adult)
        assert (torn["sign"], torn["zh"]["note"]) == ("again", "还不行，请到人工口")
        adult.faults = Faults()
        made_good = await bus.tap(adult)
        assert (made_good["sign"], balance(adult)) == ("pass", 9800)
        outcomes = {"recovered"} if after else {"void", "paid"}
        await until(lambda: len(bus.centre.payloads("transit_tap")) == len(outcomes))
    assert {tap["outcome"] for tap in bus.centre.payloads("transit_tap")} == outcomes


async def test_a_psam_that_goes_closes_the_gate_until_it_is_back(tmp_path: Path) -> None:
    sam = vectors.sam("3DES")
    async with gate(tmp_path, rules_text("bus"), psam=sam) as bus:
        bus.readers.remove(PSAM)
        await until(lambda: bus.desk.screen.picture.sign == "out")
        assert (await bus.state())["closed"] == "PSAM"
        told = bus.app.state.agent.heart.machine()
        assert (told.mode, told.failures) == ("out", ("PSAM_ABSENT",))
        adult = card()
        assert (await bus.tap(adult))["sign"] == "staff"
        bus.readers.insert(FIELD, adult)
        bus.readers.insert(PSAM, sam)
        await until(lambda: balance(adult) == 9800)


async def test_a_reader_that_comes_back_serves_again(tmp_path: Path) -> None:
    async with gate(tmp_path, rules_text("bus")) as bus:
        for name in (FIELD, FIELD_2):
            bus.readers.remove_reader(name)
        await until(lambda: bus.desk.closed == "CLOSED")
        bus.readers.add_reader(FIELD)
        assert (await bus.tap(card()))["sign"] == "pass"


async def test_what_cannot_be_written_down_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adult, admit, is_admitted = card(), GateDesk._admit, asyncio.Event()

    async def once(desk: GateDesk) -> None:
        """What the gate asks by itself now and then, before the journal is full and not again."""
        if not is_admitted.is_set():
            await admit(desk)
        is_admitted.set()

    monkeypatch.setattr(GateDesk, "_admit", once)
    async with gate(tmp_path, rules_text("bus")) as bus:
        await asyncio.wait_for(is_admitted.wait(), 30)

        def full(self: RecordJournal, *args: object, **values: object) -> int:
            raise JournalFullError("full")

        monkeypatch.setattr(RecordJournal, "append", full)
        monkeypatch.setattr(RecordJournal, "admit", full)
        assert (await bus.tap(adult))["sign"] == "pass", "it was admitted before"
        again = await bus.tap(adult)
        assert (again["sign"], again["zh"]["note"]) == ("staff", "代码 JOURNAL")
        monkeypatch.undo()
    assert balance(adult) == 9800
    async with gate(tmp_path, rules_text("bus")) as bus:
        await until(lambda: bus.centre.payloads("transit_tap"))
        assert (await bus.state())["today"]["takings_fen"] == 200
    async with gate(tmp_path, rules_text("bus")) as bus:
        today = (await bus.state())["today"]
    assert (today["takings_fen"], today["paid"]) == (200, 1), "counted once, however often it was handed on"


async def test_what_is_lost_with_the_journal_for_the_centre_is_told_again(tmp_path: Path) -> None:
    """And counted once, in the sums that the centre has or never got."""
    adult, state = card(), tmp_path / "state"
    async with gate(tmp_path, rules_text("bus")) as bus:
        await bus.tap(adult)
        await bus.tap(card(passenger_class=3, number=7))
        bus.desk.state_takings()
        said = (await until(lambda: bus.centre.payloads("transit_day")))[-1]
        before = (state / "transit" / "days.json").read_bytes()
        await bus.tap(adult)
        taps = await until(lambda: bus.centre.payloads("transit_tap")[2:] and bus.centre.payloads("transit_tap"))
    (state / "transit" / "days.json").write_bytes(before)  # its last word was lost with the power
    file = state / "transit" / "taps.jsonl"
    known, journal = TransitJournal.delivered_in(file)[0].receipt, TransitJournal(file)
    strange = replace(known.transaction, terminal_sequence="00FFFFFF", note={"of": "another version"})
    journal.finish(replace(known, transaction=strange))
    journal.deliver(journal.outbox[0].key)
    for file in state.glob("journal.sqlite*"):
        file.unlink()
    async with gate(tmp_path, rules_text("bus")) as bus:
        again = (await until(lambda: bus.centre.payloads("transit_day")))[-1]
        assert bus.centre.payloads("transit_tap") == taps
        assert (again["counter"], again["statement"]) == (said["counter"], said["statement"] + 1)
        assert again["sums"]["paid"] == {"count": 3, "fen": 400}
    async with gate(tmp_path, rules_text("bus")) as bus:
        today = (await bus.state())["today"]
        assert (today["takings_fen"], today["paid"], bus.centre.payloads("transit_tap")) == (400, 2, []), (
            "and one for nothing"
        )


@pytest.mark.parametrize("passes", range(3))
async def test_an_end_that_meets_news_is_no_less_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    """Else a gate that stops while something is published would never have stopped."""
    waits, wait_s = asyncio.Event(), RuleBook.wait_s

    def noted(book: RuleBook, most_s: float) -> float:
        waits.set()
        return wait_s(book, most_s)

    monkeypatch.setattr(RuleBook, "wait_s", noted)
    async with gate(tmp_path, rules_text("bus")) as bus:
        (tick,) = [task for task in bus.desk._tasks if task.get_coro().__qualname__ == "GateDesk._tick"]
        await asyncio.wait_for(waits.wait(), 30)
        bus.desk._is_news.set()
        for _ in range(passes):
            await asyncio.sleep(0)
        tick.cancel()
        await asyncio.wait({tick}, timeout=30)
        assert tick.cancelled()


async def test_a_locked_terminal_serves_nobody(tmp_path: Path) -> None:
    async with gate(tmp_path, rules_text("bus")) as bus:
        bus.app.state.agent.lock.set(Lock(reason="移机", contact="12333"))
        await until(lambda: bus.desk.screen.picture.sign == "out")
        assert (await bus.tap(card()))["zh"]["note"] == "代码 CLOSED"


async def test_rules_change_between_two_taps_and_wrong_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("terminal_agent.transit.desk.TICK_S", 0.02)
    adult, file = card(), tmp_path / "rules.toml"
    async with gate(tmp_path, rules_text("bus")) as bus:
        file.write_text("mode = 1", encoding="utf-8")
        await until(lambda: "TRANSIT_RULES_INVALID" in bus.app.state.agent.heart.machine().failures)
        file.write_text(rules_text("bus").replace("flat_fen = 200", "flat_fen = 300"), encoding="utf-8")
        await until(lambda: bus.desk.rules.fares.flat_fen == 300)
        await bus.tap(adult)
    assert balance(adult) == 9700


def test_a_gate_whose_rules_are_not_there_says_so(tmp_path: Path) -> None:
    chosen = settings(profile="transit", transit_rules=tmp_path / "none.toml", state_dir=tmp_path)
    with pytest.raises(TransitRulesError, match=r"none\.toml"):
        create_app(chosen, InProcessReaders([]))
    published = RULES / "published" / "demo-metro.2027-01-01.toml"
    with pytest.raises(TransitRulesError, match=r"demo-metro\.2027-01-01\.toml: format"):
        create_app(chosen.model_copy(update={"transit_rules": published}), InProcessReaders([]))
    nowhere = RULES / "gates" / "metro-exit.toml"
    with pytest.raises(TransitRulesError, match="the rules of demo-metro need catalog_url"):
        create_app(chosen.model_copy(update={"transit_rules": nowhere}), InProcessReaders([]))


@pytest.fixture(scope="module")
def block_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("list")
    listed = [
        (Kind.PURSE, purse_number(vectors.ISSUER, vectors.META["app_serial"][-19:])),
        (Kind.TRANSIT_ACCOUNT, transit_account_number("99010001", "9" * 20)),
    ]
    build(folder, listed, as_of=int(time.time()))
    return folder


def publish(bus: Gate, blocked: BlockList | None, phone: Stand | None = None) -> None:
    """As a fetch would: what is in force changes at once."""
    catalog = bus.app.state.agent.catalog
    anchors = None if phone is None else phone.anchors()
    catalog._contents = replace(catalog._contents, block_list=blocked, anchors=anchors)


async def test_a_lost_purse_is_refused_and_locked(tmp_path: Path, block_list: Path) -> None:
    lost = card()
    with BlockList(block_list) as blocked:
        async with gate(tmp_path, rules_text("bus", block_list='"required"')) as bus:
            assert (await bus.tap(card(number=7)))["zh"]["note"] == "代码 BLOCK_LIST", "no list yet"
            publish(bus, blocked)
            assert (await bus.tap(lost))["zh"]["text"] == "此卡已挂失或停用"
            assert (await bus.tap(card(number=7)))["sign"] == "pass"
            refusal = (await until(lambda: bus.centre.payloads("transit_refusal")))[0]
    assert (refusal["reason"], refusal["is_locked"], lost.state.neighbours.transit.block) == ("BLOCKED", True, 1)
    assert balance(lost) == 10_000


async def test_codes_pass_once_and_only_with_all_that_is_needed(tmp_path: Path, block_list: Path) -> None:
    now = int(time.time())
    phone, lost = Stand(now=now), Stand(now=now)
    good, first = phone.show().hex(), phone.show(now - 1)
    with SimScanner() as scanner, BlockList(block_list) as blocked:
        async with gate(tmp_path, rules_text("bus", code_fare_fen=200), scanner=scanner.path) as bus:

            async def scan(text: str) -> tuple[str, str]:
                before = len(bus.shown)
                scanner.scan(text)
                (picture,) = await until(lambda: bus.shown[before:])
                return picture.sign.value, picture.note.zh

            await until(lambda: all(device.state == "ready" for device in bus.app.state.agent.device_list()))
            assert (await scan(good))[0] == "staff", "no roots yet"
            publish(bus, blocked, phone)
            told = [
                await scan(first.hex().upper()),
                await scan(first.hex()),
                await scan(phone.show(now - 300).hex()),
                await scan(base64.b64encode(phone.show(now - 2)).decode()),
                await scan(lost.show(card_account="9" * 20).hex()),
                await scan("not a code"),
                await scan(phone.show(now - 3, amount_limit_fen=199).hex()),
            ]
            rides = await until(lambda: bus.centre.payloads("transit_code_ride")[1:])
            counted = (await bus.state())["today"]
    assert [sign for sign, _ in told] == ["pass", "again", "again", "pass", "stop", "again", "stop"]
    assert [note for _, note in told[1:3]] == ["还不行，请到人工口"] * 2
    assert told[4][1] == "代码 BLOCKED"
    assert (len(rides) + 1, counted["codes"], counted["takings_fen"]) == (2, 2, 400)


@trials(max_examples=80)
@given(st.one_of(st.text(max_size=60), st.binary(max_size=80).map(lambda raw: raw.hex())))
@example("0" * (MAX_CHARS + 2))
@example("=")
def test_what_a_scanner_types_is_bytes_or_nothing(text: str) -> None:
    raw = scanned_bytes(text)
    assert len(raw) <= MAX_CHARS
    assert raw == b"" or scanned_bytes(raw.hex()) == raw


async def test_the_display_is_for_the_gates_own_browser(tmp_path: Path) -> None:
    page = "https://hall.example"
    async with gate(tmp_path, rules_text("bus"), allowed_origins=(page,), ready=False, psam=False) as bus:
        for path in ("/gate", "/gate/changes", "/gate/staff", "/gate/state"):
            assert (await bus.client.get(path, headers={"Origin": page})).status_code == 403, path
        answer = await bus.client.get("/gate")
        staff = await bus.client.get("/gate/staff")
    assert "暂停使用" in answer.text
    assert "no-store" in answer.headers["cache-control"]
    assert "PSAM" in staff.text


async def test_the_terminal_shows_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with gate(tmp_path, rules_text("bus"), transit_display=True) as bus:
        await bus.tap(card())
        await until(lambda: "请通行" in (said.append(capsys.readouterr().out) or "".join(said)))


said: list[str] = []


def test_both_languages_have_the_same_words() -> None:
    table = words()
    assert table["zh"].keys() == table["en"].keys()
    assert all(value for texts in table.values() for value in texts.values())
