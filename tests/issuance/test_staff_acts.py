"""Who may do what: every act by role and place, and acts that two clerks do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from sqlalchemy import select

from cardlib.identity import card_number
from issuance.cards.models import CardRow
from issuance.clerks.access import clerk_unit
from issuance.clerks.acts import ACTS_OF, ALWAYS_TWO, APPROVERS, FOUR_EYES, Act, ClerkRole, acts_of
from issuance.clerks.models import ClerkRow
from issuance.clerks.runners import RUNNERS
from issuance.rules import RulePack, Rules
from issuance.unit import Unit
from tests.issuance.conftest import Centre, both_engines, ok, refused
from tests.issuance.staff import Browser, Staff

NOBODYS = card_number("A0000002")
TOP, OFFICE, BESIDE, ELSEWHERE = "北京", "朝阳", "海淀", "河北"
CASE = {"reason": "持卡人书面申请"}
YES = {"reason": "材料齐全"}


@pytest.fixture
async def staff(centre: Centre) -> Staff:
    staff = Staff(centre)
    await staff.office(TOP, kind="region")
    await staff.office(OFFICE, "110000", TOP)
    await staff.office(BESIDE, "110000", TOP)
    await staff.office(ELSEWHERE, "130000", kind="region")
    return staff


# -- the matrix -------------------------------------------------------------------------------------------------------


def _probe(act: Act) -> APIRouter:
    """An endpoint of one act, as a page is; it shows what its unit can see."""
    router = APIRouter(include_in_schema=False)

    @router.post(f"/probe/{act.value}")
    async def probe(unit: Unit = Depends(clerk_unit(act), scope="function")) -> dict[str, list[str]]:  # noqa: B008
        cards = await unit.session.scalars(select(CardRow.card_number))
        clerks = await unit.session.scalars(select(ClerkRow.login).where(ClerkRow.roles.is_not(None)))
        return {"cards": sorted(cards), "clerks": sorted(clerks)}

    return router


async def test_every_act_by_role_and_place(staff: Staff) -> None:
    """A citizen's card is seen in its region, colleagues in the own office and below."""
    centre = staff.centre
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    for act in Act:
        centre.app.include_router(_probe(act))
    places = {"own": OFFICE, "beside": BESIDE, "elsewhere": ELSEWHERE}
    clerks: dict[tuple[ClerkRole, str], Browser] = {}
    for role in ClerkRole:
        centre.clock.advance(61)
        for place, office in places.items():
            clerks[role, place] = await staff.clerk(f"{role.value}-{place}", role.value, office=office)
    for (role, place), browser in clerks.items():
        for act in Act:
            answer = await browser.post(f"/probe/{act.value}")
            if act not in ACTS_OF[role]:
                refused(answer, "ACT_FORBIDDEN", 403)
                continue
            seen = ok(answer)
            assert seen["cards"] == ([] if place == "elsewhere" else [number]), (role, act, place)
            assert seen["clerks"] == sorted(f"{other.value}-{place}" for other in ClerkRole), (role, act, place)


def test_every_act_has_a_role_and_every_second_pair_of_eyes_a_runner() -> None:
    assert acts_of(ClerkRole) == frozenset(Act)
    assert FOUR_EYES | ALWAYS_TWO == APPROVERS.keys() == RUNNERS.keys()
    for act in FOUR_EYES | ALWAYS_TWO:
        assert any(act in ACTS_OF[role] for role in ClerkRole), act


def test_refused_act_is_in_the_trail_with_its_clerk(staff: Staff, tried: list[Any]) -> None:
    assert tried == [("console", "li", "GET /v1/staff/approvals", "ACT_FORBIDDEN", "110000")]


@pytest.fixture
async def tried(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    li = await staff.clerk("li", "collector", office=OFFICE)
    monkeypatch.setitem(ACTS_OF, ClerkRole.COLLECTOR, frozenset({Act.OWN_ACCOUNT}))
    refused(await li.get("/v1/staff/approvals"), "ACT_FORBIDDEN", 403)
    return staff.centre.store.sql(
        "SELECT actor, clerk, act, outcome, region FROM audit_entries WHERE outcome = 'ACT_FORBIDDEN'"
    )


# -- four eyes --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def case(staff: Staff) -> tuple[Browser, str, str]:
    """An issuer who asked to cancel a card: browser, card number, approval."""
    await staff.centre.stock()
    number = (await staff.centre.issue(1))["card_number"]
    issuer = await staff.clerk("issuer", "issuer", "collector", office=OFFICE)
    return issuer, number, await _ask(issuer, number)


async def _ask(clerk: Browser, number: str) -> str:
    body = {"act": "card.cancel", "body": {"card_number": number}} | CASE
    asked = ok(await clerk.post("/v1/staff/approvals", body))
    clerk.centre.clock.advance(1)
    assert (asked["state"], asked["subject"], asked["asked_by"]) == ("waiting", f"card:{number}", clerk.login)
    return str(asked["id"])


def _state(staff: Staff) -> str:
    ((state,),) = staff.centre.store.sql("SELECT state FROM cards")
    return str(state)


@both_engines
async def test_an_act_is_done_once_by_a_second_clerk(staff: Staff, case: tuple[Browser, str, str]) -> None:
    issuer, number, approval = case
    path = f"/v1/staff/approvals/{approval}"
    assert _state(staff) == "1"
    chief = await staff.clerk("chief", "supervisor", office=TOP)
    assert ok(await chief.get(path))["body"]["card_number"] == number
    answers = await asyncio.gather(*(chief.post(f"{path}/approve", YES) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert _state(staff) == "9"
    shown = ok(await issuer.get(path))
    assert (shown["state"], shown["decided_by"], shown["decision"]) == ("approved", "chief", YES["reason"])
    acts = "SELECT act, clerk, reason FROM audit_entries WHERE act LIKE 'approval.%' OR act = 'card.cancel' ORDER BY id"
    assert staff.centre.store.sql(acts) == [
        ("approval.ask", "issuer", CASE["reason"]),
        ("card.cancel", "chief", ""),
        ("approval.approve", "chief", YES["reason"]),
    ]


async def test_who_may_not_approve(staff: Staff, case: tuple[Browser, str, str]) -> None:
    issuer, number, approval = case
    path = f"/v1/staff/approvals/{approval}"
    both = await staff.clerk("both", "issuer", "supervisor", office=OFFICE)
    own = await _ask(both, number)
    refused(await both.post(f"/v1/staff/approvals/{own}/approve", YES), "APPROVAL_SELF", 403)
    refused(await both.post(f"/v1/staff/approvals/{own}/refuse", YES), "APPROVAL_SELF", 403)
    refused(await issuer.post(f"{path}/approve", YES), "APPROVAL_SELF", 403)
    colleague = await staff.clerk("colleague", "issuer", office=OFFICE)
    refused(await colleague.post(f"{path}/approve", YES), "ACT_FORBIDDEN", 403)
    refused(await colleague.post(f"{path}/withdraw", YES), "ACT_FORBIDDEN", 403)
    for office in (BESIDE, ELSEWHERE):
        other = await staff.clerk(f"chief-{staff.offices[office]}", "supervisor", office=office)
        for how in ("", "/approve", "/refuse", "/withdraw"):
            ask = other.get if not how else other.post
            answers = [
                await ask(f"/v1/staff/approvals/{one}{how}", **({"body": YES} if how else {}))
                for one in (approval, "0" * 32)
            ]
            assert answers[0].content == answers[1].content
            refused(answers[0], "NOT_FOUND", 404)
        assert ok(await other.get("/v1/staff/approvals"))["items"] == []
    assert _state(staff) == "1"


@pytest.mark.parametrize("how", ["made", "reset"])
async def test_who_gave_the_other_access_does_not_approve(staff: Staff, how: str) -> None:
    """One who knew the temporary password may be behind both log-ins; a reset by another ends that."""
    centre = staff.centre
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    issuer = await staff.clerk("issuer", "issuer", office=OFFICE)
    chief = await staff.clerk("chief", "supervisor", office=OFFICE)
    made, told = ("issuer", "chief") if how == "made" else ("chief", "issuer")
    centre.store.sql(f"UPDATE clerks SET access_by = '{told}' WHERE login = '{made}'")
    approval = await _ask(issuer, number)
    for word in ("approve", "refuse"):
        refused(await chief.post(f"/v1/staff/approvals/{approval}/{word}", YES), "APPROVAL_SELF", 403)
    other = await staff.clerk("other", "supervisor", office=OFFICE)
    ok(await other.post(f"/v1/staff/approvals/{approval}/approve", YES))


async def test_access_is_of_who_told_the_last_password(staff: Staff) -> None:
    new = await staff.made("li", "issuer", office=OFFICE)
    given = "SELECT access_by, created_by FROM clerks WHERE login = 'li'"
    assert staff.centre.store.sql(given) == [("operator", "operator")]
    await staff.clerk("admin", "administrator", office=OFFICE)
    headers = {"X-Clerk": "admin"}
    ok(await staff.centre.as_("operator").post(f"/v1/clerks/{new['clerk']['id']}/reset", headers=headers))
    assert staff.centre.store.sql(given) == [("admin", "operator")]


@both_engines
async def test_refused_withdrawn_and_over(staff: Staff, case: tuple[Browser, str, str]) -> None:
    issuer, number, approval = case
    chief = await staff.clerk("chief", "supervisor", office=OFFICE)
    path = "/v1/staff/approvals"
    assert ok(await chief.post(f"{path}/{approval}/refuse", {"reason": "材料不全"}))["state"] == "refused"
    refused(await chief.post(f"{path}/{approval}/approve", YES), "APPROVAL_STATE", 409)
    second = await _ask(issuer, number)
    assert ok(await issuer.post(f"{path}/{second}/withdraw", YES))["state"] == "withdrawn"
    refused(await chief.post(f"{path}/{second}/approve", YES), "APPROVAL_STATE", 409)
    third = await _ask(issuer, number)
    staff.centre.clock.advance(72 * 3600)
    ok(await chief.log_in())
    refused(await chief.post(f"{path}/{third}/approve", YES), "APPROVAL_STATE", 409)
    assert ok(await chief.get(f"{path}/{third}"))["is_over"]
    assert [item["state"] for item in ok(await chief.get(path))["items"]] == ["waiting", "withdrawn", "refused"]
    assert _state(staff) == "1"


async def test_an_act_no_longer_possible_stays_waiting(staff: Staff, case: tuple[Browser, str, str]) -> None:
    issuer, number, approval = case
    stale = {"act": "card.cancel", "body": {"card_number": number, "version": 99}} | CASE
    wrong = ok(await issuer.post("/v1/staff/approvals", stale))["id"]
    chief = await staff.clerk("chief", "supervisor", office=OFFICE)
    refused(await chief.post(f"/v1/staff/approvals/{wrong}/approve", YES), "CONFLICT", 409)
    assert ok(await chief.get(f"/v1/staff/approvals/{wrong}"))["state"] == "waiting"
    ok(await chief.post(f"/v1/staff/approvals/{approval}/approve", YES))


async def test_what_can_be_asked_for(staff: Staff, case: tuple[Browser, str, str]) -> None:
    issuer, number, _ = case
    path = "/v1/staff/approvals"

    async def ask(act: str, **body: Any) -> Any:
        return await issuer.post(path, {"act": act, "body": body} | CASE)

    refused(await ask("stock.destroy", place_id="x"), "ACT_FORBIDDEN", 403)
    refused(await ask("card.lose", card_number=number), "INPUT_INVALID", 400)
    refused(await ask("card.cancel"), "INPUT_INVALID", 422)
    refused(await ask("card.cancel", card_number=number, extra=1), "INPUT_INVALID", 422)
    refused(await ask("card.cancel", card_number=NOBODYS), "NOT_FOUND", 404)
    there = await staff.clerk("there", "issuer", office=ELSEWHERE)
    foreign, missing = [
        await there.post(path, {"act": "card.cancel", "body": {"card_number": one}} | CASE) for one in (number, NOBODYS)
    ]
    assert foreign.content == missing.content
    refused(foreign, "NOT_FOUND", 404)


async def test_numbers_under_two_rule_packs_are_not_changed_together(
    staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first number's pack, which asks for no second clerk, would speak for the others."""
    await staff.centre.stock(numbers=2)
    first, second = sorted(number for (number,) in staff.centre.store.sql("SELECT number FROM card_numbers"))
    staff.centre.store.sql(f"UPDATE card_numbers SET region = '110105' WHERE number = '{first}'")
    book = staff.centre.app.state.services.rules
    monkeypatch.setitem(book._packs, "110105", book.pack("120000"))
    keeper = await staff.clerk("keeper", "stock_keeper", office=TOP)
    body = {"act": "number.change", "body": {"act": "lock", "numbers": [first, second], "reason": "x"}} | CASE
    refused(await keeper.post("/v1/staff/approvals", body), "CONFLICT", 409)


async def test_every_region_of_a_holder_has_a_say(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named card's region wants no second clerk, another one where the person has a card does."""
    await staff.centre.stock(blanks=2, numbers=2)
    named, other = [(await staff.centre.issue(serial))["card_number"] for serial in (1, 2)]
    for statement in (
        f"UPDATE cards SET region = '130000', state = '9' WHERE card_number = '{named}'",
        "UPDATE cards SET person_id = (SELECT min(person_id) FROM cards)",
    ):
        staff.centre.store.sql(statement)
    strict, asks = RulePack.on, {"130000": (), "110000": ("holder.end",)}

    def mixed(pack: RulePack, day: Any) -> Rules:
        return strict(pack, day).model_copy(update={"four_eyes": asks.get(pack.region, ())})

    monkeypatch.setattr(RulePack, "on", mixed)
    there = await staff.clerk("there", "reviewer", office=ELSEWHERE)
    body = {"act": "holder.end", "body": {"card_number": named, "cause": "death"}} | CASE
    assert ok(await there.post("/v1/staff/approvals", body))["state"] == "waiting"
    assert staff.centre.store.sql("SELECT count(*) FROM person_ends") == [(0,)]
    asks["110000"] = ()
    assert "card" in ok(await there.post("/v1/staff/approvals", body))
    assert staff.centre.store.sql("SELECT count(*) FROM person_ends") == [(1,)]
    assert staff.centre.store.sql(f"SELECT state FROM cards WHERE card_number = '{other}'") == [("1",)]


async def test_rules_without_four_eyes_do_it_at_once(
    staff: Staff, case: tuple[Browser, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, number, _ = case
    strict = RulePack.on

    def lenient(pack: RulePack, day: Any) -> Rules:
        return strict(pack, day).model_copy(update={"four_eyes": ()})

    monkeypatch.setattr(RulePack, "on", lenient)
    done = ok(await issuer.post("/v1/staff/approvals", {"act": "card.cancel", "body": {"card_number": number}} | CASE))
    assert done["card"]["state"] == "9"
    assert _state(staff) == "9"


async def test_body_rests_sealed(staff: Staff, case: tuple[Browser, str, str]) -> None:
    ((body,),) = staff.centre.store.sql("SELECT sealed_body FROM clerk_approvals")
    assert case[1].encode() not in bytes(body)
