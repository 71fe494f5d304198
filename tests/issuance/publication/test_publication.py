"""What terminals get of the centre's cards, and what holds when something breaks."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import create_engine, text

from apps_catalog.block_list import Kind, purse_number, transit_account_number
from apps_catalog.distribution import shelf
from hsm.sealed_store import write_atomically
from issuance.cards.machine import CardState
from issuance.ecards.usability import judge
from issuance.publication import edition, parts
from issuance.publication.blocked import BLOCKED_STATES, reading
from issuance.publication.parts import Part
from issuance.publication.tasks import publish_due
from issuance.rules import load_rules
from issuance.supervision.alerts import evaluate_alerts
from issuance.tasks import running
from issuance.transit_codes.service import card_account
from tests.issuance.conftest import Store, both_engines, ok
from tests.issuance.publication.conftest import Press

ECARD_STATES = ("active", "suspended", "authorised", "locked", "cancelled")
TODAY = date(2026, 11, 22)
ISSUER = "09990100FFFFFFFF"
CARD = (
    "INSERT INTO cards (card_number, application_id, person_id, reset_information, identification_code, region,"
    " generation, key_version, state, issue_date, expiry_date, version, state_since, state_by, created_at,"
    " updated_at) VALUES (:n, :n, :n, :n, :chip, :region, '3.0', 1, :card, '2026-01-01', '2036-01-01', 1,"
    " '2026-01-01', 'x', '2026-01-01', '2026-01-01')"
)
ECARD = (
    "INSERT INTO ecards (ecard_no, card_number, person_id, level, state, password_epoch, wrong_at, created_at,"
    " updated_at) VALUES (:ecard_no, :n, :n, 1, :ecard, 0, '[]', '2026-01-01', '2026-01-01')"
)
PURSE = (
    "INSERT INTO card_purses (identification_code, card_number, region, issuer, serial, told_at, told_by)"
    " VALUES (:chip, :n, :region, :issuer, :serial, '2026-01-01', 'x')"
)
LINK = (
    "INSERT INTO ecard_links (sign_no, sign_seq, ecard_no, client_id, public_key, state, signed_at)"
    " VALUES (:chip, :n, :ecard_no, 'x', '', 'unlinked', '2026-01-01')"
)


@both_engines
async def test_a_lost_card_is_blocked_and_a_found_one_leaves(press: Press) -> None:
    card = await press.card()
    number, chip, ecard = card["card_number"], card["identification_code"], card["ecard_no"]
    purse = {"identification_code": chip, "issuer": ISSUER, "serial": "0999010000000000" + "1234"}
    ok(await press.centre.as_("terminal").put(f"/v1/cards/{number}/purse", json=purse))
    purse_no = purse_number(bytes.fromhex(ISSUER), purse["serial"][1:])
    assert (await press.good()).edition == edition.Edition(int(press.centre.clock().timestamp()), 0, is_full=True)
    assert (press.look(Kind.CARD, chip), press.look(Kind.ECARD, ecard)) == ("clear", "clear")
    await press.act(number, "loss", kind="temporary", reason="holder")
    assert (made := (await press.good()).edition)
    assert (made.entries, made.is_full) == (3, False)
    assert (press.look(Kind.CARD, chip), press.look(Kind.ECARD, ecard)) == ("blocked", "blocked")
    assert press.look(Kind.PURSE, purse_no) == "blocked"
    await press.act(number, "release", reason="holder")
    await press.good()
    assert (press.look(Kind.CARD, chip), press.look(Kind.ECARD, ecard)) == ("clear", "clear")
    assert press.look(Kind.PURSE, purse_no) == "clear"
    old_chip = "110000D156000005000000B2FFFFFFFF"
    press.centre.store.sql(
        "INSERT INTO retired_chips SELECT reset_information, card_number, :chip, application_id, created_at FROM cards",
        chip=old_chip,
    )
    await press.good(is_full=True)
    with press.list() as blocked:
        assert (len(blocked), blocked.head.edition) == (1, blocked.edition)
    assert press.look(Kind.CARD, old_chip) == "blocked"


def test_the_query_blocks_what_the_centre_refuses(store: Store) -> None:
    """Every state of card and electronic card, in two regions."""
    rules = load_rules()
    expected: set[tuple[Kind, str]] = set()
    rows = []
    pairs = itertools.product(CardState, ECARD_STATES, ("110000", "130000"))
    for n, (card, ecard, region) in enumerate(pairs):
        row = {"n": f"{n:04}", "card": card.value, "ecard": ecard, "region": region}
        row |= {"issuer": ISSUER, "serial": f"{n:020}"}
        rows.append(row | {"chip": f"{n:032X}", "ecard_no": f"{n:032x}"})
        if card in BLOCKED_STATES:
            expected |= {(Kind.CARD, f"{n:032X}"), (Kind.PURSE, purse_number(bytes.fromhex(ISSUER), f"{n:019}"))}
        if judge(ecard, card, lambda region=region: rules.pack(region).on(TODAY)):
            expected.add((Kind.ECARD, f"{n:032x}"))
            expected.add((Kind.TRANSIT_ACCOUNT, transit_account_number("99010001", card_account(f"{n:032x}"))))
    engine = create_engine(store.url.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        for statement in (CARD, ECARD, PURSE, LINK):
            connection.execute(text(statement), rows)
    engine.dispose()
    with reading(store.url, rules, TODAY, "99010001") as cards:
        assert set(cards) == expected
        assert (cards.are_more_than(3), cards.are_more_than(1000)) == (True, False)


@both_engines
async def test_one_replica_publishes_and_editions_rise(press: Press) -> None:
    one, other = press.services, press.replica()
    assert sorted(await asyncio.gather(publish_due(one), publish_due(other))) == [0, 3]
    assert await press.due() == 0
    editions = [press.edition()]
    for seconds in (300, 300, -3600):  # the last: somebody sets the clock back, and asks
        press.centre.clock.advance(seconds)
        assert await press.due() == (3 if seconds > 0 else 0)
        editions.append(press.edition())
    press.replica()
    await press.good()
    editions.append(press.edition())
    assert editions[:4] == [editions[0], editions[0] + 300, editions[0] + 600, editions[0] + 600]
    assert editions[4] == editions[3] + 1
    press.centre.clock.advance(24 * 3600 + 3600)
    assert (full := (await press.good()).edition)
    assert full.is_full


async def test_a_part_that_fails_stops_no_other(press: Press, tmp_path: Path) -> None:
    anchors = tmp_path / "roots.json"
    anchors.write_text("{}")
    press.with_settings(transit_anchors_path=anchors)
    card = await press.card()
    await press.act(card["card_number"], "loss", kind="formal", reason="holder")
    done = await press.publish()
    assert done.outcomes == {
        Part.BLOCK_LIST: "",
        Part.TRUST_ANCHORS: "TRANSIT_ANCHORS_INVALID",
        Part.CATALOG: "",
        Part.REPOSITORY: "",
    }
    assert press.look(Kind.CARD, card["identification_code"]) == "blocked"
    assert press.fetched().catalog().items
    told = ok(await press.centre.as_("operator").get("/v1/publications"))
    assert [(part["part"], part["failure"]) for part in told["parts"]][1] == (
        "trust-anchors",
        "TRANSIT_ANCHORS_INVALID",
    )
    assert b'outcome="TRANSIT_ANCHORS_INVALID",part="trust-anchors"' in press.services.metrics.render()
    press.centre.clock.advance(3601)
    await press.publish()
    assert await _alerts(press) == ["publication_late"]
    press.with_settings(transit_anchors_path=None)
    await press.good()
    press.centre.clock.advance(61)
    assert await _alerts(press) == []


async def _alerts(press: Press) -> list[str]:
    """Open ones about the publication, after a round."""
    await evaluate_alerts(press.services)
    found = ok(await press.centre.as_("operator").get("/v1/alerts", params={"open": "true"}))["items"]
    return [alert["rule"] for alert in found if alert["subject"] == "service:all"]


async def test_without_a_repository_or_its_keys_it_is_said(press: Press) -> None:
    shutil.rmtree(press.folder / "metadata")
    assert (await press.publish()).outcomes == {Part.REPOSITORY: "NOT_FOUND"}
    press.with_settings(publication_path=None)
    assert await press.due() == 0


async def test_broken_off_anywhere_the_repository_is_whole(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file is the last one written, terminals have the state before or after; the next round goes on."""
    card = await press.card()
    await press.good()
    chip, is_lost = card["identification_code"], False
    for last in itertools.count():
        written = itertools.count()

        def write(path: Path, content: bytes, last: int = last, written: itertools.count[int] = written) -> None:
            if next(written) >= last:
                raise KeyboardInterrupt
            write_atomically(path, content)

        before = press.look(Kind.CARD, chip)
        is_lost = not is_lost
        await press.act(card["card_number"], *(("loss",) if is_lost else ("release",)), **_order(is_lost=is_lost))
        press.centre.clock.advance(1)
        with monkeypatch.context() as patched:
            patched.setattr(shelf, "write_atomically", write)
            try:
                await press.publish(is_full=last % 2 == 0)
                broken = False
            except KeyboardInterrupt:
                broken = True
        now = press.look(Kind.CARD, chip)
        after = "blocked" if is_lost else "clear"
        assert now in (before, after)
        if not broken:
            assert now == after
            break
        (press.folder / ".work").mkdir(exist_ok=True)
        (press.folder / ".work" / "list.bl").write_bytes(b"left over")
        await press.good()
        assert press.look(Kind.CARD, chip) == after
    assert last >= 5


def _order(*, is_lost: bool) -> dict[str, str]:
    return {"reason": "holder"} | ({"kind": "temporary"} if is_lost else {})


async def test_a_repository_put_back_is_not_published_over(press: Press, tmp_path: Path) -> None:
    await press.good()
    shutil.copytree(press.folder, tmp_path / "backup")
    press.centre.clock.advance(600)
    await press.good()
    shutil.rmtree(press.folder)
    shutil.copytree(tmp_path / "backup", press.folder)
    press.centre.clock.advance(-600)
    assert (await press.publish()).outcomes[Part.BLOCK_LIST] == "BLOCK_LIST_OLDER"


async def test_damage_of_what_was_published_leads_to_a_full_edition(press: Press) -> None:
    await press.good()
    (place,) = (press.folder / "targets/blocklist").glob("*.list.bl")
    place.write_bytes(place.read_bytes()[:-1] + b"\x01")
    press.centre.clock.advance(300)
    assert (made := (await press.good()).edition)
    assert made.is_full
    with press.list() as blocked:
        assert len(blocked) == 0


async def test_what_was_replaced_goes_after_two_hours(press: Press) -> None:
    def names() -> set[str]:
        return {file.name for file in press.folder.rglob("*.*") if "blocklist" in str(file) or "snapshot" in file.name}

    await press.good()
    first = names()
    for file in press.folder.rglob("*.*"):
        os.utime(file, (0, 0))
    press.centre.clock.advance(300)
    await press.good(is_full=True)
    second = names()
    assert not any(name in second for name in first)
    assert press.fetched().catalog().items
    press.centre.clock.advance(300)
    await press.good()
    assert second <= names()


async def test_a_large_list_is_built_in_a_process_of_its_own(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    card = await press.card()
    await press.act(card["card_number"], "loss", kind="formal", reason="holder")
    monkeypatch.setattr(edition, "LARGE", 0)
    assert (made := (await press.good()).edition)
    assert made.entries == 2
    assert press.look(Kind.CARD, card["identification_code"]) == "blocked"


async def test_a_service_that_stops_waits_for_no_build(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    building = threading.Event()

    def build_for_ever(_order: edition.Order, is_stopped: Callable[[], bool]) -> NoReturn:
        building.set()
        while not is_stopped():
            continue
        raise edition.BuildError("INTERNAL", "stopped")

    monkeypatch.setattr(parts, "make_edition", build_for_ever)
    async with running(press.services):
        assert await asyncio.to_thread(building.wait, 30)


async def test_who_may_fetch_what(press: Press) -> None:
    await press.good()
    (listed,) = (press.folder / "targets/blocklist").glob("*.list.bl")
    (manifest,) = (press.folder / "targets/catalog/joint").glob("*.manifest.json")
    anyone, terminal = press.centre.anyone(), press.centre.as_("terminal")
    stamp = await anyone.get("/v1/distribution/metadata/timestamp.json")
    assert (stamp.status_code, stamp.headers["cache-control"]) == (200, "no-cache")
    root = await anyone.get("/v1/distribution/metadata/1.root.json")
    assert "immutable" in root.headers["cache-control"]
    assert (await anyone.get("/v1/distribution/metadata/2.root.json")).status_code == 404
    open_file = await anyone.get(f"/v1/distribution/targets/catalog/joint/{manifest.name}")
    assert open_file.content == manifest.read_bytes()
    path = f"/v1/distribution/targets/blocklist/{listed.name}"
    assert (await anyone.get(path)).status_code == 401
    assert (await press.centre.as_("wallet").get(path)).status_code == 403
    found = await terminal.get(path, headers={"Range": "bytes=96-"})
    assert (found.status_code, found.content) == (206, listed.read_bytes()[96:])
    assert "private" in found.headers["cache-control"]
    for odd in (f"blocklist//{listed.name}", f"catalog/../blocklist/{listed.name}", "../.work.lock", "catalog/.hidden"):
        answer = await anyone.get(f"/v1/distribution/targets/{odd.replace('..', '%2e%2e')}")
        assert answer.status_code in (401, 404, 422), odd


async def test_nothing_to_fetch_where_nothing_is_published(press: Press) -> None:
    press.with_settings(publication_path=None)
    assert (await press.centre.anyone().get("/v1/distribution/metadata/timestamp.json")).status_code == 404
    assert ok(await press.centre.as_("operator").get("/v1/publications")) == {
        "is_on": False,
        "next_at": None,
        "valid_until": None,
        "parts": [],
    }
