"""Makes what a phone needs for its transit codes: issuer certificates signed by a root, authorisations by an issuer.

Both keys are SM2 pairs of purpose SIGN in a `KeyService`. The user id of every signature is the default one
(1234567812345678), which has to be named: the key service itself assumes an empty one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cardlib.spec.transit_code import CodeProfile
from cardlib.transit_code import (
    MAJORITY,
    SPEC,
    Authorisation,
    IssuerCertificate,
    SignedAuthorisation,
    TransitCodeValueError,
    root_signed_part,
)
from hsm.api import KeyRef, KeyService
from hsm.primitives import compress

ISSUER_KEY: Final = "TRANSIT_ISSUER"
"""Name of the issuer's pairs in a key service; whose certificate it is tells which version signs."""
WARN_DAYS: Final = 60
"""A certificate that ends sooner is told of, so that there is time for the next."""
_UNSIGNED = bytes(SPEC.certificate_field("signature").length)


def issue_certificate(
    keys: KeyService,
    root: KeyRef,
    *,
    root_index: int,
    issuer: str,
    expires: str,
    serial: bytes,
    public_key: bytes,
) -> IssuerCertificate:
    """The root's word that `public_key` (04 || X || Y) is the issuer's; `expires` is MMYY, `serial` three bytes.

    Raises TransitCodeValueError, BadInputError for a point off the curve, and what the key service raises.
    """
    unsigned = IssuerCertificate(root_index, issuer, expires, serial, compress(public_key), _UNSIGNED)
    return replace(unsigned, signature=keys.sign(root, root_signed_part(unsigned.encode()), user_id=SPEC.user_id))


def authorise(
    keys: KeyService, issuer: KeyRef, authorisation: Authorisation, profile: CodeProfile = MAJORITY
) -> SignedAuthorisation:
    """Fields 3 to 14. Raises TransitCodeValueError when the certificate is not of this key or of another issuer."""
    certificate = authorisation.certificate
    if compress(keys.public_key(issuer)) != certificate.public_key:
        raise TransitCodeValueError("the certificate is not of the key that signs")
    if certificate.issuer != authorisation.issuer:
        raise TransitCodeValueError(f"issuer {authorisation.issuer} with a certificate of {certificate.issuer}")
    signed = authorisation.signed_part(profile)
    return SignedAuthorisation(authorisation, keys.sign(issuer, signed, user_id=SPEC.user_id))
