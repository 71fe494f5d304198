"""In a session opened for a verifier, rows about persons cannot be read: only `disclosure`, with a live consent, opens
them, for the length of one answer.

The rows are those of every table with a sealed column (`issuance/privacy/classification.toml`) but the ones named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.sql import visitors

from issuance.privacy.classification import classification

_CLOSED: Final = "onecard_person_data_closed"
NOT_ABOUT_WHO: Final = frozenset({"kept_answers", "consents", "card_accounts"})
"""A caller's own answers; the words of a request for consent; of an account, whether it is active."""


class ConsentMissingError(RuntimeError):
    """A row about a person was asked for without a consent: a fault of the service, refused before the database."""

    failure: ClassVar[str] = "CONSENT_REQUIRED"


def close_person_data(session: AsyncSession) -> None:
    """From now on this session reads no row about a person."""
    session.info[_CLOSED] = True


@contextmanager
def person_data_opened(session: AsyncSession) -> Iterator[None]:
    """For `disclosure` alone; a rule test keeps it so."""
    before = session.info.get(_CLOSED, False)
    session.info[_CLOSED] = False
    try:
        yield
    finally:
        session.info[_CLOSED] = before


@event.listens_for(Session, "do_orm_execute")
def _refuse(state: ORMExecuteState) -> None:
    if not state.session.info.get(_CLOSED, False):
        return
    statement: Any = state.statement
    for element in visitors.iterate(statement):
        entity: Any = element._annotations.get("parententity")
        if entity is not None and entity.class_.__tablename__ in _tables():
            raise ConsentMissingError(f"{entity.class_.__tablename__}: no consent opens it")


@cache
def _tables() -> frozenset[str]:
    sealed = {table for table, columns in classification().items() if "sealed" in columns.values()}
    return frozenset(sealed - NOT_ABOUT_WHO)
