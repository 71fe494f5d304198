"""What a session may touch: every SELECT, UPDATE and DELETE of a scoped row type carries the scope of who asks.

A row type says by its mixin what it belongs to. The hook looks for such types in every ORM statement and adds the
condition itself, so that no query can forget it; a session without a scope refuses to run one. `unscoped` is the only
way round, and a rule test names the places that may take it. A row of elsewhere is thus a row that is not there.

INSERT is not limited, and neither are rows that are in the session already. In UPDATE and DELETE the condition is on
the table that is changed; a SELECT inside them is not limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

from sqlalchemy import ColumnElement, String, and_, event, or_, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column, with_loader_criteria
from sqlalchemy.sql import visitors

_SCOPE = "onecard_scope"
_MOST_SHAPES: Final = 1000
_TYPES: Final[dict[Any, frozenset[type[Any]]]] = {}


def region_prefix(region: str | None) -> str:
    """What the divisions of a region begin with (GB/T 2260): a province covers its cities and districts."""
    if region is None:
        return ""
    if region.endswith("0000"):
        return region[:2]
    return region[:4] if region.endswith("00") else region


@dataclass(frozen=True, slots=True)
class Scope:
    """`regions`: what the codes of the regions begin with. `office`: path of the highest office, `/1/4/`."""

    regions: str = ""
    office: str = ""

    @classmethod
    def of(cls, region: str | None, office: str = "") -> Scope:
        return cls(region_prefix(region), office)


EVERYWHERE = Scope()
"""The service itself, and callers that serve every region."""


class ScopeMissingError(RuntimeError):
    """A scoped row type was queried in a session that says nothing about who asks."""

    failure: ClassVar[str] = "INTERNAL"


class RegionScoped:
    """Rows with a `region`; one without is nobody's but those who serve every region."""

    region: Mapped[Any]

    @classmethod
    def within_regions(cls, prefix: str) -> ColumnElement[bool]:
        return in_regions(cls.region, prefix)


class AcceptedElsewhere(RegionScoped):
    """Rows that another region may have taken in: it keeps seeing them."""

    accepted_region: Mapped[Any] = mapped_column(String(6))

    @classmethod
    def within_regions(cls, prefix: str) -> ColumnElement[bool]:
        return or_(in_regions(cls.region, prefix), in_regions(cls.accepted_region, prefix))


class OfficeScoped:
    """Rows with the path of their `office`; one without belongs to every office of its region."""

    office: Mapped[Any] = mapped_column(String(128))

    @classmethod
    def within_office(cls, path: str) -> ColumnElement[bool]:
        return or_(cls.office.is_(None), cls.office.startswith(path))


def in_regions(column: Any, prefix: str) -> ColumnElement[bool]:
    """As a range, which an index serves in every collation."""
    if not prefix:
        return true()
    wanted: ColumnElement[bool] = column.between(*region_range(prefix))
    return wanted


def region_range(prefix: str) -> tuple[str, str]:
    """The first and the last code that begin with it."""
    return prefix.ljust(6, "0"), prefix.ljust(6, "9")


def set_scope(session: AsyncSession | Session, scope: Scope | None) -> None:
    session.info[_SCOPE] = scope


@contextmanager
def unscoped(session: AsyncSession, *, why: str) -> Iterator[None]:
    """Statements in this block see every region and office. `why` is for the reader."""
    if not why:
        raise ValueError("say why")
    before = session.info.get(_SCOPE)
    session.info[_SCOPE] = EVERYWHERE
    try:
        yield
    finally:
        session.info[_SCOPE] = before


@event.listens_for(Session, "do_orm_execute")
def _limit(state: ORMExecuteState) -> None:
    if not (state.is_select or state.is_update or state.is_delete):
        return
    scope = state.session.info.get(_SCOPE)
    if scope == EVERYWHERE:
        return
    types = _scoped_types(state.statement)
    if not types:
        return
    if scope is None:
        raise ScopeMissingError(f"{', '.join(sorted(kind.__name__ for kind in types))}: no scope in this session")
    options = [_criteria(kind, scope) for kind in types]  # type: ignore[arg-type]  # a class is hashable
    state.statement = state.statement.options(*options)


def _scoped_types(statement: Any) -> frozenset[type[Any]]:
    """Of the whole statement, its joins and inner SELECTs.

    Kept by the key under which SQLAlchemy keeps the compiled statement: it has every entity and no value.
    """
    shape = statement._generate_cache_key()
    if shape is None:
        return _found_types(statement)
    found = _TYPES.get(shape.key)
    if found is None:
        if len(_TYPES) >= _MOST_SHAPES:
            _TYPES.clear()
        found = _TYPES[shape.key] = _found_types(statement)
    return found


def _found_types(statement: Any) -> frozenset[type[Any]]:
    found = set()
    for element in visitors.iterate(statement):
        entity = element._annotations.get("parententity")
        kind = None if entity is None else entity.mapper.class_
        if kind is not None and issubclass(kind, (RegionScoped, OfficeScoped)):
            found.add(kind)
    return frozenset(found)


@lru_cache(maxsize=4096)
def _criteria(kind: type[Any], scope: Scope) -> Any:
    wanted: list[ColumnElement[bool]] = []
    if scope.regions and issubclass(kind, RegionScoped):
        wanted.append(kind.within_regions(scope.regions))
    if scope.office and issubclass(kind, OfficeScoped):
        wanted.append(kind.within_office(scope.office))
    return with_loader_criteria(kind, and_(true(), *wanted), include_aliases=True)
