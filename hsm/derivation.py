"""Which factor is wrong: a card's key is known by its check value or a cryptogram, and did not come out as expected.

Tried are the mistakes card makers make: a factor left out, too many, in another order, the card's number backwards,
another version, environment or region of the root.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from hsm import card_rules
from hsm.api import CARD_PURPOSES, BadInputError, CardFactors, KeyInfo, KeyRef
from hsm.device import DeviceKey
from hsm.service import StoreKeyService

FACTORS: Final = ("province", "city", "card")
REVERSED_CARD: Final = "card backwards"
Fits = Callable[[DeviceKey], bool]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A root and the factors, in order, that give the card's key; `is_right` when they are the ones of the rules."""

    root: KeyRef
    factors: tuple[str, ...]
    is_right: bool


def fits_kcv(kcv: bytes) -> Fits:
    if len(kcv) != card_rules.KCV_LENGTH:
        raise BadInputError("a check value has 3 bytes")
    return lambda key: hmac.compare_digest(card_rules.key_check_value(key), kcv)


def fits_cryptogram(challenge: bytes, original: bytes, cryptogram: bytes) -> Fits:
    """`cryptogram` is the 8-byte 鉴别数据 the card gave over `original`."""
    return lambda key: hmac.compare_digest(card_rules.authentication_value(key, challenge, original), cryptogram)


def explain(service: StoreKeyService, key: KeyRef, factors: CardFactors, fits: Fits) -> Explanation | None:
    """What gives the key the card has; None when no mistake that is tried does. The right way is tried first."""
    known = service.keys()
    alike = [info for info in known if info.ref.name == key.name and info.purpose in CARD_PURPOSES]
    for root in sorted(alike, key=lambda info: info.ref != key):
        right = FACTORS[root.level - 1 :] if root.level else ()
        for names in _ways(right):
            if _gives(service, root, _values(names, factors), fits):
                return Explanation(root.ref, names, names == right and root.ref == key)
    return None


def _ways(right: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The right factors first, then fewer, more and other orders."""
    yield right
    for card in ("card", REVERSED_CARD):
        for count in range(4):
            for names in permutations((*FACTORS[:2], card), count):
                if names != right:
                    yield names


def _values(names: tuple[str, ...], factors: CardFactors) -> list[bytes]:
    province, city = card_rules.region_factors(factors.region)
    values = {"province": province, "city": city, "card": factors.card, REVERSED_CARD: factors.card[::-1]}
    return [values[name] for name in names]


def _gives(service: StoreKeyService, root: KeyInfo, parts: list[bytes], fits: Fits) -> bool:
    return service.use_key(root.ref, root.purpose, lambda key: fits(card_rules.diversified(key, parts)))
