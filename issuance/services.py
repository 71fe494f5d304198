"""What every request of one app instance shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsm.api import KeyService
from issuance.audit.refusals import UnprovedLimit
from issuance.clock import Clock
from issuance.database import Database
from issuance.metrics import Metrics
from issuance.rules import RuleBook
from issuance.sealing import Sealer
from issuance.settings import Settings

if TYPE_CHECKING:
    from apps_catalog.catalog import Catalog
    from issuance.sessions.runner import RunnerCache


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    keys: KeyService
    sealer: Sealer
    database: Database
    rules: RuleBook
    catalog: Catalog
    clock: Clock
    metrics: Metrics
    runners: RunnerCache
    unproved: UnprovedLimit
