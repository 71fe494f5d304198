"""Who stands at the machine: the ID card on its module, known once and for this visit alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo

import pytest

from apdu.errors import CardAbsentError
from apdu.serial.idcard import CardKind, IdCard, IdCardText
from cardlib.failures import FailureCode
from cardlib.transit_code import CHINA
from terminal_agent.kiosk import identify as identify_module
from terminal_agent.kiosk.holders import told
from terminal_agent.kiosk.identify import Person, Way, identify
from terminal_agent.kiosk.screens import Need
from terminal_agent.kiosk.visit import Visit
from tests.terminal_agent.kiosk.stand import Guest, visiting
from tests.terminal_agent.stand import until

TEXT = IdCardText(
    name="测试甲",
    sex="1",
    nation="01",
    birth_date=date(1990, 1, 1),
    address="测试省测试市测试路1号",
    number="990101199001010012",
    issuer="测试市公安局",
    valid_from=date(2020, 1, 1),
    valid_to=None,
)
CARD = IdCard(TEXT, b"\x00" * 1024)


class Module:
    """An ID-card module: first nothing lies on it."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.waits = 0

    async def read(self, wait_s: float) -> IdCard:
        self.waits += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, IdCard)
        return answer


class Asks:
    """A flow that asks twice who it is."""

    def __init__(self, *ways: Way) -> None:
        self.ways = ways or ("id_card",)
        self.persons: list[Person] = []
        self.error: Exception | None = None

    async def __call__(self, visit: Visit) -> None:
        for _ in range(2):
            self.persons.append(await identify(visit, "test", self.ways))


def lay(guest: Guest, monkeypatch: pytest.MonkeyPatch, *answers: object) -> Module:
    module = Module(*answers)
    monkeypatch.setattr(guest.agent.devices, "read_id_card", module.read)
    monkeypatch.setattr(guest.desk.offers, "has", lambda need: need is not Need.PIN_ENTRY)
    monkeypatch.setattr(guest.desk.offers, "missing", lambda need: None)
    return module


async def test_the_id_card_says_who_it_is_and_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = Asks()
    async with visiting({"asks": asks}) as guest:
        module = lay(guest, monkeypatch, CardAbsentError("none"), CARD)
        await guest.act("start-asks")
        page = await guest.reaches("id_card_read")
        assert "请拿走身份证" in page
        assert TEXT.number not in page
        assert TEXT.name not in page
        await guest.act("taken")
        await until(lambda: guest.screen == "home")
    first, second = asks.persons
    assert first is second
    assert module.waits == 2
    assert first.body() == {
        "name": TEXT.name,
        "social_security_number": TEXT.number,
        "evidence": [{"kind": "id_card"}],
    }
    assert (first.masked_name, first.masked_number) == ("测*甲", "**************0012")
    assert TEXT.name not in repr(first)
    assert TEXT.number not in repr(first)


async def test_nothing_of_a_person_is_left_after_the_visit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with visiting({"asks": Asks()}) as guest:
        lay(guest, monkeypatch, CARD)
        await guest.act("start-asks")
        await guest.reaches("id_card_read")
        visit = guest.desk.visit
        assert visit is not None
        assert visit.id_card is CARD
        await guest.tool("leave")
        await until(lambda: guest.desk.visit is None)
        assert visit.id_card is None
        assert not visit.memory


async def test_waiting_for_the_card_may_be_left_and_ends_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with visiting({"asks": Asks()}) as guest:
        lay(guest, monkeypatch)
        await guest.act("start-asks")
        await guest.reaches("lay_id_card")
        await guest.clock.advance(61)
        assert guest.screen == "still_there"
        await guest.tool("leave")
        await until(lambda: guest.screen == "home")


async def test_of_several_ways_one_is_chosen_and_the_machine_offers_what_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asks = Asks("id_card", "card_pin", "ecard")
    async with visiting({"asks": asks}) as guest:
        lay(guest, monkeypatch, CARD)
        await guest.act("start-asks")
        page = await guest.reaches("identify")
        assert 'value="ecard"' in page
        assert 'value="card_pin"' not in page
        await guest.act("card_pin")
        assert guest.screen == "identify"
        await guest.act("id_card")
        await guest.reaches("id_card_read")
        await guest.act("taken")
        await until(lambda: len(asks.persons) == 2)


async def test_a_lost_module_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class LostError(Exception):
        failure = "READER_LOST"

    async with visiting({"asks": Asks()}) as guest:
        lay(guest, monkeypatch, LostError())
        await guest.act("start-asks")
        page = await guest.reaches("trouble")
        assert "卡口没有接好" in page
        assert FailureCode.READER_LOST.value in page


async def test_a_residence_permit_is_called_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = IdCardText(
        TEXT.name, TEXT.sex, "", TEXT.birth_date, TEXT.address, TEXT.number, TEXT.issuer, TEXT.valid_from, None,
        CardKind.HONG_KONG_MACAO_TAIWAN,
    )  # fmt: skip
    async with visiting({"asks": Asks()}) as guest:
        lay(guest, monkeypatch, IdCard(text, CARD.photo_wlt))
        await guest.act("start-asks")
        await guest.reaches("permit_read")


@pytest.mark.parametrize(("days", "screen"), [(-1, "id_card_expired"), (0, "id_card_read")])
async def test_an_id_card_serves_until_its_last_day(monkeypatch: pytest.MonkeyPatch, days: int, screen: str) -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=CHINA)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(noon.timestamp(), tz)

    monkeypatch.setattr(identify_module, "datetime", Clock)
    last = noon.date() + timedelta(days)
    async with visiting({"asks": told(Asks())}) as guest:
        lay(guest, monkeypatch, IdCard(replace(TEXT, valid_to=last), CARD.photo_wlt))
        await guest.act("start-asks")
        page = await guest.reaches(screen)
        assert TEXT.name not in page
        await guest.act("understood")
        assert (guest.screen == "home") is (days < 0)
