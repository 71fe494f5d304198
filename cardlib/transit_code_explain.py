"""Words for the fields of a transit code; accounts are masked unless asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cardlib.explain import Line
from cardlib.identity import mask_card_number, mask_id
from cardlib.spec.transit_code import CodeField, CodeProfile
from cardlib.transit_code import CHINA, SPEC, IssuerCertificate, TransitCode

_MASKS = {"payment_account": mask_id, "card_account": mask_card_number}


def lines(code: TransitCode, profile: CodeProfile, *, show_personal: bool = False) -> Iterator[Line]:
    """One line for each field in the order of the bytes, the parts of the certificate under field 3."""
    length = len(code.encode(profile))
    signed = code.authorisation
    others: dict[str, Any] = {
        "version": SPEC.version,
        "data_length": length - 3,
        "issuer_signature": signed.signature,
        "generated_at": code.generated_at,
        "user_signature": code.user_signature,
    }
    by_number = {each.number: each for each in SPEC.fields}
    for number in profile.order:
        each = by_number[number]
        value = others[each.slug] if each.slug in others else getattr(signed.fields, each.slug)
        if isinstance(value, IssuerCertificate):
            yield _line(each, f"{each.length} 字节 / bytes")
            yield from certificate_lines(value)
        else:
            is_masked = each.is_personal and not show_personal
            yield _line(each, _MASKS[each.slug](value) if is_masked else _text(each, value))


def certificate_lines(certificate: IssuerCertificate) -> Iterator[Line]:
    """One line for each part of an issuer certificate; nothing in it is personal."""
    for part in SPEC.certificate:
        yield _line(part, _text(part, getattr(certificate, part.slug)))


def _line(each: CodeField, text: str) -> Line:
    mark = f"{each.number:2d} " if each.number else "   · "
    return Line(mark + each.name_zh, each.name_en, text)


def _text(each: CodeField, value: Any) -> str:
    if each.coding == "time":
        return datetime.fromtimestamp(value, CHINA).isoformat(sep=" ")
    if isinstance(value, bytes):
        return value.hex().upper() or "–"
    if each.slug in ("version", "account_type"):
        return f"{value:02X}"
    return str(value)
