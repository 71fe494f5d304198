"""A frozen reader is reported as such and delays nobody else (targets.md, row 5)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from terminal_agent.problems import OperationTimeoutError, ReaderBusyError
from terminal_agent.worker import MAX_WAITING_CALLS, ReaderWorker
from tests.terminal_agent.stand import until


async def test_frozen_reader_times_out_and_others_go_on() -> None:
    release = threading.Event()
    frozen, healthy = ReaderWorker("frozen"), ReaderWorker("healthy")
    frozen.submit(release.wait, 0.05)
    await until(lambda: frozen.is_frozen)
    begun = time.monotonic()
    with pytest.raises(OperationTimeoutError):
        await frozen.call(lambda: None, 5)
    assert await healthy.call(lambda: 42, 5) == 42
    assert time.monotonic() - begun < 4
    release.set()
    await until(lambda: not frozen.is_frozen)
    assert await frozen.call(lambda: "thawed", 5) == "thawed"
    for worker in (frozen, healthy):
        worker.stop()
        assert worker.join(5)


async def test_calls_run_one_after_the_other_on_one_thread_and_failures_do_not_end_it() -> None:
    worker = ReaderWorker("r")
    names = await asyncio.gather(*(worker.call(lambda: threading.current_thread().name, 5) for _ in range(5)))
    assert set(names) == {"reader r"}
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0, 5)
    assert await worker.call(lambda: 7, 5) == 7
    worker.stop()
    with pytest.raises(OperationTimeoutError):
        await worker.call(lambda: 7, 5)


async def test_queue_is_bounded_and_a_withdrawn_call_never_runs() -> None:
    worker, begun, release, ran = ReaderWorker("r"), threading.Event(), threading.Event(), []
    first = worker.submit(lambda: (begun.set(), release.wait())[1], 60)
    assert begun.wait(20)
    with pytest.raises(OperationTimeoutError):
        await worker.call(lambda: ran.append("late"), 0.02)
    while True:
        try:
            worker.submit(lambda: None, 5)
        except ReaderBusyError:
            break
    assert worker._calls.qsize() == MAX_WAITING_CALLS
    release.set()
    assert first.result(5)
    await worker.call(lambda: None, 5)
    assert ran == []
    worker.stop()


def test_announced_clean_up_runs_on_the_same_thread_after_stop() -> None:
    worker, done = ReaderWorker("r"), threading.Event()
    where: list[str] = []
    worker.pin()
    worker.stop()
    time.sleep(0.02)
    worker.unpin(lambda: (where.append(threading.current_thread().name), done.set()))
    assert done.wait(5)
    assert where == ["reader r"]
    assert worker.join(5)
