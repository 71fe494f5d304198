"""Which cards are blocked now, read straight from the rows of all regions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any, Final

from sqlalchemy import Select, create_engine, exists, literal, select, text
from sqlalchemy.orm import Session

from apps_catalog.block_list import Kind, purse_number, transit_account_number
from issuance.cards.machine import CardState
from issuance.cards.models import CardRow, RetiredChipRow
from issuance.database import parse_url
from issuance.ecards.models import EcardRow, LinkRow
from issuance.ecards.usability import judge
from issuance.journeys.models import CardPurseRow
from issuance.rules import RuleBook, Rules
from issuance.scope import EVERYWHERE, set_scope
from issuance.supervision.sources import fixed
from issuance.transit_codes.service import card_account

BLOCKED_STATES: Final = (CardState.LOST, CardState.LOCKED, CardState.TEMPORARILY_LOST, CardState.CANCELLED)
"""A sealed card is not among them: its chip says itself that it was never enabled."""
_AT_ONCE: Final = 10_000

_ACTIVE: Final = "active"
_IS_NOT_NORMAL: Final = CardRow.state != fixed(CardState.NORMAL)
_IS_NOT_ACTIVE: Final = EcardRow.state != fixed(_ACTIVE)
_NUMBERS: Final[tuple[Select[Any], ...]] = (
    select(CardRow.identification_code).where(_IS_NOT_NORMAL, CardRow.state.in_(BLOCKED_STATES)),
    select(RetiredChipRow.identification_code),
)
_CARD: Final = (CardRow.state, CardRow.region)
_ACTIVE_NO: Final[Any] = select(EcardRow.ecard_no).where(
    EcardRow.card_number == CardRow.card_number, EcardRow.state == _ACTIVE
)
_DOUBTFUL: Final[tuple[Any, ...]] = (
    select(EcardRow.ecard_no, EcardRow.state, *_CARD)
    .join(CardRow, CardRow.card_number == EcardRow.card_number)
    .where(_IS_NOT_ACTIVE),
    # Looked up card by card: of a join PostgreSQL makes one pass over every electronic card there is.
    select(_ACTIVE_NO.scalar_subquery(), literal(_ACTIVE), *_CARD).where(_IS_NOT_NORMAL),
)
"""All that `judge` may refuse, each query by an index of those alone: an active one of a normal card is usable. Without
a number: the card has no active one."""
_PURSES: Final[tuple[Any, ...]] = (
    select(CardPurseRow.issuer, CardPurseRow.serial)
    .join(
        CardRow,
        (CardRow.card_number == CardPurseRow.card_number)
        & (CardRow.identification_code == CardPurseRow.identification_code),
    )
    .where(_IS_NOT_NORMAL, CardRow.state.in_(BLOCKED_STATES)),
    select(CardPurseRow.issuer, CardPurseRow.serial).join(
        RetiredChipRow,
        (RetiredChipRow.card_number == CardPurseRow.card_number)
        & (RetiredChipRow.identification_code == CardPurseRow.identification_code),
    ),
)
_ACCOUNTS: Final[tuple[Any, ...]] = tuple(
    select(EcardRow.ecard_no, EcardRow.state, *_CARD)
    .join(CardRow, CardRow.card_number == EcardRow.card_number)
    .where(doubt, exists().where(LinkRow.ecard_no == EcardRow.ecard_no))
    for doubt in (_IS_NOT_ACTIVE, (EcardRow.state == _ACTIVE) & _IS_NOT_NORMAL)
)
"""Of electronic cards that are or were on a phone, whose codes gates take without asking anybody."""


class BlockedCards:
    """One moment of the database; its rows come in portions and no card becomes an object.

    `transit_issuer`: eight digits under which this centre authorises transit codes, empty where it does not.
    """

    def __init__(self, session: Session, rules: RuleBook, today: date, transit_issuer: str = "") -> None:
        self._session = session
        self._rules = rules
        self._today = today
        self._transit_issuer = transit_issuer

    def __iter__(self) -> Iterator[tuple[Kind, str]]:
        for query in _NUMBERS:
            for (number,) in self._rows(query):
                yield Kind.CARD, number
        for query in _DOUBTFUL:
            for ecard_no, ecard_state, card_state, region in self._rows(query):
                if ecard_no and judge(ecard_state, card_state, partial(self._rules_of, region)):
                    yield Kind.ECARD, ecard_no
        for query in _PURSES:
            for issuer, serial in self._rows(query):
                yield Kind.PURSE, purse_number(bytes.fromhex(issuer), serial[1:])
        if self._transit_issuer:
            for query in _ACCOUNTS:
                for ecard_no, ecard_state, card_state, region in self._rows(query):
                    if judge(ecard_state, card_state, partial(self._rules_of, region)):
                        number = transit_account_number(self._transit_issuer, card_account(ecard_no))
                        yield Kind.TRANSIT_ACCOUNT, number

    def are_more_than(self, count: int) -> bool:
        """Without counting them all."""
        return any(
            self._session.execute(query.offset(count).limit(1)).first() is not None for query in (*_NUMBERS, *_DOUBTFUL)
        )

    def _rules_of(self, region: str) -> Rules:
        return self._rules.pack(region).on(self._today)

    def _rows(self, query: Select[Any]) -> Iterator[Any]:
        yield from self._session.execute(query.execution_options(yield_per=_AT_ONCE))


@contextmanager
def reading(database_url: str, rules: RuleBook, today: date, transit_issuer: str = "") -> Iterator[BlockedCards]:
    """On a connection of its own, to be used in any thread or process."""
    target = parse_url(database_url)
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"}
    if target.get_backend_name() == "sqlite":
        target, options = target.set(drivername="sqlite"), {}
    engine = create_engine(target, hide_parameters=True, **options)
    try:
        with Session(engine, autoflush=False) as session:
            set_scope(session, EVERYWHERE)
            if engine.dialect.name == "sqlite":
                session.execute(text("BEGIN"))
            yield BlockedCards(session, rules, today, transit_issuer)
    finally:
        engine.dispose()
