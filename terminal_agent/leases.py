"""Leases: one program drives a reader, all others look on, and the next in line is served when it is free.

A lease belongs to whoever shows its secret. It lasts until it is given back, its longest time is over, or its holder is
gone: bound to an open connection it ends with that connection; unbound it is renewed every few seconds. It orders the
programs that go through the agent and holds no PC/SC transaction, so other card software of the computer goes on.
Everything here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from terminal_agent.caller import LEASE
from terminal_agent.hub import EventHub
from terminal_agent.problems import AgentError, ReaderBusyError
from terminal_agent.registry import Holder, Reader, ReaderRegistry

RENEW_S: Final = 10.0
MAX_WAITING: Final = 32
LEASE_CHANGED: Final = "lease_changed"


class ReaderLeasedError(AgentError):
    """Somebody else has leased the reader; `extra` says who."""

    failure = "READER_LEASED"


class LeaseLostError(AgentError):
    """The secret shown is not, or no longer, that of the reader's lease."""

    failure = "LEASE_LOST"


@dataclass(slots=True)
class Lease:
    """`ends_at` and `renew_by` by the monotonic clock; `bonds` counts the open connections it is bound to."""

    reader: Reader
    holder: Holder
    ends_at: float
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    renew_by: float = 0.0
    bonds: int = 0
    timer: asyncio.TimerHandle | None = None

    @property
    def seconds_left(self) -> int:
        return max(0, round(self.ends_at - time.monotonic()))


@dataclass(slots=True, eq=False)
class _Waiter:
    holder: Holder
    max_s: float
    granted: asyncio.Future[Lease]


class LeaseDesk:
    """Gives the readers of `registry` to one caller at a time, in the order they asked."""

    def __init__(self, registry: ReaderRegistry, hub: EventHub) -> None:
        self._registry = registry
        self._hub = hub
        self._leases: dict[str, Lease] = {}
        self._lines: dict[str, deque[_Waiter]] = {}
        registry.keeper = self

    async def acquire(self, name: str, owner: str, origin: str, *, wait_s: float, max_s: float) -> Lease:
        """The lease of a reader, waited for in line. Raises UnknownReaderError, ReaderLeasedError."""
        reader = self._registry.get(name)
        line = self._lines.setdefault(name, deque())
        if len(line) >= MAX_WAITING:
            raise self._refusal(reader)
        waiter = _Waiter(Holder(owner, origin), max_s, asyncio.get_running_loop().create_future())
        line.append(waiter)
        self.serve(reader)
        try:
            if not waiter.granted.done():
                self._tell(reader)
                await asyncio.wait([waiter.granted], timeout=wait_s)
        except asyncio.CancelledError:
            if waiter.granted.done():
                self._end(waiter.granted.result())
            raise
        finally:
            if waiter in line:
                line.remove(waiter)
                self._tell(reader)
        if not waiter.granted.done():
            raise self._refusal(reader)
        return waiter.granted.result()

    def renew(self, name: str, secret: str) -> Lease:
        """Raises LeaseLostError."""
        lease = self._mine(name, secret)
        self._renew(lease)
        return lease

    def release(self, name: str, secret: str) -> None:
        """Raises LeaseLostError."""
        self._end(self._mine(name, secret))

    def find(self, secret: str) -> Lease:
        """Raises LeaseLostError."""
        for lease in self._leases.values():
            if hmac.compare_digest(lease.secret.encode(), secret.encode()):
                return lease
        raise LeaseLostError("no such lease, or no longer")

    def is_live(self, secret: str) -> bool:
        with suppress(LeaseLostError):
            return bool(self.find(secret))
        return False

    @contextmanager
    def bound(self, secret: str) -> Iterator[None]:
        """The lease needs no renewal inside, and ends with the last such block. Nothing happens to a lost one."""
        try:
            lease = self.find(secret)
        except LeaseLostError:
            yield
            return
        lease.bonds += 1
        self._schedule(lease)
        try:
            yield
        finally:
            lease.bonds -= 1
            if lease.bonds == 0:
                self._end(lease)

    @property
    def origins(self) -> set[str]:
        """Of the pages that have a lease."""
        return {lease.holder.origin for lease in self._leases.values() if lease.holder.origin}

    def end_of_origin(self, origin: str) -> None:
        """End every lease of a page that may no longer call."""
        for lease in [lease for lease in self._leases.values() if lease.holder.origin == origin]:
            self._end(lease)

    # -- for the registry -------------------------------------------------------------------------------------------

    def holder_of(self, reader: Reader) -> Holder | None:
        lease = self._leases.get(reader.name)
        return None if lease is None else lease.holder

    def waiting(self, reader: Reader) -> int:
        return len(self._lines.get(reader.name, ()))

    def check(self, reader: Reader) -> None:
        """Raises ReaderLeasedError where another has the lease, LeaseLostError where the caller thinks it has."""
        shown = LEASE.get()
        if shown:
            self._mine(reader.name, shown)
        elif reader.name in self._leases:
            raise self._refusal(reader)

    def serve(self, reader: Reader) -> None:
        """Give a free reader to the next in line."""
        line = self._lines.get(reader.name)
        while line and reader.name not in self._leases and reader.holder is None:
            waiter = line.popleft()
            if waiter.granted.done():
                continue
            lease = Lease(reader, waiter.holder, time.monotonic() + waiter.max_s)
            lease.holder.since = datetime.now(UTC)
            self._leases[reader.name] = lease
            self._renew(lease)
            waiter.granted.set_result(lease)
            self._tell(reader)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _mine(self, name: str, secret: str) -> Lease:
        lease = self._leases.get(name)
        if lease is None or not hmac.compare_digest(lease.secret.encode(), secret.encode()):
            raise LeaseLostError(f"{name}: the lease has ended")
        return lease

    def _renew(self, lease: Lease) -> None:
        lease.renew_by = time.monotonic() + RENEW_S
        self._schedule(lease)

    def _schedule(self, lease: Lease) -> None:
        if lease.timer is not None:
            lease.timer.cancel()
        until = lease.ends_at if lease.bonds else min(lease.ends_at, lease.renew_by)
        lease.timer = asyncio.get_running_loop().call_later(max(0.0, until - time.monotonic()), self._end, lease)

    def _end(self, lease: Lease) -> None:
        reader = lease.reader
        if lease.timer is not None:
            lease.timer.cancel()
        if self._leases.get(reader.name) is not lease:
            return
        del self._leases[reader.name]
        reader.changed.set()
        self._tell(reader)
        self.serve(reader)

    def _refusal(self, reader: Reader) -> AgentError:
        holder = self._registry.holder_of(reader)
        if holder is None:
            return ReaderBusyError(f"{reader.name}: too many are waiting")
        error = ReaderLeasedError(f"{reader.name}: {holder}")
        error.extra = {"holder": holder.public() | {"waiting": self.waiting(reader)}}
        return error

    def _tell(self, reader: Reader) -> None:
        """`waiting` in the order of the line, so that each who waits finds its place."""
        holder = self._registry.holder_of(reader)
        waiting: list[dict[str, Any]] = [
            {"owner": waiter.holder.owner, "origin": waiter.holder.origin or None}
            for waiter in self._lines.get(reader.name, ())
        ]
        public = holder.public() if holder is not None else None
        self._hub.publish(LEASE_CHANGED, {"reader": reader.name, "holder": public, "waiting": waiting})
