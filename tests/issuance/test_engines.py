"""What must hold on SQLite and on PostgreSQL alike when requests come at the same moment, and what differs."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from issuance import models
from issuance.app import create_app
from issuance.audit.models import AuditRow
from issuance.clients.repository import ClientRepository
from issuance.database import Database, insert_all, migrate, parse_url
from issuance.problems import code_of
from issuance.scope import EVERYWHERE
from issuance.sessions.models import CardSessionRow
from issuance.sessions.repository import SessionRepository
from issuance.settings import Settings
from tests.issuance.conftest import Centre, Store, atr, both_engines, ok, refused, reset
from tests.issuance.postgres import Postgres

ROUNDS = 4


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    name = uuid.uuid4().hex
    postgres.create(name)
    yield postgres.url(name)
    postgres.drop(name)


async def _codes(*requests: Awaitable[httpx.Response]) -> list[str]:
    """Failure codes of requests sent at once, empty for those that were accepted."""
    answers = await asyncio.gather(*requests)
    return ["" if answer.is_success else answer.json()["code"] for answer in answers]


def _initialization(serial: int) -> dict[str, str]:
    return {"kind": "initialization", "atr": atr(serial), "region": "110000"}


@both_engines
async def test_rows_of_one_statement_come_back_as_they_went(store: Store) -> None:
    """To the byte: the seal of an audit entry is over the text of its detail."""
    database, detail = Database(store.url), {"k": "引\\\"'\u2028", "n": [1, {"a": None}]}
    at = datetime(2026, 1, 5, 9, 2, 3, 45, tzinfo=timezone(timedelta(hours=8)))
    texts = dict.fromkeys(("actor", "clerk", "act", "subject", "place", "outcome", "reason"), "a\\x")
    entry = texts | {"at": at, "application_id": None, "region": None, "detail": detail, "seal": bytes(range(256))}
    async with database.transaction() as session:
        await insert_all(session, AuditRow, [entry, entry | {"detail": {}, "region": "110000"}])
    async with database.look(scope=EVERYWHERE) as session:
        kept = list(await session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(2)))
    await database.close()
    assert [(row.at, row.seal, row.actor, row.region, row.application_id) for row in reversed(kept)] == [
        (at, entry["seal"], "a\\x", region, None) for region in (None, "110000")
    ]
    stored = store.sql("SELECT CAST(detail AS TEXT) FROM audit_entries ORDER BY id DESC LIMIT 2")
    assert stored == [("{}",), (json.dumps(detail),)]


@both_engines
async def test_sessions_of_an_unknown_card_begin_at_once(centre: Centre) -> None:
    """Nothing in stock to lock: the constraint decides, and every terminal gets its first batch."""
    post = centre.as_("terminal").post
    answers = await asyncio.gather(*(post("/v1/card-sessions", json=_initialization(7)) for _ in range(6)))
    assert [answer.status_code for answer in answers] == [201] * 6
    states = centre.store.sql("SELECT state, count(*) FROM card_sessions GROUP BY state ORDER BY state")
    assert states == [("running", 1), ("superseded", 5)]


async def test_whoever_is_overtaken_again_and_again_begins_all_the_same(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a session of the same card that begins between the two statements: the last of many loses to all others."""
    add, overtaken = SessionRepository.add, iter(range(11))

    async def lose(self: SessionRepository, row: CardSessionRow) -> bool:
        return await add(self, row) if next(overtaken, None) is None else False

    monkeypatch.setattr(SessionRepository, "add", lose)
    ok(await centre.as_("terminal").post("/v1/card-sessions", json=_initialization(7)), 201)


@both_engines
async def test_sessions_of_other_cards_go_on(centre: Centre) -> None:
    post = centre.as_("terminal").post
    first = ok(await post("/v1/card-sessions", json=_initialization(7)), 201)
    ok(await post("/v1/card-sessions", json=_initialization(8)), 201)
    assert (await centre.run(first))["status"] == "done"


@both_engines
async def test_deliveries_and_numbers_at_once(centre: Centre) -> None:
    """The same keys in opposite order neither clash nor wait in a circle."""
    post = centre.as_("operator").post
    resets = [reset(serial) for serial in range(1, 101)]
    body: dict[str, Any] = {"delivery": "d", "region": "110000"}
    answers = await asyncio.gather(
        *(post("/v1/blanks", json=body | {"reset_information": resets[::step]}) for step in (1, -1, 1, -1))
    )
    assert sum(ok(answer, 201)["added"] for answer in answers) == 100
    numbers = {"region": "110000", "body_from": "A0000001", "count": 100}
    answers = await asyncio.gather(*(post("/v1/card-numbers", json=numbers) for _ in range(4)))
    assert sorted(ok(answer, 201)["added"] for answer in answers) == [0, 0, 0, 100]


@both_engines
async def test_last_answer_meets_a_newer_session(centre: Centre) -> None:
    """Whoever is first wins; the other is told, and nobody waits in a circle."""
    await centre.stock(ROUNDS, ROUNDS)
    for serial in range(1, ROUNDS + 1):
        application_id = ok(await centre.apply(serial), 201)["id"]
        batch = ok(await centre.start(application_id, atr(serial)), 201)["batch"]
        batch = ok(await centre.answer(batch["session_id"], 1, ["9000"]))["batch"]
        last = centre.answer(batch["session_id"], 2, ["9000"] * 3)
        codes = await _codes(last, centre.start(application_id, atr(serial)), centre.apply(serial, key="once-more"))
        assert codes[0] in ("", "CONFLICT")
        assert codes[1] == ""
        assert codes[2] in ("CONFLICT", "ALREADY_ISSUED")
    assert centre.store.sql("SELECT count(*) FROM applications") == [(ROUNDS,)]


@both_engines
async def test_write_off_meets_the_last_answer(centre: Centre) -> None:
    await centre.stock(ROUNDS, ROUNDS)
    for serial in range(1, ROUNDS + 1):
        application_id = ok(await centre.apply(serial), 201)["id"]
        batch = ok(await centre.start(application_id, atr(serial)), 201)["batch"]
        ok(await centre.answer(batch["session_id"], 1, ["9000"]))
        written_off = centre.write_off(application_id, reset(serial))
        codes = await _codes(centre.answer(batch["session_id"], 2, ["9000"] * 3), written_off)
        assert codes in (["", "APPLICATION_STATE"], ["CONFLICT", ""])
    counts = dict(centre.store.sql("SELECT state, count(*) FROM blanks GROUP BY state"))
    assert set(counts) <= {"used", "spoiled"}
    assert sum(counts.values()) == ROUNDS


@both_engines
async def test_two_applications_for_one_blank(centre: Centre) -> None:
    await centre.stock(blanks=1, numbers=2)
    ids = [ok(await centre.apply(serial), 201)["id"] for serial in (1, 2)]
    assert sorted(await _codes(*(centre.start(i, atr(1)) for i in ids))) == ["", "CARD_MISMATCH"]
    assert centre.store.sql("SELECT count(*) FROM card_numbers WHERE state = 'reserved'") == [(1,)]


@both_engines
async def test_one_assertion_at_once(centre: Centre) -> None:
    token = centre.client_keys["operator"].assertion("GET", "/v1/stock", b"", centre.clock().timestamp())
    get = centre.anyone().get
    codes = await _codes(*(get("/v1/stock", headers={"Authorization": f"Bearer {token}"}) for _ in range(6)))
    assert sorted(codes) == [""] + ["REQUEST_REPLAYED"] * 5


@both_engines
async def test_what_is_over_is_forgotten_by_many_at_once(centre: Centre) -> None:
    """Used assertions and kept answers expire; requests that sweep them do not disturb each other."""
    await centre.apply(1)
    centre.clock.advance(25 * 3600)
    codes = await _codes(*(centre.apply(n) for n in range(2, 14)))
    assert codes == [""] * 12
    assert centre.store.sql("SELECT count(*) FROM kept_answers") == [(12,)]


@both_engines
async def test_reading_sees_one_moment(centre: Centre) -> None:
    database: Database = centre.app.state.services.database
    async with database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        before = await ClientRepository(session).all()
        await centre.register("late", ("wallet",))
        assert len(await ClientRepository(session).all()) == len(before)


@both_engines
async def test_what_a_database_cannot_hold_is_bad_input(centre: Centre) -> None:
    """PostgreSQL stores no NUL and compares no number beyond 64 bits."""
    operator = centre.as_("operator")
    application_id = ok(await centre.apply(1), 201)["id"]
    for query in ("subject=card%3A%00", f"before={2**63}"):
        refused(await operator.get(f"/v1/audit?{query}"), "INPUT_INVALID", 422)
    path = f"/v1/applications/{application_id}/reject"
    refused(await operator.post(path, json={"reason": "a\x00b"}), "INPUT_INVALID", 422)
    refused(await centre.answer("0" * 32, 2**70, []), "NOT_FOUND", 404)
    assert code_of(DataError("", {}, ValueError())) == "INPUT_INVALID"


# -- PostgreSQL alone ---------------------------------------------------------------------------------------------


def test_replicas_migrate_an_empty_database_at_once(empty_url: str) -> None:
    async def migrate_all() -> None:
        await asyncio.gather(*(asyncio.to_thread(migrate, empty_url) for _ in range(3)))

    asyncio.run(migrate_all())
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.ApplicationRow.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_time_is_kept_as_a_moment(centre: Centre) -> None:
    """The server's own zone is another one."""
    assert centre.store.sql("SHOW timezone") == [("Asia/Shanghai",)]
    query = "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM clients WHERE id = 'operator'"
    assert centre.store.sql(query) == [("2026-01-05 01:00",)]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_lock_waited_for_too_long(centre: Centre) -> None:
    """A colleague's open psql session must not hang the counters."""
    await centre.stock()
    application_id = ok(await centre.apply(1), 201)["id"]
    centre.old_apps.append(centre.app)
    catalog = centre.app.state.services.catalog
    settings = Settings(database_url=centre.url, database_timeout_s=0.2)
    centre.app = create_app(settings, centre.keys, clock=centre.clock, catalog=catalog)
    centre.open_clients.clear()
    engine = create_engine(centre.url)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM applications FOR UPDATE"))
        refused(await centre.start(application_id, atr(1)), "DATABASE_UNAVAILABLE", 503)
    engine.dispose()
    ok(await centre.start(application_id, atr(1)), 201)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_deadlock_is_not_our_fault_to_the_caller(centre: Centre) -> None:
    """Two transactions that lock in opposite order, which the service does not: one is told to come again."""
    database: Database = centre.app.state.services.database
    meeting = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> str:
        statement = text("SELECT 1 FROM clients WHERE id = :id FOR UPDATE")
        try:
            async with database.transaction(scope=EVERYWHERE) as session:
                await session.execute(statement, {"id": first})
                await meeting.wait()
                await session.execute(statement, {"id": second})
        except OperationalError as error:
            return code_of(error).value
        return ""

    assert sorted(await asyncio.gather(lock("operator", "wallet"), lock("wallet", "operator"))) == [
        "",
        "DATABASE_UNAVAILABLE",
    ]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_entries SET outcome = 'ok'", "DELETE FROM audit_entries WHERE id = 1", "TRUNCATE audit_entries"],
)
async def test_audit_cannot_be_changed(centre: Centre, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        centre.store.sql(statement)
    assert centre.store.sql("SELECT count(*) FROM audit_entries") == [(4,)]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
async def test_constraints_are_there(store: Store, centre: Centre) -> None:
    """The database itself refuses a second open application and a reservation without an application."""
    ok(await centre.apply(1), 201)
    await centre.stock()
    kept = (
        "person_id, region, generation, card_class, state, sealed_items, reset_information, card_number, issue_date,"
        " expiry_date, created_by, created_at, updated_at"
    )
    copied = f"INSERT INTO applications (id, receipt_number, {kept}) SELECT :id, '1', {kept} FROM applications"
    with pytest.raises(DBAPIError, match="uq_applications_open_person"):
        store.sql(copied, id="0" * 32)
    with pytest.raises(DBAPIError, match="ck_blanks_holder"):
        store.sql("UPDATE blanks SET state = 'reserved'")


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("postgres://u@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite"),
    ],
)
def test_addresses(given: str, driver: str) -> None:
    assert parse_url(given).drivername == driver
