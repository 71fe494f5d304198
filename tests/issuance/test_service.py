"""What surrounds the domains: API description, catalog, health, metrics, database, problems."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr, ValidationError
from sqlalchemy import create_engine

from apps_catalog.question import CatalogQuestion
from cardlib.failures import FailureCode, describe
from hsm.api import KeyService
from issuance import models
from issuance.app import create_app
from issuance.database import Database, UtcDateTime, migrate
from issuance.problems import problem_response, response_for
from issuance.scope import EVERYWHERE
from issuance.settings import Settings
from tests.issuance.conftest import START, Centre, Clock, both_engines, ok, refused


async def test_description_is_complete(centre: Centre) -> None:
    api = ok(await centre.anyone().get("/openapi.json"))
    schemas = api["components"]["schemas"]
    count = 0
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            count += 1
            where = f"{method} {path}"
            assert operation["summary"], where
            problem = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good, where
            for answer in good:
                for content in answer.get("content", {}).values():  # 204 has none
                    schema = content.get("schema", {})
                    name = schema.get("items", schema).get("$ref", "").rsplit("/", 1)[-1]
                    assert "example" in content or schemas[name].get("examples"), where
            body = operation.get("requestBody", {}).get("content", {})
            if "application/json" in body:
                name = body["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
                assert schemas[name].get("examples") or name in ("SessionStart", "BatchResponses"), where
    assert count >= 20
    assert not {"HTTPValidationError", "ValidationError"} & schemas.keys()


async def test_examples_fit_their_models() -> None:
    from issuance.applications import schemas as applications
    from issuance.audit import schemas as audit
    from issuance.cards import schemas as cards
    from issuance.clients import schemas as clients
    from issuance.codes import schemas as codes
    from issuance.ecards import schemas as ecards
    from issuance.newborns import schemas as newborns
    from issuance.persons import schemas as persons
    from issuance.photos import schemas as photos
    from issuance.stock import schemas as stock

    checked = 0
    for module in (applications, audit, cards, clients, codes, ecards, newborns, persons, photos, stock):
        for model in vars(module).values():
            extra = getattr(model, "model_config", {}).get("json_schema_extra")
            for example in (extra or {}).get("examples", []):
                model.model_validate(example)
                checked += 1
    assert checked >= 15


async def test_catalog_is_open_and_cacheable(centre: Centre) -> None:
    anyone = centre.anyone()
    answer = await anyone.get("/v1/catalog", params={"region": "130000", "domain": "medical"})
    body = ok(answer)
    assert body["items"]
    assert {item["domain"] for item in body["items"]} == {"medical"}
    tag = answer.headers["etag"]
    for sent in (tag, f'"other", W/{tag}', "*"):
        again = await anyone.get(
            "/v1/catalog", params={"region": "130000", "domain": "medical"}, headers={"If-None-Match": sent}
        )
        assert (again.status_code, again.content) == (304, b"")
    other = await anyone.get("/v1/catalog", params={"region": "110000"}, headers={"If-None-Match": tag})
    assert other.status_code == 200
    refused(await anyone.get("/v1/catalog", params={"region": "440000"}), "REGION_UNKNOWN", 400)
    refused(await anyone.get("/v1/catalog", params={"region": "110000", "domain": "none"}), "INPUT_INVALID", 400)
    refused(await anyone.get("/v1/catalog"), "INPUT_INVALID", 422)


@both_engines
async def test_the_catalogs_question_is_answered_as_everywhere(centre: Centre) -> None:
    asked = {"from": "130000", "in": "110000", "on": "2026-12-01", "carrier": "qr", "age": 70}
    anyone = centre.anyone()
    told = ok(await anyone.post("/v1/catalog/what", json=asked))
    assert told == CatalogQuestion.model_validate(asked).answer(centre.app.state.services.catalog)
    refused(await anyone.post("/v1/catalog/what", json=asked | {"name": "x"}), "INPUT_INVALID", 422)
    refused(await anyone.post("/v1/catalog/what", json=asked | {"in": "440000"}), "REGION_UNKNOWN", 400)


async def test_health(centre: Centre) -> None:
    assert ok(await centre.anyone().get("/healthz"))["status"] == "ok"


async def test_database_away_is_a_problem(tmp_path: Path, keys: KeyService) -> None:
    app = create_app(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path}/none/x.db"), keys)
    before = {*threading.enumerate()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre") as client:
        refused(await client.get("/healthz"), "DATABASE_UNAVAILABLE", 503)
    await app.state.services.database.close()
    for thread in {*threading.enumerate()} - before:  # the driver's, which tells this loop that it ends
        await asyncio.to_thread(thread.join)


async def test_routing_errors_are_problems(centre: Centre) -> None:
    refused(await centre.anyone().get("/v1/nothing"), "NOT_FOUND", 404)
    answer = await centre.anyone().delete("/v1/stock")
    refused(answer, "INPUT_INVALID", 405)
    assert answer.headers["allow"] == "GET"


async def test_metrics(centre: Centre) -> None:
    ok(await centre.as_("operator").get("/v1/stock"))
    text = (await centre.as_("operator").get("/metrics")).text
    assert 'onecard_issuance_requests_total{method="GET",route="/v1/stock",status="200"} 1.0' in text


async def test_metrics_token(centre: Centre) -> None:
    settings = Settings(database_url=centre.url, metrics_token=SecretStr("scraper-of-tests"))
    app = create_app(settings, centre.keys, clock=centre.clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre") as client:
        assert (await client.get("/metrics", headers={"Authorization": "Bearer scraper-of-tests"})).status_code == 200
        refused(
            await client.get("/metrics", headers={"Authorization": "Bearer scraper-of-testz"}), "CLIENT_UNKNOWN", 401
        )
    await app.state.services.database.close()


def test_no_token_is_empty_or_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECARD_ISSUANCE_METRICS_TOKEN", "")
    assert Settings().metrics_token is None
    for short in ("", "123456789012345"):
        with pytest.raises(ValidationError, match="metrics_token"):
            Settings(metrics_token=SecretStr(short))


async def test_empty_bearer_opens_nothing(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECARD_ISSUANCE_METRICS_TOKEN", "")
    app = create_app(Settings(database_url=centre.url), centre.keys, clock=centre.clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre") as client:
        refused(await client.get("/metrics", headers={"Authorization": "Bearer "}), "CLIENT_UNKNOWN", 401)
    await app.state.services.database.close()


def test_migrations_make_what_the_models_say(empty_database: Path) -> None:
    engine = create_engine(f"sqlite:///{empty_database}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), models.ApplicationRow.metadata)
    engine.dispose()
    assert differences == []


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/deep/er/x.db"
    migrate(url)
    migrate(url)


@both_engines
async def test_transaction_rolls_back_whole(centre: Centre) -> None:
    database: Database = centre.app.state.services.database
    row = models.BlankRow(
        reset_information="0" * 26,
        region="110000",
        generation="3.0",
        state="in_stock",
        delivery="d",
        kind="blank",
        registered_at=START,
        updated_at=START,
    )

    async def fail_half_way() -> None:
        async with database.transaction(scope=EVERYWHERE) as session:
            session.add(row)
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    assert centre.store.sql("SELECT count(*) FROM blanks") == [(0,)]


@both_engines
async def test_times_keep_their_zone(centre: Centre) -> None:
    database: Database = centre.app.state.services.database
    async with database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        row = await session.get_one(models.ClientRow, "operator")
    assert row.created_at == Clock().now
    with pytest.raises(ValueError, match="zone"):
        UtcDateTime().process_bind_param(START.replace(tzinfo=None), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", list(FailureCode))
def test_every_failure_is_a_problem(code: FailureCode) -> None:
    assert problem_response(code).status_code == describe(code).http_status


def test_unknown_errors_say_nothing() -> None:
    answer = response_for(ValueError("张三 990100199001010012"))
    assert answer.status_code == 500
    assert b"990100" not in bytes(answer.body)


async def test_invented_methods_do_not_grow_the_metrics(centre: Centre) -> None:
    for method in ("PURGE", "BREW", "WHEN"):
        await centre.anyone().request(method, "/healthz")
    text = (await centre.as_("operator").get("/metrics")).text
    assert 'method="other"' in text
    assert "BREW" not in text
