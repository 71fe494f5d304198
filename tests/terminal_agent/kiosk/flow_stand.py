"""A kiosk with PSAM, ID-card reader and the product's flows, and what the centre answers it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from apdu.serial.idcard import IdCard, IdCardText
from cardlib.wire import BatchCommand, BatchResponses, SessionReply
from simulators import personas
from simulators.card import CardState, SimCard
from simulators.factory import build_card
from simulators.psam import SimPsam
from terminal_agent.kiosk import offers as offers_module
from terminal_agent.kiosk.screens import Need
from tests.simulators.support import vector_roots
from tests.terminal_agent.kiosk.stand import ORIGIN, FakeCentre, Guest, settle, visiting
from tests.terminal_agent.stand import until

PSAM: Final = "Kiosk SAM 01 00"
NAME, NUMBER, CARD_NUMBER, PIN = "测试丙", "990101198808080048", "A10000023", "123456"
HOLDERS, ACTS = "/v1/self-service/holders", "/v1/self-service/acts"
TEXT: Final = IdCardText(
    name=NAME,
    sex="2",
    nation="01",
    birth_date=date(1988, 8, 8),
    address="示例省示例市示例路 1 号",
    number=NUMBER,
    issuer="示例市公安局",
    valid_from=date(2020, 1, 1),
    valid_to=date(2040, 1, 1),
)


@cache
def _image() -> str:
    return build_card(personas.load("adult-3.0"), vector_roots()).to_json()


def chip() -> SimCard:
    return SimCard(CardState.from_json(_image()))


def possible(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"act": name, "possible": not needs, "needs": list(needs), "text_zh": "可以办", "text_en": "Possible"} | more


def a_card(*acts: str | dict[str, Any], state: str = "1", **changes: Any) -> dict[str, Any]:
    """As the centre tells one. `acts`: those that are possible, by name, or whole."""
    words = {
        "0": ("未启用", "Not enabled", "卡是好的，社保功能还没有打开。", "The card is fine; it is not enabled yet."),
        "1": ("正常", "Normal", "卡在正常使用。", "The card is in use."),
        "2": ("挂失", "Reported lost", "卡已经挂失，不能用。", "The card is reported lost and does not work."),
    }[state]
    card = {
        "card": "0f" * 16,
        "number": "A1000****",
        "is_presented": True,
        "state": state,
        "state_zh": words[0],
        "state_en": words[1],
        "plain_zh": words[2],
        "plain_en": words[3],
        "since": "2026-01-05T01:00:00Z",
        "temporary_until": None,
        "issue_date": "2026-01-05",
        "expiry_date": "2036-01-05",
        "region": "110000",
        "account": {"state": "active", "text_zh": "银行账户已激活", "text_en": "The bank account is active"},
        "ecard": None,
        "rewrite_pending": False,
        "acts": [possible(one) if isinstance(one, str) else one for one in acts],
    }
    return card | changes


def a_holder(*cards: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "visit": "c2VhbGVk",
        "expires_at": "2026-01-05T01:15:00Z",
        "evidence": ["id_card"],
        "is_known": bool(cards),
        "holder": {"name": "测*丙", "social_security_number": "**************0048"},
        "cards": list(cards),
        "application": None,
        "sign_up_url": None,
    } | changes


class SessionCentre(FakeCentre):
    """Has card sessions besides, each of one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = ([BatchCommand(apdu="0084000008")],)

    async def answer(self, responses: BatchResponses) -> SessionReply:
        return self._reply(responses.session_id, responses.sequence + 1)


@asynccontextmanager
async def at_machine(*cards: dict[str, Any], text: IdCardText = TEXT, **changes: Any) -> AsyncIterator[Guest]:
    """`cards` are what the centre has of the person, until a test says otherwise."""
    centre = SessionCentre()
    centre.answers[HOLDERS] = a_holder(*cards)

    async def read(wait_s: float) -> IdCard:
        return IdCard(text, b"")

    whole = offers_module.Offers.missing

    def missing(self: offers_module.Offers, need: Need) -> Any:
        return None if need is Need.ID_READER else whole(self, need)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offers_module.Offers, "missing", missing)
        given = {"psam_readers": ("SAM",), "id_card_module": "simulated", "operation_timeout_s": 10} | changes
        async with visiting(None, centre=centre, **given) as guest:
            patch.setattr(guest.agent.devices, "read_id_card", read)
            guest.readers.add_reader(PSAM)
            guest.readers.insert(PSAM, SimPsam(vector_roots(), "990100", "990100000001"))
            await until(lambda: (slot := guest.agent.registry.psam_reader()) is not None and slot.has_card)
            yield guest


async def shows_id_card(guest: Guest) -> None:
    await guest.reaches("id_card_read")
    await guest.act("taken")


async def page_of_pin(guest: Guest) -> str:
    """The page in which the PIN that is wanted now is typed."""
    await until(lambda: guest.agent.dialog.is_wanted)
    assert (await guest.client.get("/kiosk")).headers["location"] == "/pin"
    page = await guest.client.get((await guest.client.get("/pin")).headers["location"])
    assert page.status_code == 200
    return page.text


async def types(guest: Guest, pin: str, again: str | None = None) -> str:
    """The page it was typed in; a new PIN is given twice, the same where `again` says nothing else."""
    page = await page_of_pin(guest)
    key = re.findall(r'name="key" value="([\w-]{43})"', page)[0]
    form = {"key": key, "pin": pin} | ({"again": pin if again is None else again} if 'name="again"' in page else {})
    headers = ORIGIN | {"Content-Type": "application/x-www-form-urlencoded"}
    sent = await guest.client.post("/pin", content=urlencode(form), headers=headers)
    assert sent.status_code == 303
    ended = await guest.client.get(sent.headers["location"])
    assert ended.headers["location"] == "/kiosk"
    await settle()
    return page


def another() -> IdCardText:
    """Of somebody else."""
    return replace(TEXT, name="测试甲", number="990101199001010115")
