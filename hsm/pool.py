"""Sessions of one or several machines as one key device: health checks, fail-over, back-pressure, figures.

An operation whose machine is lost is run again on another; it has had no effect outside the machine, because the key
table is written after it. A machine that was lost rests for a moment and is then tried by whoever comes next, so work
resumes by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hsm.api import Algorithm, BadInputError, HsmError
from hsm.device import DeviceBusyError, DeviceLostError, DeviceSession, KeyDevice, OpenSession, SessionSource

T = TypeVar("T")
LOG = logging.getLogger("hsm.pool")
FIRST_REST_S = 0.5
MAX_REST_S = 15.0


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One machine: sessions now, and counts since the start."""

    name: str
    is_up: bool
    sessions: int
    in_use: int
    operations: int
    lost: int
    busy: int


@dataclass(slots=True)
class _Idle:
    session: OpenSession
    since: float


@dataclass(slots=True, eq=False)
class _Machine:
    source: SessionSource
    idle: list[_Idle] = field(default_factory=list)
    opened: int = 0
    in_use: int = 0
    operations: int = 0
    lost: int = 0
    busy: int = 0
    epoch: int = 0
    """Counts losses: a session from before one is not kept."""
    rest_s: float = 0.0
    rests_until: float = 0.0


class DevicePool(KeyDevice):
    """`KeyDevice` over machines that hold the same keys. Safe for several threads.

    `sessions` at most per machine; a caller waits up to `wait_s` for one. `alarm` is told the name of a machine that
    is lost, and of one that is back (`alarm(name, is_up)`).
    """

    def __init__(
        self,
        sources: Sequence[SessionSource],
        *,
        sessions: int = 8,
        wait_s: float = 5.0,
        check_after_s: float = 30.0,
        alarm: Callable[[str, bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not sources or sessions < 1:
            raise BadInputError("a pool needs a machine and a session")
        self._machines = [_Machine(source) for source in sources]
        self._sessions = sessions
        self._wait_s = wait_s
        self._check_after_s = check_after_s
        self._alarm = alarm
        self._clock = clock
        self._free = threading.Condition()
        self._queue: deque[object] = deque()
        self._is_open = True

    @property
    def name(self) -> str:
        return " + ".join(machine.source.name for machine in self._machines)

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """What every machine that answers can do, so that fail-over never meets one that cannot.

        Raises what the last machine raised when none answers.
        """
        found: list[frozenset[Algorithm]] = []
        last: HsmError | None = None
        for machine in self._machines:
            try:
                offered = machine.source.algorithms
            except HsmError as error:
                last = error
            else:
                found.extend([offered] if offered else [])
        if not found:
            raise last or DeviceLostError("no key device answers")
        return frozenset.intersection(*found)

    def run(self, operation: Callable[[DeviceSession], T]) -> T:
        last: HsmError | None = None
        for _ in range(len(self._machines) + 1):
            machine, session, epoch = self._take(last)
            try:
                result = operation(session)
                session.end_operation()
            except DeviceLostError as error:
                self._drop(machine, session, epoch, error)
                last = error
            except BaseException:
                self._give_back_after_error(machine, session, epoch)
                raise
            else:
                self._give_back(machine, session, epoch)
                return result
        raise last or DeviceLostError("no key device answers")

    def figures(self) -> list[SourceFigures]:
        with self._free:
            return [
                SourceFigures(
                    machine.source.name,
                    not machine.rest_s,
                    machine.opened,
                    machine.in_use,
                    machine.operations,
                    machine.lost,
                    machine.busy,
                )
                for machine in self._machines
            ]

    def close(self) -> None:
        with self._free:
            self._is_open = False
            idle = [entry.session for machine in self._machines for entry in machine.idle]
            for machine in self._machines:
                machine.idle.clear()
            self._free.notify_all()
        for session in idle:
            session.close()
        for machine in self._machines:
            machine.source.close()

    # -- sessions -------------------------------------------------------------------------------------------------

    def _take(self, last: HsmError | None) -> tuple[_Machine, OpenSession, int]:
        """A healthy session of the least busy machine that is up. Raises DeviceBusyError, DeviceLostError."""
        deadline = self._clock() + self._wait_s
        while True:
            machine, entry, epoch = self._reserve(deadline, last)
            try:
                if entry is None:
                    session = machine.source.open_session()
                else:
                    session = entry.session
                    if self._clock() - entry.since >= self._check_after_s:
                        session.check()
            except HsmError as error:
                # A wrong PIN or a missing wrapping key also means: not this machine.
                self._drop(machine, entry.session if entry else None, epoch, error)
                last = error
            except BaseException:
                with self._free:
                    self._forget_session(machine)
                raise
            else:
                self._is_back(machine, epoch)
                return machine, session, epoch

    def _reserve(self, deadline: float, last: HsmError | None) -> tuple[_Machine, _Idle | None, int]:
        """Room for one more operation: an idle session, or leave to open one. First come, first served."""
        ticket = object()
        with self._free:
            self._queue.append(ticket)
            try:
                while True:
                    if not self._is_open:
                        raise DeviceLostError("the key device is closed")
                    now = self._clock()
                    up = [machine for machine in self._machines if machine.rests_until <= now]
                    if not up:
                        raise last or DeviceLostError("no key device answers")
                    found = self._room(up) if self._queue[0] is ticket else None
                    if found is not None:
                        return found
                    if now >= deadline:
                        for machine in up:
                            machine.busy += 1
                        raise DeviceBusyError("no session of the key device became free")
                    self._free.wait(deadline - now)
            finally:
                self._queue.remove(ticket)
                self._free.notify_all()

    def _room(self, machines: list[_Machine]) -> tuple[_Machine, _Idle | None, int] | None:
        """On the least busy of them."""
        for machine in sorted(machines, key=lambda machine: machine.in_use):
            idle = machine.idle.pop() if machine.idle else None
            if idle is None:
                if machine.opened >= min(self._sessions, machine.source.max_sessions):
                    continue
                machine.opened += 1
            machine.in_use += 1
            return machine, idle, machine.epoch
        return None

    def _give_back(self, machine: _Machine, session: OpenSession, epoch: int) -> None:
        with self._free:
            machine.in_use -= 1
            machine.operations += 1
            is_kept = self._is_open and epoch == machine.epoch
            if is_kept:
                machine.idle.append(_Idle(session, self._clock()))
                self._free.notify_all()
            else:
                machine.opened -= 1
                self._free.notify_all()
        if not is_kept:
            session.close()

    def _give_back_after_error(self, machine: _Machine, session: OpenSession, epoch: int) -> None:
        """The caller's mistake or the device's refusal; what the operation left behind is dropped."""
        try:
            session.end_operation()
        except DeviceLostError as error:
            self._drop(machine, session, epoch, error)
        else:
            self._give_back(machine, session, epoch)

    def _drop(self, machine: _Machine, session: OpenSession | None, epoch: int, error: HsmError) -> None:
        """This session is dead, and the idle ones of its machine with it."""
        with self._free:
            self._forget_session(machine)
            idle: list[_Idle] = []
            was_up = not machine.rest_s
            if epoch == machine.epoch:  # else another thread has seen the same loss
                machine.epoch += 1
                idle, machine.idle = machine.idle, []
                machine.opened -= len(idle)
                machine.lost += 1
                machine.rest_s = min(max(FIRST_REST_S, 2 * machine.rest_s), MAX_REST_S)
                machine.rests_until = self._clock() + machine.rest_s
                self._free.notify_all()
        for dead in [*(entry.session for entry in idle), *([session] if session else [])]:
            dead.close()
        if was_up and machine.rest_s:
            LOG.error("key device %s is lost: %s", machine.source.name, error)
            if self._alarm is not None:
                self._alarm(machine.source.name, False)

    def _forget_session(self, machine: _Machine) -> None:
        machine.in_use -= 1
        machine.opened -= 1
        self._free.notify_all()

    def _is_back(self, machine: _Machine, epoch: int) -> None:
        with self._free:
            was_down = bool(machine.rest_s) and epoch == machine.epoch
            if was_down:
                machine.rest_s = machine.rests_until = 0.0
        if was_down:
            LOG.warning("key device %s is back", machine.source.name)
            if self._alarm is not None:
                self._alarm(machine.source.name, True)
