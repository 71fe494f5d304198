"""What a citizen does with a card at the kiosk: enabling, losing, finding again, and the card in the slot itself."""

from __future__ import annotations

from typing import Any

import pytest

from terminal_agent.cards import CardListedError
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError
from tests.terminal_agent.kiosk.flow_stand import (
    ACTS,
    CARD_NUMBER,
    HOLDERS,
    NAME,
    NUMBER,
    a_card,
    a_holder,
    at_machine,
    chip,
    possible,
    shows_id_card,
)
from tests.terminal_agent.kiosk.stand import Guest
from tests.terminal_agent.stand import ScriptedCard, until

UNLIKE = CentreRefusedError("IDENTITY_MISMATCH", "")


def act_done(**card: Any) -> dict[str, Any]:
    return {"result": "done", "code": "00", "card": a_card(**card)}


def acts_of(guest: Guest) -> list[dict[str, Any]]:
    return [body for path, body in guest.centre.calls if path == ACTS]


# -- enabling ----------------------------------------------------------------------------------


async def test_a_card_is_enabled_by_itself_and_its_receipt_names_nobody() -> None:
    async with at_machine(a_card("enable", state="0")) as guest:
        guest.centre.answers[ACTS] = act_done()
        await guest.act("start-enable")
        await guest.reaches("enable_insert")
        await guest.insert(chip())
        page = await guest.reaches("enable_confirm")
        assert "测*丙" in page
        assert NUMBER not in page
        assert NAME not in page
        await guest.act("enable")
        done = await guest.reaches("enable_done")
        assert "A1000****" in done
        assert CARD_NUMBER not in done
        (holder,) = [body for path, body in guest.centre.calls if path == HOLDERS]
        assert holder["evidence"] == [{"kind": "card", "card_number": CARD_NUMBER}]
        assert acts_of(guest) == [{"visit": "c2VhbGVk", "card": "0f" * 16, "act": "enable"}]
        assert len(set(guest.centre.keys)) == len(guest.centre.keys)
        receipt = await guest.client.get("/kiosk/receipt.pdf")
        assert receipt.status_code == 200
        assert NAME.encode("utf-16-be").hex().encode() not in receipt.content


@pytest.mark.parametrize(
    ("answer", "screen", "said"),
    [
        (a_holder(a_card("lose", state="1")), "card_state", "卡在正常使用"),
        (a_holder(), "card_unknown", "中心没有这张卡的记录"),
        (UNLIKE, "card_unlike", "卡里的信息和中心的不一样"),
        (CentreUnreachableError("gone"), "trouble", "断"),
    ],
)
async def test_what_cannot_be_enabled_says_why(answer: Any, screen: str, said: str) -> None:
    async with at_machine() as guest:
        guest.centre.answers[HOLDERS] = answer
        await guest.act("start-enable")
        await guest.insert(chip())
        assert said in await guest.reaches(screen)
        assert acts_of(guest) == []


async def test_a_chip_that_is_no_card_of_ours_is_told_so_and_may_be_tried_again() -> None:
    async with at_machine() as guest:
        await guest.act("start-enable")
        await guest.insert(ScriptedCard(answer=lambda command: bytes.fromhex("6A82")))
        page = await guest.reaches("trouble")
        assert 'value="again"' in page
        assert "6A82" not in page
        assert guest.centre.calls == []


@pytest.mark.parametrize("rubbish", [{"visit": 1, "holder": NAME}, {"visit": "v", "cards": [{"card": NUMBER}]}, {}])
async def test_what_the_centre_says_that_is_none_of_its_answers_is_told_and_not_logged(
    rubbish: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with at_machine() as guest:
        guest.centre.answers[HOLDERS] = rubbish
        await guest.act("start-enable")
        await guest.insert(chip())
        assert "这一步没有办成" in await guest.reaches("trouble")
    assert "ValidationError" in caplog.text
    assert not any(secret in caplog.text for secret in (NAME, NUMBER))


# -- losing and finding ----------------------------------------------------------------------------------


async def test_a_loss_is_chosen_confirmed_and_done_once() -> None:
    async with at_machine(a_card("lose_temporarily", "lose")) as guest:
        guest.centre.answers[ACTS] = act_done(state="2")
        await guest.act("start-loss")
        await guest.act("id_card")
        await shows_id_card(guest)
        page = await guest.reaches("loss_kind")
        assert "到期自动恢复" in page
        assert "跟卡一起停用" in page
        await guest.act("lose_temporarily")
        assert "临时挂失 A1000****？" in await guest.reaches("loss_confirm_lose_temporarily")
        assert acts_of(guest) == []
        await guest.act("back")
        await guest.reaches("loss_kind")
        await guest.act("lose")
        await guest.reaches("loss_confirm_lose")
        number = guest.desk.number
        await guest.act("report", number=number)
        await guest.act("report", number=number)
        await guest.reaches("loss_done_lose")
        assert [body["act"] for body in acts_of(guest)] == ["lose"]


async def test_of_two_cards_the_person_says_which_is_lost() -> None:
    second = a_card("lose", number="A2000****", card="1e" * 16)
    async with at_machine(a_card("lose"), second) as guest:
        guest.centre.answers[ACTS] = act_done(state="2")
        await guest.act("start-loss")
        await guest.act("id_card")
        await shows_id_card(guest)
        await guest.reaches("loss_which")
        await guest.act("card-1")
        await guest.reaches("loss_kind")
        await guest.act("lose")
        await guest.act("report")
        await guest.reaches("loss_done_lose")
        assert acts_of(guest)[0]["card"] == "1e" * 16


@pytest.mark.parametrize(
    ("flow", "cards", "screen"),
    [
        ("loss", (a_card("release", state="2"),), "loss_not_possible"),
        ("loss", (), "no_card"),
        ("release", (a_card("lose"),), "release_not_possible"),
        ("release", (), "no_card"),
    ],
)
async def test_nothing_to_lose_or_to_release_is_told(flow: str, cards: tuple[Any, ...], screen: str) -> None:
    async with at_machine(*cards) as guest:
        await guest.act(f"start-{flow}")
        await guest.act("id_card")
        await shows_id_card(guest)
        page = await guest.reaches(screen)
        assert screen == "no_card" or f'value="{"release" if flow == "loss" else "loss"}"' in page


async def test_a_found_card_works_again_and_is_shown_where_the_rules_ask_for_it() -> None:
    asks = a_card(possible("release", "card"), state="2")

    def holders(body: dict[str, Any]) -> dict[str, Any]:
        return a_holder(a_card("release", state="2") if len(body["evidence"]) == 2 else asks)

    async with at_machine() as guest:
        guest.centre.answers |= {HOLDERS: holders, ACTS: act_done()}
        await guest.act("start-release")
        await shows_id_card(guest)
        await guest.reaches("release_insert")
        await guest.insert(chip())
        await guest.reaches("release_confirm")
        await guest.act("release")
        await guest.reaches("release_done")
        assert [body["act"] for body in acts_of(guest)] == ["release"]


# -- the card in the slot ----------------------------------------------------------------------------------


async def test_a_card_put_in_at_home_shows_its_state_and_leads_on() -> None:
    async with at_machine(a_card("rewrite", "lose", rewrite_pending=True)) as guest:
        await guest.insert(chip())
        page = await guest.reaches("this_card")
        offered = [act for act in ("rewrite", "pin", "loss", "records", "what", "enable") if f'value="{act}"' in page]
        assert offered == ["rewrite", "pin", "loss", "records", "what"]
        await guest.act("rewrite")
        await guest.reaches("rewrite_done")
        (start,) = guest.centre.starts
        assert (start.kind, start.visit, start.can_print) == ("rewrite", "c2VhbGVk", False)


async def test_without_the_centre_card_and_machine_do_what_they_can() -> None:
    async with at_machine() as guest:
        guest.centre.answers[HOLDERS] = CentreUnreachableError("gone")
        await guest.insert(chip())
        await guest.reaches("card_offline")
        await guest.act("pin")
        await guest.reaches("pin_choice")


async def test_a_kiosk_without_psam_takes_no_card() -> None:
    async with at_machine() as guest:
        guest.readers.remove("Kiosk SAM 01 00")
        guest.readers.remove_reader("Kiosk SAM 01 00")
        await until(lambda: guest.agent.registry.psam_reader() is None)
        await guest.insert(chip())
        await guest.reaches("trouble")
        assert guest.centre.calls == []


async def test_a_listed_card_is_told_how_it_stands_but_serves_for_nothing_here() -> None:
    """The centre knows best how a card stands; what card and machine do between them goes by the list."""
    async with at_machine(a_card("release", state="2")) as guest:

        def demand_unlisted(code: str) -> None:
            raise CardListedError("listed")

        guest.agent.desk.demand_unlisted = demand_unlisted  # type: ignore[method-assign]
        await guest.insert(chip())
        assert 'value="release"' in await guest.reaches("this_card")
        await guest.tool("leave")
        await guest.pull()
        await until(lambda: guest.desk.visit is None)
        await guest.act("start-pin")
        await guest.act("change")
        await guest.insert(chip())
        assert "取消挂失" in await guest.reaches("trouble")
