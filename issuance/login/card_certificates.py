"""Certificates that cards log in by: issued by an office on the list, in term, not revoked, and naming one chip.

The subject's common name is the card number, its serialNumber the card's identification code (卡识别码).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cardlib.pki_certificate import Certificate, CertificateError
from hsm.api import BadInputError
from hsm.primitives import default_engine, signature_from_der

LONGEST: Final = 4096
_SM2_WITH_SM3: Final = "1.2.156.10197.1.501"
_KNOWN: Final = (x509.BasicConstraints, x509.KeyUsage)
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    NotImplementedError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class CardIdentity:
    """`public` is 04 || X || Y."""

    card_number: str
    identification_code: str
    public: bytes


@dataclass(frozen=True, slots=True)
class _Anchor:
    certificate: x509.Certificate
    key: Certificate

    def is_in_term(self, now: datetime) -> bool:
        return self.key.not_before <= now <= self.key.not_after

    def has_signed(self, issuer: x509.Name, body: bytes, signature: bytes) -> bool:
        return issuer == self.certificate.subject and _is_signed(self.key.public, body, signature)


class CardCertificates:
    """`anchors`: PEM certificates of the offices that certify cards, None where nobody logs in by card.
    `revocations`: their signed lists in PEM; with it, a certificate of an office without a list in term is refused.
    """

    def __init__(self, anchors: Path | None, revocations: Path | None = None) -> None:
        self.anchors = anchors
        self.revocations = revocations

    @property
    def is_configured(self) -> bool:
        return self.anchors is not None

    def identity(self, raw: bytes, now: datetime) -> CardIdentity:
        """Reads files and verifies: not for the event loop. Raises CertificateError."""
        if self.anchors is None:
            raise CertificateError("no office is trusted with cards")
        own, parsed = _parsed(raw)
        own.check_term(now)
        in_term = [anchor for anchor in _anchors(*_read(self.anchors)) if anchor.is_in_term(now)]
        issuer = next((anchor for anchor in in_term if _has_issued(anchor, parsed)), None)
        if issuer is None:
            raise CertificateError("of an issuer that is not accepted")
        _demand_use(parsed)
        if self.revocations is not None:
            self._demand_not_revoked(self.revocations, issuer, parsed, now)
        name = parsed.subject
        return CardIdentity(_only(name, NameOID.COMMON_NAME), _only(name, NameOID.SERIAL_NUMBER), own.public)

    @staticmethod
    def _demand_not_revoked(path: Path, issuer: _Anchor, parsed: x509.Certificate, now: datetime) -> None:
        lists = [found for found in _lists(*_read(path)) if _has_listed(issuer, found)]
        current = [found for found in lists if found.last_update_utc <= now < _end_of(found) and _is_whole(found)]
        if not current:
            raise CertificateError("no list of revoked certificates in term")
        if any(found.get_revoked_certificate_by_serial_number(parsed.serial_number) is not None for found in current):
            raise CertificateError("revoked")


def _parsed(raw: bytes) -> tuple[Certificate, x509.Certificate]:
    if len(raw) > LONGEST:
        raise CertificateError("too long")
    own = Certificate.from_der(raw)
    try:
        parsed = x509.load_der_x509_certificate(raw)
        _ = parsed.issuer, parsed.subject, parsed.extensions  # read here, where what cannot be read is refused
        if parsed.version is not x509.Version.v3 or parsed.signature_algorithm_oid.dotted_string != _SM2_WITH_SM3:
            raise CertificateError("not signed by SM2 with SM3")
    except _UNREADABLE as error:
        raise CertificateError("not an X.509 certificate") from error
    return own, parsed


def _demand_use(parsed: x509.Certificate) -> None:
    """RFC 5280, 4.2: of a card and no office, for signatures, with no critical extension that is not understood."""
    extensions = list(parsed.extensions)
    found = {type(extension.value): extension.value for extension in extensions}
    constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
    is_office = isinstance(constraints, x509.BasicConstraints) and constraints.ca
    signs = isinstance(usage, x509.KeyUsage) and usage.digital_signature and not usage.key_cert_sign
    if is_office or not signs or any(e.critical and not isinstance(e.value, _KNOWN) for e in extensions):
        raise CertificateError("not the certificate of a card's signing key")


def _only(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    values = [str(attribute.value) for attribute in name.get_attributes_for_oid(kind)]
    if len(values) != 1:
        raise CertificateError("it does not name one card")
    return values[0]


def _has_issued(anchor: _Anchor, parsed: x509.Certificate) -> bool:
    return anchor.has_signed(parsed.issuer, parsed.tbs_certificate_bytes, parsed.signature)


def _has_listed(anchor: _Anchor, found: x509.CertificateRevocationList) -> bool:
    return anchor.has_signed(found.issuer, found.tbs_certlist_bytes, found.signature)


def _is_whole(found: x509.CertificateRevocationList) -> bool:
    """RFC 5280, 5.2: whatever makes a list one of changes alone, or of some certificates only, is critical."""
    try:
        return not any(extension.critical for extension in found.extensions)
    except _UNREADABLE:
        return False


def _end_of(found: x509.CertificateRevocationList) -> datetime:
    """A list that names no end is over at once: RFC 5280, 5.1.2.5 wants one."""
    return found.next_update_utc or found.last_update_utc


def _is_signed(public: bytes, body: bytes, signature: bytes) -> bool:
    try:
        return default_engine().sm2_verify(public, body, signature_from_der(signature))
    except (BadInputError, ValueError):
        return False


def _read(path: Path) -> tuple[bytes, str]:
    try:
        return path.read_bytes(), path.name
    except OSError as error:
        raise CertificateError(f"{path.name} cannot be read") from error


@lru_cache(maxsize=4)
def _anchors(content: bytes, name: str) -> tuple[_Anchor, ...]:
    """Raises CertificateError for a file that is none of certificates of offices."""
    try:
        loaded = x509.load_pem_x509_certificates(content)
        return tuple(_Anchor(found, Certificate.from_der(found.public_bytes(Encoding.DER))) for found in loaded)
    except ValueError as error:
        raise CertificateError(f"{name} holds no certificates") from error


@lru_cache(maxsize=4)
def _lists(content: bytes, name: str) -> tuple[x509.CertificateRevocationList, ...]:
    parts = content.split(b"-----END X509 CRL-----")
    try:
        return tuple(x509.load_pem_x509_crl(part + b"-----END X509 CRL-----\n") for part in parts if part.strip())
    except ValueError as error:
        raise CertificateError(f"{name} holds no list of revoked certificates") from error
