"""Every table, gathered so that `Base.metadata` is whole for migrations."""

from __future__ import annotations

from issuance.applications.models import ApplicationRow, ApplicationStepRow, PaymentRow, ReturnRow
from issuance.audit.models import AuditRow, HeadRow, LeafRow, NodeRow, PendingRow
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
from issuance.catalog.models import CatalogEditRow, CatalogFileRow, CatalogReviewRow, CatalogVersionRow
from issuance.clerks.models import ApprovalRow, ClerkRow, ClerkSessionRow, LogInTryRow
from issuance.clients.models import ClientRow, UsedAssertionRow
from issuance.codes.models import BusPartnerRow, EcardUseRow
from issuance.consents.models import ConsentRow, ConsentUseRow
from issuance.ecards.models import EcardRow, FamilyRow, LinkRow
from issuance.hsm_route.models import DebitOrderRow
from issuance.idempotency import KeptAnswerRow
from issuance.journeys.models import (
    CardPurseRow,
    TransitDayRow,
    TransitRefusalRow,
    TransitRideRow,
    TransitSumRow,
    TransitTapRow,
)
from issuance.login.ministry_models import LoginChannelRow, UpstreamAnswerRow, UpstreamCodeRow, UpstreamKeysRow
from issuance.login.models import (
    CodeRow,
    DeviceCodeRow,
    GrantRow,
    PushedRequestRow,
    RefreshTokenRow,
    RelyingPartyRow,
)
from issuance.login.provider_models import AssertionRow, BackchannelRow, DenialRow, LoginUseRow
from issuance.login.transaction_models import (
    LoginApprovalRow,
    LoginCardChallengeRow,
    LoginCardProofRow,
    LoginClaimRow,
    LoginRow,
)
from issuance.newborns.models import NewbornRow
from issuance.offices.models import OfficeRow
from issuance.outbox.models import OutboxRow
from issuance.persons.models import PersonRow
from issuance.photos.models import PhotoRow
from issuance.privacy.models import PrivacyJobRow
from issuance.production.models import BatchRow, EntryRow, FileRow, JobRow, LineRow, PartRow, RejectRow
from issuance.progress.models import ProgressTryRow
from issuance.publication.models import PublicationRow
from issuance.reviews.models import ReviewRow
from issuance.sessions.models import CardSessionRow, ExchangeRow
from issuance.stock.models import (
    BlankRow,
    CardNumberRow,
    CountRow,
    LedgerItemRow,
    LedgerRow,
    NumberPoolRow,
    OpeningRow,
    PlaceRow,
    TransferRow,
)
from issuance.supervision.models import AlertEventRow, AlertRoundRow, AlertRow
from issuance.terminals.fleet_models import DiagnosisRow, InvitationRow, TerminalRow, TerminalStateRow
from issuance.terminals.models import CardUseRow, TakingRow, TerminalJournalRow, TerminalRecordRow

__all__ = [
    "AccountRow",
    "AlertEventRow",
    "AlertRoundRow",
    "AlertRow",
    "ApplicationRow",
    "ApplicationStepRow",
    "ApprovalRow",
    "AssertionRow",
    "AuditRow",
    "BackchannelRow",
    "BankNoticeRow",
    "BatchRow",
    "BlankRow",
    "BusPartnerRow",
    "CardEventRow",
    "CardNumberRow",
    "CardPurseRow",
    "CardRow",
    "CardSessionRow",
    "CardUseRow",
    "CatalogEditRow",
    "CatalogFileRow",
    "CatalogReviewRow",
    "CatalogVersionRow",
    "ClerkRow",
    "ClerkSessionRow",
    "ClientRow",
    "CodeRow",
    "ConsentRow",
    "ConsentUseRow",
    "CountRow",
    "DebitOrderRow",
    "DenialRow",
    "DeviceCodeRow",
    "DiagnosisRow",
    "DifferenceRow",
    "EcardRow",
    "EcardUseRow",
    "EntryRow",
    "ExchangeRow",
    "FamilyRow",
    "FileRow",
    "FoundCardRow",
    "GrantRow",
    "HeadRow",
    "InvitationRow",
    "JobRow",
    "KeptAnswerRow",
    "LeafRow",
    "LedgerItemRow",
    "LedgerRow",
    "LineRow",
    "LinkRow",
    "LogInTryRow",
    "LoginApprovalRow",
    "LoginCardChallengeRow",
    "LoginCardProofRow",
    "LoginChannelRow",
    "LoginClaimRow",
    "LoginRow",
    "LoginUseRow",
    "NewbornRow",
    "NodeRow",
    "NumberPoolRow",
    "OfficeRow",
    "OpeningRow",
    "OutboxRow",
    "PartRow",
    "PaymentRow",
    "PendingRow",
    "PersonEndRow",
    "PersonRow",
    "PhotoRow",
    "PlaceRow",
    "PrivacyJobRow",
    "ProgressTryRow",
    "PublicationRow",
    "PushedRequestRow",
    "ReconciliationRow",
    "RefreshTokenRow",
    "RejectRow",
    "RelyingPartyRow",
    "RetiredChipRow",
    "ReturnRow",
    "ReviewRow",
    "RewriteRow",
    "SuccessionRow",
    "TakingRow",
    "TerminalJournalRow",
    "TerminalRecordRow",
    "TerminalRow",
    "TerminalStateRow",
    "TransferRow",
    "TransitDayRow",
    "TransitRefusalRow",
    "TransitRideRow",
    "TransitSumRow",
    "TransitTapRow",
    "UpstreamAnswerRow",
    "UpstreamCodeRow",
    "UpstreamKeysRow",
    "UsedAssertionRow",
]
