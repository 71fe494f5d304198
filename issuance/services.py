"""What every request of one app instance shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsm.api import KeyService
from hsm.transactions import TransactionKeys
from issuance.audit.refusals import MinuteLimit
from issuance.audit.seal import AuditSeal
from issuance.clock import Clock
from issuance.database import Database
from issuance.metrics import Metrics
from issuance.rules import RuleBook
from issuance.sealing import Sealer
from issuance.settings import Settings

if TYPE_CHECKING:
    from apps_catalog.catalog import Catalog
    from issuance.bank.link import BankLink
    from issuance.catalog.current import Catalogs
    from issuance.clerks.provider import LoginProvider
    from issuance.clients.directory import ClientDirectory
    from issuance.clients.tokens import AccessTokens
    from issuance.codes.ledger import UseLedger
    from issuance.ecards.phones import PhoneDirectory
    from issuance.identity.adapters import IdentityCheck
    from issuance.login.card_certificates import CardCertificates
    from issuance.login.limits import LoginLimits
    from issuance.login.national.platform import NationalPlatform
    from issuance.login.signing import LoginKeys
    from issuance.login.unit import LoginUnits
    from issuance.login.watch import LoginWatch
    from issuance.one_time import OneTimeStore
    from issuance.outbox.delivery import Receiver
    from issuance.recognition.platforms import CodePlatform
    from issuance.sessions.runner import RunnerCache
    from issuance.transit_codes.issuer import TransitIssuer


@dataclass(frozen=True, slots=True)
class Services:
    """`bank` is None where no bank is connected, `national` where nobody logs in by the national platform; `receivers`
    take what the outbox sends, by the topic's first part.
    """

    settings: Settings
    keys: KeyService
    sealer: Sealer
    audit_seal: AuditSeal
    reveals: MinuteLimit
    database: Database
    rules: RuleBook
    catalog: Catalog
    catalogs: Catalogs
    clock: Clock
    metrics: Metrics
    runners: RunnerCache
    unproved: MinuteLimit
    log_ins: MinuteLimit
    login_provider: LoginProvider
    progress: MinuteLimit
    registrations: MinuteLimit
    transactions: TransactionKeys
    hsm_uses: MinuteLimit
    kiosk_visits: MinuteLimit
    kiosk_persons: MinuteLimit
    signings: MinuteLimit
    channel_signings: MinuteLimit
    bank: BankLink | None
    receivers: Mapping[str, Receiver]
    identity: IdentityCheck
    one_time: OneTimeStore
    clients: ClientDirectory
    access_tokens: AccessTokens
    phones: PhoneDirectory
    code_uses: UseLedger
    code_platforms: Mapping[str, CodePlatform]
    transit_issuer: TransitIssuer
    transit_authorisations: MinuteLimit
    login_keys: LoginKeys
    login_limits: LoginLimits
    login_units: LoginUnits
    card_certificates: CardCertificates
    login_watch: LoginWatch
    national: NationalPlatform | None
