"""What a batch meets that it did not expect: lines that left it, cards lost on their way, work that breaks off."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cardlib.spec import Generation
from hsm.api import KeyService
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.applications.models import PaymentRow
from issuance.production import jobs
from issuance.production.files import PART_BYTES
from issuance.rules import RuleBook, RulePack
from issuance.tasks import run_once
from onecard_cli.home import import_roots
from simulators.ministry import RootKeys
from simulators.production import Faults, bank, card_factory, initialization_centre
from tests.issuance.conftest import REGION, Centre, both_engines, ok, refused
from tests.issuance.production import BatchDesk, person_line, roster


@pytest.fixture(scope="module")
def roots() -> RootKeys:
    return RootKeys.generate()


@pytest.fixture(scope="module")
def keys(roots: RootKeys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    path = tmp_path_factory.mktemp("batch") / "keys"
    with SoftKeyService.create(path, "correct horse", cost=ScryptCost(n=1 << 4)) as service:
        import_roots(service, roots)
        yield service


@pytest.fixture
async def desk(centre: Centre) -> BatchDesk:
    await centre.stock(blanks=0, numbers=40)
    made = BatchDesk(centre)
    await made.create()
    return made


async def order(desk: BatchDesk, act: str, **body: Any) -> dict[str, Any]:
    body = {"version": await desk.version()} | body
    done: dict[str, Any] = ok(await desk.ask("POST", f"/v1/production/batches/{desk.id}/{act}", json=body))
    return done


async def lines(desk: BatchDesk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(await desk.ask("GET", f"/v1/production/batches/{desk.id}/lines"))["items"]
    return found


async def write_off(desk: BatchDesk, line: dict[str, Any]) -> None:
    body = {"reset_information": line["reset_information"], "reason": "lost"}
    ok(await desk.ask("POST", f"/v1/applications/{line['application_id']}/write-off", json=body))


@both_engines
async def test_a_line_that_left_the_batch_never_comes_back(desk: BatchDesk) -> None:
    """Its number is in the pool again: a corrected return must not bind it to this card as well."""
    await desk.take("roster", roster(4))
    sent = await desk.sent("bank")
    back = io.BytesIO()
    bank().answer(io.BytesIO(sent), back, Faults(failed=1))
    await desk.take("bank", back.getvalue())
    assert await order(desk, "release") == {"released": 4, "remaining": 0}
    corrected = io.BytesIO()
    bank().answer(io.BytesIO(sent), corrected, Faults())
    file = await desk.take("bank", corrected.getvalue())
    assert (file["accepted"], file["refused"]) == (0, 4)
    assert {reject["reason"] for reject in await desk.rejects(file["id"])} == {"file_line_left"}
    assert (await desk.view())["by_state"] == {"released": 4}
    refused(await desk.send("factory"), "BATCH_STATE", 409)


@both_engines
async def test_finished_cards_that_are_damaged_or_lost_are_written_off(desk: BatchDesk, roots: RootKeys) -> None:
    await desk.take("roster", roster(4))
    partners = {
        "bank": bank(),
        "factory": card_factory(REGION, 0xA001),
        "keys": initialization_centre(REGION, Generation.V3, roots),
    }
    for stage, partner in partners.items():
        await desk.take(stage, (await desk.answered(stage, partner))[0])
    cracked, arrived, *lost = await lines(desk)
    await write_off(desk, cracked)
    assert (await desk.view())["by_state"] == {"finished": 3, "released": 1}

    place = {"id": "outlet-1", "kind": "outlet", "name": "一所", "region": REGION, "parent_id": f"depot-{REGION}"}
    ok(await desk.ask("POST", "/v1/stock/places", json=place), 201)
    handed = await order(desk, "hand-out", place_id="outlet-1")
    assert handed["cards"] == 3
    transfer = f"/v1/stock/transfers/{handed['transfer_id']}"
    ok(await desk.ask("POST", f"{transfer}/receipt", json={"version": 1, "cards": [arrived["reset_information"]]}))
    collect = f"/v1/production/cards/{lost[0]['card_number']}/collect"
    problem = refused(await desk.ask("POST", collect, json={"place_id": "outlet-1"}), "CARD_STATE", 409)
    assert "on its way" in problem["detail"]
    ok(await desk.ask("POST", f"{transfer}/settlement", json={"version": 2, "outcome": "lost", "reason": "van"}))
    for line in lost:
        await write_off(desk, line)
    refused(await desk.ask("POST", collect, json={"place_id": "outlet-1"}), "NOT_FOUND", 404)
    assert (await desk.view())["by_state"] == {"finished": 1, "released": 3}

    balance = ok(await desk.ask("GET", "/v1/stock/balance"))
    assert balance["is_zero"], balance
    assert {(line["place_id"], line["kind"]): line["closing"] for line in balance["lines"] if line["closing"]} == {
        (f"depot-{REGION}", "spoiled"): 1,
        ("outlet-1", "finished"): 1,
    }
    states = desk.centre.store.sql("SELECT state, count(*) FROM applications GROUP BY state")
    assert dict(states) == {"checked": 3, "reserved": 1}


async def test_who_died_is_refused_by_the_roster_too(desk: BatchDesk) -> None:
    centre = desk.centre
    names = ("social_security_number", "name", "sex", "ethnic_group", "birthplace", "birth_date")
    person = dict(zip(names, person_line(0)[1:7], strict=True))
    (blank,) = await centre.stock(blanks=1, numbers=0)
    application = ok(await centre.apply(1, person=person), 201)["id"]
    number = (await centre.run(ok(await centre.start(application, blank), 201)))["result"]["card_number"]
    ok(await desk.ask("POST", f"/v1/cards/{number}/holder-end", json={"cause": "death"}))
    file = await desk.take("roster", roster(2))
    (reject,) = await desk.rejects(file["id"])
    assert (reject["line_number"], reject["reason"]) == (2, "file_identity_deceased")


async def test_a_fee_is_registered_before_an_application_comes_into_a_batch(desk: BatchDesk) -> None:
    application = ok(await desk.centre.apply(1), 201)["id"]
    services = desk.centre.app.state.services
    async with services.database.transaction() as session:
        session.add(
            PaymentRow(
                application_id=application,
                amount_fen=1600,
                state="registering",
                reason="",
                updated_by="test",
                updated_at=services.clock(),
            )
        )
    path = f"/v1/production/batches/{desk.id}/applications"
    body = {"version": await desk.version(), "applications": [application]}
    refused(await desk.ask("POST", path, json=body), "PAYMENT_PENDING", 409)


async def test_no_roster_where_a_first_card_costs_something(desk: BatchDesk) -> None:
    services = desk.centre.app.state.services
    pack = services.rules.pack(REGION)
    versions = tuple(
        rules.model_copy(update={"fees_fen": rules.fees_fen.model_copy(update={"new": 2000})})
        for rules in pack.versions
    )
    book = RuleBook({REGION: RulePack(pack.issuer, versions)})
    desk.centre.app.state.services = replace(services, rules=book)
    path = f"/v1/production/batches/{desk.id}/files/roster"
    problem = refused(await desk.ask("POST", path, json={"name": "roster.txt"}), "INPUT_INVALID", 400)
    assert problem["fields"][0]["reason"] == "roster_fee"


async def test_a_part_is_no_larger_than_told(desk: BatchDesk) -> None:
    """The same bytes must always have the same parts, else a repeated file is not known again."""
    path = f"/v1/production/batches/{desk.id}/files/roster"
    parts = f"/v1/production/files/{ok(await desk.ask('POST', path, json={'name': 'a'}), 201)['id']}/parts"
    problem = refused(await desk.ask("PUT", f"{parts}/0", content=bytes(PART_BYTES + 1)), "INPUT_INVALID", 400)
    assert problem["fields"][0]["reason"] == "file_part_size"
    problem = refused(await desk.ask("PUT", f"{parts}/20000", content=b"a"), "INPUT_INVALID", 422)
    assert problem["fields"][0]["reason"] == "less_than_equal"


@both_engines
async def test_work_that_breaks_stops_alone(desk: BatchDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = BatchDesk(desk.centre)
    await other.create()
    broken = ok(await desk.upload("roster", roster(1)), 202)["file"]["id"]
    good = ok(await other.upload("roster", roster(2)), 202)["file"]["id"]
    prepare = jobs.WORKS["roster"].prepare

    async def breaks(task: jobs.Task) -> jobs.Chunk:
        if task.batch.id == desk.id:
            raise KeyError("测试零")
        return await prepare(task)

    monkeypatch.setattr(jobs.WORKS["roster"], "prepare", breaks)
    for _ in range(3):
        await run_once(desk.centre.app.state.services)
    job = await desk.job(broken)
    assert (job["state"], job["failure"], job["detail"]) == ("stuck", "INTERNAL", "KeyError")
    assert (await other.job(good))["state"] == "done"
    monkeypatch.undo()
    ok(await desk.ask("POST", f"/v1/production/jobs/{job['id']}/resume"))
    await desk.work()
    assert (await desk.job(broken))["state"] == "done"
