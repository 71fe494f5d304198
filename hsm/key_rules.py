"""What a new key may be: its name, its region, and the algorithm, level and length its purpose allows."""

from __future__ import annotations

from typing import Final

from hsm import card_rules
from hsm.api import CARD_ALGORITHMS, CARD_PURPOSES, PAIR_PURPOSES, BadInputError, KeyRef, Purpose

_MAX_NAME: Final = 64


def is_loaded_as_it_is(purpose: Purpose, level: int) -> bool:
    """Cards get this key's own value, so it is kept in the store and not in the device."""
    return level == 0 and purpose in CARD_PURPOSES


def check_ref(key: KeyRef) -> None:
    """Raises BadInputError."""
    if not 1 <= len(key.name) <= _MAX_NAME or not key.name.isprintable() or not 1 <= key.version <= 255:
        raise BadInputError("key name or version out of bounds")
    if not set(key.name).isdisjoint("/@ "):
        raise BadInputError("a key name has no slash, no @ and no space: name/algorithm/version@region")
    if key.region and not (len(key.region) == 6 and key.region.isascii() and key.region.isdigit()):
        raise BadInputError("the region of a key has six digits")


def check_new(key: KeyRef, purpose: Purpose, level: int, length: int) -> None:
    """For all keys but pairs. Raises BadInputError."""
    check_ref(key)
    if key.algorithm not in CARD_ALGORITHMS or purpose in PAIR_PURPOSES:
        raise BadInputError("key pairs are made by generate_pair; other keys are 3DES or SM4")
    if not 0 <= level <= 3:
        raise BadInputError(f"root level must be 0 to 3, not {level}")
    if level and purpose not in CARD_PURPOSES:
        raise BadInputError("only keys of cards are roots")
    card_rules.check_key_length(key.algorithm, length)
    if length == 8 and purpose in (Purpose.SEAL, Purpose.TRANSPORT):
        raise BadInputError("single DES protects nothing but old cards")
