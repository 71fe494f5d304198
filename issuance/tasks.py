"""Background jobs of the service: what is due without anybody asking.

Every job reads the service's clock, may be broken off anywhere and run on several replicas at once: what it does is
claimed row by row, in transactions of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from issuance.audit.sequencer import sequence_due
from issuance.bank.reconciliation import reconcile_daily
from issuance.cards.jobs import mark_overdue_found_cards, release_temporary_losses
from issuance.identity.service import recheck_waiting
from issuance.logs import get_logger
from issuance.outbox.delivery import deliver_due
from issuance.privacy.reseal import fill_name_index, reseal_due
from issuance.privacy.retention import forget_due
from issuance.production.jobs import run_round
from issuance.publication.tasks import publish_due
from issuance.services import Services
from issuance.stock.openings import keep_openings
from issuance.supervision.alerts import evaluate_alerts

log = get_logger("issuance.tasks")


@dataclass(frozen=True, slots=True)
class Job:
    """`run` returns how many things it did."""

    name: str
    run: Callable[[Services], Awaitable[int]]


JOBS: tuple[Job, ...] = (
    Job("release_temporary_losses", release_temporary_losses),
    Job("mark_overdue_found_cards", mark_overdue_found_cards),
    Job("reconcile_with_bank", reconcile_daily),
    Job("recheck_identities", recheck_waiting),
    Job("deliver_outbox", deliver_due),
    Job("production", run_round),
    Job("evaluate_alerts", evaluate_alerts),
    Job("keep_stock_openings", keep_openings),
    Job("sequence_audit", sequence_due),
    Job("fill_name_index", fill_name_index),
    Job("reseal", reseal_due),
    Job("forget", forget_due),
)
SLOW_JOBS: tuple[Job, ...] = (Job("publish", publish_due),)
"""What may take minutes, in rounds of its own; broken off when the service stops."""


async def run_once(services: Services, jobs: Iterable[Job] = JOBS) -> dict[str, int]:
    """Each job one time, in order. A job that fails is logged and counts as -1; the others run all the same."""
    done: dict[str, int] = {}
    for job in jobs:
        try:
            done[job.name] = await job.run(services)
        except Exception as error:  # its words may quote what a message says
            log.error("job_failed", job=job.name, error=type(error).__name__)
            done[job.name] = -1
    return done


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """The jobs in the background of this block; the round that runs is let end, slow ones are not."""
    if not services.settings.tasks_pause_s:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(run_forever(services, stop), name="background jobs")
    slow = asyncio.create_task(run_forever(services, stop, SLOW_JOBS), name="slow background jobs")
    try:
        yield
    finally:
        stop.set()
        slow.cancel()
        with suppress(asyncio.CancelledError):
            await slow
        await task


async def run_forever(services: Services, stop: asyncio.Event, jobs: Iterable[Job] = JOBS) -> None:
    """Round after round until `stop`, which ends the pause between two."""
    while not stop.is_set():
        await run_once(services, jobs)
        try:
            await asyncio.wait_for(stop.wait(), services.settings.tasks_pause_s)
        except TimeoutError:
            continue
