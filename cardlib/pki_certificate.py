"""What a verifier needs of an SM2 certificate: its public key and its term (GB/T 20518, RFC 5280 §4.1).

Who issued it, and whether it was revoked, is for the program that relies on it: no trust anchors are kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final, Self

from apdu.errors import TlvDecodingError
from apdu.tlv import Tlv, parse
from hsm.api import BadInputError
from hsm.primitives.sm2_forms import check_public

_SEQUENCE, _BIT_STRING, _VERSION = 0x30, 0x03, 0xA0
_TIME_FORMATS: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
_TIME_LENGTHS: Final = {0x17: 13, 0x18: 15}
_KEY_ON_SM2 = bytes.fromhex("06072A8648CE3D0201 06082A811CCF5501822D")
"""id-ecPublicKey on curve 1.2.156.10197.1.301 (GM/T 0006)."""


class CertificateError(Exception):
    """Malformed, no SM2 certificate, or out of its term. Driver code -23."""

    failure: ClassVar[str] = "CERTIFICATE_INVALID"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`public` is 04 || X || Y, a point of the curve; the term includes both of its ends."""

    public: bytes
    not_before: datetime
    not_after: datetime

    @classmethod
    def from_der(cls, raw: bytes) -> Self:
        """Raises CertificateError."""
        try:
            return cls(*_fields(raw))
        except (TlvDecodingError, BadInputError, ValueError) as error:
            raise CertificateError("not an SM2 certificate in DER") from error

    def check_term(self, now: datetime) -> None:
        """Raises CertificateError."""
        if not self.not_before <= now <= self.not_after:
            raise CertificateError("the certificate is not valid today")


def _fields(raw: bytes) -> tuple[bytes, datetime, datetime]:
    body, _algorithm, _signature = _sequence(_only(raw)).children
    parts = [part for part in _sequence(body).children if part.tag != _VERSION]
    _serial, _algorithm, _issuer, term, _subject, key = parts[:6]
    start, end = (_time(moment) for moment in _sequence(term).children)
    kind, bits = _sequence(key).children
    if _sequence(kind).value != _KEY_ON_SM2 or bits.tag != _BIT_STRING or bits.value[:1] != b"\x00":
        raise ValueError("no SM2 key")
    return check_public(bits.value[1:]), start, end


def _only(raw: bytes) -> Tlv:
    (tlv,) = parse(raw)
    if tlv.to_bytes() != raw:
        raise ValueError("bytes around the certificate, or a length in a long form")
    return tlv


def _sequence(tlv: Tlv) -> Tlv:
    if tlv.tag != _SEQUENCE:
        raise ValueError("a sequence was expected")
    return tlv


def _time(tlv: Tlv) -> datetime:
    text = tlv.value.decode("ascii")
    if len(text) != _TIME_LENGTHS.get(tlv.tag):
        raise ValueError("a time in UTC was expected")
    moment = datetime.strptime(text, _TIME_FORMATS[tlv.tag]).replace(tzinfo=UTC)
    # 50 to 99 are of the last century (RFC 5280 §4.1.2.5.1); the format's own border is 69.
    is_old = tlv.tag == 0x17 and moment.year >= 2050
    return moment.replace(year=moment.year - 100) if is_old else moment
