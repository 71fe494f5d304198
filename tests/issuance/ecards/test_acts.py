"""Channels, level, loss and what comes of it: the policy table against the life of a card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from issuance.cards.machine import CardState
from issuance.ecards.usability import policies
from tests.issuance.conftest import Centre, atr, both_engines, ok, refused, reset
from tests.issuance.ecards.conftest import Owned
from tests.issuance.phone import Phone, signed_phone

PAGE = Path(__file__).parents[3] / "docs" / "ecard.md"


async def _shown(phone: Phone) -> tuple[bool, str, str, str]:
    card = ok(await phone.get())
    return card["usable"], card["reason"], card["state"], card["card_state"]


def test_the_table_of_the_page_is_the_policy() -> None:
    rows = re.findall(r"^\| `([0-9])` [^|]*\| `(yes|never|authorised)` \| `(\w+)` \|", PAGE.read_text("utf-8"), re.M)
    assert {state: (use, reason) for state, use, reason in rows} == {
        state.value: (policy.use, policy.reason) for state, policy in policies().items()
    }
    assert set(policies()) == set(CardState)


# -- channels ---------------------------------------------------------------------------------------------------------


async def test_unlinking_one_channel_leaves_the_others(owned: Owned) -> None:
    centre, phone = owned.stand.centre, owned.phone
    await centre.register("other", ("wallet",))
    other = Phone(centre, "other")
    await other.sign_up(1, owned.number)
    seq = await phone.busi_seq("loss")
    left = ok(await other.act(f"links/{phone.sign_no}/unlink", "unlink"))
    assert [link["sign_no"] for link in left["links"]] == [other.sign_no]
    for answer in (await phone.get(), await phone.post("loss", {"busi_seq": seq, "kind": "formal"})):
        refused(answer, "ECARD_UNLINKED", 403)
    refused(await other.act(f"links/{phone.sign_no}/unlink", "unlink"), "NOT_FOUND", 404)
    trail = ok(await centre.as_("operator").get("/v1/audit", params={"subject": f"ecard:{phone.ecard_no}"}))
    assert [entry["outcome"] for entry in trail].count("ECARD_UNLINKED") == 2
    assert [entry["detail"] for entry in trail if entry["act"] == "ecard.unlink"] == [
        {"sign_no": other.sign_no, "ended": phone.sign_no}
    ]
    new = Phone(centre)
    await new.sign_up(1, owned.number)
    ok(await other.get())


async def test_a_phone_unlinks_itself(owned: Owned) -> None:
    assert ok(await owned.phone.act(f"links/{owned.phone.sign_no}/unlink", "unlink"))["links"] == []
    refused(await owned.phone.get(), "ECARD_UNLINKED", 403)


async def test_no_one_unlinks_another_persons_phone(owned: Owned) -> None:
    centre = owned.stand.centre
    await centre.stock(2, 2)
    stranger = await signed_phone(centre, 2)
    for sign_no in (owned.phone.sign_no, "0" * 32):
        body = refused(await stranger.act(f"links/{sign_no}/unlink", "unlink"), "NOT_FOUND", 404)
        assert body["detail"] == "no such link"
    ok(await owned.phone.get())


# -- level ------------------------------------------------------------------------------------------------------------


async def test_level_2_lives_with_the_account(owned: Owned) -> None:
    phone, stand = owned.phone, owned.stand
    refused(await phone.act("level", "level"), "ECARD_LEVEL", 403)
    await owned.open_account()
    assert ok(await phone.act("level", "level"))["level"] == 2
    for event, level in (("freeze", 1), ("unfreeze", 2), ("close", 1)):
        stand.bank.desk(owned.number, event)
        ok(await stand.notice(owned.number, event))
        assert ok(await phone.get())["level"] == level, event
    assert stand.centre.store.sql("SELECT level FROM ecards") == [(1,)]
    refused(await phone.act("level", "level"), "ECARD_LEVEL", 403)


# -- loss by the holder -----------------------------------------------------------------------------------------------


async def test_the_holder_loses_and_finds(owned: Owned) -> None:
    phone = owned.phone
    body = {"kind": "temporary", "busi_seq": "x" * 32}
    refused(await phone.post("loss", body), "BUSI_SEQ_INVALID", 403)
    lost = ok(await phone.act("loss", "loss", kind="temporary"))
    assert (lost["card_state"], lost["temporary_until"]) == ("4", "2026-01-12T01:00:00Z")
    assert ok(await phone.act("loss/release", "loss"))["card_state"] == "1"
    assert await _shown(phone) == (True, "", "active", "1")
    operator = owned.stand.centre.as_("operator")
    events = ok(await operator.get(f"/v1/cards/{owned.number}/history"))["items"]
    social = [(event["act"], event["by"], event["reason"]) for event in events if event["side"] == "social"]
    assert social[:2] == [("release", "wallet", "holder"), ("lose_temporarily", "wallet", "holder")]


async def test_a_formal_loss_is_lifted_at_a_counter_only(owned: Owned) -> None:
    assert ok(await owned.phone.act("loss", "loss", kind="formal"))["card_state"] == "2"
    refused(await owned.phone.act("loss/release", "loss"), "CLIENT_FORBIDDEN", 403)
    refused(await owned.phone.act("loss", "loss", kind="temporary"), "CARD_STATE", 409)


async def _issued_in(centre: Centre, region: str, letter: str) -> str:
    operator = centre.as_("operator")
    ok(
        await operator.post("/v1/card-numbers", json={"region": region, "body_from": f"{letter}0000001", "count": 1}),
        201,
    )
    delivery = {"delivery": "d", "region": region, "reset_information": [reset(1)]}
    ok(await operator.post("/v1/blanks", json=delivery), 201)
    application = ok(await centre.apply(1, region=region), 201)["id"]
    outcome = await centre.run(ok(await centre.start(application, atr(1)), 201))
    return str(outcome["result"]["card_number"])


@pytest.mark.parametrize(("region", "letter"), [("120000", "E"), ("130000", "G")])
async def test_rules_of_the_region(centre: Centre, region: str, letter: str) -> None:
    """Tianjin releases nothing online; Hebei blocks the electronic card of a lost one."""
    phone = Phone(centre)
    await phone.sign_up(1, await _issued_in(centre, region, letter))
    ok(await phone.act("loss", "loss", kind="temporary"))
    if region == "120000":
        assert "online_release_allowed" in refused(await phone.act("loss/release", "loss"), "CARD_STATE", 409)["detail"]
        assert ok(await phone.act("authorisation", "authorise"))["usable"] is True
    else:
        assert await _shown(phone) == (False, "card_lost", "suspended", "4")
        assert refused(await phone.act("authorisation", "authorise"), "ECARD_NOT_USABLE", 409)["detail"] == "card_lost"
        assert ok(await phone.act("loss/release", "loss"))["usable"] is True


# -- coupling ---------------------------------------------------------------------------------------------------------


@both_engines
async def test_a_loss_and_what_the_holder_allows(owned: Owned) -> None:
    phone, stand = owned.phone, owned.stand
    ok(await stand.act(owned.number, "loss", kind="temporary"))
    assert await _shown(phone) == (False, "authorisation_needed", "suspended", "4")
    for _ in range(2):
        assert ok(await phone.act("authorisation", "authorise"))["usable"] is True
    assert await _shown(phone) == (True, "", "authorised", "4")
    ok(await stand.act(owned.number, "loss", kind="formal"))
    assert await _shown(phone) == (False, "authorisation_needed", "suspended", "2")
    refused(await phone.act("level", "level"), "ECARD_NOT_USABLE", 409)


async def test_an_authorised_one_is_active_again_when_the_card_is_found(owned: Owned) -> None:
    ok(await owned.phone.act("loss", "loss", kind="temporary"))
    ok(await owned.phone.act("authorisation", "authorise"))
    ok(await owned.stand.act(owned.number, "release"))
    assert await _shown(owned.phone) == (True, "", "active", "1")


async def test_a_locked_card_has_none(owned: Owned) -> None:
    ok(await owned.stand.act(owned.number, "lock"))
    assert await _shown(owned.phone) == (False, "card_locked", "suspended", "3")
    refused(await owned.phone.act("authorisation", "authorise"), "ECARD_NOT_USABLE", 409)
    ok(await owned.stand.act(owned.number, "unlock"))
    assert await _shown(owned.phone) == (True, "", "active", "1")


async def test_cancelling_ends_it(owned: Owned) -> None:
    ok(await owned.stand.act(owned.number, "cancel"))
    assert await _shown(owned.phone) == (False, "ecard_cancelled", "cancelled", "9")
    assert owned.stand.centre.store.sql("SELECT password_hash FROM ecards") == [(None,)]
    check: dict[str, Any] = {"password": owned.phone.password, "purpose": "authorise"}
    assert refused(await owned.phone.post("password-checks", check), "ECARD_NOT_USABLE", 409), "the right one, too"


@both_engines
async def test_a_replacement_recovers_it(owned: Owned) -> None:
    """Same number, same links, same password; payment has to be opened with the new account."""
    phone, stand = owned.phone, owned.stand
    await owned.open_account()
    ok(await phone.act("level", "level"))
    ok(await phone.act("loss", "loss", kind="formal"))
    ok(await phone.act("authorisation", "authorise"))
    application = ok(await stand.act(owned.number, "replacements", cause="lost"), 201)["id"]
    stand.serial += 1
    number = await stand.issue(application)
    assert number != owned.number
    shown = ok(await phone.get())
    assert (shown["usable"], shown["state"], shown["card_state"], shown["level"]) == (True, "active", "1", 1)
    assert await phone.busi_seq("payment")
