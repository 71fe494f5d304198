"""The engine of visits: time, double taps, stale pages, cards that are pulled, and what is left afterwards."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from itertools import count

import httpx
import pytest
from starlette.applications import Starlette

from cardlib.failures import FailureCode
from cardlib.terminal_state import Lock
from cardlib.transit_code import CHINA
from terminal_agent.kiosk import desk as desk_module
from terminal_agent.kiosk.offers import HomeTile
from terminal_agent.kiosk.screens import Answer, Field, Receipt, Row, Screen, Tile
from terminal_agent.kiosk.visit import GoTo, Over, Visit, VisitOver
from tests.terminal_agent.kiosk.stand import ORIGIN, Guest, settle, visiting
from tests.terminal_agent.stand import BASE, ScriptedCard, until

FIRST = Screen(name="insert_card", layout="plain", acts=("ok",))
SECOND = Screen(name="take_card", layout="plain", acts=("ok",), back=True)
THIRD = Screen(name="moment", layout="plain", acts=("ok",))


class Trail:
    """A flow of three screens that keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.over: Over | None = None

    async def __call__(self, visit: Visit) -> None:
        try:
            for screen in (FIRST, SECOND, THIRD):
                answer = await visit.ask(screen)
                self.heard.append(f"{screen.name}:{answer.act}")
        except VisitOver as over:
            self.over = over.over
            raise


async def test_a_visit_goes_from_screen_to_screen_and_home_again() -> None:
    trail = Trail()
    async with visiting({"trail": trail}) as guest:
        assert guest.screen == "home"
        assert await guest.act("start-trail") == 303
        await guest.act("ok")
        assert 'value="back"' in await guest.html()
        await guest.act("back")
        await guest.act("ok")
        await until(lambda: guest.desk.visit is None)
    assert trail.heard == ["insert_card:ok", "take_card:back", "moment:ok"]


async def test_stale_screens_and_double_taps_are_nothing() -> None:
    trail = Trail()
    async with visiting({"trail": trail}) as guest:
        home = guest.desk.number
        await guest.act("start-trail")
        first = guest.desk.number
        await guest.act("ok", number=first)
        await guest.act("ok", number=first)
        await guest.act("start-trail", number=home)
        await guest.act("start-trail")
        await guest.act("finish")
        assert trail.heard == ["insert_card:ok"]
        assert guest.screen == "take_card"


async def test_time_over_is_asked_about_and_forgiven() -> None:
    trail = Trail()
    async with visiting({"trail": trail}) as guest:
        await guest.act("start-trail")
        await guest.clock.advance(59)
        assert guest.screen == "insert_card"
        await guest.clock.advance(2)
        page = await guest.reaches("still_there")
        assert "再给我一点时间" in page
        assert 'value="leave"' in page
        await guest.tool("stay")
        assert guest.screen == "insert_card"
        await guest.act("ok")
        assert trail.heard == ["insert_card:ok"]
        await guest.clock.advance(61)
        await guest.clock.advance(18)
        assert guest.screen == "still_there"
        await guest.clock.advance(2)
        await until(lambda: guest.screen == "home")
    assert trail.over is Over.EXPIRED


async def test_large_type_doubles_the_time() -> None:
    async with visiting({"trail": Trail()}) as guest:
        await guest.act("start-trail")
        await guest.tool("large")
        assert 'data-type="large"' in await guest.html()
        await guest.clock.advance(119)
        assert guest.screen == "insert_card"
        await guest.clock.advance(2)
        assert guest.screen == "still_there"
        await guest.clock.advance(38)
        assert guest.screen == "still_there"
        await guest.clock.advance(2)
        await until(lambda: guest.screen == "home")
        assert 'data-type="normal"' in await guest.html()


async def test_what_is_chosen_at_home_is_not_kept_for_the_next() -> None:
    async with visiting({"trail": Trail()}) as guest:
        await guest.tool("lang")
        assert '<html lang="en"' in await guest.html()
        await guest.clock.advance(61)
        assert '<html lang="zh-CN"' in await guest.html()


async def test_leaving_cancels_work_that_may_be_left_and_not_the_making_of_a_card() -> None:
    gate, ended = asyncio.Event(), []

    async def work(name: str) -> str:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise
        ended.append(f"{name} done")
        return name

    async def flow(visit: Visit) -> None:
        making = Screen(name="moment", layout="wait", acts=(), is_making=True)
        assert await visit.wait(making, work("making"), may_leave=True) == "making"
        gate.clear()
        await visit.wait(Screen(name="printing", layout="wait", acts=()), work("scan"), may_leave=True)

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        assert 'value="leave"' not in await guest.html()
        await guest.tool("leave")
        await guest.clock.advance(1000)
        assert guest.screen == "moment"
        gate.set()
        await guest.reaches("printing")
        await guest.tool("leave")
        await until(lambda: guest.screen == "home")
    assert ended == ["making done", "scan cancelled"]


async def test_a_button_may_be_quicker_than_the_work() -> None:
    heard: list[object] = []

    async def flow(visit: Visit) -> None:
        waiting = Screen(name="moment", layout="wait", acts=("again",))
        heard.append(await visit.wait_or_act(waiting, asyncio.Event().wait()))
        heard.append(await visit.wait_or_act(waiting, asyncio.sleep(0, "read")))
        with pytest.raises(ValueError, match="broken"):
            await visit.wait_or_act(waiting, broken())

    async def broken() -> None:
        raise ValueError("broken")

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        await guest.act("again")
        await until(lambda: guest.screen == "home")
    assert heard == [Answer("again"), "read"]


async def test_a_pulled_card_ends_the_visit_and_put_back_begins_it_anew() -> None:
    begun: list[str] = []

    async def flow(visit: Visit) -> None:
        reader = await visit.card()
        begun.append(reader.name)
        visit.memory["secret"] = "kept for this visit alone"
        await visit.ask(FIRST)

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        await guest.reaches("insert_card")
        await guest.insert()
        await until(lambda: begun)
        await guest.pull()
        page = await guest.reaches("card_gone")
        assert "请把卡插回去" in page
        assert guest.desk.visit is not None
        assert not guest.desk.visit.memory
        await guest.insert()
        await until(lambda: len(begun) == 2)
        await guest.pull()
        await guest.reaches("card_gone")
        await guest.clock.advance(21)
        await until(lambda: guest.screen == "home")


async def test_a_card_left_behind_is_asked_for_until_it_is_taken_and_staff_are_called() -> None:
    async def flow(visit: Visit) -> None:
        await visit.card()
        await visit.done(Screen(name="take_card", layout="done"))

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        await guest.insert()
        await until(lambda: "finish" in guest.desk.screen.acts)
        await guest.act("finish")
        await guest.reaches("take_card")
        await guest.tool("leave")
        await guest.clock.advance(61)
        assert guest.desk.help_since is not None
        assert guest.screen == "take_card"
        await guest.pull()
        await until(lambda: guest.screen == "home")


async def test_a_card_put_in_at_home_is_asked_what_for() -> None:
    async def this_card(visit: Visit) -> None:
        await visit.card()
        await visit.ask(THIRD)

    async with visiting({"this_card": this_card}) as guest:
        await guest.insert(ScriptedCard())
        await guest.reaches("moment")
    async with visiting({"this_card": this_card}) as guest:
        await guest.desk.stop()
        guest.desk.is_ready = False
        await guest.insert(ScriptedCard())
        guest.desk.start()  # a loss of power has left the card in the slot
        await guest.reaches("moment")


async def test_wrong_entries_are_told_and_right_ones_come_as_fields() -> None:
    heard: list[Answer] = []

    async def flow(visit: Visit) -> None:
        entry = Field("phone", "1[0-9]{10}", 11)
        rows = (Row("name", "测*", act="other"),)
        heard.append(await visit.ask(Screen(name="moment", layout="check", fields=(entry,), rows=rows)))
        heard.append(await visit.ask(Screen(name="moment", layout="check", fields=(entry,), rows=rows)))

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        await guest.act("ok", phone="2")
        assert guest.desk.visit is not None
        assert guest.desk.visit.wrong_fields == ("phone",)
        assert not heard
        await guest.act("ok", phone=" 13900000000 ")
        await guest.act("other", phone="2")
        await until(lambda: guest.screen == "home")
    assert [answer.act for answer in heard] == ["ok", "other"]
    assert heard[0]["phone"] == "13900000000"
    assert "139" not in repr(heard)


async def test_a_flow_that_fails_says_so_and_ends() -> None:
    async def flow(visit: Visit) -> None:
        raise RuntimeError("a number 990101199001010012 in an error")

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        page = await guest.reaches("trouble")
        assert "INTERNAL" in page
        assert "9901011990" not in page
        await guest.act("finish")
        await until(lambda: guest.screen == "home")


async def test_a_screen_that_cannot_be_drawn_can_be_left() -> None:
    async def flow(visit: Visit) -> None:
        await visit.ask(Screen(name="no_such_screen"))

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        assert "INTERNAL" in (await guest.client.get("/kiosk")).text
        await guest.act("leave")
        await until(lambda: guest.screen == "home")


async def test_one_flow_leads_to_another_in_the_same_visit() -> None:
    async def first(visit: Visit) -> None:
        visit.memory["person"] = "known"
        raise GoTo("second")

    async def second(visit: Visit) -> None:
        assert visit.memory["person"] == "known"
        await visit.refuse(FailureCode.CARD_LISTED)

    async with visiting({"first": first, "second": second}) as guest:
        await guest.act("start-first")
        await guest.reaches("trouble")
        await guest.act("leave")
        await until(lambda: guest.screen == "home")


async def test_the_end_of_a_visit_offers_a_receipt_and_more_in_the_same_language() -> None:
    async def flow(visit: Visit) -> None:
        await visit.done(Screen(name="moment", layout="done"), Receipt("test", (("receipt_number", "A1"),), "B-2"))

    async with visiting({"flow": flow}) as guest:
        await guest.tool("lang")
        await guest.act("start-flow")
        page = await guest.html()
        assert "B-2" in page
        assert "receipt.pdf" in page
        assert guest.desk.screen.acts == ("finish", "more")
        pdf = (await guest.client.get("/kiosk/receipt.pdf")).content
        assert pdf.startswith(b"%PDF-")
        assert "B-2".encode("utf-16-be").hex().encode() in pdf
        await guest.act("more")
        await until(lambda: guest.desk.visit is None)
        assert '<html lang="en"' in await guest.html()
        assert (await guest.client.get("/kiosk/receipt.pdf")).status_code == 404
        await guest.act("start-flow")
        await guest.clock.advance(61)
        await until(lambda: guest.desk.visit is None)


async def test_what_is_done_elsewhere_has_more_time_and_its_end_is_a_sign_of_life() -> None:
    async def flow(visit: Visit) -> None:
        await visit.wait(
            Screen(name="moment", layout="wait", acts=(), patience=3), asyncio.Event().wait(), may_leave=True
        )

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        await guest.clock.advance(179)
        assert guest.screen == "moment"
        await guest.clock.advance(2)
        assert guest.screen == "still_there"
        assert guest.desk.visit is not None
        guest.desk.visit.show(Screen(name="printing", layout="wait", acts=()))
        await guest.clock.advance(59)
        assert guest.screen == "printing"


async def test_the_lock_of_the_centre_lets_nobody_begin_and_ends_what_can_be_left() -> None:
    async with visiting({"trail": Trail()}, kiosk_elsewhere="3 号窗口", kiosk_hours="周一至周五") as guest:
        await guest.tool("lang")
        await guest.act("start-trail")
        guest.agent.lock.set(Lock(reason="检\u202e修\n", contact="测试中心\x00"))
        page = await guest.reaches("out_of_service")
        assert '<html lang="en"' in page
        assert all(text in page for text in ("检 修<", "测试中心", "3 号窗口", "周一至周五"))
        assert guest.agent.lock.lock == Lock(reason="检 修", contact="测试中心")
        assert await guest.act("start-trail") == 303
        assert guest.desk.visit is None
        guest.agent.lock.set(None)
        assert guest.screen == "home"


async def test_who_got_a_card_made_while_the_lock_came_still_sees_its_receipt() -> None:
    gate = asyncio.Event()

    async def flow(visit: Visit) -> None:
        await visit.wait(Screen(name="moment", layout="wait", acts=(), is_making=True), gate.wait())
        await visit.done(Screen(name="printing"), Receipt("test"))

    async with visiting({"flow": flow}) as guest:
        await guest.act("start-flow")
        guest.agent.lock.set(Lock(reason="检修", contact="测试中心"))
        await settle()
        gate.set()
        await guest.reaches("printing")
        assert (await guest.client.get("/kiosk/receipt.pdf")).status_code == 200
        await guest.act("finish")
        await guest.reaches("out_of_service")


async def test_help_is_called_for_cancelled_and_told() -> None:
    async with visiting({"trail": Trail()}) as guest:
        await guest.tool("help")
        await guest.clock.advance(5)
        assert guest.desk.help_wanted_s == 5
        assert 'value="unhelp"' in await guest.html()
        await guest.tool("unhelp")
        assert guest.desk.help_wanted_s is None


async def test_another_browser_sees_nothing_of_a_visit(guest_of_two: Guest) -> None:
    guest = guest_of_two
    await guest.act("start-trail")
    transport = guest.client._transport
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as stranger:
        page = await stranger.get("/kiosk")
        assert page.status_code == 409
        assert "insert_card" not in page.text
        for path in ("/kiosk/changes", "/kiosk/receipt.pdf", "/kiosk/picture/x", "/kiosk/qr.svg"):
            assert (await stranger.get(path)).status_code == 403
        blind = await stranger.post("/kiosk/act", content="screen=2&act=ok", headers=ORIGIN)
        assert blind.status_code == 403
        # At home the browser was started anew: it is the machine's now.
        await guest.tool("leave")
        await until(lambda: guest.desk.visit is None)
        assert (await stranger.get("/kiosk")).status_code == 200
        assert (await guest.client.get("/kiosk/changes")).status_code == 403


@pytest.fixture
async def guest_of_two() -> object:  # type: ignore[misc]
    async with visiting({"trail": Trail()}) as guest:
        yield guest


async def test_pages_are_not_kept_and_forms_of_others_are_refused() -> None:
    async with visiting({"trail": Trail()}, opens=False) as guest:
        page = await guest.client.get("/kiosk")
        cookie = page.headers.get_list("set-cookie")
        assert page.headers["cache-control"] == "no-store"
        assert any(re.search(r"oc_kiosk=.*HttpOnly.*SameSite=strict", one) for one in cookie)
        body = f"screen={guest.desk.number}&act=start-trail"
        assert (await guest.client.post("/kiosk/act", content=body)).status_code == 403
        foreign = {"Origin": "https://elsewhere.example"}
        assert (await guest.client.post("/kiosk/act", content=body, headers=foreign)).status_code == 403
        assert (await guest.client.post("/kiosk/act", content="screen=x", headers=ORIGIN)).status_code == 400
        assert (await guest.client.post("/kiosk/act", content=b"a=" + b"b" * 5000, headers=ORIGIN)).status_code == 413
        assert guest.desk.visit is None
        assert (await guest.client.get("/", follow_redirects=True)).url.path == "/kiosk"


async def test_home_follows_what_can_be_done_without_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "HOME_LOOK_S", 0.005)
    async with visiting({"trail": Trail()}) as guest:
        others = (HomeTile(str(number), Tile("card")) for number in count())  # as when a card has been finished
        monkeypatch.setattr(guest.desk.offers, "tiles", lambda: [next(others)])
        drawn = guest.desk.revision
        assert await guest.desk.until_changed(drawn, 30.0) > drawn


async def test_the_clock_shows_the_time_of_the_country_whatever_the_computer_thinks() -> None:
    async with visiting({"trail": Trail()}) as guest:
        shown = re.search(r'<time id="clock" datetime="([^"]+)"', await guest.html())
        assert shown is not None
        assert abs(datetime.now(CHINA) - datetime.fromisoformat(f"{shown[1]}+08:00")) < timedelta(minutes=2)


async def test_changes_are_told_at_once() -> None:
    async with visiting({"trail": Trail()}) as guest:
        waiting = asyncio.create_task(guest.client.get(f"/kiosk/changes?seen={guest.desk.revision}"))
        await settle()
        assert not waiting.done()
        await guest.act("start-trail")
        told = (await waiting).json()
        assert told["revision"] == guest.desk.revision
        assert told["number"] == guest.desk.number
        assert (await guest.client.get("/kiosk/changes?seen=99999999999999999999")).status_code == 400
        assert isinstance(guest.client._transport.app, Starlette)  # type: ignore[attr-defined]
