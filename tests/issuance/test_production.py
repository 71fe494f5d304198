"""Batches: from a roster to a card in the holder's hand, and every line accounted for on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from cardlib.spec import Generation
from hsm.api import KeyService
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from issuance.production import jobs
from onecard_cli.home import import_roots
from simulators.ministry import RootKeys
from simulators.production import Faults, bank, card_factory, certification_authority, initialization_centre
from tests.issuance.conftest import REGION, Centre, both_engines, ok, refused
from tests.issuance.production import BatchDesk, name_of, roster


@pytest.fixture(scope="module")
def roots() -> RootKeys:
    return RootKeys.generate()


@pytest.fixture(scope="module")
def keys(roots: RootKeys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    """With the roots that the simulated cards are of."""
    path = tmp_path_factory.mktemp("production") / "keys"
    with SoftKeyService.create(path, "correct horse", cost=ScryptCost(n=1 << 4)) as service:
        import_roots(service, roots)
        yield service


@pytest.fixture
async def desk(centre: Centre) -> BatchDesk:
    await centre.stock(blanks=0, numbers=400)
    return BatchDesk(centre)


@both_engines
async def test_from_roster_to_holder(desk: BatchDesk, roots: RootKeys) -> None:
    centre = desk.centre
    await desk.create(has_certificates=True)
    file = await desk.take("roster", roster(6))
    assert await desk.rejects(file["id"]) == []
    assert (file["state"], file["accepted"], file["refused"]) == ("done", 6, 0)
    partners = {
        "bank": bank(),
        "ca": certification_authority(),
        "factory": card_factory(REGION, 0xA001),
        "keys": initialization_centre(REGION, Generation.V3, roots),
    }
    codes = []
    for stage, partner in partners.items():
        data, _ = await desk.answered(stage, partner)
        file = await desk.take(stage, data)
        view = await desk.view()
        codes.append(view["state_code"])
        assert desk.counts(view, stage) | {"stage": ""} == {
            "stage": "", "sent": 6, "ok": 6, "failed": 0, "bad": 0, "missing": 0, "unsent": 0
        }  # fmt: skip
    assert codes == ["21", "21", "31", "41"]
    assert view["by_state"] == {"finished": 6}

    place = {"id": "outlet-1", "kind": "outlet", "name": "一所", "region": REGION, "parent_id": f"depot-{REGION}"}
    ok(await desk.ask("POST", "/v1/stock/places", json=place), 201)
    order = {"version": view["version"], "place_id": "outlet-1"}
    handed = ok(await desk.ask("POST", f"/v1/production/batches/{desk.id}/hand-out", json=order))
    assert handed["cards"] == 6
    number = ok(await desk.ask("GET", f"/v1/production/batches/{desk.id}/lines"))["items"][0]["card_number"]
    path = f"/v1/production/cards/{number}/collect"
    refused(await desk.ask("POST", path, json={"place_id": "outlet-1"}), "CARD_STATE", 409)
    receipt = {"version": 1}
    ok(await desk.ask("POST", f"/v1/stock/transfers/{handed['transfer_id']}/receipt", json=receipt))
    card = ok(await desk.ask("GET", f"/v1/production/batches/{desk.id}/lines"))["items"][5]["reset_information"]
    back = {"from_place": "outlet-1", "to_place": f"depot-{REGION}", "kind": "finished", "cards": [card]}
    assert ok(await desk.ask("POST", "/v1/stock/transfers", json=back), 201)["quantity"] == 1
    await centre.register("tianjin", ("terminal",), "120000")
    abroad = await BatchDesk(centre, "tianjin").ask("POST", path, json={"place_id": "outlet-1"})
    refused(abroad, "NOT_FOUND", 404)
    collected = ok(await desk.ask("POST", path, json={"place_id": "outlet-1"}))
    assert collected["card_number"] == number
    card = ok(await centre.as_("operator").get(f"/v1/cards/{number}"))
    assert (card["state"], card["holder"]["name"]) == ("1", "测*零")
    assert centre.store.sql("SELECT state, count(*) FROM applications GROUP BY state ORDER BY state") == [
        ("enabled", 1),
        ("reserved", 5),
    ]
    balance = ok(await desk.ask("GET", "/v1/stock/balance"))
    assert balance["is_zero"]
    assert [(line["place_id"], line["closing"]) for line in balance["lines"]] == [
        (f"depot-{REGION}", 0),
        ("outlet-1", 4),
    ]


@both_engines
async def test_exactly_the_bad_lines_come_back(desk: BatchDesk) -> None:
    await desk.create()
    await desk.take("roster", roster(300))
    data, answer = await desk.answered("bank", bank(), Faults(bad=0.05, failed=0.03, missing=0.02, seed=7))
    assert answer.bad
    file = await desk.take("bank", data)
    rejects = await desk.rejects(file["id"])
    assert {reject["line_number"] for reject in rejects} == set(answer.bad)
    assert all(reject[name] for reject in rejects for name in ("reason", "text_zh", "remedy_zh", "text_en"))
    assert file["accepted"] + file["refused"] == file["lines"] == answer.written
    assert file["refused"] == len(answer.bad)
    counts = desk.counts(await desk.view(), "bank")
    assert (counts["sent"], counts["failed"]) == (300, answer.failed)
    assert counts["ok"] == answer.written - answer.failed - len(answer.bad)
    assert counts["bad"] + counts["missing"] == answer.missing + len(answer.bad)


@both_engines
async def test_the_same_file_again_changes_nothing(desk: BatchDesk) -> None:
    await desk.create()
    await desk.take("roster", roster(20))
    data, _ = await desk.answered("bank", bank(), Faults(bad=0.2, seed=3))
    await desk.take("bank", data)
    before = await desk.view()
    again = ok(await desk.upload("bank", data), 202)
    assert again["job"] is None
    assert again["file"]["state"] == "repeated"
    assert "nothing changed" in again["file"]["problem"]
    after = await desk.view()
    assert after == before


@both_engines
async def test_corrected_lines_are_taken_and_changed_ones_refuse_the_file(desk: BatchDesk) -> None:
    await desk.create()
    await desk.take("roster", roster(40))
    data, answer = await desk.answered("bank", bank(), Faults(bad=0.2, failed=0.1, seed=5))
    spoiled = await desk.take("bank", data)
    good = bank().answer
    assert spoiled["refused"] == len(answer.bad) > 0

    lines = data.decode("gb18030", errors="replace").split("\r\n")
    accepted = next(
        number for number, line in enumerate(lines[1:-1], start=2)
        if number not in answer.bad and line.split("|")[4] == "0"
    )  # fmt: skip
    fields = lines[accepted - 1].split("|")
    fields[7] = "99999999"
    changed = "\r\n".join([lines[0], "|".join(fields), ""]).encode("gb18030")
    before = await desk.view()
    file = await desk.take("bank", changed)
    assert (file["state"], file["accepted"]) == ("refused", 0)
    assert "first line 2" in file["problem"]
    assert (await desk.job(file["id"]))["failure"] == "RETURN_CHANGED"
    view = await desk.view()
    assert view["by_state"] == before["by_state"]

    corrected = io.BytesIO()
    source = io.BytesIO(b"".join(await _outgoing(desk)))
    good(source, corrected, Faults(seed=11))
    kept = {int(line.split("|")[0]): line for line in lines[1:-1] if line.count("|") == 8}
    fresh = corrected.getvalue().decode("gb18030").split("\r\n")
    bad = {number - 1 for number in answer.bad}
    whole = [
        fresh[place] if place in bad or kept[place].split("|")[4] != "0" else kept[place]
        for place in range(1, 41)
    ]  # fmt: skip
    file = await desk.take("bank", "\r\n".join([fresh[0], *whole, ""]).encode("gb18030"))
    assert (file["state"], file["refused"]) == ("done", 0)
    assert file["accepted"] == len(answer.bad) + answer.failed
    counts = desk.counts(await desk.view(), "bank")
    assert (counts["ok"], counts["missing"]) == (40, 0)


async def _outgoing(desk: BatchDesk) -> list[bytes]:
    files = ok(await desk.ask("GET", f"/v1/production/batches/{desk.id}/files"))
    file = next(file for file in files if file["direction"] == "out")
    return [
        (await desk.ask("GET", f"/v1/production/files/{file['id']}/parts/{number}")).content
        for number in range(file["parts"])
    ]


async def test_roster_lines_are_refused_one_by_one(desk: BatchDesk) -> None:
    def change(lines: list[list[str]]) -> None:
        lines[1][1] = lines[1][1][:-1] + ("0" if lines[1][1][-1] != "0" else "1")
        lines[2][2] = ""
        lines[3][6] = "19900231"
        lines[4][1] = lines[0][1]
        lines[5][3] = "2"
        lines[6].append("more")
        lines[7][2] = "测|试"

    await desk.create()
    file = await desk.take("roster", roster(10, change))
    found = {reject["line_number"]: (reject["column"], reject["reason"]) for reject in await desk.rejects(file["id"])}
    assert found[3] == ("社会保障号码", "file_check_digit")
    assert found[4] == ("姓名", "file_required")
    assert found[5][0] == "出生日期"
    assert found[8] == ("", "file_columns")
    assert set(found) == {3, 4, 5, 6, 7, 8, 9}
    assert file["accepted"] == 3
    assert desk.centre.store.sql("SELECT count(*) FROM production_lines") == [(3,)]
    other = BatchDesk(desk.centre)
    await other.create()
    file = await other.take("roster", roster(1))
    assert [reject["reason"] for reject in await other.rejects(file["id"])] == ["file_open_application"]


@both_engines
async def test_work_goes_on_where_it_was_broken_off(desk: BatchDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers run out in mid-roster; a killed process is no different: the cursor is where the last chunk ended."""
    for module in ("work", "sending"):
        monkeypatch.setattr(f"issuance.production.{module}.CHUNK", 100)
    await desk.create()
    file = await desk.take("roster", roster(450))
    job = await desk.job(file["id"])
    assert (job["state"], job["failure"], job["done"]) == ("stuck", "NUMBER_POOL_EMPTY", 399)
    assert file["accepted"] == 399
    refused(await desk.send("bank"), "BATCH_STATE", 409)
    body = {"region": REGION, "body_from": "A0001000", "count": 100}
    ok(await desk.ask("POST", "/v1/card-numbers", json=body), 201)
    desk.centre.restart()
    ok(await desk.ask("POST", f"/v1/production/jobs/{job['id']}/resume"))
    await desk.work()
    job = await desk.job(file["id"])
    assert (job["state"], job["done"], job["total"]) == ("done", 450, 450)
    assert (await desk.view())["lines"] == 450
    lines = (await desk.sent("bank")).decode("gb18030").split("\r\n")
    assert [line.split("|")[0] for line in lines[1:-1]] == [str(number) for number in range(1, 451)]


@both_engines
async def test_wrong_keys_are_found_and_their_applications_go_on(desk: BatchDesk, roots: RootKeys) -> None:
    centre = desk.centre
    await desk.create()
    await desk.take("roster", roster(12))
    await desk.take("bank", (await desk.answered("bank", bank(), Faults(failed=0.3, seed=2)))[0])
    await desk.take("factory", (await desk.answered("factory", card_factory(REGION), Faults(missing=0.2, seed=4)))[0])
    centre_of_keys = initialization_centre(REGION, Generation.V3, roots)
    data, answer = await desk.answered("keys", centre_of_keys, Faults(failed=0.3, seed=1))
    await desk.take("keys", data)
    view = await desk.view()
    assert 0 < view["by_state"]["key_wrong"] == answer.failed
    released = ok(
        await desk.ask("POST", f"/v1/production/batches/{desk.id}/release", json={"version": view["version"]})
    )
    finished = view["by_state"]["finished"]
    assert released == {"released": 12 - finished, "remaining": 0}
    numbers = dict(centre.store.sql("SELECT state, count(*) FROM card_numbers GROUP BY state"))
    accounts = view["by_state"].get("no_account", 0) + view["by_state"].get("account_mismatch", 0)
    assert numbers == {"reserved": finished, "void": 12 - finished - accounts, "free": 400 - 12 + accounts}
    assert dict(centre.store.sql("SELECT state, count(*) FROM applications GROUP BY state")) == {
        "reserved": finished,
        "checked": 12 - finished,
    }
    balance = ok(await desk.ask("GET", "/v1/stock/balance"))
    assert balance["is_zero"]
    assert {line["kind"]: line["closing"] for line in balance["lines"]} == {
        "finished": finished,
        "spoiled": answer.failed,
    }


async def test_waiting_applications_make_a_batch(desk: BatchDesk) -> None:
    centre = desk.centre
    ids = [ok(await centre.apply(serial), 201)["id"] for serial in (1, 2)]
    made = await desk.create()
    path = f"/v1/production/batches/{desk.id}/applications"
    view = ok(await desk.ask("POST", path, json={"version": made["version"], "applications": ids}))
    assert view["lines"] == 2
    refused(await desk.ask("POST", path, json={"version": made["version"], "applications": ids}), "CONFLICT", 409)
    again = {"version": view["version"], "applications": ids}
    refused(await desk.ask("POST", path, json=again), "APPLICATION_STATE", 409)
    await centre.stock(blanks=1, numbers=0)
    refused(await centre.start(ids[0], "3B6D0000" + "00FE00000086FE990100000001"), "APPLICATION_STATE", 409)


async def test_files_rest_sealed_and_are_given_out_on_record(desk: BatchDesk) -> None:
    await desk.create()
    await desk.take("roster", roster(3))
    data = await desk.sent("bank")
    name, number = name_of(1), roster(2).decode("gb18030").split(",")[-11]
    assert name.encode("gb18030") in data
    stored = desk.centre.store.stored()
    assert number.encode() not in stored
    for text in (name.encode(), name.encode("gb18030")):
        assert text not in stored
    assert desk.centre.store.sql("SELECT count(*) FROM audit_entries WHERE act = 'production.fetch'") == [(1,)]


async def test_odd_files(desk: BatchDesk) -> None:
    await desk.create()
    refused(await desk.upload("roster", "序号,姓名\r\n".encode("gb18030")), "INPUT_INVALID", 400)
    refused(await desk.upload("roster", roster(1).decode("gb18030").encode()), "INPUT_INVALID", 400)
    path = f"/v1/production/batches/{desk.id}/files/bank"
    refused(await desk.ask("POST", path, json={"name": "early.txt"}), "BATCH_STATE", 409)
    file = ok(await desk.ask("POST", path.replace("bank", "roster"), json={"name": "x.txt"}), 201)
    parts = f"/v1/production/files/{file['id']}/parts"
    complete = f"/v1/production/files/{file['id']}/complete"
    refused(await desk.ask("POST", complete), "INPUT_INVALID", 400)
    ok(await desk.ask("PUT", f"{parts}/0", content=b"abc"))
    assert ok(await desk.ask("PUT", f"{parts}/0", content=b"abc"))["is_new"] is False
    refused(await desk.ask("PUT", f"{parts}/0", content=b"abd"), "CONFLICT", 409)
    ok(await desk.ask("PUT", f"{parts}/1", content=b"d"))
    refused(await desk.ask("POST", complete), "INPUT_INVALID", 400)


async def test_another_region_sees_nothing(desk: BatchDesk) -> None:
    await desk.create()
    await desk.centre.register("tianjin", ("operator",), "120000")
    other = BatchDesk(desk.centre, "tianjin")
    other.id = desk.id
    refused(await other.ask("GET", f"/v1/production/batches/{desk.id}"), "NOT_FOUND", 404)
    assert ok(await other.ask("GET", "/v1/production/batches"))["items"] == []
    refused(await other.ask("POST", "/v1/production/batches", json={"region": REGION}), "CLIENT_FORBIDDEN", 403)


@both_engines
async def test_a_process_that_dies_in_a_chunk_loses_nothing(desk: BatchDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("issuance.production.work.CHUNK", 50)
    await desk.create()
    file_id = ok(await desk.upload("roster", roster(180)), 202)["file"]["id"]
    advance, calls = jobs._advance, iter(range(10))

    def dies(*arguments: Any) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt("killed before the commit")
        advance(*arguments)

    monkeypatch.setattr(jobs, "_advance", dies)
    with pytest.raises(KeyboardInterrupt):
        await desk.work()
    assert (await desk.job(file_id))["done"] == 49
    desk.centre.restart()
    await desk.work()
    file = await desk.file(file_id)
    assert (file["state"], file["accepted"], file["refused"]) == ("done", 180, 0)
    assert desk.centre.store.sql("SELECT count(*) FROM card_numbers WHERE state = 'reserved'") == [(180,)]
