"""A card is made once or given up once: through faults, dead blanks, a cut network and death at every step."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from apdu.readers import ReaderEvent, ReaderMonitor
from cardlib import crash_points
from cardlib.failures import FailureCode
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError
from terminal_agent.kiosk import maker as maker_module
from terminal_agent.kiosk import progress as progress_module
from terminal_agent.kiosk.case import Case, CaseFile, CaseStep, parse_case
from terminal_agent.kiosk.maker import Maker
from terminal_agent.kiosk.progress import CardInsideError, KeptCards
from terminal_agent.printer import LOOK_S, PrinterNotReadyError
from terminal_agent.printer_link import ANSWER_S
from tests.terminal_agent.kiosk.making_stand import (
    PATIENCE_S,
    Kiosk,
    blank,
    chip,
    kiosk_with,
    settled,
    troubled,
)
from tests.terminal_agent.stand import APPLICATION, PRINT_JOB

MAKING = (
    *("kiosk.case", "kiosk.loaded", "relay.started", "relay.batch", "relay.answered", "relay.printed"),
    *("relay.reported", "kiosk.made"),
)
GIVING = ("kiosk.given", "kiosk.ejected")
GIVING_UP = ("kiosk.rejected", "kiosk.written_off")


class Killed(BaseException):
    """As by kill -9: nothing after it runs but what the test's loop needs."""


@pytest.fixture
async def kiosk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kiosk]:
    async with kiosk_with(tmp_path, monkeypatch) as found:
        yield found


async def give(maker: Maker, kiosk: Kiosk) -> object:
    """The card that the person takes."""
    await maker.give()
    taken = kiosk.machine.take()
    await asyncio.wait_for(maker.until_taken(), 30)
    return taken


async def test_a_card_is_made_given_and_taken(kiosk: Kiosk) -> None:
    async with kiosk.boot() as maker:
        await settled(lambda: maker.trouble() is None)
        end, seen = await kiosk.make(maker)
        assert (end.is_made, end.trouble) == (True, None)
        stages = list(dict.fromkeys(progress.stage for progress in seen))
        assert (stages[:2], stages[-1]) == (["load", "write"], "eject")
        assert maker.trouble() is FailureCode.KIOSK_CARD_INSIDE
        with pytest.raises(CardInsideError):
            maker.begin("f" * 32)
        card = await give(maker, kiosk)
        assert maker.case is None
        await settled(lambda: maker.trouble() is None)
    assert card.atr == blank(1).atr  # type: ignore[attr-defined]
    assert (kiosk.centre.state, kiosk.machine.printed, len(kiosk.machine.blanks)) == ("enabled", [PRINT_JOB], 2)
    assert not (kiosk.folder / "kiosk" / "case.json").exists()


@pytest.mark.parametrize(
    ("move", "failure"), [("load", "PRINTER_JAM"), ("print", "PRINTER_JAM"), ("ribbon", "PRINTER_RIBBON_EMPTY")]
)
async def test_what_people_mend_is_said_and_waited_for(kiosk: Kiosk, move: str, failure: str) -> None:
    if move == "ribbon":
        kiosk.centre.mishap = lambda step: setattr(kiosk.machine, "ribbon", 0) if step == "answer" else None
    else:
        kiosk.machine.jam_at(move)
    async with kiosk.boot() as maker:
        making = asyncio.create_task(kiosk.make(maker))
        assert await troubled(maker) == failure
        kiosk.machine.clear()
        end, _ = await making
        assert end.is_made
    assert len(kiosk.machine.submitted) == 1
    assert len(kiosk.machine.blanks) == 2


async def test_a_jam_on_the_way_out_is_waited_for(kiosk: Kiosk) -> None:
    kiosk.machine.jam_at("eject")
    async with kiosk.boot() as maker:
        await kiosk.make(maker)
        giving = asyncio.create_task(maker.give())
        assert await troubled(maker) is FailureCode.PRINTER_JAM
        kiosk.machine.clear()
        await giving
        assert kiosk.machine.tray is not None


@pytest.mark.parametrize("after", [0, 1])
async def test_a_dead_blank_is_thrown_away_and_another_one_taken(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """That it is dead is found out by waiting; one that is good so far has all the time to be seen."""
    move = kiosk.machine._move

    def patience(seconds: float) -> None:
        monkeypatch.setattr(maker_module, "CONTACT_S", seconds)

    def moved(act: str, card_id: str) -> None:
        if act == "reject":
            patience(PATIENCE_S)
        move(act, card_id)

    monkeypatch.setattr(kiosk.machine, "_move", moved)
    kiosk.centre.mishap = lambda step: None if kiosk.machine.bin else patience(0.4)
    if after == 0:
        patience(0.4)
    kiosk.centre.batches = (*kiosk.centre.batches, kiosk.centre.batches[0])
    kiosk.machine.kill_next_blank(after)
    async with kiosk.boot() as maker:
        end, seen = await kiosk.make(maker)
        assert (end.is_made, end.is_second) == (True, True)
        assert FailureCode.CARD_MUTE in {progress.trouble for progress in seen}
    assert kiosk.centre.written_off == ([chip(blank(1))] if after else [])
    assert kiosk.centre.bound == chip(blank(2))
    assert (len(kiosk.machine.bin), len(kiosk.machine.blanks)) == (1, 1)


@pytest.mark.parametrize("late_s", [0.0, 0.05])
async def test_two_dead_blanks_are_enough(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, late_s: float) -> None:
    """Also where the reader tells of a change when the next card has come: neither is taken for the other."""
    tell = ReaderMonitor._emit

    def late(monitor: ReaderMonitor, event: ReaderEvent) -> None:
        time.sleep(late_s)
        tell(monitor, event)

    monkeypatch.setattr(ReaderMonitor, "_emit", late)
    kiosk.machine.spoil_next = True
    kiosk.centre.mishap = lambda step: setattr(kiosk.machine, "spoil_next", True) if step == "start" else None
    async with kiosk.boot() as maker:
        end, _ = await kiosk.make(maker)
        assert (end.is_made, end.trouble, maker.case) == (False, FailureCode.PRINT_FAILED, None)
        assert kiosk.centre.written_off == [chip(blank(1)), chip(blank(2))]
        assert (kiosk.centre.state, len(kiosk.machine.bin), len(kiosk.machine.blanks)) == ("checked", 2, 1)


async def test_a_cut_network_is_said_and_waited_for(kiosk: Kiosk) -> None:
    kiosk.centre.mishap = lambda step: kiosk.centre.cut_at("answer", step)
    async with kiosk.boot() as maker:
        making = asyncio.create_task(kiosk.make(maker))
        assert await troubled(maker) is FailureCode.SERVICE_UNREACHABLE
        await asyncio.sleep(0.3)  # longer than a session waits
        kiosk.centre.mishap = kiosk.centre.demand_line
        kiosk.centre.is_cut = False
        end, _ = await making
        assert end.is_made
    assert len(kiosk.machine.blanks) == 2


async def test_a_machine_without_power_is_waited_for(kiosk: Kiosk) -> None:
    kiosk.centre.mishap = lambda step: kiosk.machine.power_off() if step == "report" else None
    async with kiosk.boot() as maker:
        end, _ = await kiosk.make(maker)
        giving = asyncio.create_task(maker.give())
        assert await troubled(maker) is FailureCode.PRINTER_UNAVAILABLE
        kiosk.machine.power_on()
        await giving
        assert end.is_made
        assert kiosk.machine.tray is not None


@pytest.mark.parametrize("point", [*MAKING, *GIVING])
async def test_death_at_every_step_makes_one_card_or_takes_no_blank(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    await die(kiosk, monkeypatch, point)
    kept = (kiosk.folder / "kiosk" / "case.json").read_bytes()
    assert set(json.loads(kept)) == {"application_id", "card_id", "reset_information", "step", "tries", "since"}
    async with kiosk.boot() as maker:
        await settled(lambda: maker.has_waiting_card or maker.case is None)
        if point == "kiosk.case":
            assert (len(kiosk.machine.blanks), maker.case, kiosk.centre.state) == (3, None, "checked")
            return
        assert kiosk.centre.state == "enabled"
        await give(maker, kiosk)
    assert (len(kiosk.machine.blanks), kiosk.machine.printed, kiosk.machine.bin) == (2, [PRINT_JOB], [])
    assert len(kiosk.machine.submitted) == 1
    assert kiosk.centre.written_off == []


async def die(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """An agent that ends at this point without a farewell; folder, machine and centre stay as they are."""
    with monkeypatch.context() as patch, suppress(Killed):
        async with kiosk.boot() as maker:
            dying = asyncio.get_running_loop().create_future()

            def reach(point: str) -> None:
                if point == wanted and not dying.done():
                    dying.set_result(None)
                    raise Killed

            patch.setattr(crash_points, "reach", reach)
            making = asyncio.create_task(make_and_give(kiosk, maker))
            await asyncio.wait({dying, making}, return_when=asyncio.FIRST_COMPLETED)
            making.cancel()
            assert dying.done(), wanted


async def make_and_give(kiosk: Kiosk, maker: Maker) -> None:
    await kiosk.make(maker)
    await maker.give()


async def test_a_card_taken_while_the_agent_was_dead_is_taken(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    await die(kiosk, monkeypatch, "kiosk.ejected")
    assert kiosk.machine.take() is not None
    async with kiosk.boot() as maker:
        await settled(lambda: maker.case is None)
        assert maker.alerts() == ()
    assert (len(kiosk.machine.blanks), kiosk.machine.bin) == (2, [])


@pytest.mark.parametrize("point", GIVING_UP)
async def test_death_while_giving_up_writes_off_once(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    kiosk.machine.spoil_next = True
    await die(kiosk, monkeypatch, point)
    async with kiosk.boot() as maker:
        await settled(lambda: maker.case is None)
    assert kiosk.centre.written_off == [chip(blank(1))]
    assert (len(kiosk.machine.bin), len(kiosk.machine.blanks), kiosk.centre.state) == (1, 2, "checked")


async def test_a_forgotten_card_is_drawn_in_waits_and_goes_into_the_bin(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kiosk.boot() as maker:
        await kiosk.make(maker)
        await maker.give()
        await maker.take_back()
        assert (kiosk.machine.tray, maker.has_waiting_card) == (None, True)
    old = CaseFile(kiosk.folder / "kiosk" / "case.json")
    assert old.case is not None
    old.write(old.case.model_copy(update={"since": old.case.since.replace(year=2020)}))
    async with kiosk.boot() as maker:
        await settled(lambda: maker.case is None)
        assert maker.alerts() == (FailureCode.KIOSK_CARD_KEPT,)
        printer, stock = maker.machine._printer, maker.machine.stock
        assert stock is not None
        empty = stock.model_copy(update={"bin": 0})
        printer.last = empty
        assert maker.alerts() == (FailureCode.KIOSK_CARD_KEPT,), "it was on its way when the card fell"
        printer.last = stock
        assert maker.alerts() == (FailureCode.KIOSK_CARD_KEPT,)
        for name in ("ANSWER_S", "LOOK_S"):
            monkeypatch.setattr(progress_module, name, 0.0)
        printer.last = empty
        assert maker.alerts() == (), "somebody has emptied it"
    assert len(kiosk.machine.bin) == 1


async def test_a_card_taken_while_it_was_drawn_in_is_taken(kiosk: Kiosk) -> None:
    async with kiosk.boot() as maker:
        await kiosk.make(maker)
        await maker.give()
        kiosk.machine.take()
        await maker.take_back()
        assert maker.case is None


async def test_what_became_of_a_card_in_the_tray_of_a_silent_machine_is_found_out_later(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kiosk.boot() as maker:
        await kiosk.make(maker)
        await maker.give()
        kiosk.machine.power_off()
        monkeypatch.setattr(maker.machine._printer, "_wait_s", 0.2)
        with pytest.raises(PrinterNotReadyError):
            await maker.until_taken()
        monkeypatch.setattr(maker_module, "CONTACT_S", 0.01)
        await maker.take_back()
        assert maker.case is not None
        kiosk.machine.power_on()
        await settled(lambda: maker.has_waiting_card)


async def test_a_full_disk_ends_the_work_with_a_word(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    write = CaseFile.write

    def full(file: CaseFile, case: Case) -> Case:
        if case.tries > 1:
            raise OSError(28, "No space left on device")
        return write(file, case)

    monkeypatch.setattr(CaseFile, "write", full)
    kiosk.machine.spoil_next = True
    async with kiosk.boot() as maker:
        end, _ = await kiosk.make(maker)
        assert (end.is_made, end.is_over, maker.case) == (False, True, None)
    assert len(kiosk.centre.written_off) == 1


async def test_a_card_that_nobody_knows_of_goes_into_the_bin(kiosk: Kiosk) -> None:
    async with kiosk.boot() as maker:
        await kiosk.make(maker)
    (kiosk.folder / "kiosk" / "case.json").write_bytes(b"{torn")
    async with kiosk.boot() as maker:
        await settled(lambda: len(kiosk.machine.bin) == 1)
        await settled(lambda: maker.trouble() is None)


async def test_a_card_begun_elsewhere_is_not_made_here(kiosk: Kiosk) -> None:
    kiosk.centre.state, kiosk.centre.bound = "reserved", chip(blank(9))
    async with kiosk.boot() as maker:
        end, _ = await kiosk.make(maker)
        assert (end.is_made, end.trouble, maker.case) == (False, FailureCode.CARD_MISMATCH, None)
    assert len(kiosk.machine.blanks) == 3
    assert kiosk.centre.written_off == []


async def test_a_card_begun_elsewhere_meanwhile_leaves_the_machine_free(
    kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bound(_: object) -> None:
        raise CentreRefusedError("CARD_MISMATCH", "another card is bound")

    monkeypatch.setattr(kiosk.centre, "start", bound)
    async with kiosk.boot() as maker:
        end, _ = await kiosk.make(maker)
        assert (end.is_made, end.trouble, maker.case) == (False, FailureCode.CARD_MISMATCH, None)
        assert (await maker.machine.look()).inside == ""
    assert (len(kiosk.machine.bin), kiosk.centre.written_off) == (1, [])


async def test_staff_throw_away_what_is_inside(kiosk: Kiosk) -> None:
    kiosk.machine.jam_at("print")
    async with kiosk.boot() as maker:
        making = asyncio.create_task(kiosk.make(maker))
        await troubled(maker)
        kiosk.machine.fail("paused")  # without a moment in which it could print
        await settled(lambda: maker.progress.trouble is FailureCode.PRINTER_PAUSED)
        kiosk.machine.clear()
        await maker.throw_away()
        end, _ = await making
        assert (maker.case, end.is_made) == (None, False)
    assert len(kiosk.machine.bin) == 1


async def test_staff_throw_away_the_card_in_the_way_as_well(kiosk: Kiosk) -> None:
    async with kiosk.boot(is_resumed=False) as maker:
        await maker.machine.load("0f" * 16)
        maker.begin(APPLICATION)
        await troubled(maker)
        await maker.throw_away()
        assert (maker.case, (await maker.machine.look()).inside) == (None, "")
    assert len(kiosk.machine.bin) == 1


async def test_what_staff_cannot_write_off_now_is_written_off_later(kiosk: Kiosk) -> None:
    kiosk.machine.jam_at("print")
    async with kiosk.boot() as maker:
        maker.begin(APPLICATION)
        await troubled(maker)
        kiosk.centre.is_cut = True
        kiosk.machine.clear()
        with pytest.raises(CentreUnreachableError):
            await maker.throw_away()
        kiosk.centre.is_cut = False
        await settled(lambda: maker.case is None)
    assert (len(kiosk.machine.bin), len(kiosk.centre.written_off)) == (1, 1)


async def test_staff_throw_away_what_was_given_to_another_kiosk(kiosk: Kiosk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object) -> dict[str, Any]:
        raise CentreRefusedError("NOT_FOUND", "no such application at this kiosk")

    kiosk.machine.jam_at("print")
    async with kiosk.boot() as maker:
        maker.begin(APPLICATION)
        await troubled(maker)
        kiosk.machine.clear()
        monkeypatch.setattr(kiosk.centre, "exchange", unknown)
        await maker.throw_away()
        assert maker.case is None
    assert (len(kiosk.machine.bin), kiosk.centre.written_off) == (1, [])


@examples(max_examples=60)
@given(st.one_of(st.binary(max_size=60), st.dictionaries(st.text(max_size=8), st.integers()).map(json.dumps)))
def test_what_is_no_case_is_none(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    path = tmp_path_factory.getbasetemp() / "case.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert parse_case(path) is None


def test_a_case_is_kept_as_written(tmp_path: Path) -> None:
    kept = CaseFile(tmp_path / "kiosk" / "case.json")
    case = kept.write(Case.begin(APPLICATION).of_chip(chip(blank(1))).at(CaseStep.MADE))
    assert parse_case(tmp_path / "kiosk" / "case.json") == case


def test_a_card_in_the_bin_is_told_until_an_answer_of_after_it_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, now = KeptCards(), 0.0
    monkeypatch.setattr("terminal_agent.kiosk.progress.time.monotonic", lambda: now)
    kept.add()
    now = 2 * ANSWER_S + LOOK_S  # one that was asked before it fell, until the next one
    kept.look(0)
    assert kept.count == 1
    now += 1
    kept.look(None)
    kept.look(1)
    assert kept.count == 1
    kept.look(0)
    assert kept.count == 0
