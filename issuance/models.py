"""Every table, gathered so that `Base.metadata` is whole for migrations."""

from __future__ import annotations

from issuance.applications.models import ApplicationRow, ApplicationStepRow
from issuance.audit.models import AuditRow
from issuance.cards.models import CardRow
from issuance.clients.models import ClientRow, UsedAssertionRow
from issuance.ecards.models import EcardCodeRow, EcardRow
from issuance.idempotency import KeptAnswerRow
from issuance.persons.models import PersonRow
from issuance.sessions.models import CardSessionRow, ExchangeRow
from issuance.stock.models import BlankRow, CardNumberRow

__all__ = [
    "ApplicationRow",
    "ApplicationStepRow",
    "AuditRow",
    "BlankRow",
    "CardNumberRow",
    "CardRow",
    "CardSessionRow",
    "ClientRow",
    "EcardCodeRow",
    "EcardRow",
    "ExchangeRow",
    "KeptAnswerRow",
    "PersonRow",
    "UsedAssertionRow",
]
