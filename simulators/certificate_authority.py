"""The office that certifies the keys of cards: X.509 v3 by SM2 with SM3 (GB/T 20518), and a list of revoked ones.

A certificate names its card, not its holder, since anybody who holds a reader to a card can read it: common name the
card number, serialNumber the card's identification code (卡识别码), which only one chip bears.
"""

from __future__ import annotations

import base64
import datetime
import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import Final, Self

from apdu.tlv import parse
from simulators.apps import sm2
from simulators.apps.certificate import (
    COMMON_NAME,
    SERIAL_NUMBER,
    SM2_WITH_SM3,
    der,
    integer,
    moment,
    name,
    public_key,
    signed,
    term,
)

ROOT_YEARS: Final = 20
_BASIC_CONSTRAINTS, _KEY_USAGE = bytes.fromhex("0603551D13"), bytes.fromhex("0603551D0F")
_DELTA_LIST: Final = bytes.fromhex("0603551D1B")
_CRITICAL: Final = b"\x01\x01\xff"
_SIGNS_CERTIFICATES: Final = bytes.fromhex("03020106")
"""keyCertSign, cRLSign."""
_SIGNS_DATA: Final = bytes.fromhex("030206C0")
"""digitalSignature, nonRepudiation."""


@dataclass(slots=True)
class CertificateAuthority:
    """`issued`: certificates by card number, in hex; `revoked`: serial numbers, in decimal."""

    name: str
    private: str = field(repr=False)
    since: str
    issued: dict[str, list[str]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)

    @classmethod
    def new(cls, name: str, since: datetime.datetime) -> Self:
        return cls(name, sm2.generate()[0].hex(), since.isoformat())

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)

    def root(self) -> bytes:
        """Its own certificate, self-signed: what others trust it by."""
        start = datetime.datetime.fromisoformat(self.since)
        until = start + datetime.timedelta(days=365 * ROOT_YEARS)
        constraints = _extension(_BASIC_CONSTRAINTS, der(0x30, b"\x01\x01\xff"))
        extensions = constraints + _extension(_KEY_USAGE, _SIGNS_CERTIFICATES)
        return self._issue(self._name, self._public, start, until, extensions, serial=1)

    def certificate(
        self,
        public: bytes,
        card_number: str,
        identification_code: str,
        start: datetime.datetime,
        until: datetime.datetime,
        *,
        is_authority: bool = False,
    ) -> bytes:
        """Of a card's signing key, 04 || X || Y. `is_authority` makes it one that no card should have."""
        subject = name((COMMON_NAME, card_number), (SERIAL_NUMBER, identification_code))
        constraints = der(0x30, b"\x01\x01\xff" if is_authority else b"")
        extensions = _extension(_BASIC_CONSTRAINTS, constraints) + _extension(_KEY_USAGE, _SIGNS_DATA)
        made = self._issue(subject, public, start, until, extensions, serial=secrets.randbits(120) | 1 << 119)
        self.issued.setdefault(card_number, []).append(made.hex())
        return made

    def revoke(self, certificate: bytes) -> None:
        """Have it on the lists from now on."""
        body = parse(parse(certificate)[0].value)[0]
        serial = str(int.from_bytes(parse(body.value)[1].value, "big"))
        if serial not in self.revoked:
            self.revoked.append(serial)

    def revocations(self, at: datetime.datetime, until: datetime.datetime, *, base: int | None = None) -> bytes:
        """The list of revoked certificates (RFC 5280, 5), good until `until`. `base` makes it one of what changed since
        the list of that number (5.2.4)."""
        entries = b"".join(der(0x30, integer(int(serial)) + moment(at)) for serial in self.revoked)
        listed = der(0x30, entries) if entries else b""
        changes = b"" if base is None else der(0xA0, der(0x30, _extension(_DELTA_LIST, integer(base))))
        body = integer(1) + SM2_WITH_SM3 + self._name + moment(at) + moment(until) + listed + changes
        return signed(der(0x30, body), self._key, self._public)

    @property
    def _key(self) -> bytes:
        return bytes.fromhex(self.private)

    @property
    def _public(self) -> bytes:
        return sm2.public_key(self._key)

    @property
    def _name(self) -> bytes:
        return name((COMMON_NAME, self.name))

    def _issue(
        self,
        subject: bytes,
        public: bytes,
        start: datetime.datetime,
        until: datetime.datetime,
        extensions: bytes,
        *,
        serial: int,
    ) -> bytes:
        head = der(0xA0, integer(2)) + integer(serial) + SM2_WITH_SM3 + self._name + term(start, until) + subject
        tail = public_key(public) + der(0xA3, der(0x30, extensions))
        return signed(der(0x30, head + tail), self._key, self._public)


def pem(label: str, raw: bytes) -> str:
    text = base64.encodebytes(raw).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


def _extension(kind: bytes, value: bytes) -> bytes:
    return der(0x30, kind + _CRITICAL + der(0x04, value))
