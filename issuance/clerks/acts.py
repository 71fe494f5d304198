"""What a clerk may do: acts, roles, and who may approve what needs a second clerk."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class ClerkRole(StrEnum):
    COLLECTOR = "collector"
    REVIEWER = "reviewer"
    ISSUER = "issuer"
    STOCK_KEEPER = "stock_keeper"
    SUPERVISOR = "supervisor"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    CATALOG_EDITOR = "catalog_editor"
    CATALOG_REVIEWER = "catalog_reviewer"


class Act(StrEnum):
    """One thing a clerk may do, under the name it has in the audit trail of pages and in `four_eyes` of a rule pack."""

    APPLICATION_READ = "application.read"
    APPLICATION_COLLECT = "application.collect"
    APPLICATION_REVIEW = "application.review"
    APPLICATION_REJECT = "application.reject"
    APPLICATION_RESUME = "application.resume"
    PERSON_READ = "person.read"
    PERSON_REVEAL = "person.reveal"
    CARD_READ = "card.read"
    CARD_ISSUE = "card.issue"
    CARD_WRITE_OFF = "card.write_off"
    CARD_HAND_OVER = "card.hand_over"
    CARD_LOSE = "card.lose"
    CARD_RELEASE = "card.release"
    CARD_LOCK = "card.lock"
    CARD_UNLOCK = "card.unlock"
    CARD_REPLACE = "card.replace"
    CARD_CANCEL = "card.cancel"
    HOLDER_CHANGE = "holder.change"
    HOLDER_END = "holder.end"
    FOUND_KEEP = "found.keep"
    FOUND_DESTROY = "found.destroy"
    STOCK_READ = "stock.read"
    STOCK_DELIVER = "stock.deliver"
    STOCK_MOVE = "stock.move"
    STOCK_COUNT = "stock.count"
    STOCK_DESTROY = "stock.destroy"
    STOCK_PLACE = "stock.place"
    NUMBER_CHANGE = "number.change"
    PRODUCTION_READ = "production.read"
    PRODUCTION_RUN = "production.run"
    PRODUCTION_RELEASE = "production.release"
    BANK_READ = "bank.read"
    BANK_RECONCILE = "bank.reconcile"
    OUTBOX_READ = "outbox.read"
    OUTBOX_RETRY = "outbox.retry"
    QUEUE_READ = "queue.read"
    STATISTICS_READ = "statistics.read"
    STATISTICS_EXPORT = "statistics.export"
    ALERT_READ = "alert.read"
    ALERT_ACKNOWLEDGE = "alert.acknowledge"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORT = "audit.export"
    OFFICE_READ = "office.read"
    OFFICE_MANAGE = "office.manage"
    OFFICE_PASSWORD = "office.password"  # noqa: S105  # the name of an act
    CLERK_READ = "clerk.read"
    CLERK_MANAGE = "clerk.manage"
    CLERK_BIND = "clerk.bind"
    APPROVAL_READ = "approval.read"
    CATALOG_READ = "catalog.read"
    CATALOG_EDIT = "catalog.edit"
    CATALOG_REVIEW = "catalog.review"
    CATALOG_RELEASE = "catalog.release"
    CATALOG_ROLLBACK = "catalog.rollback"
    TERMINAL_READ = "terminal.read"
    TERMINAL_LOCK = "terminal.lock"
    TERMINAL_DIAGNOSE = "terminal.diagnose"
    JOURNEY_READ = "journeys.read"
    JOURNEY_EXPORT = "journeys.export"
    JOURNEY_PURSE = "journeys.purse"
    OWN_ACCOUNT = "own.account"


_READING = frozenset({Act.APPLICATION_READ, Act.CARD_READ, Act.QUEUE_READ, Act.PERSON_READ, Act.APPROVAL_READ})
_EVERYONE = frozenset({Act.OWN_ACCOUNT})

ACTS_OF: dict[ClerkRole, frozenset[Act]] = {
    ClerkRole.COLLECTOR: _EVERYONE
    | _READING
    | {
        Act.APPLICATION_COLLECT,
        Act.CARD_LOSE,
        Act.CARD_RELEASE,
        Act.CARD_REPLACE,
        Act.HOLDER_CHANGE,
        Act.FOUND_KEEP,
    },
    ClerkRole.REVIEWER: _EVERYONE
    | _READING
    | {
        Act.APPLICATION_REVIEW,
        Act.APPLICATION_REJECT,
        Act.APPLICATION_RESUME,
        Act.PERSON_REVEAL,
        Act.CARD_UNLOCK,
        Act.HOLDER_CHANGE,
        Act.HOLDER_END,
    },
    ClerkRole.ISSUER: _EVERYONE
    | _READING
    | {
        Act.APPLICATION_RESUME,
        Act.CARD_ISSUE,
        Act.CARD_WRITE_OFF,
        Act.CARD_HAND_OVER,
        Act.CARD_LOSE,
        Act.CARD_RELEASE,
        Act.CARD_LOCK,
        Act.CARD_UNLOCK,
        Act.CARD_REPLACE,
        Act.CARD_CANCEL,
        Act.FOUND_KEEP,
        Act.STOCK_READ,
        Act.PRODUCTION_READ,
        Act.TERMINAL_READ,
        Act.TERMINAL_LOCK,
    },
    ClerkRole.STOCK_KEEPER: _EVERYONE
    | {
        Act.QUEUE_READ,
        Act.APPROVAL_READ,
        Act.STOCK_READ,
        Act.STOCK_DELIVER,
        Act.STOCK_MOVE,
        Act.STOCK_COUNT,
        Act.STOCK_DESTROY,
        Act.STOCK_PLACE,
        Act.NUMBER_CHANGE,
        Act.FOUND_DESTROY,
        Act.PRODUCTION_READ,
        Act.PRODUCTION_RUN,
        Act.TERMINAL_READ,
    },
    ClerkRole.SUPERVISOR: _EVERYONE
    | _READING
    | {
        Act.APPLICATION_RESUME,
        Act.PERSON_REVEAL,
        Act.STOCK_READ,
        Act.PRODUCTION_READ,
        Act.PRODUCTION_RELEASE,
        Act.BANK_READ,
        Act.BANK_RECONCILE,
        Act.OUTBOX_READ,
        Act.OUTBOX_RETRY,
        Act.STATISTICS_READ,
        Act.STATISTICS_EXPORT,
        Act.ALERT_READ,
        Act.ALERT_ACKNOWLEDGE,
        Act.AUDIT_READ,
        Act.OFFICE_READ,
        Act.CLERK_READ,
        Act.CATALOG_READ,
        Act.CATALOG_RELEASE,
        Act.CATALOG_ROLLBACK,
        Act.TERMINAL_READ,
        Act.TERMINAL_LOCK,
        Act.TERMINAL_DIAGNOSE,
        Act.JOURNEY_READ,
        Act.JOURNEY_EXPORT,
        Act.JOURNEY_PURSE,
    },
    ClerkRole.AUDITOR: _EVERYONE
    | {
        Act.AUDIT_READ,
        Act.AUDIT_EXPORT,
        Act.STATISTICS_READ,
        Act.STATISTICS_EXPORT,
        Act.ALERT_READ,
        Act.OFFICE_READ,
        Act.CLERK_READ,
        Act.APPROVAL_READ,
        Act.TERMINAL_READ,
        Act.JOURNEY_READ,
        Act.JOURNEY_EXPORT,
    },
    ClerkRole.ADMINISTRATOR: _EVERYONE
    | {
        Act.OFFICE_READ,
        Act.OFFICE_MANAGE,
        Act.OFFICE_PASSWORD,
        Act.CLERK_READ,
        Act.CLERK_MANAGE,
        Act.CLERK_BIND,
        Act.APPROVAL_READ,
        Act.ALERT_READ,
        Act.TERMINAL_READ,
        Act.TERMINAL_DIAGNOSE,
    },
    ClerkRole.CATALOG_EDITOR: _EVERYONE | {Act.CATALOG_READ, Act.CATALOG_EDIT},
    ClerkRole.CATALOG_REVIEWER: _EVERYONE | {Act.CATALOG_READ, Act.CATALOG_REVIEW},
}

FOUR_EYES = frozenset({Act.CARD_CANCEL, Act.HOLDER_END, Act.STOCK_DESTROY, Act.NUMBER_CHANGE})
"""Acts that a region's rules may have done by two clerks."""

ALWAYS_TWO = frozenset({Act.CLERK_BIND, Act.OFFICE_PASSWORD})
"""Acts that two clerks do everywhere: they decide who gets in."""

APPROVERS: dict[Act, ClerkRole] = {
    Act.CARD_CANCEL: ClerkRole.SUPERVISOR,
    Act.HOLDER_END: ClerkRole.SUPERVISOR,
    Act.STOCK_DESTROY: ClerkRole.SUPERVISOR,
    Act.NUMBER_CHANGE: ClerkRole.SUPERVISOR,
    Act.CLERK_BIND: ClerkRole.SUPERVISOR,
    Act.OFFICE_PASSWORD: ClerkRole.SUPERVISOR,
}
"""Whose word the second clerk's is. The approver need not be able to ask for the act."""

_ALONE = frozenset({ClerkRole.AUDITOR, ClerkRole.ADMINISTRATOR})


def acts_of(roles: Iterable[ClerkRole]) -> frozenset[Act]:
    return frozenset().union(*(ACTS_OF[role] for role in roles))


def may_approve(roles: Iterable[ClerkRole], act: Act) -> bool:
    return APPROVERS.get(act) in set(roles)


def are_apart(roles: Iterable[ClerkRole]) -> bool:
    """Whether no role is joined with one it watches.

    An auditor does nothing else, nor does who makes clerks: he could ask as one of them and approve as another.
    """
    held = set(roles)
    return len(held) < 2 or not held & _ALONE
