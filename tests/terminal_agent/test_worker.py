"""A frozen reader is reported as such and delays nobody else (targets.md, row 5)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from apdu.inprocess import InProcessReaders
from terminal_agent.hub import EventHub
from terminal_agent.problems import OperationTimeoutError, ReaderBusyError
from terminal_agent.registry import Reader, ReaderRegistry
from terminal_agent.worker import MAX_WAITING_CALLS, ReaderWorker
from tests.terminal_agent.stand import READER, until


async def test_frozen_reader_times_out_and_others_go_on() -> None:
    release = threading.Event()
    frozen, healthy = ReaderWorker("frozen"), ReaderWorker("healthy")
    frozen.submit(release.wait, 0.05)
    await until(lambda: frozen.is_frozen)
    begun = time.monotonic()
    with pytest.raises(OperationTimeoutError):
        await frozen.call(lambda: None, 60)
    assert await healthy.call(lambda: 42, 60) == 42
    assert time.monotonic() - begun < 30
    release.set()
    await until(lambda: not frozen.is_frozen)
    assert await frozen.call(lambda: "thawed", 60) == "thawed"
    for worker in (frozen, healthy):
        worker.stop()
        assert worker.join(20)


async def test_calls_run_one_after_the_other_on_one_thread_and_failures_do_not_end_it() -> None:
    worker = ReaderWorker("r")
    names = await asyncio.gather(*(worker.call(lambda: threading.current_thread().name, 20) for _ in range(5)))
    assert set(names) == {"reader r"}
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0, 20)
    assert await worker.call(lambda: 7, 20) == 7
    worker.stop()
    with pytest.raises(OperationTimeoutError):
        await worker.call(lambda: 7, 5)


async def test_a_cancelling_that_meets_the_answer_is_not_lost() -> None:
    """Else a task that asks a device again and again goes on for ever, and the agent that stops waits for it."""
    worker, begun, release = ReaderWorker("r"), threading.Event(), threading.Event()
    call = asyncio.create_task(worker.call(lambda: (begun.set(), release.wait())[1], 60))
    await until(begun.is_set)
    release.set()
    worker.stop()
    assert worker.join(20), "the loop stands meanwhile: the answer is there, and nobody has seen it"
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_cancelling_that_meets_a_change_of_the_reader_is_not_lost() -> None:
    service = InProcessReaders([READER])
    registry = ReaderRegistry(service, EventHub())
    reader = Reader(READER, service, ReaderWorker(READER), is_psam=False)
    wait = asyncio.create_task(registry.wait_change(reader, 60))
    await asyncio.sleep(0.01)
    reader.changed.set()
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    reader.worker.stop()


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
    assert first.result(20)
    await until(lambda: worker._calls.qsize() == 0)
    await worker.call(lambda: None, 20)
    assert ran == []
    worker.stop()


def test_announced_clean_up_runs_on_the_same_thread_after_stop() -> None:
    worker, done = ReaderWorker("r"), threading.Event()
    where: list[str] = []
    worker.pin()
    worker.stop()
    time.sleep(0.02)
    worker.unpin(lambda: (where.append(threading.current_thread().name), done.set()))
    assert done.wait(20)
    assert where == ["reader r"]
    assert worker.join(20)
