"""What a citizen looks up at the kiosk: progress, records, where the card works, the electronic card, logging in."""

from __future__ import annotations

from typing import Any

import pytest

from terminal_agent.centre import CentreRefusedError
from tests.terminal_agent.kiosk.flow_stand import (
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
from tests.terminal_agent.kiosk.stand import settle
from tests.terminal_agent.stand import until

PROGRESS, RECORDS = "/v1/progress", "/v1/self-service/records"
OFFER, CODES = "/v1/self-service", "/v1/self-service/codes"
LOG_INS, LOOK = "/v1/self-service/log-ins", "/v1/self-service/log-ins/look"
STAGES = [
    {"stage": "received", "status": "done", "text_zh": "已受理", "text_en": "Received", "day": "2026-01-05"},
    {"stage": "made", "status": "current", "text_zh": "正在制卡", "text_en": "Being made", "day": None},
]
FAR = {
    "receipt_number": "2600000000000175",
    "outcome": "open",
    "text_zh": "正在制卡",
    "text_en": "The card is being made",
    "next_zh": "做好后到示例窗口领",
    "next_en": "Fetch it at the counter",
    "delivery": "counter",
    "pick_up": "示例市民中心",
    "stages": STAGES,
}


async def test_progress_by_receipt_number_after_a_wrong_check() -> None:
    def progress(body: dict[str, str]) -> Any:
        is_right = body == {"receipt_number": "2600000000000175", "check": "08004X"}
        return FAR if is_right else CentreRefusedError("PROGRESS_UNKNOWN", "")

    async with at_machine() as guest:
        guest.centre.answers[PROGRESS] = progress
        await guest.act("start-progress")
        await guest.act("receipt")
        await guest.act("ok", receipt="26000")
        assert "16 位数字，请数一数" in await guest.reaches("progress_receipt")
        for check in ("080048", "08004x"):
            await guest.act("ok", receipt="2600000000000175")
            await guest.act("ok", check=check)
            if check == "080048":
                await guest.reaches("progress_no_match")
                await guest.act("again")
        page = await guest.reaches("progress_shown")
        for said in ("正在制卡", "做好后到示例窗口领", "示例市民中心", "2026-01-05"):
            assert said in page


@pytest.mark.parametrize(
    ("holder", "screen"),
    [
        (a_holder(application={"id": "a", "kind": "new", "state": "open", "created_at": None} | FAR), "progress_shown"),
        (a_holder(a_card()), "progress_none"),
        (a_holder(), "progress_unknown"),
    ],
)
async def test_progress_by_id_card(holder: dict[str, Any], screen: str) -> None:
    async with at_machine() as guest:
        guest.centre.answers[HOLDERS] = holder
        await guest.act("start-progress")
        await guest.act("id_card")
        await shows_id_card(guest)
        await guest.reaches(screen)


async def test_records_are_masked_paged_and_kept_nowhere() -> None:
    def records(body: dict[str, Any]) -> dict[str, Any]:
        start = body["after"]
        items = [
            {
                "at": "2026-01-05T01:00:00Z",
                "text_zh": f"第 {n} 次",
                "text_en": f"use {n}",
                "where": "示例医院",
                "outcome": "",
            }
            for n in range(start, min(start + 10, 12))
        ]
        return {"items": items, "next": 10 if start == 0 else None}

    async with at_machine(a_card()) as guest:
        guest.centre.answers[RECORDS] = records
        await guest.act("start-records")
        await guest.act("id_card")
        await shows_id_card(guest)
        await guest.reaches("records_choice")
        await guest.act("mine")
        page = await guest.reaches("records_mine")
        assert "测*丙" in page
        assert NAME not in page
        assert NUMBER not in page
        await guest.act("back")
        await guest.act("uses")
        assert "第 0 次" in await guest.reaches("records_uses")
        await guest.act("next")
        await guest.act("next")
        page = await guest.reaches("records_uses")
        assert "第 11 次" in page
        assert "2026-01-05<br>09:00" in page
        assert 'value="next" disabled' in page
        await guest.act("next")
        await guest.act("previous")
        assert "第 5 次" in await guest.html()
        await guest.act("back")
        await guest.act("cards")
        await guest.reaches("records_cards")
        visit = guest.desk.visit
        await guest.tool("leave")
        await until(lambda: guest.desk.visit is None)
        assert visit is not None
        assert not visit.memory
        assert "2026" not in repr(visit.screen)


async def test_where_the_card_works_is_answered_without_centre_and_card() -> None:
    async with at_machine() as guest:
        await guest.act("start-what")
        await guest.reaches("what_origin")
        await guest.act("area-130000")
        await guest.act("area-110000")
        assert "北京市" in await guest.reaches("what_domain")
        await guest.act("domain-medical")
        page = await guest.reaches("what_list")
        assert page.count('class="kiosk-row"') == 5
        assert "能用" in page
        await guest.tool("lang")
        assert "Works" in await guest.html()
        await guest.act("item-0")
        assert "Offered by" in await guest.reaches("what_item")
        for screen in ("what_list", "what_domain", "what_area", "what_origin"):
            await guest.act("back")
            await guest.reaches(screen)
        assert guest.centre.calls == []


async def test_with_the_card_in_nobody_asks_where_it_is_from() -> None:
    async with at_machine(a_card()) as guest:
        await guest.insert(chip())
        await guest.reaches("this_card")
        await guest.act("what")
        assert 'value="back"' not in await guest.reaches("what_area")


async def test_a_code_is_shown_for_id_card_and_card_and_renews_itself() -> None:
    codes = iter(range(9))
    async with at_machine(a_card("code")) as guest:
        guest.centre.answers[CODES] = lambda body: {"code": f"code-{next(codes)}", "ttl_s": 60}
        await guest.act("start-ecard")
        await guest.act("code")
        await shows_id_card(guest)
        await guest.insert(chip())
        page = await guest.reaches("ecard_code")
        assert "code-0" not in page
        assert guest.desk.screen.qr == "code-0"
        guest.desk.touched()
        await guest.clock.advance(60)
        await until(lambda: guest.desk.screen.qr == "code-1")
        await guest.act("finish")
        await guest.reaches("take_card")


async def test_a_code_that_cannot_be_shown_leads_to_the_phone() -> None:
    why = possible("code", text_zh="手机上还没有电子社保卡") | {"possible": False}
    async with at_machine(a_card(why)) as guest:
        guest.centre.answers[OFFER] = {"log_in": True, "sign_up_url": "https://ecard.example/", "region": "110000"}
        await guest.act("start-ecard")
        await guest.act("code")
        await shows_id_card(guest)
        await guest.insert(chip())
        assert "手机上还没有电子社保卡" in await guest.reaches("ecard_no_code")
        await guest.act("install")
        await guest.reaches("ecard_install")
        assert guest.desk.screen.qr == "https://ecard.example/"


async def test_logging_in_is_tried_until_it_works() -> None:
    stages = iter(["open", "claimed", "wrong_number", "over", "open", "approved"])
    begun = iter(range(9))

    def look(body: dict[str, str]) -> dict[str, Any]:
        stage = next(stages)
        return {"stage": stage, "holder": a_holder(a_card()) if stage == "approved" else None}

    async with at_machine() as guest:
        guest.centre.answers |= {
            OFFER: {"log_in": True, "sign_up_url": None, "region": None},
            LOG_INS: lambda body: {
                "log_in": f"secret-{next(begun)}",
                "text": "https://x.example/#1",
                "number": 7,
                "ttl_s": 60,
            },
            LOOK: look,
        }
        await guest.act("start-log_in")
        await guest.reaches("log_in_how")
        await guest.act("trouble")
        await guest.reaches("log_in_trouble")
        await guest.act("back")
        await guest.act("try")
        page = await guest.reaches("phone_code")
        assert "<span>0</span><span>7</span>" in page
        assert "secret-0" not in page
        await guest.clock.advance(1)
        assert "07" in await guest.reaches("phone_claimed")
        await guest.clock.advance(1)
        await guest.reaches("trouble")
        await guest.act("again")
        await guest.act("try")
        await guest.reaches("phone_code")
        await guest.clock.advance(1)
        await settle()
        assert "测*丙" in await guest.reaches("log_in_works")
        assert [body["log_in"] for path, body in guest.centre.calls if path == LOOK][-1] == "secret-2"
