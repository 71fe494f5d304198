"""What the gate shows now: one picture, which goes back to the resting one by itself.

On the event loop. Nothing that is shown names a person or a card.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from cardlib.money import yuan
from terminal_agent.transit.words import NOTHING, Both, both


class Sign(StrEnum):
    """`again`: tap once more; `staff`: only people can help; `out`: nobody is served here now."""

    IDLE = "idle"
    PASS = "pass"  # noqa: S105 - to go through
    AGAIN = "again"
    STAFF = "staff"
    STOP = "stop"
    OUT = "out"


SHOWN_S: Final[Mapping[Sign, float]] = {Sign.PASS: 1.5, Sign.AGAIN: 3.0, Sign.STAFF: 4.0, Sign.STOP: 4.0}
BEEPS: Final[Mapping[Sign, int]] = {Sign.PASS: 1, Sign.AGAIN: 2, Sign.STAFF: 2, Sign.STOP: 3}


@dataclass(frozen=True, slots=True)
class Picture:
    """`note` stands at the foot in place of the time. `number` rises with every picture, so that two equal ones
    one after the other are heard as two."""

    sign: Sign
    title: Both
    text: Both
    money: Both = NOTHING
    note: Both = NOTHING
    number: int = 0

    def to_json(self) -> dict[str, Any]:
        parts = {"title": self.title, "text": self.text, "money": self.money, "note": self.note}
        told: dict[str, Any] = {"number": self.number, "sign": self.sign.value, "beeps": BEEPS.get(self.sign, 0)}
        return told | {
            language: {name: getattr(part, language) for name, part in parts.items()} for language in ("zh", "en")
        }


def picture(
    sign: Sign, text: Both, *, code: str = "", amount_fen: int | None = None, balance_fen: int | None = None
) -> Picture:
    """Of a decision; `code` is for the staff."""
    money = NOTHING
    if sign is Sign.PASS and amount_fen:
        money = both("fare", amount=yuan(amount_fen))
    if sign is Sign.PASS and balance_fen is not None:
        left = both("balance", balance=yuan(balance_fen))
        money = Both(f"{money.zh}，{left.zh}", f"{money.en}, {left.en}") if money.zh else left
    note = both("again_note") if sign is Sign.AGAIN else both("code_note", code=code) if code else NOTHING
    title = both(f"{sign}_title")
    # What the title says need not be said again.
    text = Both(text.zh.removesuffix(f"，{title.zh}"), text.en.removesuffix(", see staff"))
    if text.zh == title.zh and money.zh:
        text, money = money, NOTHING
    return Picture(sign, title, text, money, NOTHING if sign is Sign.PASS else note)


class Screen:
    def __init__(self, resting: Picture) -> None:
        self._resting = resting
        self._changed = asyncio.Event()
        self._back: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.picture = resting

    @property
    def is_resting(self) -> bool:
        return self._back is None

    def rest(self, resting: Picture) -> None:
        """From now on shown between decisions; at once when none is shown."""
        if resting == self._resting:
            return
        self._resting = resting
        if self.is_resting:
            self._put(resting)

    def show(self, shown: Picture) -> None:
        if self._back is not None:
            self._back.cancel()
        self._put(shown)
        self._back = asyncio.get_running_loop().call_later(SHOWN_S[shown.sign], self._return)

    def close(self) -> None:
        """Ends every `changes`."""
        self._is_closed = True
        if self._back is not None:
            self._back.cancel()
        self._changed.set()

    async def changes(self) -> AsyncIterator[Picture]:
        """The picture now, then each other one; a listener that is slow misses some."""
        seen = -1
        while not self._is_closed:
            if self.picture.number != seen:
                seen = self.picture.number
                yield self.picture
            else:
                await self._changed.wait()

    def _return(self) -> None:
        self._back = None
        self._put(self._resting)

    def _put(self, shown: Picture) -> None:
        self.picture = replace(shown, number=self.picture.number + 1)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
