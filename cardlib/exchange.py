"""A card's content as a JSON document: export, compare, import of what differs.

The document is personal data in clear; whoever writes it to a file answers for that file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from cardlib.codec import CodecError
from cardlib.errors import CardDataError, CardMismatchError
from cardlib.session import SocialSecurityCard
from cardlib.spec import AccessKind, CardSpec, EfSpec, Generation, Structure, load
from hsm.api import CardAuthenticator

FORMAT = "onecard-card/1"
_BINDING = ("card_identification_code", "card_number", "specification_version")
"""Items that say which card this is; an import never writes them."""


class ExchangeConflictError(Exception):
    """The document's log and the card's have nothing in common, so no record can be added in its place."""

    failure: ClassVar[str] = "CONFLICT"


@dataclass(frozen=True, slots=True)
class Difference:
    """One item, or one cyclic file as a whole, that is not the same; None where one side does not have it."""

    path: str
    item: str
    left: Any
    right: Any

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did. `skipped` are differences that no key can write, or that make the card what it is."""

    written: tuple[str, ...]
    skipped: tuple[str, ...]


def export_card(card: SocialSecurityCard, authenticator: CardAuthenticator | None = None) -> dict[str, Any]:
    """Everything readable with what is at hand, with the texts of codes and the reason for each missing file."""
    spec = card.known_spec()
    content = card.read_all(authenticator)
    return {
        "format": FORMAT,
        "generation": spec.generation.value,
        "identification_code": card.identification_code,
        "reset_information": card.reset_information.hex().upper(),
        "files": content.files,
        "texts": content.texts,
        "refused": content.refused,
    }


def check_document(data: Any) -> dict[str, Any]:
    """`data` itself when it is an export whose files and items this program knows. Raises CodecError."""
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("files"), dict):
        raise CodecError(f"not a card document; {FORMAT} was expected")
    try:
        spec = load(Generation(data.get("generation", "")))
        for path, values in data["files"].items():
            _check_file(spec, spec.ef(path), values)
    except (KeyError, ValueError) as error:
        raise CodecError(f"card document: {error}") from error
    return data


def compare(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    """Differences of two documents in the order of the files, instances of repeated items apart (`degree:2`)."""
    paths = dict.fromkeys((*left["files"], *right["files"]))
    return [each for path in paths for each in _differences(path, left["files"].get(path), right["files"].get(path))]


def import_card(document: Mapping[str, Any], card: SocialSecurityCard, keys: CardAuthenticator) -> Imported:
    """Write what differs, each item under its own key, and read everything back.

    Raises CardMismatchError for the document of another card, CardDataError when the card then says something else,
    ExchangeConflictError, and what writing raises; items written before that stay written, and a second import goes on.
    """
    spec = card.known_spec()
    if document["identification_code"] != card.identification_code:
        raise CardMismatchError("the document belongs to another card")
    if document["generation"] != spec.generation.value:
        raise CardMismatchError("the document is of another generation")
    written, skipped = [], []
    for difference in compare(export_card(card, keys), document):
        ef, name = spec.ef(difference.path), _name(difference)
        if difference.right is None or not _is_writable(ef, difference.item):
            skipped.append(name)
            continue
        if ef.structure is Structure.CYCLIC:
            for record in reversed(_newer(name, difference.right, difference.left or [])):
                card.files.append(ef.path, record, keys)
        else:
            card.write_item(difference.item, difference.right, keys)
        written.append(name)
    left_over = {_name(each) for each in compare(export_card(card, keys), document)} - set(skipped)
    if left_over:
        raise CardDataError(f"read back differently: {', '.join(sorted(left_over))}")
    return Imported(tuple(written), tuple(skipped))


def _is_writable(ef: EfSpec, item: str) -> bool:
    return ef.write.kind is not AccessKind.NEVER and ef.name != "DIR" and item not in _BINDING


def _newer(name: str, wanted: list[dict[str, str]], present: list[dict[str, str]]) -> list[dict[str, str]]:
    """Records of `wanted` that come before what the card has; the oldest may have fallen out on either side."""
    for count in range(len(wanted) + 1):
        rest = wanted[count:]
        if rest == present[: len(rest)] and (rest or not present):
            return wanted[:count]
    raise ExchangeConflictError(f"{name}: the card holds other records")


def _name(difference: Difference) -> str:
    return f"{difference.path}.{difference.item}" if difference.item else difference.path


def _differences(path: str, left: Any, right: Any) -> Iterator[Difference]:
    if left == right:
        return
    if isinstance(left, list) or isinstance(right, list):
        yield Difference(path, "", left, right)
        return
    left, right = left or {}, right or {}
    for slug in dict.fromkeys((*left, *right)):
        yield from _item_differences(path, slug, left.get(slug), right.get(slug))


def _item_differences(path: str, slug: str, left: Any, right: Any) -> Iterator[Difference]:
    if isinstance(left, list) or isinstance(right, list):
        left, right = left or [], right or []
        for place in range(max(len(left), len(right))):
            pair = [side[place] if place < len(side) else None for side in (left, right)]
            if pair[0] != pair[1]:
                yield Difference(path, f"{slug}:{place + 1}", *pair)
    elif left != right:
        yield Difference(path, slug, left, right)


def _check_file(spec: CardSpec, ef: EfSpec, values: Any) -> None:
    if ef.structure is Structure.CYCLIC or ef.name == "DIR":
        known = {item.slug for item in ef.items} or {"aid", "label"}
        if not isinstance(values, list) or not all(isinstance(each, dict) and each.keys() <= known for each in values):
            raise ValueError(f"{ef.path} is no list of its records")
        return
    # Rewritten 1.0 cards hold items of 2.0 under their new names.
    known_items = (
        {item.slug: item for item in (*load(Generation.V2).ef(ef.path).items, *ef.items)}
        if (spec.rewritten)
        else {item.slug: item for item in ef.items}
    )
    if not isinstance(values, dict) or not values.keys() <= known_items.keys():
        raise ValueError(f"{ef.path} has other items")
    for slug, value in values.items():
        if isinstance(value, list) != (known_items[slug].count > 1):
            raise ValueError(f"{ef.path}.{slug} has another shape")
