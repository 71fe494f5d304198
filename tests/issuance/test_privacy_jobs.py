"""Sealed anew after a rotation, found by keyed digests, shown for a reason, forgotten in time."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, String, literal_column, select, text

from hsm.api import CARD_ALGORITHMS, KeyRef, KeyService, Purpose
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.applications.models import ApplicationRow
from issuance.persons.repository import name_index
from issuance.photos.models import PhotoRow
from issuance.privacy import reseal, retention
from issuance.privacy.classification import sealed_columns
from issuance.privacy.reseal import fill_name_index, remaining, reseal_due, restart
from issuance.privacy.retention import erase_person, forget_due
from issuance.problems import ProblemError
from issuance.scope import EVERYWHERE
from issuance.sealing import PERSON_SEAL, Sealer
from issuance.services import Services
from issuance.unit import system_unit
from tests.issuance.conftest import GUARDIAN, SECRET_NAME, SECRET_NUMBER, Centre, both_engines, ok, refused

PERSON = {
    "name": SECRET_NAME,
    "social_security_number": SECRET_NUMBER,
    "birth_date": "19900101",
    "telephone": "13912345678",
}
AGENT = {"name": "测试代", "social_security_number": GUARDIAN["social_security_number"], "telephone": "13800001234"}
JPEG = b"\xff\xd8\xff\xe0" + secrets.token_bytes(600)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyService]:
    """Of each test its own: they are rotated and destroyed."""
    with SoftKeyService.create(tmp_path / "keys", "correct horse", cost=ScryptCost(n=1 << 4)) as service:
        for algorithm in CARD_ALGORITHMS:
            service.generate(KeyRef("IRK", algorithm), Purpose.AUTHENTICATION, level=1)
        yield service


@pytest.fixture
def services(centre: Centre) -> Services:
    found: Services = centre.app.state.services
    return found


async def issued(centre: Centre, services: Services) -> str:
    """A card with everything that is personal around it; returns its application."""
    await centre.stock(2, 2)
    application_id: str = ok(await centre.apply(1, person=PERSON, agent=AGENT), 201)["id"]
    reply = ok(await centre.start(application_id, "3B6D000000FE00000086FE990100000001"), 201)
    await add_photo(services, "f" * 32)
    await centre.run(reply)
    return application_id


async def add_photo(services: Services, photo_id: str) -> None:
    sealed = services.sealer.seal(base64.b64encode(JPEG).decode(), f"photos:{photo_id}")
    async with services.database.transaction(scope=EVERYWHERE) as session:
        session.add(
            PhotoRow(
                id=photo_id,
                region="110000",
                sealed_jpeg=sealed,
                taken_on=services.clock().date(),
                measures={},
                created_by="operator",
                created_at=services.clock(),
            )
        )


def rotate(keys: KeyService) -> None:
    new = replace(PERSON_SEAL, version=keys.current(PERSON_SEAL.name, PERSON_SEAL.algorithm).version + 1)
    keys.generate(new, Purpose.SEAL)
    keys.retire(replace(new, version=new.version - 1))


def shows(stored: bytes) -> list[str]:
    """Which secrets a copy of the database shows, in any usual form."""
    texts = [SECRET_NAME, SECRET_NUMBER, SECRET_NUMBER[6:14], "13912345678", "13800001234", "测试代"]
    pieces = {
        text: [text.encode(), text.encode("gb18030"), text.encode("utf-16-le"), repr(text)[1:-1].encode()]
        for text in texts
    }
    pieces["photo"] = [JPEG[8:40], base64.b64encode(JPEG)[12:40], JPEG[8:40].hex().encode()]
    pieces["escaped"] = [SECRET_NAME.encode("unicode_escape"), base64.b64encode(SECRET_NAME.encode())[:12]]
    return [name for name, forms in pieces.items() if any(form in stored for form in forms)]


@both_engines
async def test_a_copied_database_shows_nobody(centre: Centre, services: Services) -> None:
    """Before and after a rotation with the old key destroyed; who it is for finds and reads everything still."""
    application_id = await issued(centre, services)
    operator = centre.as_("operator")
    assert shows(centre.store.stored()) == []
    rotate(centre.keys)
    assert sum((await remaining(services)).values()) >= 5
    while await reseal_due(services):
        continue
    assert sum((await remaining(services)).values()) == 0
    centre.keys.destroy(PERSON_SEAL)
    centre.restart()
    assert shows(centre.store.stored()) == []
    operator = centre.as_("operator")
    for query in ({"social_security_number": SECRET_NUMBER}, {"name": f" {SECRET_NAME[:2]} {SECRET_NAME[2:]}"}):
        (hit,) = ok(await operator.post("/v1/person-searches", json=query))
        assert (hit["applications"], len(hit["cards"])) == ([application_id], 1)
        assert SECRET_NUMBER[:14] not in str(hit)
    ok(await operator.get(f"/v1/applications/{application_id}"))
    body = {"subject": f"application:{application_id}", "fields": ["name", "agent_telephone"], "reason": "核对"}
    body["reason"] = "电话核对领卡时间"
    assert ok(await operator.post("/v1/reveals", json=body))["fields"] == {
        "name": SECRET_NAME,
        "agent_telephone": "13800001234",
    }
    assert shows(centre.store.stored()) == []


@both_engines
async def test_contexts_of_the_table_are_those_of_the_code(centre: Centre, services: Services) -> None:
    await issued(centre, services)
    opened = set()
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        for column in sealed_columns():
            wanted = {part.name: part for part in (*column.key, *column.parts, column.column)}
            for row in (await session.execute(select(*wanted.values()))).mappings():
                if row[column.column.name]:
                    services.sealer.unseal_bytes(row[column.column.name], column.context_of(row))
                    opened.add(column.name)
    assert {
        "persons.sealed",
        "applications.sealed_parties",
        "photos.sealed_jpeg",
        "kept_answers.sealed_answer",
    } <= opened


async def test_the_seal_key_is_rotated_under_a_running_service(centre: Centre) -> None:
    """What was sealed before opens and is found; what comes after is under the new version."""
    first = ok(await centre.apply(1), 201)["id"]
    keys = centre.keys
    keys.generate(replace(PERSON_SEAL, version=2), Purpose.SEAL)
    keys.retire(PERSON_SEAL)
    second = ok(await centre.apply(2), 201)["id"]
    versions = {bytes(row[0])[0] for row in centre.store.sql("SELECT sealed FROM persons")}
    assert versions == {1, 2}
    for application_id in (first, second):
        ok(await centre.as_("operator").get(f"/v1/applications/{application_id}"))
    assert ok(await centre.apply(1), 201)["id"] == first
    ok(await centre.as_("operator").get("/healthz"))


async def test_nothing_is_resealed_while_the_old_key_is_active(centre: Centre, services: Services) -> None:
    await issued(centre, services)
    centre.keys.generate(replace(PERSON_SEAL, version=2), Purpose.SEAL)
    assert await reseal_due(services) == 0
    centre.keys.retire(PERSON_SEAL)
    assert await reseal_due(services) > 0


@both_engines
async def test_resealing_goes_on_chunk_by_chunk_beside_others(
    centre: Centre, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off after every chunk, on two replicas, with a value that changes meanwhile and a second rotation."""
    monkeypatch.setattr(reseal, "CHUNK", 2)
    monkeypatch.setattr(reseal, "CHUNKS", 1)
    for serial in range(1, 8):
        ok(await centre.apply(serial), 201)
    rotate(centre.keys)
    for _ in range(4):
        await asyncio.gather(reseal_due(services), reseal_due(services), return_exceptions=True)
    rotate(centre.keys)
    ok(await centre.apply(8), 201)
    for _ in range(60):
        await reseal_due(services)
    assert sum((await remaining(services)).values()) == 0
    await restart(services)
    for _ in range(60):
        await reseal_due(services)
    centre.keys.destroy(PERSON_SEAL)
    centre.keys.destroy(replace(PERSON_SEAL, version=2))
    for serial in range(1, 9):
        assert ok(await centre.apply(serial), 201)["person"]["name"].startswith("测")


async def test_persons_from_before_the_name_index_are_found(centre: Centre, services: Services) -> None:
    await issued(centre, services)
    centre.store.sql("UPDATE persons SET name_index = NULL")
    find = centre.as_("operator").post
    assert ok(await find("/v1/person-searches", json={"name": SECRET_NAME})) == []
    assert await fill_name_index(services) == 1
    assert await fill_name_index(services) == 0
    assert len(ok(await find("/v1/person-searches", json={"name": SECRET_NAME}))) == 1


def test_ways_to_type_a_name(keys: KeyService) -> None:
    Sealer(keys)
    from issuance.sealing import ensure_seal_keys

    ensure_seal_keys(keys)
    sealer = Sealer(keys)
    forms = ["阿卜杜拉·买买提", "阿卜杜拉•买买提", "阿卜杜拉 买买提", " 阿卜杜拉买买提"]
    assert len({name_index(sealer, form) for form in forms}) == 1
    assert name_index(sealer, "Ａnna") == name_index(sealer, "ANNA") != name_index(sealer, "ANNE")


@both_engines
async def test_nobody_sees_persons_of_another_region(centre: Centre, services: Services) -> None:
    application_id = await issued(centre, services)
    await centre.register("hebei", ("operator",), "130000")
    hebei = centre.as_("hebei")
    for query in ({"name": SECRET_NAME}, {"social_security_number": SECRET_NUMBER}):
        assert ok(await hebei.post("/v1/person-searches", json=query)) == []
    body: dict[str, Any] = {"fields": ["name"], "reason": "just looking"}
    elsewhere = refused(
        await hebei.post("/v1/reveals", json=body | {"subject": f"application:{application_id}"}), "NOT_FOUND", 404
    )
    missing = refused(
        await hebei.post("/v1/reveals", json=body | {"subject": "application:" + "0" * 32}), "NOT_FOUND", 404
    )
    assert elsewhere == missing


async def test_a_look_is_recorded_with_its_reason(centre: Centre, services: Services) -> None:
    application_id = await issued(centre, services)
    ((number,),) = centre.store.sql("SELECT card_number FROM cards")
    operator = centre.as_("operator")
    body: dict[str, Any] = {"subject": f"card:{number}", "fields": ["telephone", "address"], "reason": "通知领卡"}
    assert ok(await operator.post("/v1/reveals", json=body))["fields"] == {"telephone": "13912345678", "address": None}
    (entry,) = ok(await operator.get("/v1/audit", params={"limit": 1}))
    assert (entry["act"], entry["subject"], entry["reason"]) == ("person.reveal", f"card:{number}", "通知领卡")
    assert (entry["detail"], entry["application_id"]) == ({"fields": ["address", "telephone"]}, application_id)
    for bad in ({"reason": "x"}, {"reason": "    "}, {"fields": []}, {"fields": ["password"]}, {"subject": "card:x"}):
        refused(await operator.post("/v1/reveals", json=body | bad), "INPUT_INVALID", 422)
    refused(await centre.as_("terminal").post("/v1/reveals", json=body), "CLIENT_FORBIDDEN", 403)
    for _ in range(29):
        ok(await operator.post("/v1/reveals", json=body))
    refused(await operator.post("/v1/reveals", json=body), "REQUEST_LIMIT", 429)


@both_engines
async def test_what_nothing_needs_is_forgotten(centre: Centre, services: Services) -> None:
    await add_photo(services, "e" * 32)
    rejected: str = ok(await centre.apply(1, person=PERSON, agent=AGENT), 201)["id"]
    centre.store.sql("UPDATE applications SET state = 'rejected'")
    centre.clock.advance(29 * 86400)
    assert await forget_due(services) == 0
    centre.clock.advance(2 * 86400)
    assert await forget_due(services) == 1
    assert await forget_due(services) == 0
    assert centre.store.sql("SELECT count(*) FROM photos") == [(0,)]
    centre.clock.advance(150 * 86400)
    assert await forget_due(services) == 1
    assert centre.store.sql("SELECT sealed_parties FROM applications") == [(None,)]
    trail = ok(await centre.as_("operator").get("/v1/audit", params={"limit": 2}))
    assert [entry["act"] for entry in trail] == ["application.forget", "photo.forget"]
    ok(await centre.as_("operator").get(f"/v1/applications/{rejected}"))


@both_engines
async def test_a_person_is_erased(centre: Centre, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the years of the rule, not before, and not while a card is live."""
    application_id = await issued(centre, services)
    ((person_id,),) = centre.store.sql("SELECT id FROM persons")
    with pytest.raises(ProblemError, match="CONFLICT"):
        async with system_unit(services) as unit:
            await erase_person(unit, person_id, region="110000", reason="asked")
    ended = services.clock().isoformat(sep=" ")
    centre.store.sql("INSERT INTO person_ends VALUES (:id, 'death', :at, 'clerk')", id=person_id, at=ended)
    centre.clock.advance(5476 * 86400)
    assert (await retention.forget(services))["ended_person"] == 0
    centre.store.sql("UPDATE cards SET state = '9'")
    assert (await retention.forget(services))["ended_person"] == 1
    assert (await retention.forget(services))["ended_person"] == 0
    find = centre.as_("operator").post
    for query in ({"name": SECRET_NAME}, {"social_security_number": SECRET_NUMBER}):
        assert ok(await find("/v1/person-searches", json=query)) == []
    shown = ok(await centre.as_("operator").get(f"/v1/applications/{application_id}"))
    assert shown["person"] == {"name": "*", "social_security_number": "*" * 14 + "0000"}
    async with services.database.transaction(scope=EVERYWHERE) as session:
        assert await session.scalar(select(ApplicationRow.sealed_parties)) is None


async def test_the_nearest_table_decides(services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "retention.toml"
    tables = {"130000": 20, "130100": 90, "130110": 200}
    lines = "".join(f"\n[{region}]\nunused_photo = {days}\n" for region, days in tables.items())
    file.write_text(retention._FILE.read_text() + lines)
    monkeypatch.setattr(retention, "_FILE", file)
    days = {"120000": 30, "130000": 20, "130200": 20, "130100": 90, "130111": 90, "130110": 200}
    caches = (retention.retention, retention._regions)
    for cached in caches:
        cached.cache_clear()
    try:
        regions = literal_column("place.column1", String)
        since = literal_column("place.column2", Integer)
        values = ", ".join(f"('{region}', {age})" for region in days for age in range(0, 300, 10))
        monkeypatch.setattr(retention, "_limit", lambda _now, place, kind: -getattr(retention.retention(place), kind))
        monkeypatch.setattr(retention, "CHUNK", 1000)
        query = select(regions, since).select_from(text(f"(VALUES {values}) AS place"))
        async with system_unit(services) as unit:
            due = await retention._due(unit, query, regions, -since, "unused_photo")
        youngest = {region: min(int(age) for place, age in due if place == region) for region in days}
        assert youngest == {region: kept + 10 for region, kept in days.items()}
    finally:
        for cached in caches:
            cached.cache_clear()


def test_regions_may_keep_longer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "retention.toml"
    file.write_text(retention._FILE.read_text() + "\n[130000]\nunused_photo = 90\n[130100]\nended_person = 9000\n")
    monkeypatch.setattr(retention, "_FILE", file)
    retention.retention.cache_clear()
    try:
        places = ("110000", "130000", "130100", "130200")
        found = {place: retention.retention(place) for place in places}
        assert [found[place].unused_photo for place in places] == [30, 90, 90, 90]
        assert [found[place].ended_person for place in places] == [5475, 5475, 9000, 5475]
    finally:
        retention.retention.cache_clear()
