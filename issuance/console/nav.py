"""What stands in the menu, for whom. The word of an entry is `frame.nav_<name>`; its letter goes there after `g`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from issuance.clerks.acts import Act


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    path: str
    icon: str
    letter: str
    act: Act


NAV = (
    Entry("home", "/console/", "seal", "h", Act.OWN_ACCOUNT),
    Entry("queues", "/console/queues", "clock", "q", Act.QUEUE_READ),
    Entry("counter", "/console/counter", "reader", "c", Act.CARD_READ),
    Entry("collect", "/console/collect", "staff", "a", Act.APPLICATION_COLLECT),
    Entry("reviews", "/console/reviews", "check", "r", Act.APPLICATION_REVIEW),
    Entry("dashboard", "/console/dashboard", "chart", "d", Act.STATISTICS_READ),
    Entry("alerts", "/console/alerts", "warn", "l", Act.ALERT_READ),
    Entry("terminals", "/console/terminals", "tap", "i", Act.TERMINAL_READ),
    Entry("journeys", "/console/journeys", "bus", "j", Act.JOURNEY_READ),
    Entry("approvals", "/console/approvals", "key", "p", Act.APPROVAL_READ),
    Entry("stock", "/console/stock", "card", "k", Act.STOCK_READ),
    Entry("batches", "/console/batches", "print", "b", Act.PRODUCTION_READ),
    Entry("found", "/console/found", "lost", "f", Act.QUEUE_READ),
    Entry("exchange", "/console/exchange/bank", "swap", "e", Act.BANK_READ),
    Entry("catalog", "/console/catalog", "file", "m", Act.CATALOG_READ),
    Entry("staff", "/console/staff/offices", "staff", "s", Act.OFFICE_READ),
    Entry("audit", "/console/audit", "eye", "t", Act.AUDIT_READ),
)


def entries_for(acts: Collection[Act]) -> list[Entry]:
    return [entry for entry in NAV if entry.act in acts]
