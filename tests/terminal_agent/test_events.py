"""Readers, cards and sessions as Server-Sent Events over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from apdu.errors import ReaderServiceError
from apdu.inprocess import InProcessReaders, InProcessWatch
from cardlib.wire import BatchCommand
from terminal_agent.server import running_agent
from tests.terminal_agent.stand import APPLICATION, ATR, READER, ScriptedCard, ScriptedCentre, settings


def parsed(lines: Iterator[str], wanted: int) -> list[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) of the next events, heartbeats left out."""
    events, fields = [], dict[str, str]()
    while len(events) < wanted:
        line = next(lines)
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            events.append((fields["event"], fields["id"], json.loads(fields["data"])))
            fields = {}
    return events


def test_stream_replay_and_shutdown() -> None:
    readers = InProcessReaders([READER])
    with running_agent(settings(port=0, ws_port=0), readers) as where:
        with httpx.stream("GET", f"{where.url}/v1/events", timeout=5) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-store"
            lines = stream.iter_lines()
            readers.insert(READER, ScriptedCard())
            (inserted,) = parsed(lines, 1)
            readers.remove(READER)
            (removed,) = parsed(lines, 1)
        assert (inserted[0], removed[0]) == ("card_inserted", "card_removed")
        assert inserted[2] == {"reader": READER, "state": "PRESENT", "atr": ATR.hex().upper(), "role": "card"}
        assert removed[2]["state"] == "EMPTY"
        with httpx.stream("GET", f"{where.url}/v1/events", timeout=5, headers={"Last-Event-ID": inserted[1]}) as stream:
            assert parsed(stream.iter_lines(), 1) == [removed]
        with httpx.stream("GET", f"{where.url}/v1/events", timeout=5, headers={"Last-Event-ID": "old-7"}) as stream:
            assert parsed(stream.iter_lines(), 1)[0][0] == "resync"


def test_session_progress_names_no_person() -> None:
    readers = InProcessReaders([READER])
    readers.insert(READER, ScriptedCard())
    centre = ScriptedCentre([BatchCommand(apdu="0084000008")])
    with (
        running_agent(settings(port=0, ws_port=0), readers, issuance=centre) as where,
        httpx.stream("GET", f"{where.url}/v1/events", timeout=5) as stream,
    ):
        order = {"reader": READER, "kind": "personalization", "application_id": APPLICATION}
        while httpx.post(f"{where.url}/v1/card-sessions", json=order).status_code != 202:
            continue
        lines = stream.iter_lines()
        seen = []
        while not seen or seen[-1][0] != "session_done":
            seen += parsed(lines, 1)
    assert "session_progress" in {name for name, _, _ in seen}
    assert seen[-1][2]["state"] == "done"
    text = json.dumps([data for _, _, data in seen])
    assert APPLICATION not in text
    assert "A0000" not in text


class FailingReaders(InProcessReaders):
    """A reader service that can be switched off."""

    is_down = False

    def watch(self) -> InProcessWatch:
        if self.is_down:
            raise ReaderServiceError("service stopped")
        return FailingWatch(self)


class FailingWatch(InProcessWatch):
    def wait(self, timeout_s: float) -> Any:
        if self._service.is_down:  # type: ignore[attr-defined]
            raise ReaderServiceError("service stopped")
        return super().wait(timeout_s)


def test_loss_of_the_reader_service_is_a_state() -> None:
    readers = FailingReaders([READER])
    with (
        running_agent(settings(port=0, ws_port=0), readers) as where,
        httpx.stream("GET", f"{where.url}/v1/events", timeout=5) as stream,
    ):
        lines = stream.iter_lines()
        readers.is_down = True
        lost = parsed(lines, 2)
        assert [name for name, _, _ in lost] == ["reader_removed", "service_lost"]
        assert httpx.get(f"{where.url}/v1/readers").json()[0]["state"] == "LOST"
        assert httpx.get(f"{where.url}/v1/info").json()["is_reader_service_lost"] is True
        answer = httpx.post(f"{where.url}/v1/readers/{READER}/basic-information", json={})
        assert answer.json()["code"] == "READER_LOST"
        readers.is_down = False
        assert [name for name, _, _ in parsed(lines, 2)] == ["service_restored", "reader_added"]
        assert httpx.get(f"{where.url}/v1/readers").json()[0]["state"] == "EMPTY"
