"""Running production work: one chunk, one transaction; whoever is free takes the job that waited longest.

A killed process loses the chunk it was at and nothing else: the next `step`, of any replica, begins at the cursor.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError

from cardlib.failures import FailureCode
from issuance.clients.auth import Caller
from issuance.clients.schemas import Role
from issuance.database import add_unless_taken
from issuance.logs import get_logger
from issuance.problems import ProblemError, code_of
from issuance.production.models import BatchRow, FileRow, JobRow
from issuance.production.profiles import ProfileError, load_profiles
from issuance.production.repository import ProductionRepository
from issuance.production.returns import COMPARE, TAKE, ReturnChangedError, ReturnWork
from issuance.production.roster import RosterWork
from issuance.production.sending import SendWork
from issuance.production.work import Chunk, Task, Work
from issuance.scope import EVERYWHERE
from issuance.services import Services
from issuance.unit import Unit

WORKS: Final[Mapping[str, Work]] = {"roster": RosterWork(), "send": SendWork(), "return": ReturnWork()}
ROUND_S: Final = 2.0
"""How long one round of the background jobs may be busy with production."""
_MENDING: Final = frozenset({FailureCode.DATABASE_UNAVAILABLE, FailureCode.HSM_UNAVAILABLE, FailureCode.HSM_BUSY})
log = get_logger("issuance.production")


async def start(
    unit: Unit, batch: BatchRow, kind: str, stage: str, file: FileRow, total: int, *, compares: bool = False
) -> JobRow:
    """Begin work on a batch. Raises CONFLICT while other work on it goes on."""
    row = JobRow(
        id=uuid.uuid4().hex,
        batch_id=batch.id,
        kind=kind,
        stage=stage,
        file_id=file.id,
        state="running",
        phase=COMPARE if compares else TAKE,
        cursor={},
        total=total * (2 if compares else 1),
        done=0,
        busy_ms=0,
        failure=None,
        detail="",
        actor=unit.caller.client_id,
        clerk=unit.caller.clerk,
        region=unit.caller.region,
        started_at=unit.now,
        updated_at=unit.now,
        ended_at=None,
    )
    if not await add_unless_taken(unit.session, row):
        raise ProblemError("CONFLICT", "other work on this batch goes on", subject=f"batch:{batch.id}")
    return row


async def run_round(services: Services) -> int:
    """Background job: chunks of whatever runs, for about two seconds. Returns how many lines were done."""
    deadline, done = time.monotonic() + ROUND_S, 0
    while time.monotonic() < deadline:
        lines = await step(services)
        if lines is None:
            break
        done += lines
    return done


async def step(services: Services) -> int | None:
    """One chunk of the job that waited longest; the lines done, None when nothing runs.

    Raises what mends itself, such as a database that is away: the job is taken up again. Any other fault stops this
    job and no other.
    """
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        job_id = await ProductionRepository(session).next_job()
    if job_id is None:
        return None
    started = time.perf_counter()
    try:
        task = await _task(services, job_id)
        work = WORKS[task.job.kind]
        chunk = await work.prepare(task)
        return await _apply(services, task, work, chunk, started)
    except IntegrityError:
        # Somebody recorded the same person in this moment: the chunk is prepared again and finds that.
        return 0
    except ReturnChangedError as error:
        await _end(services, job_id, "refused", error, file_state="refused")
    except Exception as error:
        if code_of(error) in _MENDING:
            raise
        await _end(services, job_id, "stuck", error)
    return 0


async def _apply(services: Services, task: Task, work: Work, chunk: Chunk, started: float) -> int:
    seen = (task.job.phase, dict(task.job.cursor))
    async with services.database.transaction(scope=EVERYWHERE) as session:
        repository = ProductionRepository(session)
        job = await repository.claim(task.job.id)
        if job is None or job.state != "running" or (job.phase, dict(job.cursor)) != seen:
            return 0
        batch = await repository.batch(job.batch_id)
        file = await repository.file(job.file_id, is_locking=True)
        if batch is None or file is None:
            raise ProblemError("NOT_FOUND", "the batch or the file is gone")
        task.job, task.batch, task.file = job, batch, file
        caller = Caller(job.actor, frozenset({Role.OPERATOR}), job.region, job.clerk)
        unit = Unit(session, services, caller, services.clock())
        await work.apply(unit, task, chunk)
        _advance(job, chunk, unit.now, started)
        file.updated_at = batch.updated_at = unit.now
        if chunk.is_last:
            await work.finish(unit, task)
            await repository.refresh_statistics()
            job.state, job.ended_at = "done", unit.now
            batch.version += 1
            batch.updated_by = unit.by
    for callback in unit.after_commit:
        callback()
    return chunk.done


def _advance(job: JobRow, chunk: Chunk, now: datetime, started: float) -> None:
    job.cursor = chunk.cursor
    job.done += chunk.done
    job.busy_ms += round((time.perf_counter() - started) * 1000)
    job.updated_at = now


async def _task(services: Services, job_id: str) -> Task:
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        repository = ProductionRepository(session)
        job = await repository.job(job_id)
        batch = None if job is None else await repository.batch(job.batch_id, is_locking=False)
        file = None if job is None else await repository.file(job.file_id)
    if job is None or batch is None or file is None:
        raise ProblemError("NOT_FOUND", "the batch or the file is gone")
    profile = load_profiles(services.settings.formats_path).get(file.profile)
    if profile is None:
        raise ProfileError(f"no file profile {file.profile}")
    return Task(services, job, batch, file, profile)


async def _end(services: Services, job_id: str, state: str, error: Exception, *, file_state: str | None = None) -> None:
    """Keep why the work stopped; the failed chunk itself was rolled back."""
    failure = code_of(error).value
    detail = error.detail if isinstance(error, ProblemError) else str(error)
    if not hasattr(error, "failure"):  # its words may quote a line
        detail = type(error).__name__
    async with services.database.transaction(scope=EVERYWHERE) as session:
        repository = ProductionRepository(session)
        job = await repository.claim(job_id)
        if job is None or job.state != "running":
            return
        now = services.clock()
        job.state, job.failure, job.detail = state, failure, detail[:256]
        job.updated_at = now
        if file_state is not None:
            file = await repository.file(job.file_id, is_locking=True)
            job.ended_at = now
            if file is not None:
                file.state, file.problem, file.updated_at = file_state, job.detail, now
    log.warning("production_stopped", job=job_id, state=state, failure=failure, error=type(error).__name__)
