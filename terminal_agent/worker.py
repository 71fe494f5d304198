"""One thread per reader does all of that reader's I/O, so a frozen reader freezes nothing else."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from terminal_agent.problems import OperationTimeoutError, ReaderBusyError

T = TypeVar("T")

MAX_WAITING_CALLS = 32


class ReaderWorker:
    """Runs calls for one reader in the order given. Its thread is a daemon: a card that never answers cannot keep
    the agent from ending."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls: queue.SimpleQueue[tuple[Future[object], Callable[[], object]] | None] = queue.SimpleQueue()
        self._overdue_at: float | None = None
        self._is_stopped = False
        self._pins = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"reader {name}", daemon=True)
        self._thread.start()

    @property
    def is_frozen(self) -> bool:
        """The running call has outlived the patience of the one who asked for it."""
        return self.overdue_s > 0

    @property
    def overdue_s(self) -> float:
        """By how long; 0 where it is not."""
        overdue_at = self._overdue_at
        return 0.0 if overdue_at is None else max(0.0, time.monotonic() - overdue_at)

    def submit(self, call: Callable[[], T], timeout_s: float) -> Future[T]:
        """Queue `call`; the caller waits for the future at most `timeout_s`. Raises when the reader is hopeless."""
        if self._is_stopped and not self._pins:
            raise OperationTimeoutError(f"{self.name} has gone")
        if self.is_frozen:
            raise OperationTimeoutError(f"{self.name} does not answer")
        if self._calls.qsize() >= MAX_WAITING_CALLS:
            raise ReaderBusyError(f"{self.name}: too many calls waiting")
        future: Future[T] = Future()

        def timed() -> T:
            self._overdue_at = time.monotonic() + timeout_s
            return call()

        self._calls.put((future, timed))  # type: ignore[arg-type]
        return future

    async def call(self, call: Callable[[], T], timeout_s: float) -> T:
        """`submit` for coroutines. On timeout a waiting call is withdrawn; a running one is left to its thread.

        Not `asyncio.wait_for`: in Python 3.11 it forgets a cancellation that meets the answer, and a task that asks a
        device again and again would never end.
        """
        future = self.submit(call, timeout_s)
        answer = asyncio.wrap_future(future)
        try:
            with suppress(TimeoutError):  # the call's own
                await asyncio.wait([answer], timeout=timeout_s)
                if answer.done():
                    return answer.result()
        finally:
            future.cancel()
            answer.cancel()
        raise OperationTimeoutError(f"{self.name}: no answer within {timeout_s:g} s")

    def pin(self) -> None:
        """Announce that a clean-up will be posted: the thread outlives `stop` until then. What a thread opened, such
        as a PC/SC transaction, only that thread can close."""
        with self._lock:
            self._pins += 1

    def unpin(self, clean_up: Callable[[], object]) -> None:
        """Queue the announced clean-up; nobody waits for it."""

        def run() -> None:
            try:
                clean_up()
            finally:
                with self._lock:
                    self._pins -= 1

        self._calls.put((Future(), run))

    def stop(self) -> None:
        """The thread ends after the calls already queued, and takes no new ones; of those who pinned it, until the
        last of them is done: what went wrong with their card only the card's connection can say."""
        self._is_stopped = True
        self._calls.put(None)

    def join(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_ending = False
        while not (is_ending and self._pins == 0):
            item = self._calls.get()
            if item is None:
                is_ending = True
            else:
                self._serve(*item)

    def _serve(self, future: Future[object], call: Callable[[], object]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = call()
        except BaseException as exc:  # the thread must outlive any failure of one call
            self._overdue_at = None
            future.set_exception(exc)
        else:
            self._overdue_at = None
            future.set_result(result)
