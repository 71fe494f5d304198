"""Printing: looked at before the card is begun, one card for one job, waiting for people and going on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardlib.failures import FailureCode
from cardlib.wire import PrintOrder
from simulators.printer import FAULTS, SimCardPrinter
from terminal_agent import printer as desk_module
from terminal_agent.centre import CentreUnreachableError
from terminal_agent.hub import EventHub
from terminal_agent.printer import PrinterDesk
from terminal_agent.printer_link import FAILURES, PrinterBridge, PrinterLostError, PrinterState, parse_answer
from tests.terminal_agent.stand import (
    FACE,
    PRINT_JOB,
    SESSION,
    ScriptedCard,
    ScriptedCentre,
    agent_with,
    kept_port,
    readers_with,
    until,
)
from tests.terminal_agent.test_relay import SELECT, job_in, started

ORDER = PrintOrder(session_id=SESSION, sequence=3, job_id=PRINT_JOB, face=FACE)


@pytest.fixture
def printer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimCardPrinter]:
    monkeypatch.setattr(desk_module, "POLL_S", 0.01)
    monkeypatch.setattr(desk_module, "LOOK_S", 0.02)
    with SimCardPrinter(tmp_path / "cards") as found:
        yield found


@asynccontextmanager
async def terminal(
    printer: SimCardPrinter, centre: ScriptedCentre, card: ScriptedCard | None = None, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    readers = readers_with(card or ScriptedCard())
    async with agent_with(readers, centre, **({"card_printer": printer.address} | changes)) as client:
        yield client


async def state_of(client: httpx.AsyncClient) -> tuple[str, str | None]:
    (device,) = (await client.get("/v1/devices")).json()
    return device["state"], device["failure"]


async def is_ready(client: httpx.AsyncClient) -> bool:
    return await state_of(client) == ("ready", None)


async def is_free(client: httpx.AsyncClient) -> bool:
    """A job is done a moment before its reader is given back."""
    return not (await client.get("/v1/info")).json()["jobs"]


async def test_a_card_is_written_then_printed_then_reported(printer: SimCardPrinter) -> None:
    centre = ScriptedCentre([SELECT])
    async with terminal(printer, centre) as client:
        await job_in(client, await started(client), "done")
    assert [start.can_print for start in centre.starts] == [True]
    (report,) = centre.reports
    assert (report.status, report.job_id, report.failure) == ("printed", PRINT_JOB, None)
    assert printer.printed == [PRINT_JOB]
    face = (printer.folder / f"{PRINT_JOB}.svg").read_text()
    assert all(text in face for text in ("测试甲", "990101199001010115", "A00000011", "2026.01.05 至 2036.01.05"))


async def test_a_lost_report_is_repeated_and_the_card_printed_once(printer: SimCardPrinter) -> None:
    centre = ScriptedCentre([SELECT])
    failures = iter([True, False])

    def mishap(step: str) -> None:
        if step == "report" and next(failures, False):
            raise CentreUnreachableError("lost")

    centre.mishap = mishap
    async with terminal(printer, centre) as client:
        await job_in(client, await started(client), "done")
        await until(lambda: is_free(client))
        await job_in(client, await started(client), "done")
    assert [report.status for report in centre.reports] == ["printed", "already_printed"]
    assert printer.submitted == [PRINT_JOB]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_card_is_begun_on_a_printer_that_wants_a_hand(printer: SimCardPrinter, fault: str) -> None:
    printer.fail(fault)
    centre, card = ScriptedCentre([SELECT]), ScriptedCard()
    async with terminal(printer, centre, card) as client:
        job_id = await started(client)
        view = await job_in(client, job_id, "awaiting_printer")
        failure = FAILURES[PrinterState(fault)]
        assert await state_of(client) == ("attention", failure.value)
        assert view["text_zh"]
        assert (centre.starts, card.seen) == ([], [])
        printer.clear()
        await job_in(client, job_id, "done")
        await until(lambda: is_ready(client))
    assert printer.printed == [PRINT_JOB]


async def test_a_fault_during_printing_waits_for_people_and_goes_on_by_itself(printer: SimCardPrinter) -> None:
    centre = ScriptedCentre([SELECT])
    centre.mishap = lambda step: printer.fail("jam") if step == "answer" else None
    async with terminal(printer, centre) as client:
        job_id = await started(client)
        view = await job_in(client, job_id, "awaiting_printer")
        assert view["text_zh"] == "打印机卡住了"
        printer.clear()
        await job_in(client, job_id, "done")
    assert (printer.printed, printer.submitted) == ([PRINT_JOB], [PRINT_JOB])


async def test_nobody_comes(printer: SimCardPrinter) -> None:
    printer.fail("cover_open")
    centre = ScriptedCentre([SELECT])
    async with terminal(printer, centre, printer_wait_s=0.05) as client:
        view = await job_in(client, await started(client), "failed")
    assert view["failure"]["code"] == "PRINTER_COVER_OPEN"
    assert centre.starts == []


async def test_a_spoiled_card_is_reported(printer: SimCardPrinter) -> None:
    printer.spoil_next = True
    centre = ScriptedCentre([SELECT])
    async with terminal(printer, centre) as client:
        view = await job_in(client, await started(client), "failed")
    assert view["failure"]["code"] == "PRINT_FAILED"
    assert [report.status for report in centre.reports] == ["failed"]
    assert printer.printed == []


async def test_printing_can_be_left_out_and_asked_for(printer: SimCardPrinter) -> None:
    centre = ScriptedCentre([SELECT])
    async with terminal(printer, centre) as client:
        await job_in(client, await started(client, with_print=False), "done")
    async with agent_with(readers_with(ScriptedCard()), ScriptedCentre([SELECT])) as client:
        body = {"reader": "Counter Reader 00 00", "kind": "personalization", "application_id": "0" * 32}
        refused = await client.post("/v1/card-sessions", json=body | {"with_print": True})
    assert [start.can_print for start in centre.starts] == [False]
    assert printer.submitted == []
    assert refused.json()["code"] == "DEVICE_NOT_CONFIGURED"


async def test_a_printer_that_is_gone_is_lost_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "POLL_S", 0.01)
    hub = EventHub()
    events = hub.subscribe()
    with kept_port() as port:
        first = SimCardPrinter(tmp_path, port=port)
        desk = PrinterDesk(PrinterBridge(first.address), first.address, hub, 60.0)
        told: list[FailureCode | None] = []
        await desk.ready(told.append)
        first.close()
        waiting = asyncio.create_task(desk.print(ORDER, told.append))
        assert (await anext(events)).data["failure"] == "PRINTER_UNAVAILABLE"
        with SimCardPrinter(tmp_path, port=port) as second:
            assert (await waiting).status == "printed"
            assert second.printed == [PRINT_JOB]
    assert (await anext(events)).name == "device_ready"
    assert told == [FailureCode.PRINTER_UNAVAILABLE, None]


async def test_a_low_ribbon_still_prints(tmp_path: Path) -> None:
    with SimCardPrinter(tmp_path, ribbon=2) as printer:
        desk = PrinterDesk(PrinterBridge(printer.address), printer.address, EventHub(), 60.0)
        assert (await desk.print(ORDER, lambda _failure: None)).status == "printed"
        assert [device.failure for device in desk.devices()] == [FailureCode.PRINTER_RIBBON_LOW]
        printer.ribbon = 0
        assert printer.state == "ribbon_empty"


@settings(max_examples=60)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=40).map(lambda text: text.encode() + b"\n")))
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(PrinterLostError):
        parse_answer(line)


@given(st.sampled_from(PrinterState), st.sampled_from(["queued", "printed"]))
def test_every_cut_of_an_answer_is_refused(state: PrinterState, job: str) -> None:
    line = f'{{"state":"{state}","job":"{job}","maker":"x"}}\n'.encode()
    assert parse_answer(line).state is state
    for end in range(len(line) - 1):
        with pytest.raises(PrinterLostError):
            parse_answer(line[:end])


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_the_simulator_drops_what_is_no_question(line: bytes) -> None:
    assert SimCardPrinter.answer(object.__new__(SimCardPrinter), line) is None
