"""Measurements in processes of their own, because libpcsclite finds its service once per process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from apdu.readers import EventKind, ReaderEvent, ReaderService

ROOT = Path(__file__).resolve().parents[1]
CLIENT_S = 45.0
EVENT_S = 10.0


class ClientError(Exception):
    """The measuring process ended badly; the text is its last line."""

    failure: ClassVar[str] = "READER_SERVICE_UNAVAILABLE"


def run_client(
    module: str, *arguments: object, env: Mapping[str, str] | None = None, timeout_s: float = CLIENT_S
) -> Any:
    """What `python -m module arguments` prints as JSON. Raises ClientError."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"no end after {timeout_s:.0f} s") from error
    if done.returncode:
        raise ClientError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout)


def present(service: ReaderService, count: int, timeout_s: float) -> list[str]:
    """Names of the readers with a card, when there are `count` of them. Raises ClientError."""
    watch, end = service.watch(), time.monotonic() + timeout_s
    try:
        while time.monotonic() < end:
            names = sorted(name for name, slot in watch.wait(0.2).items() if slot.is_present)
            if len(names) >= count:
                return names
    finally:
        watch.close()
    raise ClientError(f"not all of {count} cards were noticed")


class EventLog:
    """What a monitor reports, to be compared with what was done. `missed` counts events that came not or unasked."""

    def __init__(self) -> None:
        self._events: queue.Queue[ReaderEvent] = queue.Queue()
        self.missed = 0

    def put(self, event: ReaderEvent) -> None:
        self._events.put(event)

    def expect(self, *kinds: EventKind) -> list[ReaderEvent]:
        """These events, in any order."""
        found: list[ReaderEvent] = []
        end = time.monotonic() + EVENT_S
        while len(found) < len(kinds):
            try:
                found.append(self._events.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                break
        wanted, seen = Counter(kinds), Counter(event.kind for event in found)
        self.missed += max((wanted - seen).total(), (seen - wanted).total())
        return found

    def finish(self) -> int:
        """All that was missed, with what came unasked at the end."""
        self.missed += self._events.qsize()
        return self.missed
