"""The issuer this centre is to transit gates: a certificate in a file, and the key in the key service it is of.

The file is read for every authorisation, so that the next certificate counts as soon as it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from cardlib.transit_code import IssuerCertificate, TransitCodeError
from cardlib.transit_code_issuer import ISSUER_KEY, WARN_DAYS
from hsm.api import Algorithm, KeyRef, KeyService, KeyState
from hsm.primitives import compress
from issuance.clock import china_date
from issuance.logs import get_logger
from issuance.problems import ProblemError

log = get_logger("issuance.transit_codes")


@dataclass(frozen=True, slots=True)
class Issuer:
    key: KeyRef
    certificate: IssuerCertificate


class TransitIssuer:
    """`path` holds the 117 bytes of the certificate; None where this centre makes no transit codes."""

    def __init__(self, keys: KeyService, path: Path | None) -> None:
        self._keys = keys
        self._path = path
        self._warned_on: date | None = None

    def current(self, now: datetime) -> Issuer:
        """Raises TRANSIT_ISSUER_MISSING without a certificate of an active key here, TRANSIT_ISSUER_EXPIRED.

        Reads a file and asks the key service: not for the event loop.
        """
        issuer = self._found(self._content())
        if now.timestamp() >= issuer.certificate.ends_at:
            raise ProblemError("TRANSIT_ISSUER_EXPIRED", f"MMYY {issuer.certificate.expires}")
        self._warn(issuer.certificate, now)
        return issuer

    def _warn(self, certificate: IssuerCertificate, now: datetime) -> None:
        """Once a day, while the certificate has not long to live."""
        days = int((certificate.ends_at - now.timestamp()) // 86_400)
        if days < WARN_DAYS and self._warned_on != china_date(now):
            self._warned_on = china_date(now)
            log.warning("transit_certificate_ends_soon", issuer=certificate.issuer, days=days)

    def _content(self) -> bytes:
        if self._path is None:
            raise _missing("no certificate is set: onecard ecard ca issue --use")
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise _missing(f"{self._path.name}: {error.strerror}") from None

    def _found(self, raw: bytes) -> Issuer:
        try:
            certificate = IssuerCertificate.parse(raw)
        except TransitCodeError as error:
            raise _missing(f"the file is no certificate: {error}") from None
        held = self._keys.keys()
        for info in held:
            ref = info.ref
            if ref.name != ISSUER_KEY or ref.algorithm is not Algorithm.SM2 or info.state is not KeyState.ACTIVE:
                continue
            if compress(self._keys.public_key(ref)) == certificate.public_key:
                return Issuer(ref, certificate)
        raise _missing(f"no active {ISSUER_KEY} key is that of the certificate")


def issuer_of(path: Path | None) -> str:
    """Eight digits of the issuer that this certificate is of; empty without one that can be read."""
    if path is None:
        return ""
    try:
        return IssuerCertificate.parse(path.read_bytes()).issuer
    except (OSError, TransitCodeError) as error:
        log.error("transit_certificate_unreadable", file=path.name, error=type(error).__name__)
        return ""


def _missing(detail: str) -> ProblemError:
    return ProblemError("TRANSIT_ISSUER_MISSING", detail)
