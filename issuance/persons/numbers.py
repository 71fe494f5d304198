"""Numbers of identity documents: which kind a number is, and what it tells of its holder.

Resident identity cards and residence permits: GB 11643. Foreigners' permanent residence, form of 2023: 18 digits,
9, place of application (2), nationality in digits (3), birth date, sequence, ISO 7064 check digit; form before: three
letters of the nationality and twelve digits, whose check digit is not published.
"""

from __future__ import annotations

import re

from cardlib.identity import IdentityError, SocialSecurityNumber
from issuance.persons.schemas import DocumentKind

_PERMIT_PREFIXES = {
    DocumentKind.HONG_KONG: "810000",
    DocumentKind.MACAO: "820000",
    DocumentKind.TAIWAN: "830000",
}
_PROVINCES = frozenset(
    map(str, [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66)])
)
"""First two digits of the mainland's divisions (GB/T 2260)."""
_OLD_RESIDENCE = re.compile(r"([A-Z]{3})[0-9]{12}", re.ASCII)
_PASSPORT = re.compile(r"[0-9A-Z]{5,14}", re.ASCII)
_ASSIGNED_DOCUMENT = slice(4, 18)


def kind_of(number: SocialSecurityNumber) -> DocumentKind | None:
    """The document a social security number is itself; None for an assigned number, which does not tell."""
    if number.kind == "assigned":
        return None
    for kind, prefix in _PERMIT_PREFIXES.items():
        if number.region == prefix:
            return kind
    if number.number[0] == "9" and number.number[1:3] in _PROVINCES:
        return DocumentKind.PERMANENT_RESIDENCE
    return DocumentKind.RESIDENT


def document_rule(kind: DocumentKind, printed: str, number: SocialSecurityNumber) -> str | None:
    """The rule that the printed number breaks as this kind of document of the holder of `number`, None when none."""
    printed = printed.strip().upper()
    if kind is DocumentKind.PASSPORT:
        return _passport_rule(printed, number)
    if kind is DocumentKind.PERMANENT_RESIDENCE and _OLD_RESIDENCE.fullmatch(printed):
        # 15 characters do not fit the 14 of an assigned number: only the nationality can be compared.
        return None if number.kind == "assigned" and number.number[:3] == printed[:3] else "document_other_person"
    try:
        parsed = SocialSecurityNumber.parse(printed)
    except IdentityError:
        return "document_form"
    if kind_of(parsed) is not kind:
        return "document_kind"
    return None if parsed.number == number.number else "document_other_person"


def _passport_rule(printed: str, number: SocialSecurityNumber) -> str | None:
    if not _PASSPORT.fullmatch(printed):
        return "document_form"
    if number.kind != "assigned":
        return "document_kind"
    return None if number.number[_ASSIGNED_DOCUMENT] == printed.zfill(14) else "document_other_person"
