"""Audit entries of what was refused, written after the refused transaction was rolled back."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from issuance.audit.repository import AuditRepository
from issuance.logs import get_logger
from issuance.problems import ProblemError, code_of

if TYPE_CHECKING:
    from issuance.services import Services

MAX_UNPROVED_A_MINUTE = 10
MAX_NAMES = 10_000
"""So many names are counted at once; they may be addresses that anybody outside chooses."""
_MINUTE = timedelta(minutes=1)
log = get_logger("issuance.audit")


async def record_refusal(
    services: Services,
    error: Exception,
    *,
    at: datetime,
    actor: str,
    clerk: str,
    act: str,
    region: str | None,
    detail: dict[str, Any] | None = None,
    place: str = "",
) -> None:
    """Never hides the refusal itself: a database that cannot take the entry is logged."""
    try:
        async with services.database.transaction() as session:
            await AuditRepository(session, services.audit_seal).add(
                at=at,
                actor=actor,
                clerk=clerk,
                act=act,
                subject=error.subject if isinstance(error, ProblemError) else "",
                application_id=error.application_id if isinstance(error, ProblemError) else None,
                region=region,
                outcome=code_of(error).value,
                detail=detail or {},
                place=place,
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
        self._counts: OrderedDict[str, tuple[datetime, int]] = OrderedDict()  # by the beginning of the minute

    @property
    def names(self) -> int:
        """How many are remembered, `MAX_NAMES` at most."""
        return len(self._counts)

    def allows(self, name: str, now: datetime) -> bool:
        begun, count = self._counts.get(name, (now, 0))
        if now - begun >= _MINUTE:
            del self._counts[name]
            begun, count = now, 0
        if not count:
            self._forget(now)
        self._counts[name] = (begun, count + 1)
        return count < self._limit

    def _forget(self, now: datetime) -> None:
        """Whose minute is over, and the oldest where there is no room: many addresses outdo a limit for each anyway."""
        while self._counts:
            begun, _ = next(iter(self._counts.values()))
            if now - begun < _MINUTE and len(self._counts) < MAX_NAMES:
                return
            self._counts.popitem(last=False)
