"""The offline transit code as data: fields, issuer certificate, profiles for what its sources read differently.

The numbers and their source marks are in `data/transit_code.toml`; `docs/transit-code.md` is the page about them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cardlib.spec.loader import SpecError

_FILE = Path(__file__).with_name("data") / "transit_code.toml"
_CUSTOM, _ISSUER_SIGNATURE = 13, 14


@dataclass(frozen=True, slots=True)
class CodeField:
    """One field; `number` is 0 for the parts of the certificate, `value` what every certificate carries there, or
    only those made here when it `is_open`."""

    number: int
    slug: str
    name_zh: str
    name_en: str
    length: int
    coding: str
    is_personal: bool = False
    value: bytes | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class CodeProfile:
    """One reading of the layout. `epoch` and `generation_epoch` are the Unix seconds from which fields 11 and 15 count;
    `is_custom_signed` tells whether field 13 stands before field 14, under the issuer's signature, which covers the
    bytes up to `issuer_signed_end` and then as many more as the custom field has, if it does."""

    name: str
    name_zh: str
    name_en: str
    source: str
    epoch: int
    generation_epoch: int
    order: tuple[int, ...]
    default_validity_s: int | None
    is_custom_signed: bool
    issuer_signed_end: int


@dataclass(frozen=True, slots=True)
class TransitCodeSpec:
    """The whole table. `fields` stand in the order of their numbers, `certificate` in that of the bytes; `min_length`
    is that of a code whose custom field is empty."""

    version: int
    signature_tag: int
    user_id: bytes
    custom_max: int
    blocked_account_types: frozenset[int]
    skew_s: int
    fields: tuple[CodeField, ...]
    certificate: tuple[CodeField, ...]
    profiles: Mapping[str, CodeProfile]
    min_length: int
    max_length: int

    def field(self, slug: str) -> CodeField:
        """Raises KeyError."""
        return _by_slug(self.fields, slug)

    def certificate_field(self, slug: str) -> CodeField:
        """Raises KeyError."""
        return _by_slug(self.certificate, slug)


@cache
def transit_code_spec() -> TransitCodeSpec:
    """The same immutable object on every call."""
    with _FILE.open("rb") as file:
        table = tomllib.load(file)
    fields = tuple(_field(field) for field in table["field"])
    lengths = {field.number: field.length for field in fields}
    spec = TransitCodeSpec(
        version=table["version"],
        signature_tag=table["signature_tag"],
        user_id=table["user_id"].encode("ascii"),
        custom_max=table["custom_max"],
        blocked_account_types=frozenset(table["blocked_account_types"]),
        skew_s=table["skew_s"],
        fields=fields,
        certificate=tuple(_field(field) for field in table["certificate"]),
        profiles=MappingProxyType(
            {name: _profile(name, profile, lengths) for name, profile in table["profiles"].items()}
        ),
        min_length=sum(lengths.values()),
        max_length=sum(lengths.values()) + table["custom_max"],
    )
    if sum(field.length for field in spec.certificate) != spec.field("certificate").length:
        raise SpecError("the parts of the certificate do not add up to its length")
    return spec


def code_profile(name: str) -> CodeProfile:
    """Raises KeyError."""
    return transit_code_spec().profiles[name]


def _by_slug(fields: tuple[CodeField, ...], slug: str) -> CodeField:
    for field in fields:
        if field.slug == slug:
            return field
    raise KeyError(slug)


def _field(table: Mapping[str, Any]) -> CodeField:
    return CodeField(
        number=table.get("number", 0),
        slug=table["slug"],
        name_zh=table["zh"],
        name_en=table["en"],
        length=table["length"],
        coding=table["coding"],
        is_personal=table.get("is_personal", False),
        value=bytes.fromhex(table["value"]) if "value" in table else None,
        is_open=table.get("is_open", False),
    )


def _profile(name: str, table: Mapping[str, Any], lengths: Mapping[int, int]) -> CodeProfile:
    order = tuple(table["order"])
    if sorted(order) != sorted(lengths):
        raise SpecError(f"profile {name} does not hold every field once")
    before = order[: order.index(_ISSUER_SIGNATURE)]
    return CodeProfile(
        name=name,
        name_zh=table["zh"],
        name_en=table["en"],
        source=table["source"],
        epoch=table["epoch"],
        generation_epoch=table["generation_epoch"],
        order=order,
        default_validity_s=table.get("default_validity_s"),
        is_custom_signed=_CUSTOM in before,
        issuer_signed_end=sum(lengths[number] for number in before),
    )
