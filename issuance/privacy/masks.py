"""How personal data may show on screens, in print and in answers: every mask of the service, by kind of data.

Cards' own masks are in `cardlib`; here is the rest, and one table of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cardlib.bank import masked as mask_bank_number
from cardlib.identity import mask_card_number, mask_id, mask_name


def mask_telephone(number: str) -> str:
    """138****0000; of a shorter one the last two digits."""
    if len(number) < 11:
        return "*" * max(len(number) - 2, 0) + number[-2:] if len(number) > 4 else "*" * len(number)
    return number[:3] + "*" * (len(number) - 7) + number[-4:]


def mask_address(address: str) -> str:
    """The first six characters at most, never more than half: province and city, no street."""
    shown = min(6, len(address) // 2)
    return address[:shown] + "*" * 4 if address else ""


def mask_document(number: str) -> str:
    """Passports and permits: the last two characters of at least five."""
    return "*" * (len(number) - 2) + number[-2:] if len(number) >= 5 else "*" * len(number)


def mask_all(value: str) -> str:
    """Something is there, and nothing else."""
    return "****" if value else ""


MASKS: Final[Mapping[str, Callable[[str], str]]] = {
    "name": mask_name,
    "social_security_number": mask_id,
    "card_number": mask_card_number,
    "account_number": mask_bank_number,
    "telephone": mask_telephone,
    "document_number": mask_document,
    "address": mask_address,
    "birth_date": mask_all,
}


def mask(kind: str, value: str) -> str:
    """By the last part of the kind: `guardian_name` is a name. Of a kind that has no mask nothing shows."""
    for known, function in MASKS.items():
        if kind == known or kind.endswith(f"_{known}"):
            return function(value)
    return mask_all(value)
