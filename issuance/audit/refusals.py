"""Audit entries of what was refused, written after the refused transaction was rolled back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from issuance.audit.repository import AuditRepository
from issuance.database import Database
from issuance.logs import get_logger
from issuance.problems import ProblemError, code_of

MAX_UNPROVED_A_MINUTE = 10
log = get_logger("issuance.audit")


async def record_refusal(
    database: Database,
    error: Exception,
    *,
    at: datetime,
    actor: str,
    clerk: str,
    act: str,
    region: str | None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Never hides the refusal itself: a database that cannot take the entry is logged."""
    try:
        async with database.transaction() as session:
            await AuditRepository(session).add(
                at=at,
                actor=actor,
                clerk=clerk,
                act=act,
                subject=error.subject if isinstance(error, ProblemError) else "",
                application_id=error.application_id if isinstance(error, ProblemError) else None,
                region=region,
                outcome=code_of(error).value,
                detail=detail or {},
            )
    except SQLAlchemyError as broken:
        log.error("refusal_not_audited", act=act, outcome=code_of(error).value, error=type(broken).__name__)


class MinuteLimit:
    """How often a minute something is allowed for one name. In this process only.

    For callers who proved nothing it keeps anybody outside from filling the trail: counted for each registered client
    whose name is used, and together for all names that are not registered; the logs have every request.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[str, tuple[datetime, int]] = {}

    def allows(self, name: str, now: datetime) -> bool:
        begun, count = self._counts.get(name, (now, 0))
        if now - begun >= timedelta(minutes=1):
            begun, count = now, 0
        self._counts[name] = (begun, count + 1)
        return count < self._limit
