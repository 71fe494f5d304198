"""Readers, cards and sessions as Server-Sent Events over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx

from apdu.errors import ReaderServiceError
from apdu.inprocess import InProcessReaders, InProcessWatch
from cardlib.wire import BatchCommand
from terminal_agent.server import Ready, running_agent
from tests.terminal_agent.stand import APPLICATION, ATR, READER, ScriptedCard, ScriptedCentre, settings


def events(where: Ready, **headers: str) -> AbstractContextManager[httpx.Response]:
    return httpx.stream("GET", f"{where.url}/v1/events", timeout=30, headers=headers)


def parsed(lines: Iterator[str], wanted: int) -> list[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) of the next events, heartbeats left out."""
    found, fields = [], dict[str, str]()
    while len(found) < wanted:
        line = next(lines)
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
            fields = {}
    return found


def first(lines: Iterator[str], name: str) -> tuple[str, str, dict[str, Any]]:
    """The next event of this name: the monitor may tell of the readers it found before."""
    while (event := parsed(lines, 1)[0])[0] != name:
        continue
    return event


def test_stream_replay_and_shutdown() -> None:
    readers = InProcessReaders([READER])
    with running_agent(settings(port=0, ws_port=0), readers) as where:
        with events(where) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-store"
            lines = stream.iter_lines()
            readers.insert(READER, ScriptedCard())
            inserted = first(lines, "card_inserted")
            readers.remove(READER)
            (removed,) = parsed(lines, 1)
        assert removed[0] == "card_removed"
        assert inserted[2] == {"reader": READER, "state": "PRESENT", "atr": ATR.hex().upper(), "role": "card"}
        assert removed[2]["state"] == "EMPTY"
        with events(where, **{"Last-Event-ID": inserted[1]}) as stream:
            assert parsed(stream.iter_lines(), 1) == [removed]
        with events(where, **{"Last-Event-ID": "old-7"}) as stream:
            assert parsed(stream.iter_lines(), 1)[0][0] == "resync"


def test_session_progress_names_no_person() -> None:
    readers = InProcessReaders([READER])
    readers.insert(READER, ScriptedCard())
    centre = ScriptedCentre([BatchCommand(apdu="0084000008")])
    with (
        running_agent(settings(port=0, ws_port=0), readers, issuance=centre) as where,
        events(where) as stream,
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
        events(where) as stream,
    ):
        lines = stream.iter_lines()
        readers.insert(READER, ScriptedCard())
        first(lines, "card_inserted")  # what the monitor has not seen it cannot lose
        readers.remove(READER)
        first(lines, "card_removed")
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
