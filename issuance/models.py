"""Every table, gathered so that `Base.metadata` is whole for migrations."""

from __future__ import annotations

from issuance.applications.models import ApplicationRow, ApplicationStepRow, PaymentRow, ReturnRow
from issuance.audit.models import AuditRow
from issuance.bank.models import AccountRow, BankNoticeRow, DifferenceRow, ReconciliationRow
from issuance.cards.models import (
    CardEventRow,
    CardRow,
    FoundCardRow,
    PersonEndRow,
    RetiredChipRow,
    RewriteRow,
    SuccessionRow,
)
from issuance.clients.models import ClientRow, UsedAssertionRow
from issuance.ecards.models import EcardCodeRow, EcardRow
from issuance.hsm_route.models import DebitOrderRow
from issuance.idempotency import KeptAnswerRow
from issuance.newborns.models import NewbornRow
from issuance.outbox.models import OutboxRow
from issuance.persons.models import PersonRow
from issuance.photos.models import PhotoRow
from issuance.production.models import BatchRow, EntryRow, FileRow, JobRow, LineRow, PartRow, RejectRow
from issuance.sessions.models import CardSessionRow, ExchangeRow
from issuance.stock.models import (
    BlankRow,
    CardNumberRow,
    CountRow,
    LedgerItemRow,
    LedgerRow,
    PlaceRow,
    TransferRow,
)

__all__ = [
    "AccountRow",
    "ApplicationRow",
    "ApplicationStepRow",
    "AuditRow",
    "BankNoticeRow",
    "BatchRow",
    "BlankRow",
    "CardEventRow",
    "CardNumberRow",
    "CardRow",
    "CardSessionRow",
    "ClientRow",
    "CountRow",
    "DebitOrderRow",
    "DifferenceRow",
    "EcardCodeRow",
    "EcardRow",
    "EntryRow",
    "ExchangeRow",
    "FileRow",
    "FoundCardRow",
    "JobRow",
    "KeptAnswerRow",
    "LedgerItemRow",
    "LedgerRow",
    "LineRow",
    "NewbornRow",
    "OutboxRow",
    "PartRow",
    "PaymentRow",
    "PersonEndRow",
    "PersonRow",
    "PhotoRow",
    "PlaceRow",
    "ReconciliationRow",
    "RejectRow",
    "RetiredChipRow",
    "ReturnRow",
    "RewriteRow",
    "SuccessionRow",
    "TransferRow",
    "UsedAssertionRow",
]
