"""The sentences of an answer: why a card can be used for an item, or why not. One per condition, made once per catalog.

A `Reason` that is `met` speaks for the item, an unmet one against it, and one whose `met` is None names what the
question did not say or no machine can judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from apps_catalog.areas import NATIONWIDE
from apps_catalog.model import LABELS, LOCAL, Item, Standing, Text
from apps_catalog.rule import CardState, Rule


class Ground(StrEnum):
    """What a reason is about."""

    DAYS = "days"
    PLACE = "place"
    CARD_ORIGIN = "card_origin"
    CARRIER = "carrier"
    NETWORK = "network"
    GENERATION = "generation"
    AGE = "age"
    CARD_STATE = "card_state"
    ECARD_LEVEL = "ecard_level"
    CATEGORY = "category"
    OPENED = "opened"
    STANDING = "standing"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Reason:
    ground: Ground
    met: bool | None
    text: Text

    def to_json(self) -> dict[str, Any]:
        return {"ground": self.ground.value, "met": self.met, "text": self.text.to_json()}


class Choice(NamedTuple):
    """The reasons of one condition, one of which goes into an answer."""

    met: Reason
    unmet: Reason
    unknown: Reason


def choice(ground: Ground, met: Text, unmet: Text, unknown: Text) -> Choice:
    return Choice(Reason(ground, True, met), Reason(ground, False, unmet), Reason(ground, None, unknown))


def labels(members: Iterable[StrEnum]) -> Text:
    known = [LABELS[member] for member in members]
    return Text("、".join(label.zh for label in known), ", ".join(label.en for label in known))


def condition(ground: Ground, what: Text) -> Choice:
    """The usual three: the holder meets `what`, does not, or did not say."""
    return choice(
        ground,
        Text(f"符合：{what.zh}", f"Met: {what.en}"),
        Text(f"不符合：要求{what.zh}", f"Not met: {what.en} is required"),
        Text(f"要看是否符合：{what.zh}", f"Depends on: {what.en}"),
    )


def place(item: Item, name: Callable[[str], Text]) -> Choice:
    areas = _names(item.areas, name)
    met, unmet = Text(f"在{areas.zh}可用", f"Offered in {areas.en}"), Text(f"只在{areas.zh}可用", f"Only in {areas.en}")
    return choice(Ground.PLACE, met, unmet, unmet)


def card_origin(item: Item, name: Callable[[str], Text]) -> Choice:
    if NATIONWIDE in item.holders:
        everyone = Text("不限发卡地", "Cards of every place are honoured")
        return choice(Ground.CARD_ORIGIN, everyone, everyone, everyone)
    named = (
        [_names([holder for holder in item.holders if holder != LOCAL], name)] if set(item.holders) != {LOCAL} else []
    )
    if LOCAL in item.holders:
        own = Text("使用地本地", "the very place of use")
        named.append(own if len(item.areas) > 1 else name(item.areas[0]))
    zh, en = "和".join(text.zh for text in named), " and ".join(text.en for text in named)
    return choice(
        Ground.CARD_ORIGIN,
        Text(f"认可{zh}发的卡", f"Cards of {en} are honoured"),
        Text(f"只认可{zh}发的卡", f"Only cards of {en} are honoured"),
        Text(f"要看发卡地：认可{zh}发的卡", f"Depends on the card: those of {en} are honoured"),
    )


def carrier(item: Item) -> Choice:
    taken = labels(item.carriers)
    unmet = Text(f"不能这样用，只能用：{taken.zh}", f"Not with this carrier, only: {taken.en}")
    return choice(Ground.CARRIER, Text(f"可用：{taken.zh}", f"Taken: {taken.en}"), unmet, unmet)


def generation(item: Item) -> Choice:
    zh = "、".join(item.generations)
    en = ", ".join(item.generations)
    return condition(Ground.GENERATION, Text(f"第{zh}代卡", f"card generation {en}"))


def days(item: Item) -> tuple[Reason, Reason, Reason]:
    """Before the first day (or planned), in force, after the last day."""
    if item.effective_from is None:
        planned = Reason(Ground.DAYS, False, Text("计划中，尚未启用", "Planned, not in force yet"))
        return planned, planned, planned
    first = _day(item.effective_from)
    last = _day(item.effective_to) if item.effective_to else first
    return (
        Reason(Ground.DAYS, False, Text(f"{first.zh}起才可用", f"Not before {first.en}")),
        Reason(Ground.DAYS, True, Text(f"{first.zh}起可用", f"In force since {first.en}")),
        Reason(Ground.DAYS, False, Text(f"已于{last.zh}停用", f"Ended on {last.en}")),
    )


CHECKED_OFFLINE = Reason(Ground.NETWORK, True, Text("断网也能核验", "Can be checked without the network"))
NEEDS_NETWORK = Reason(
    Ground.NETWORK, False, Text("须联网核验，断网时不能用", "Is checked online, not while the network is down")
)


def unjudged(item: Item) -> tuple[Reason, ...]:
    """What no machine can settle: conditions kept in words only, and items not confirmed for these places."""
    found = []
    if item.standing is Standing.INFERRED:
        found.append(
            Reason(Ground.STANDING, None, Text("参照其他地区，当地尚未证实", "Seen elsewhere, not confirmed here"))
        )
    if not item.rule.whole:
        words = item.eligibility
        found.append(Reason(Ground.WORDS, None, Text(f"适用对象：{words.zh}", f"For whom: {words.en}")))
    return tuple(found)


def age(rule: Rule) -> Text:
    if rule.age_to is None:
        return Text(f"年满{rule.age_from}岁", f"age {rule.age_from} or more")
    if rule.age_from is None:
        return Text(f"不超过{rule.age_to}岁", f"age {rule.age_to} or less")
    return Text(f"{rule.age_from}至{rule.age_to}岁", f"age {rule.age_from} to {rule.age_to}")


def card_state(states: Iterable[CardState]) -> Text:
    named = labels(states)
    return Text(f"卡状态为{named.zh}", f"card state {named.en}")


LOST_WITH_CODE = Reason(
    Ground.CARD_STATE,
    None,
    Text(
        "卡已挂失：电子社保卡经本人授权后能否使用，按发卡地规定",
        "The card is reported lost: the issuing place says whether the code still serves",
    ),
)
NO_ECARD = Reason(Ground.ECARD_LEVEL, False, Text("没有电子社保卡", "There is no electronic card"))


def ecard_level(level: int) -> Text:
    return Text(f"电子社保卡{'一二'[level - 1]}级签发", f"electronic card of level {level}")


def category(rule: Rule) -> Text:
    named = labels(rule.categories)
    return Text(named.zh, named.en.replace(", ", " or "))


def opened(rule: Rule) -> Text:
    named = labels(rule.opened)
    return Text(f"已开通{named.zh}", f"{named.en} opened")


def conditions(rule: Rule) -> dict[Ground, Text]:
    """What the rule demands in words; a normal card is always demanded where nothing else is said."""
    found = {Ground.CARD_STATE: card_state(rule.card_states or (CardState.NORMAL,))}
    if rule.ecard_level is not None:
        found[Ground.ECARD_LEVEL] = ecard_level(rule.ecard_level)
    if rule.age_from is not None or rule.age_to is not None:
        found[Ground.AGE] = age(rule)
    if rule.categories:
        found[Ground.CATEGORY] = category(rule)
    if rule.opened:
        found[Ground.OPENED] = opened(rule)
    return found


def _names(areas: Iterable[str], name: Callable[[str], Text]) -> Text:
    known = [name(area) for area in areas]
    return Text("、".join(text.zh for text in known), ", ".join(text.en for text in known))


def _day(day: date) -> Text:
    return Text(f"{day.year}年{day.month}月{day.day}日", day.isoformat())
