"""The scope of a session: on every statement, in every shape, and nowhere to be forgotten."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import and_, delete, exists, func, literal, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

import issuance
from issuance.database import Base, Database
from issuance.models import BlankRow, CardNumberRow, CardRow, OfficeRow, PlaceRow
from issuance.scope import (
    EVERYWHERE,
    OfficeScoped,
    RegionScoped,
    Scope,
    ScopeMissingError,
    unscoped,
)
from tests.issuance.conftest import START, Store, both_engines

HERE, ELSEWHERE = "110105", "130000"
OTHER = aliased(CardNumberRow)
N = CardNumberRow

READS: dict[str, Callable[[], Any]] = {
    "entity": lambda: select(N),
    "column": lambda: select(N.number),
    "count of entity": lambda: select(func.count()).select_from(N),
    "count in where": lambda: select(func.count()).where(N.state == "free"),
    "alias": lambda: select(OTHER.number),
    "joined": lambda: select(BlankRow.reset_information).join(N, and_(N.state == "free", N.region == ELSEWHERE)),
    "join of two": lambda: select(N.number, OTHER.number).join(OTHER, OTHER.region == N.region),
    "exists": lambda: select(literal(1)).where(exists().where(N.region == ELSEWHERE)),
    "subquery": lambda: select(func.count()).select_from(select(N.number).subquery()),
    "scalar subquery": lambda: select(select(func.count(N.number)).where(N.region == ELSEWHERE).scalar_subquery()),
    "in": lambda: select(OTHER.number).where(OTHER.number.in_(select(N.number).where(N.region == ELSEWHERE))),
    "common table": lambda: select(func.count()).select_from(select(N.number).cte()),
    "union": lambda: union_all(select(N.number), select(OTHER.number)),
    "group": lambda: select(N.region, func.count()).group_by(N.region),
    "locked": lambda: select(N).with_for_update(),
}


@pytest.fixture
async def database(store: Store) -> AsyncIterator[Database]:
    database = Database(store.url)
    async with database.transaction(scope=EVERYWHERE) as session:
        for number, region in (("A00000011", HERE), ("E00000011", ELSEWHERE)):
            times = {"registered_at": START, "updated_at": START}
            session.add(N(number=number, region=region, state="free", **times))
    yield database
    await database.close()


def _shown(rows: list[Any]) -> set[str]:
    """Regions that an answer gives away, by number, name or count."""
    text = " ".join(
        f"{value.number} {value.region}" if isinstance(value, N) else str(value) for row in rows for value in row
    )
    return {
        region
        for region, marks in ((HERE, ("A0", HERE)), (ELSEWHERE, ("E0", ELSEWHERE)))
        if any(m in text for m in marks)
    }


@both_engines
async def test_every_shape_of_query_is_limited(database: Database) -> None:
    async def ask(make: Callable[[], Any], scope: Scope) -> list[Any]:
        async with database.transaction(scope=scope) as session:
            return [tuple(row) for row in await session.execute(make())]

    for name, make in [*READS.items()] * 2:  # at the second time it is known what they read
        everywhere, mine = await ask(make, EVERYWHERE), await ask(make, Scope.of("110000"))
        assert ELSEWHERE not in _shown(mine), name
        if name.startswith(("count", "subquery", "common")):
            assert (everywhere, mine) == ([(2,)], [(1,)]), name
        elif name == "scalar subquery":
            assert (everywhere, mine) == ([(1,)], [(0,)]), name
        elif name in ("exists", "joined", "in"):
            assert mine == [], name
        else:
            assert HERE in _shown(mine), name
            assert ELSEWHERE in _shown(everywhere), name


@both_engines
async def test_get_update_and_delete_are_limited(database: Database) -> None:
    async with database.transaction(scope=Scope.of("110000")) as session:
        assert await session.get(N, "E00000011") is None
        assert await session.get(N, "E00000011", with_for_update=True) is None
        assert await session.get(N, "A00000011") is not None
        await session.execute(update(N).where(N.state == "free").values(state="locked"))
        await session.execute(delete(N).where(N.region == ELSEWHERE))
    async with database.transaction(scope=EVERYWHERE) as session:
        states = {row.number: row.state for row in await session.scalars(select(N))}
        assert states == {"A00000011": "locked", "E00000011": "free"}


async def test_a_session_without_scope_refuses(database: Database) -> None:
    for make in READS.values():
        async with database.transaction() as session:
            with pytest.raises(ScopeMissingError):
                await session.execute(make())
    async with database.look() as session:
        with pytest.raises(ScopeMissingError):
            await session.get(N, "A00000011")
    async with database.transaction() as session:
        with pytest.raises(ScopeMissingError):
            await session.execute(delete(N))


async def test_unscoped_ends_with_its_block(database: Database) -> None:
    async def seen(session: AsyncSession) -> int:
        return len((await session.scalars(select(N))).all())

    async with database.transaction(scope=Scope.of(HERE)) as session:
        with unscoped(session, why="test"):
            assert await seen(session) == 2
        assert await seen(session) == 1
        with pytest.raises(KeyError), unscoped(session, why="test"):
            raise KeyError
        assert await seen(session) == 1
        with pytest.raises(ValueError, match="why"), unscoped(session, why=""):
            pass


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (None, {"110000", "110105", "130000", "130102"}),
        ("110000", {"110000", "110105"}),
        ("110105", {"110105"}),
        ("130100", {"130102"}),
        ("140000", set()),
    ],
)
async def test_regions_of_a_scope(database: Database, scope: str | None, seen: set[str]) -> None:
    async with database.transaction(scope=EVERYWHERE) as session:
        for n, region in enumerate(("110000", "110105", "130000", "130102")):
            session.add(_office(f"/{n + 1}/", region))
    async with database.transaction(scope=Scope.of(scope)) as session:
        assert set(await session.scalars(select(OfficeRow.region))) == seen


@both_engines
async def test_offices_of_a_scope(database: Database) -> None:
    async with database.transaction(scope=EVERYWHERE) as session:
        for path in ("/1/", "/1/4/", "/1/4/9/", "/1/40/"):
            session.add(_office(path, HERE))
        for name, office in (("mine", "/1/4/"), ("below", "/1/4/9/"), ("beside", "/1/40/"), ("common", None)):
            common = {"kind": "outlet", "region": HERE, "state": "open", "version": 1, "updated_by": "x"}
            times = {"created_at": START, "updated_at": START}
            session.add(PlaceRow(id=name, name=name, office=office, **common, **times))
    async with database.transaction(scope=Scope.of(HERE, "/1/4/")) as session:
        assert set(await session.scalars(select(OfficeRow.office))) == {"/1/4/", "/1/4/9/"}
        assert set(await session.scalars(select(PlaceRow.id))) == {"mine", "below", "common"}


def _office(path: str, region: str) -> OfficeRow:
    names = {"name_zh": path, "name_en": "", "created_by": "x"}
    return OfficeRow(office=path, kind="office", region=region, status="open", created_at=START, **names)


# -- rules ------------------------------------------------------------------------------------------------------------

NOT_SCOPED = {
    "JobRow": "its region is that of who began the work; the batch decides who sees it",
}
MAY_BE_UNSCOPED = {
    "applications/repository.py",
    "cards/repository.py",
    "consents/disclosure.py",
    "consents/repository.py",
    "consents/service.py",
    "codes/repository.py",
    "ecards/repository.py",
    "hsm_route/repository.py",
    "journeys/repository.py",
    "login/answers.py",
    "production/repository.py",
    "self_service/records.py",
    "sessions/repository.py",
    "stock/balance.py",
    "stock/movements.py",
    "stock/repository.py",
    "stock/service.py",
    "terminals/repository.py",
}
MAY_SERVE_EVERYWHERE = {
    "bank/reconciliation.py",
    "cards/jobs.py",
    "clerks/login.py",
    "clerks/scans.py",
    "clerks/sessions.py",
    "clients/directory.py",
    "clients/service.py",
    "codes/ledger.py",
    "identity/service.py",
    "login/unit.py",
    "outbox/delivery.py",
    "privacy/reseal.py",
    "production/jobs.py",
    "production/sending.py",
    "production/work.py",
    "progress/service.py",
    "publication/blocked.py",
    "scope.py",
    "supervision/alerts.py",
    "unit.py",
}
PAST_THE_HOOK = {
    "audit/log.py": "columns of the whole log, which is verified as a whole",
    "database.py": "statistics, and the engine itself",
    "publication/blocked.py": "the block list is of all regions, and read on a connection of another process",
    "production/repository.py": "bulk changes of lines by key, within a batch that was found in scope",
}
_ROOT = Path(issuance.__file__).parent


def _names_used() -> dict[str, set[str]]:
    """Module -> every name and attribute in it."""
    used = {}
    for file in _ROOT.rglob("*.py"):
        if "migrations" in file.parts:
            continue
        tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in tree
            if isinstance(node, ast.Name | ast.Attribute)
        }
        used[file.relative_to(_ROOT).as_posix()] = names
    return used


def test_only_named_places_go_round_the_scope() -> None:
    used = _names_used()
    assert {module for module, names in used.items() if "unscoped" in names} == MAY_BE_UNSCOPED
    assert {module for module, names in used.items() if "EVERYWHERE" in names} == MAY_SERVE_EVERYWHERE
    past = {"__table__", "local_table", "exec_driver_sql", "set_scope"}
    assert {m for m, names in used.items() if names & past} - {"scope.py"} == set(PAST_THE_HOOK)


def test_rows_with_a_region_or_office_are_scoped() -> None:
    for mapper in Base.registry.mappers:
        kind, columns = mapper.class_, {column.key for column in mapper.column_attrs}
        if "region" in columns and kind.__name__ not in NOT_SCOPED:
            assert issubclass(kind, RegionScoped), kind.__name__
    assert issubclass(PlaceRow, OfficeScoped)
    assert issubclass(CardRow, RegionScoped)
