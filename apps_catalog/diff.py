"""What two catalogs promise differently, in sentences a citizen understands and as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from apps_catalog import reasons
from apps_catalog.areas import NATIONWIDE
from apps_catalog.catalog import Catalog
from apps_catalog.field_names import FIELD_NAMES
from apps_catalog.model import LABELS, LOCAL, Item, Place, Returned, Text
from apps_catalog.rule import Rule


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`old` and `new` are the field's JSON forms; `text` is the sentence."""

    field: str
    old: Any
    new: Any
    text: Text

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "old": self.old, "new": self.new, "text": self.text.to_json()}


@dataclass(frozen=True, slots=True)
class Change:
    """`item` is the new one, or the one that went; `text` sums it up, `fields` are empty unless it changed."""

    kind: Kind
    item: Item
    text: Text
    fields: tuple[FieldChange, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "id": self.item.id,
            "text": self.text.to_json(),
            "fields": [field.to_json() for field in self.fields],
        }


def diff(old: Catalog, new: Catalog) -> list[Change]:
    """Removed, changed and added items, each kind in the order of its catalog. Catalogs that say the same give none."""
    before = {item.id: item for item in old.items}
    after = {item.id: item for item in new.items}
    name = _namer(old, new)
    found = [_gone(item) for item in old.items if item.id not in after]
    for item in new.items:
        if item.id in before and item != before[item.id]:
            found.append(_changed(before[item.id], item, name))
    found.extend(_come(item, name) for item in new.items if item.id not in before)
    return found


def _namer(*catalogs: Catalog) -> Callable[[str], Text]:
    """From the code of an area, domain or source to its name; what has none stands for itself."""
    names: dict[str, Text] = {}
    for catalog in catalogs:
        names |= {region.code: region.name for region in (*catalog.regions, *catalog.areas)}
        names |= {domain.key: domain.name for domain in catalog.domains}
        names |= {source.key: source.title for source in catalog.sources}
    return lambda code: names.get(code, Text(code, code))


def _gone(item: Item) -> Change:
    return Change(Kind.REMOVED, item, Text(f"不再提供：{item.name.zh}", f"No longer offered: {item.name.en}"))


def _come(item: Item, name: Callable[[str], Text]) -> Change:
    where, how = _joined(map(name, item.areas)), reasons.labels(item.carriers)
    day = reasons.days(item)[1].text
    text = Text(
        f"新增：{item.name.zh}。{where.zh}；{how.zh}；{day.zh}。{item.summary.zh}",
        f"New: {item.name.en}. {where.en}; {how.en}; {day.en}. {item.summary.en}",
    )
    return Change(Kind.ADDED, item, text)


def _changed(old: Item, new: Item, name: Callable[[str], Text]) -> Change:
    before, after = old.to_json(), new.to_json()
    fields = tuple(
        FieldChange(key, before[key], after[key], text)
        for key in before
        if before[key] != after[key] and key not in _UNTOLD
        for text in [_sentence(key, old, new, name)]
    )
    text = Text(f"有变化：{new.name.zh}", f"Changed: {new.name.en}")
    if new.change is not None and new.version != old.version:
        text = Text(f"{text.zh}（{new.change.zh}）", f"{text.en} ({new.change.en})")
    return Change(Kind.CHANGED, new, text, fields)


_UNTOLD: Final = frozenset({"id", "owner", "version", "change"})
"""The change note stands in the heading, and its number says nothing to a citizen."""


def _sentence(key: str, old: Item, new: Item, name: Callable[[str], Text]) -> Text:
    label = FIELD_NAMES[key]
    before, after = _parts(getattr(old, key), name), _parts(getattr(new, key), name)
    if key in _LISTS:
        came = [part for part in after if part not in (*before, _NONE)]
        went = [part for part in before if part not in (*after, _NONE)]
        told = [*_told("增加", "now also", came), *_told("取消", "no longer", went)] or [_joined(after)]
        return Text(
            f"{label.zh}：{'；'.join(text.zh for text in told)}", f"{label.en}: {'; '.join(text.en for text in told)}"
        )
    one, other = _joined(before), _joined(after)
    zh, en = f"原为“{one.zh}”，现为“{other.zh}”", f'was "{one.en}", is now "{other.en}"'
    return Text(
        f"{label.zh}：{zh if one.zh != other.zh else '只改了英文写法'}",
        f"{label.en}: {en if one.en != other.en else 'only the Chinese wording changed'}",
    )


_NONE: Final = Text("无", "none")
_LISTS: Final = frozenset(
    {
        "areas",
        "holders",
        "carriers",
        "functions",
        "channels",
        "sources",
        "generations",
        "rule",
        "places",
        "materials",
        "equipment",
        "returns",
    }
)


def _told(zh: str, en: str, parts: list[Text]) -> list[Text]:
    named = _joined(parts)
    return [Text(f"{zh}{named.zh}", f"{en} {named.en}")] if parts else []


def _parts(value: Any, name: Callable[[str], Text]) -> list[Text]:
    """A field's value as pieces of text."""
    return list(_pieces(value, name)) or [_NONE]


def _pieces(value: Any, name: Callable[[str], Text]) -> Iterator[Text]:
    if value is None:
        return
    if isinstance(value, Text):
        yield value
    elif isinstance(value, StrEnum):
        yield LABELS[value]
    elif isinstance(value, Rule):
        yield from reasons.conditions(value).values()
    elif isinstance(value, tuple):
        for entry in value:
            yield from _pieces(entry, name)
    elif isinstance(value, Returned):
        yield from (LABELS[datum] for datum in value.data)
    elif isinstance(value, Place):
        yield _place(value)
    else:
        yield _KNOWN.get(value) or name(str(value))


_KNOWN: Final = {NATIONWIDE: Text("全国", "every place"), LOCAL: Text("使用地本地", "the very place of use")}


def _place(place: Place) -> Text:
    closed = Text(f"（{place.closed}关闭）", f" (closed on {place.closed})") if place.closed else Text("", "")
    return Text(place.name.zh + closed.zh, place.name.en + closed.en)


def _joined(parts: Iterable[Text]) -> Text:
    known = list(parts)
    return Text("、".join(text.zh for text in known), ", ".join(text.en for text in known))
