"""The session pool: fail-over, back-pressure, recovery; over machines made of threads and counters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hsm.api import Algorithm, BadInputError
from hsm.device import DeviceBusyError, DeviceError, DeviceLostError, DeviceSession
from hsm.pool import FIRST_REST_S, DevicePool
from hsm.primitives import default_engine
from hsm.soft_device import SoftDevice


class Session(SoftDevice):
    """One session of `machine`; two threads in it at once would be seen."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(default_engine())
        self.machine = machine
        self.is_open = True
        self.epoch = machine.epoch
        self.users = 0
        self.ended = 0

    def random(self, length: int) -> bytes:
        self.check()
        self.users += 1
        assert self.users == 1
        time.sleep(self.machine.delay_s)
        self.users -= 1
        self.check()
        return super().random(length)

    def end_operation(self) -> None:
        self.ended += 1

    def check(self) -> None:
        if not self.machine.is_there or self.epoch != self.machine.epoch:
            raise DeviceLostError(f"{self.machine.name} is gone")

    def close(self) -> None:
        assert self.is_open
        self.is_open = False
        self.machine.closed += 1


class Machine:
    algorithms = frozenset(Algorithm)
    max_sessions = 100

    def __init__(self, name: str, delay_s: float = 0.0) -> None:
        self.name = name
        self.delay_s = delay_s
        self.is_there = True
        self.epoch = 0
        self.sessions: list[Session] = []
        self.closed = 0
        self.is_closed = False

    def open_session(self) -> Session:
        if not self.is_there:
            raise DeviceLostError(f"{self.name} does not answer")
        self.sessions.append(Session(self))
        return self.sessions[-1]

    def unplug(self) -> None:
        self.is_there = False
        self.epoch += 1

    def close(self) -> None:
        self.is_closed = True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def draw(session: DeviceSession) -> bytes:
    return session.random(8)


def test_sessions_are_kept_and_closed() -> None:
    machine = Machine("a")
    pool = DevicePool([machine])
    assert len(pool.run(draw)) == len(pool.run(draw)) == 8
    assert len(machine.sessions) == 1
    assert machine.sessions[0].ended == 2
    pool.close()
    assert machine.is_closed
    assert machine.closed == 1
    with pytest.raises(DeviceLostError):
        pool.run(draw)
    with pytest.raises(BadInputError):
        DevicePool([])


def test_an_error_of_the_request_keeps_the_session() -> None:
    machine = Machine("a")
    pool = DevicePool([machine])

    def refuse(_: DeviceSession) -> None:
        raise DeviceError("no such key", 8)

    for _ in range(3):
        with pytest.raises(DeviceError, match="no such key"):
            pool.run(refuse)
    assert len(machine.sessions) == 1
    assert machine.sessions[0].ended == 3


def test_fail_over_and_back() -> None:
    clock, told = Clock(), []
    first, second = Machine("a"), Machine("b")
    pool = DevicePool([first, second], clock=clock, alarm=lambda *news: told.append(news))
    pool.run(draw)
    first.unplug()
    for _ in range(3):
        pool.run(draw)
    assert told == [("a", False)]
    assert [figures.is_up for figures in pool.figures()] == [False, True]
    assert len(first.sessions) == first.closed == 1
    first.is_there = True
    clock.now += FIRST_REST_S
    for _ in range(2):
        pool.run(draw)
    assert told[-1] == ("a", True)
    assert all(figures.is_up for figures in pool.figures())
    pool.close()


def test_all_machines_gone_is_one_clear_error_and_heals() -> None:
    clock = Clock()
    machine = Machine("a")
    pool = DevicePool([machine], clock=clock)
    machine.unplug()
    for _ in range(4):
        with pytest.raises(DeviceLostError, match=r"does not answer|no key device"):
            pool.run(draw)
    assert pool.figures()[0].lost == 1, "a resting machine is not asked again"
    machine.is_there = True
    clock.now += FIRST_REST_S
    assert pool.run(draw)


def test_rests_grow_by_losses_not_by_threads() -> None:
    machine = Machine("a")
    pool = DevicePool([machine], sessions=8, clock=Clock())  # the rest ends for none of them
    errors: list[DeviceLostError] = []
    is_unplugged = threading.Event()

    def late(session: DeviceSession) -> bytes:
        is_unplugged.wait(30)
        return draw(session)

    def work() -> None:
        try:
            pool.run(late)
        except DeviceLostError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: pool.figures()[0].in_use == 8)  # a busy computer starts threads late
    machine.unplug()
    is_unplugged.set()
    for thread in threads:
        thread.join()
    assert len(errors) == 8
    assert pool.figures()[0].lost == 1
    assert pool.figures()[0].sessions == pool.figures()[0].in_use == 0
    assert machine.closed == len(machine.sessions)


def test_back_pressure() -> None:
    pool = DevicePool([Machine("a")], sessions=1, wait_s=0.02)
    may_end = threading.Event()
    thread = threading.Thread(target=pool.run, args=(lambda _: may_end.wait(30),))
    thread.start()
    wait_until(lambda: pool.figures()[0].in_use == 1)
    with pytest.raises(DeviceBusyError):
        pool.run(draw)
    may_end.set()
    thread.join()
    assert pool.run(draw)
    assert pool.figures()[0].busy == 1


def test_idle_sessions_are_checked() -> None:
    clock = Clock()
    machine = Machine("a")
    pool = DevicePool([machine, Machine("b")], clock=clock, check_after_s=30)
    pool.run(draw)
    machine.unplug()
    machine.is_there = True  # restarted meanwhile: old sessions are void
    clock.now += 31
    assert pool.run(draw)
    assert machine.sessions[0].is_open is False


def test_many_threads_and_an_unsteady_machine() -> None:
    """No thread meets an error while one machine of two is up; no session is lost or used twice at once."""
    shaky, steady = Machine("a", 0.001), Machine("b", 0.001)
    pool = DevicePool([shaky, steady], sessions=4, wait_s=20)
    stop = time.monotonic() + 1.0
    errors: list[BaseException] = []
    done = [0] * 16

    def work(number: int) -> None:
        try:
            while not done[number] or time.monotonic() < stop:
                pool.run(draw)
                done[number] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    while time.monotonic() < stop:
        shaky.unplug()
        time.sleep(0.02)
        shaky.is_there = True
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(done)
    figures = pool.figures()
    assert [each.in_use for each in figures] == [0, 0]
    assert sum(each.sessions for each in figures) <= 8
    pool.close()
    assert all(machine.closed == len(machine.sessions) for machine in (shaky, steady))


def test_first_come_first_served() -> None:
    """Who has just finished does not overtake those who wait."""
    pool = DevicePool([Machine("a")], sessions=1, wait_s=30)
    order: list[str] = []
    may_end = threading.Event()

    def hold(_: DeviceSession) -> None:
        may_end.wait(30)

    def note(name: str) -> None:
        pool.run(lambda _: order.append(name))

    first = threading.Thread(target=pool.run, args=(hold,))
    first.start()
    wait_until(lambda: pool.figures()[0].in_use == 1)
    waiting = [threading.Thread(target=note, args=(name,)) for name in "bcdef"]
    for length, thread in enumerate(waiting, 1):
        thread.start()
        wait_until(lambda length=length: len(pool._queue) == length)
    may_end.set()
    note("last")
    for thread in [first, *waiting]:
        thread.join()
    assert order == [*"bcdef", "last"]
