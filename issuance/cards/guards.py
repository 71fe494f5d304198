"""What a transition asks before it happens. A guard that says no names the rule in both languages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.unit import Unit


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not, in words for whoever asks, and the rule that says so, "" where none does."""

    rule: str
    text_zh: str
    text_en: str

    def with_rule(self) -> tuple[str, str]:
        """For staff, in both languages."""
        if not self.rule:
            return self.text_zh, self.text_en
        return f"{self.text_zh}（规则 {self.rule}）", f"{self.text_en} (rule {self.rule})"


Guard = Callable[[Unit, CardRow], Awaitable[Objection | None]]


async def release_online(unit: Unit, row: CardRow) -> Objection | None:
    """A holder's own request comes over the electronic card, that is online."""
    if not is_holder(unit, row) or unit.rules(row.region).online_release_allowed:
        return None
    return Objection(
        "online_release_allowed",
        "本地区不能网上解挂，请到柜面办理",
        "a loss is not released online here; go to a counter",
    )


async def formal_loss_can_be_lifted(unit: Unit, row: CardRow) -> Objection | None:
    if unit.rules(row.region).formal_loss_can_be_lifted != "never":
        return None
    return Objection(
        "formal_loss_can_be_lifted",
        "本地区正式挂失后不能解挂，请补卡",
        "a formal loss cannot be lifted here; replace the card",
    )


async def no_replacement_open(unit: Unit, row: CardRow) -> Objection | None:
    open_id = await CardRepository(unit.session).open_succession(row.card_number)
    if open_id is None:
        return None
    return Objection(
        "no_replacement_open",
        f"补换卡申请 {open_id} 正在办理，先办完或退回",
        f"replacement {open_id} is open; finish or reject it first",
    )


def is_holder(unit: Unit, row: CardRow) -> bool:
    """Whether the holder of this very card asks, proved by the phone; a wallet's client alone proves nobody."""
    return unit.holder_of == row.card_number


GUARDS: dict[str, Guard] = {
    "release_online": release_online,
    "formal_loss_can_be_lifted": formal_loss_can_be_lifted,
    "no_replacement_open": no_replacement_open,
}
