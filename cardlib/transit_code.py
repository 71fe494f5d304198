"""Values of the offline transit code (交通联合二维码) and their bytes; layout: `cardlib.spec.transit_code`.

Parsing judges the form alone: lengths, digits, tags. Whether a code is genuine and may be used now is the business of
`cardlib.transit_code_verifier`. Nothing here is a secret, but accounts are personal data: reprs of these values do not
belong in logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

from cardlib.spec.transit_code import CodeField, CodeProfile, transit_code_spec

SPEC: Final = transit_code_spec()
MAJORITY: Final = SPEC.profiles["a_c"]
CHINA: Final = timezone(timedelta(hours=8))

_HEAD = 3
"""Version and data length, which no count or signature of the issuer includes."""
_FIELDS: Final = {each.number: each for each in SPEC.fields}
_CERTIFICATE, _CUSTOM, _ISSUER_SIGNATURE, _GENERATED, _USER_SIGNATURE = 3, 13, 14, 15, 16
_TAIL = _FIELDS[_GENERATED].length + _FIELDS[_USER_SIGNATURE].length
_TAG = bytes((SPEC.signature_tag,))
_POINT_MARKS = (2, 3)
_CENTURY = 2000
_KEPT = 64
"""Certificates whose values are kept: few issuers sign the codes of many phones."""


class TransitCodeError(Exception):
    """Base of everything that is wrong with a code; each kind names its own `FailureCode`."""

    failure: ClassVar[str] = "TRANSIT_CODE_MALFORMED"


class TransitCodeMalformedError(TransitCodeError):
    """The bytes are no transit code: a length, a digit, a tag or a point is wrong."""


class TransitCodeVersionError(TransitCodeError):
    """A transit code of a version whose layout is not known here."""

    failure: ClassVar[str] = "TRANSIT_CODE_VERSION"


class TransitCodeValueError(ValueError):
    """A value that does not fit its field; nothing was encoded."""

    failure: ClassVar[str] = "INPUT_INVALID"


def _mark(slug: str) -> bytes:
    value = SPEC.certificate_field(slug).value
    assert value is not None, slug
    return value


@dataclass(frozen=True, slots=True)
class IssuerCertificate:
    """Field 3, 117 bytes. `issuer` eight digits, `expires` MMYY, keys as compressed points, `signature` r ‖ s.

    The marks (`header`, `service`, …) default to what every certificate carries; parsing takes any.
    """

    root_index: int
    issuer: str
    expires: str
    serial: bytes
    public_key: bytes
    signature: bytes
    header: bytes = field(default=_mark("header"))
    service: bytes = field(default=_mark("service"))
    format: bytes = field(default=_mark("format"))
    signature_algorithm: bytes = field(default=_mark("signature_algorithm"))
    encryption_algorithm: bytes = field(default=_mark("encryption_algorithm"))
    parameter: bytes = field(default=_mark("parameter"))
    key_length: bytes = field(default=_mark("key_length"))

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises TransitCodeMalformedError."""
        if len(raw) != SPEC.field("certificate").length:
            raise TransitCodeMalformedError(f"issuer certificate of {len(raw)} bytes")
        values, at = {}, 0
        for part in SPEC.certificate:
            values[part.slug] = _decode(part, raw[at : at + part.length])
            at += part.length
        if not 1 <= int(values["expires"][:2]) <= 12:
            raise TransitCodeMalformedError("the certificate expires in no month of the year")
        return cls(**values)

    def encode(self) -> bytes:
        """Raises TransitCodeValueError."""
        if not (len(self.expires) == 4 and "01" <= self.expires[:2] <= "12"):
            raise TransitCodeValueError(f"expires: {self.expires!r} is not MMYY")
        return b"".join(_encode(part, getattr(self, part.slug)) for part in SPEC.certificate)

    @property
    def ends_at(self) -> int:
        """Unix seconds of the first moment, in China, after the month in which it expires."""
        return _end_of_month(self.expires)


@lru_cache(maxsize=_KEPT)
def _end_of_month(expires: str) -> int:
    month, year = int(expires[:2]), _CENTURY + int(expires[2:])
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return int(datetime(*following, 1, tzinfo=CHINA).timestamp())


@lru_cache(maxsize=_KEPT)
def _certificate(raw: bytes) -> IssuerCertificate:
    return IssuerCertificate.parse(raw)


def root_signed_part(certificate: bytes) -> bytes:
    """What the root signs: 47 of the 117 bytes, from 证书格式 through 公钥."""
    names = [part.slug for part in SPEC.certificate]
    start = sum(part.length for part in SPEC.certificate[: names.index("format")])
    return certificate[start : -SPEC.certificate_field("signature").length]


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Fields 3 to 13: what the issuer allows one phone's key. Times in Unix seconds, whatever the profile counts from.

    `card_account` 20 digits, `issuer` 8 digits, `user_key` a compressed point, `custom` at most 32 bytes.
    """

    certificate: IssuerCertificate
    payment_account: str
    card_account: str
    issuer: str
    platform: bytes
    account_type: int
    amount_limit_fen: int
    user_key: bytes
    authorised_until: int
    validity_s: int
    custom: bytes = b""

    def signed_part(self, profile: CodeProfile = MAJORITY) -> bytes:
        """What the issuer signs: the fields from 3 to the one before 14. Raises TransitCodeValueError."""
        parts = _body(self, profile)
        before = profile.order[: profile.order.index(_ISSUER_SIGNATURE)]
        return b"".join(parts[number] for number in before if number >= _CERTIFICATE)


@dataclass(frozen=True, slots=True)
class SignedAuthorisation:
    """Fields 3 to 14, which the phone keeps until they end; its bytes are everything a code has before field 15."""

    fields: Authorisation
    signature: bytes

    @classmethod
    def parse(cls, raw: bytes, profile: CodeProfile = MAJORITY) -> Self:
        """Raises TransitCodeMalformedError and TransitCodeVersionError."""
        values = _read(raw, profile, total=len(raw) + _TAIL)
        signature = values.pop("issuer_signature")
        return cls(Authorisation(**values), signature)

    def encode(self, profile: CodeProfile = MAJORITY) -> bytes:
        """With the data length of the finished code. Raises TransitCodeValueError."""
        parts = _body(self.fields, profile)
        parts[_ISSUER_SIGNATURE] = _encode(_FIELDS[_ISSUER_SIGNATURE], self.signature)
        body = b"".join(parts[number] for number in profile.order if number in parts)
        return bytes((SPEC.version,)) + (len(body) + _TAIL).to_bytes(2, "big") + body


@dataclass(frozen=True, slots=True)
class TransitCode:
    """One code as shown: 332 to 364 bytes."""

    authorisation: SignedAuthorisation
    generated_at: int
    user_signature: bytes

    @classmethod
    def parse(cls, raw: bytes, profile: CodeProfile = MAJORITY) -> Self:
        """Raises TransitCodeMalformedError and TransitCodeVersionError; nothing may follow the last field."""
        values = _read(raw[:-_TAIL], profile, total=len(raw))
        tail = raw[-_TAIL:]
        split = _FIELDS[_GENERATED].length
        signature = values.pop("issuer_signature")
        return cls(
            SignedAuthorisation(Authorisation(**values), signature),
            _decode(_FIELDS[_GENERATED], tail[:split]) + profile.generation_epoch,
            _decode(_FIELDS[_USER_SIGNATURE], tail[split:]),
        )

    def encode(self, profile: CodeProfile = MAJORITY) -> bytes:
        """Raises TransitCodeValueError."""
        return (
            self.authorisation.encode(profile)
            + _encode(_FIELDS[_GENERATED], self.generated_at - profile.generation_epoch)
            + _encode(_FIELDS[_USER_SIGNATURE], self.user_signature)
        )


def issuer_signed_part(raw: bytes, profile: CodeProfile = MAJORITY) -> bytes:
    """Of a code that was parsed: the bytes under the issuer's signature."""
    custom = len(raw) - SPEC.min_length if profile.is_custom_signed else 0
    return raw[_HEAD : profile.issuer_signed_end + custom]


def user_signed_part(raw: bytes) -> bytes:
    """Of a code that was parsed: everything before the user's signature."""
    return raw[: -_FIELDS[_USER_SIGNATURE].length]


def _body(authorisation: Authorisation, profile: CodeProfile) -> dict[int, bytes]:
    """Bytes of fields 3 to 13 by number."""
    parts = {}
    for number in range(_CERTIFICATE, _CUSTOM + 1):
        each = _FIELDS[number]
        value = getattr(authorisation, each.slug)
        if each.coding == "certificate":
            parts[number] = value.encode()
        elif number == _CUSTOM:
            if len(value) > SPEC.custom_max:
                raise TransitCodeValueError(f"custom: {len(value)} bytes, at most {SPEC.custom_max}")
            parts[number] = bytes((len(value),)) + value
        else:
            parts[number] = _encode(each, value - profile.epoch if each.coding == "time" else value)
    return parts


def _read(raw: bytes, profile: CodeProfile, *, total: int) -> dict[str, Any]:
    """Values of fields 3 to 14 by slug; `raw` ends with the last of them in a code of `total` bytes."""
    if raw and raw[0] != SPEC.version:
        raise TransitCodeVersionError(f"version {raw[0]:02X}")
    if not SPEC.min_length <= total <= SPEC.max_length:
        raise TransitCodeMalformedError(f"a transit code has {SPEC.min_length} to {SPEC.max_length} bytes, not {total}")
    if int.from_bytes(raw[1:_HEAD], "big") != total - _HEAD:
        raise TransitCodeMalformedError("the data length is not that of the code")
    values: dict[str, Any] = {}
    at = _HEAD
    for number in profile.order[2:-2]:
        each = _FIELDS[number]
        content = raw[at : at + each.length]
        at += each.length
        if number == _CUSTOM:
            # The code's length leaves one value for this byte; any other would move what follows.
            if content[0] != total - SPEC.min_length:
                raise TransitCodeMalformedError("the length of the custom field is not that of the code")
            content = raw[at : at + content[0]]
            at += len(content)
        value = _decode(each, content)
        values[each.slug] = value + profile.epoch if each.coding == "time" else value
    return values


def _decode(each: CodeField, raw: bytes) -> Any:
    return _DECODERS[each.coding](each, raw)


def _from_number(_: CodeField, raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _from_digits(each: CodeField, raw: bytes) -> str:
    text = raw.hex()
    if not text.isdecimal():
        raise TransitCodeMalformedError(f"{each.slug}: not decimal digits")
    return text


def _from_text(each: CodeField, raw: bytes) -> str:
    text = raw.lstrip(b"\x00").decode("latin-1")
    if not text or " " in text or not (text.isascii() and text.isprintable()):
        raise TransitCodeMalformedError(f"{each.slug}: printable characters after 00 were expected")
    return text


def _from_point(each: CodeField, raw: bytes) -> bytes:
    if raw[0] not in _POINT_MARKS:
        raise TransitCodeMalformedError(f"{each.slug}: no compressed point")
    return raw


def _from_signature(each: CodeField, raw: bytes) -> bytes:
    if raw[:1] != _TAG:
        raise TransitCodeMalformedError(f"{each.slug}: tag {raw[:1].hex()} where {_TAG.hex()} was expected")
    return raw[1:]


def _encode(each: CodeField, value: Any) -> bytes:
    """The field's bytes; `value` as `_decode` gives it."""
    try:
        raw = _ENCODERS[each.coding](each, value)
        is_same = len(raw) == each.length and _decode(each, raw) == value
    except (OverflowError, ValueError, TypeError, AttributeError, TransitCodeMalformedError) as error:
        raise TransitCodeValueError(f"{each.slug}: no value for {each.length} bytes") from error
    if not is_same:
        raise TransitCodeValueError(f"{each.slug}: does not fit {each.length} bytes")
    return raw


def _number(each: CodeField, value: int) -> bytes:
    return value.to_bytes(each.length, "big")


def _as_it_is(_: CodeField, value: bytes) -> bytes:
    return value


_DECODERS: Final[Mapping[str, Callable[[CodeField, bytes], Any]]] = {
    "u": _from_number,
    "time": _from_number,
    "cn": _from_digits,
    "an": _from_text,
    "b": _as_it_is,
    "point": _from_point,
    "sm2": _from_signature,
    "certificate": lambda _, raw: _certificate(raw),
}
_ENCODERS: Final[Mapping[str, Callable[[CodeField, Any], bytes]]] = {
    "u": _number,
    "time": _number,
    "cn": lambda _, value: bytes.fromhex(value),
    "an": lambda each, value: value.encode("ascii").rjust(each.length, b"\x00"),
    "b": _as_it_is,
    "point": _as_it_is,
    "sm2": lambda _, value: _TAG + value,
}
