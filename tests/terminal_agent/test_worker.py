"""A frozen reader is reported as such and delays nobody else (targets.md, row 5)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from terminal_agent.problems import OperationTimeoutError, ReaderBusyError
from terminal_agent.worker import MAX_WAITING_CALLS, ReaderWorker


async def test_frozen_reader_times_out_and_others_go_on() -> None:
    release = threading.Event()
    frozen, healthy = ReaderWorker("frozen"), ReaderWorker("healthy")
    with pytest.raises(OperationTimeoutError):
        await frozen.call(release.wait, 0.05)
    assert frozen.is_frozen
    begun = time.monotonic()
    with pytest.raises(OperationTimeoutError):
        await frozen.call(lambda: None, 5)
    assert await healthy.call(lambda: 42, 1) == 42
    assert time.monotonic() - begun < 0.05
    release.set()
    await asyncio.sleep(0.05)
    assert await frozen.call(lambda: "thawed", 1) == "thawed"
    for worker in (frozen, healthy):
        worker.stop()
        assert worker.join(1)


async def test_calls_run_one_after_the_other_on_one_thread_and_failures_do_not_end_it() -> None:
    worker = ReaderWorker("r")
    names = await asyncio.gather(*(worker.call(lambda: threading.current_thread().name, 1) for _ in range(5)))
    assert set(names) == {"reader r"}
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0, 1)
    assert await worker.call(lambda: 7, 1) == 7
    worker.stop()
    with pytest.raises(OperationTimeoutError):
        await worker.call(lambda: 7, 1)


async def test_queue_is_bounded_and_a_withdrawn_call_never_runs() -> None:
    worker, release, ran = ReaderWorker("r"), threading.Event(), []
    first = worker.submit(release.wait, 5)
    with pytest.raises(OperationTimeoutError):
        await worker.call(lambda: ran.append("late"), 0.02)
    while True:
        try:
            worker.submit(lambda: None, 5)
        except ReaderBusyError:
            break
    assert worker._calls.qsize() == MAX_WAITING_CALLS
    release.set()
    assert first.result(1)
    await worker.call(lambda: None, 1)
    assert ran == []
    worker.stop()


def test_announced_clean_up_runs_on_the_same_thread_after_stop() -> None:
    worker, done = ReaderWorker("r"), threading.Event()
    where: list[str] = []
    worker.pin()
    worker.stop()
    time.sleep(0.02)
    worker.unpin(lambda: (where.append(threading.current_thread().name), done.set()))
    assert done.wait(1)
    assert where == ["reader r"]
    assert worker.join(1)
