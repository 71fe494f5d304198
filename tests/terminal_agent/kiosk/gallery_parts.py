"""How one page of the kiosk is drawn without a machine, and what many of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, cast

from jinja2 import Environment

from onecard_ui import templates
from terminal_agent.kiosk import pages
from terminal_agent.kiosk.desk import KioskDesk, Look
from terminal_agent.kiosk.render import Pages
from terminal_agent.kiosk.screens import Receipt, Said, Screen
from terminal_agent.kiosk.views import CardView
from terminal_agent.kiosk.words import Lang
from tests.terminal_agent.kiosk.flow_stand import a_card

NAME, NUMBER, CARD, RECEIPT = "测*甲", "**************0012", "A1000****", "2600 0000 0000 0175"
PLACE: Final = "示例市民服务中心一层 · 2 号自助机"
PICK_UP: Final = Said(
    "示例市民服务中心一层 3 号窗口，工作日 9:00 到 17:00", "Example civic centre, counter 3, 9:00 to 17:00"
)


@dataclass(frozen=True)
class Shown:
    """One page: a screen, and how the machine is besides. `name` tells variants of a screen apart."""

    name: str
    screen: Screen
    receipt: Receipt | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)


def page_of(shown: Shown, lang: Lang, *, is_large: bool = False) -> str:
    """Its HTML, as `/kiosk` would give it."""
    machine = dict(shown.machine)
    is_visit = machine.pop("is_visit", True)
    visit = SimpleNamespace(
        may_leave=not shown.screen.is_making and shown.screen.name != "still_there",
        wrong_fields=machine.pop("wrong", ()),
        entered={},
        receipt=shown.receipt,
        is_warned=False,
        number=7,
    )
    settings = SimpleNamespace(
        kiosk_voice="browser",
        kiosk_place=PLACE,
        kiosk_hours="工作日 9:00 到 17:00",
        kiosk_elsewhere="二层 3 号窗口",
        simulated=True,
    )
    given = {"lock": None, "is_closed_by_staff": False, "prints_receipts": True, "help_since": None} | machine
    desk = SimpleNamespace(
        settings=settings,
        visit=visit if is_visit else None,
        look=Look(lang, is_large),
        revision=1,
        number=7,
        screen=shown.screen,
        agent=SimpleNamespace(lock=SimpleNamespace(lock=given.pop("lock"))),
        **{"tiles": list} | given,
    )
    return Pages(cast(KioskDesk, desk), _environment(), speaks=False).of(shown.screen, number=7, **shown.extra)


@cache
def _environment() -> Environment:
    return templates(pages.HERE / "templates")


def wait(name: str, steps: tuple[str, ...] = (), step: int = 0, **values: Any) -> Shown:
    return Shown(name, Screen(name=name, layout="wait", acts=(), steps=steps, step=step, values=values))


def tell(name: str, tone: str = "warn", acts: tuple[str, ...] = ("understood",), **more: Any) -> Shown:
    return Shown(name, Screen(name=name, acts=acts, tone=tone, **more))


def choice(name: str, acts: tuple[str, ...], icons: Mapping[str, str], **more: Any) -> Shown:
    return Shown(name, Screen(name=name, layout="choice", acts=acts, icons=icons, **more))


def done(name: str, receipt: Receipt | None, tone: str = "ok", **more: Any) -> Iterator[Shown]:
    """As it comes, and after a receipt that was not printed."""
    acts, values = ("finish", "print", "more"), {"card": CARD, "until": "2026-01-12", "name": NAME}
    for end, printed in (("", ""), ("_not_printed", "RECEIPT_PAPER_OUT")):
        screen = Screen(name=name, layout="done", acts=acts, tone=tone, values=values, facts={"print": printed}, **more)
        yield Shown(name + end, screen, receipt)


def known_card(state: str = "1", **changes: Any) -> CardView:
    words = {
        "account": {
            "state": "inactive",
            "text_zh": "银行账户还没有激活，带身份证和卡到银行激活",
            "text_en": "The bank account is not active yet; bring identity card and card to the bank",
        },
        "ecard": {"text_zh": "卡已挂失，本人在手机上同意后可以继续用", "text_en": "Allow it on the phone to go on"},
    }
    return CardView.model_validate(a_card(state=state, **words | changes))


def cards(name: str) -> Shown:
    cards = [(f"card-{n}", known_card(state), tone) for n, (state, tone) in enumerate((("1", "ok"), ("2", "bad")))]
    screen = Screen(name=name, layout="cards", acts=tuple(act for act, *_ in cards), facts={"cards": cards})
    return Shown(name, screen)
