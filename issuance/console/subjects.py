"""What an entry or an approval is about, as pages show it: a kind and an id, card numbers masked."""

from __future__ import annotations

from cardlib.identity import mask_card_number
from issuance.privacy.masks import mask_all

_CARDS = frozenset({"card", "number", "numbers"})
_PERSONAL = frozenset({"holder", "document"})


def parts_of(subject: str) -> tuple[str, str]:
    kind, _, rest = subject.partition(":")
    return kind, rest


def masked_subject(subject: str) -> str:
    """`card:A0000****`; of a long id the first eight characters."""
    kind, rest = parts_of(subject)
    if kind in _CARDS:
        return mask_card_number(rest)
    if kind in _PERSONAL:
        return mask_all(rest)
    return rest if len(rest) <= 26 else f"{rest[:8]}…"
