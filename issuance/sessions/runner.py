"""Running card scripts: a generator advanced batch by batch, kept in memory but never needed there.

A script is deterministic given its order and the card's responses, so a runner that is gone (restart, another
replica) is rebuilt by replaying what the card has answered so far.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apdu.response import ResponseApdu
from cardlib.failures import FailureCode, failure_of
from cardlib.initialization import InitializationOrder, initialize
from cardlib.personalization import PersonalizationOrder, personalize
from cardlib.script import Script, ScriptError, ScriptStep
from cardlib.visit import VisitOrder, free_pin, reset_pin, rewrite
from hsm.api import KeyService
from issuance.logs import get_logger

MAX_CACHED = 256
log = get_logger("issuance.sessions")

ScriptMaker = Callable[[dict[str, Any], KeyService], Script]


def _initialization(order: dict[str, Any], keys: KeyService) -> Script:
    return initialize(InitializationOrder.from_json(order), keys)


def _personalization(order: dict[str, Any], keys: KeyService) -> Script:
    return personalize(PersonalizationOrder.from_json(order), keys)


def _rewrite(order: dict[str, Any], keys: KeyService) -> Script:
    return rewrite(VisitOrder.from_json(order), keys)


def _pin_reset(order: dict[str, Any], keys: KeyService) -> Script:
    return reset_pin(VisitOrder.from_json(order), keys)


def _pin_unblock(order: dict[str, Any], keys: KeyService) -> Script:
    return free_pin(VisitOrder.from_json(order), keys)


SCRIPTS: dict[str, ScriptMaker] = {
    "initialization": _initialization,
    "personalization": _personalization,
    "rewrite": _rewrite,
    "pin_reset": _pin_reset,
    "pin_unblock": _pin_unblock,
}


@dataclass(frozen=True, slots=True)
class ScriptDone:
    result: dict[str, str]


@dataclass(frozen=True, slots=True)
class ScriptFailed:
    failure: str
    detail: str


Progress = ScriptStep | ScriptDone | ScriptFailed


class ScriptRunner:
    """One script between two batches; `step` is the batch that waits for the card's answers."""

    def __init__(self, kind: str, order: dict[str, Any], keys: KeyService) -> None:
        self._make = SCRIPTS[kind]
        self._order = order
        self._keys = keys
        self._script: Script | None = None
        self.step: ScriptStep | None = None

    def start(self) -> Progress:
        return self._advance(None)

    def send(self, responses: Sequence[ResponseApdu]) -> Progress:
        return self._advance(list(responses))

    def replay(self, exchanges: Iterable[Sequence[ResponseApdu]]) -> None:
        """Come to where the stored session stands. Raises RuntimeError when the script does not come there."""
        progress = self.start()
        for responses in exchanges:
            progress = self.send(responses)
        if not isinstance(progress, ScriptStep):
            raise RuntimeError("the script ended while its session goes on")

    def close(self) -> None:
        if self._script is not None:
            self._script.close()

    def _advance(self, responses: list[ResponseApdu] | None) -> Progress:
        try:
            if self._script is None:
                self._script = self._make(self._order, self._keys)
                self.step = next(self._script)
            else:
                self.step = self._script.send(responses or [])
        except StopIteration as done:
            return ScriptDone(dict(done.value))
        except ScriptError as error:
            return ScriptFailed(known(error.failure), error.detail)
        except Exception as error:
            # The words of any other exception may quote the order, which is personal.
            log.warning("script_failed", error=type(error).__name__)
            return ScriptFailed(failure_of(error).value, type(error).__name__)
        return self.step


class RunnerCache:
    """Runners of running sessions, the most recently used ones; used from the event loop's thread only."""

    def __init__(self, size: int = MAX_CACHED) -> None:
        self._size = size
        self._runners: OrderedDict[str, tuple[int, ScriptRunner]] = OrderedDict()

    def take(self, session_id: str, sequence: int) -> ScriptRunner | None:
        """Hand out the runner that waits for the answers to `sequence`; it must be put back after the commit.

        Taken out, so that a transaction rolled back leaves no runner that is ahead of the database.
        """
        waiting, runner = self._runners.pop(session_id, (0, None))
        if runner is not None and waiting != sequence:
            runner.close()
            return None
        return runner

    def put(self, session_id: str, sequence: int, runner: ScriptRunner) -> None:
        self._runners[session_id] = (sequence, runner)
        while len(self._runners) > self._size:
            _, (_, oldest) = self._runners.popitem(last=False)
            oldest.close()

    def drop(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            _, runner = self._runners.pop(session_id, (0, None))
            if runner is not None:
                runner.close()


def known(failure: str) -> str:
    return failure if failure in FailureCode.__members__ else FailureCode.INTERNAL.value
