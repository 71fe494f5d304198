"""Fuzz targets of what a gate is shown and given: transit codes in either profile, open trips, roots, rules."""

from __future__ import annotations

from datetime import date
from itertools import cycle

from bench.fuzz import Target
from cardlib.errors import CardDataError
from cardlib.transit_code import (
    SPEC,
    Authorisation,
    IssuerCertificate,
    SignedAuthorisation,
    TransitCode,
    TransitCodeError,
)
from cardlib.transit_code_anchors import TransitAnchorsError, TrustAnchor, TrustAnchors
from cardlib.transit_process import bus_trip, rail_trip
from cardlib.transit_records import BUS, PROCESS_LENGTH
from cardlib.transit_rules import TransitRules, TransitRulesError
from hsm.primitives import decompress

_POINT = bytes.fromhex("0332C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7")
"""The curve's own base point, so that samples need no key."""

_RULES = b"""
format = "transit-rules-1"
version = "1"
mode = "metro_exit"
valid_from = 2026-01-01
valid_until = 2026-12-31
place = { industry = 1, line = 2, station = 17, city = "9901", institution = "19990100FFFFFFFF" }
issuers = [{ issuer = "*" }]
[fares]
maximum_fen = 900
pairs = { "2:5-2:17" = 500 }
"""


def code_targets() -> tuple[Target, ...]:
    return (
        Target("脱机乘车码", "transit codes", _codes(), _code, (TransitCodeError,)),
        Target("根公钥名单", "trusted roots", (_anchors(),), _roots, (TransitAnchorsError,)),
        Target("行程过程记录", "open trips", _open_trips(), _open_trip, (CardDataError,)),
        Target("交通规则", "transit rules", (_RULES,), TransitRules.parse, (TransitRulesError,)),
    )


def _codes() -> tuple[bytes, ...]:
    certificate = IssuerCertificate(1, "99010001", "1230", b"\x00\x00\x01", _POINT, bytes(64))
    samples = []
    for profile, custom in zip(cycle(SPEC.profiles.values()), (b"", b"1", bytes(16), bytes(32)), strict=False):
        fields = Authorisation(
            certificate, "1", "0" * 20, "99010001", bytes(4), 1, 300, _POINT, 1_800_000_000, 60, custom
        )
        code = TransitCode(SignedAuthorisation(fields, bytes(64)), 1_800_000_000, bytes(64))
        samples.append(code.encode(profile))
    return tuple(samples)


def _code(raw: bytes) -> None:
    """Also with the data length that belongs to it, else most changes are refused for that alone."""
    refusals = []
    for candidate in (raw, raw[:1] + max(0, len(raw) - 3).to_bytes(4, "big")[-2:] + raw[3:]):
        for profile in SPEC.profiles.values():
            try:
                code = TransitCode.parse(candidate, profile)
            except TransitCodeError as error:
                refusals.append(error)
            else:
                assert code.encode(profile) == candidate
                return
    raise refusals[0]


def _open_trips() -> tuple[bytes, ...]:
    heads = (bytes.fromhex("27017D01010100000000000001"), bytes.fromhex("27027D01010100000000000001"))
    return tuple(head.ljust(PROCESS_LENGTH, b"\x01") for head in heads)


def _open_trip(raw: bytes) -> None:
    trip = (bus_trip if raw[1:2] == bytes((BUS,)) else rail_trip)(raw)
    assert trip.moment is None or trip.moment.year >= 1


def _anchors() -> bytes:
    public = decompress(_POINT)
    return TrustAnchors(TrustAnchor(number, "根", public, date(2036, 12, 31)) for number in (1, 2)).encode()


def _roots(raw: bytes) -> None:
    anchors = TrustAnchors.parse(raw)
    assert list(TrustAnchors.parse(anchors.encode())) == sorted(anchors, key=lambda anchor: anchor.index)
