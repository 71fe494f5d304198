"""The screens about a card that is there already, and about PINs."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from terminal_agent.kiosk.flows import enable, loss, pin, release
from terminal_agent.kiosk.screens import Receipt, Row, Said, Screen
from terminal_agent.kiosk.states import ICONS, state_screen
from tests.terminal_agent.kiosk.gallery_parts import (
    CARD,
    NAME,
    NUMBER,
    Shown,
    cards,
    choice,
    done,
    known_card,
    tell,
    wait,
)


def own_cards() -> Iterator[Shown]:
    yield from _own_card()
    yield from _pins()


def _own_card() -> Iterator[Shown]:
    ways = ("rewrite", "pin", "loss", "replace", "ecard", "records", "what")
    yield Shown("this_card", state_screen(known_card("1"), "this_card", ways))
    yield Shown("card_state", state_screen(known_card("0"), "card_state", ("enable", "replace")))
    yield choice("card_offline", ("pin", "what"), ICONS, tone="warn")
    for name in ("card_unknown", "card_unlike", "no_card"):
        yield tell(name)
    yield Shown("put_back", Screen(name="put_back", layout="insert_card", acts=(), tone="warn", is_making=True))
    yield tell("card_of_another", "bad")
    yield Shown("enable_insert", Screen(name="enable_insert", layout="insert_card", acts=()))
    rows = (Row("name", NAME), Row("number", NUMBER), Row("card", CARD), Row("state", Said("未启用", "Not enabled")))
    confirm = Screen(name="enable_confirm", layout="check", acts=("enable",), rows=rows, step=2, steps=enable.STEPS)
    yield Shown("enable_confirm", confirm)
    for name in ("enabling", "rewriting", "loss_reporting", "releasing"):
        yield wait(name)
    state = Said("正常", "In use")
    enabled = Receipt("enable", (("card", CARD), ("state", state)), next_step="enable_next")
    yield from done("enable_done", enabled, step=3, steps=enable.STEPS)
    yield from done("rewrite_done", Receipt("rewrite", (("card", CARD),)))
    yield from _losing(state)


def _losing(state: Said) -> Iterator[Shown]:
    values = {"card": CARD}
    yield cards("loss_which")
    kinds = Screen(name="loss_kind", acts=loss.KINDS, values=values, step=2, steps=loss.STEPS)
    yield Shown("loss_kind", kinds, machine={"help_since": 1.0})
    for kind in loss.KINDS:
        sure: dict[str, Any] = {"icons": {"report": "lost"}, "values": values, "back": True, "step": 3}
        yield tell(f"loss_confirm_{kind}", "bad", ("report",), steps=loss.STEPS, **sure)
        rows = (("card", CARD), ("until", "2026-01-12"))
        receipt = Receipt(f"loss_{kind}", rows, next_step=f"loss_next_{kind}")
        yield from done(f"loss_done_{kind}", receipt, step=4, steps=loss.STEPS)
    yield Shown("loss_not_possible", state_screen(known_card("2"), "loss_not_possible", ("release", "replace")))
    yield cards("release_which")
    yield Shown("release_insert", Screen(name="release_insert", layout="insert_card", acts=()))
    yield tell(
        "release_confirm", "info", ("release",), icons={"release": "check"}, values=values, steps=release.STEPS, step=2
    )
    yield from done("release_done", Receipt("release", (("card", CARD), ("state", state))), steps=release.STEPS, step=3)
    yield Shown("release_not_possible", state_screen(known_card("1"), "release_not_possible", ("loss", "replace")))


def _pins() -> Iterator[Shown]:
    yield choice("pin_choice", ("change", "reset"), {"change": "key", "reset": "staff"})
    for name in ("pin_insert", "pin_reset_insert"):
        yield Shown(name, Screen(name=name, layout="insert_card", acts=()))
    yield tell("pin_rules", "info", ("ok",), step=2, steps=pin.RESET)
    for name, purpose, notice, tries in (
        ("pin_entry", "current", "", 6),
        ("pin_entry_few", "current", "", 2),
        ("pin_entry_wrong", "current", "wrong", 5),
        ("pin_entry_new", "new", "", None),
        ("pin_entry_weak", "new", "weak_personal", None),
    ):
        facts = {"purpose": purpose, "tries": tries, "few": tries == 2, "notice": notice}
        wish: dict[str, Any] = {"acts": (), "values": {"tries": tries}, "facts": facts, "step": 2, "steps": pin.CHANGE}
        opened = SimpleNamespace(key="k", is_new=purpose == "new", seconds_left=60)
        dialog = {"opened": opened, "digits": (6, 12), "pause_s": 30}
        yield Shown(name, Screen(name="pin_entry", **wish), extra=dialog)
        yield Shown(name.replace("entry", "pad"), Screen(name="pin_pad", **wish))
    for name in ("pin_writing", "pin_unblocking"):
        yield wait(name)
    for name in ("pin_last_try", "pin_locked", "pin_unset"):
        yield tell(name, acts=("reset",))
    yield choice("pin_known", tuple(pin.KNOWN), pin.KNOWN)
    for name in ("pin_changed", "pin_was_reset", "pin_unblocked"):
        yield from done(name, Receipt(name, (("card", CARD),)), step=4, steps=pin.RESET)
