"""`private_key_jwt`: a relying party proves itself by a token it signed, once (RFC 7523, OpenID Connect Core, 9).

`aud` is the issuer and nothing else: the address of one endpoint would let another provider of the same client have the
token made for it (draft-ietf-oauth-rfc7523bis).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from joserfc.errors import JoseError
from joserfc.jws import extract_compact
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from issuance.database import forgetting
from issuance.login.client_keys import SKEW_S, ClientKeyError, signed_claims
from issuance.login.models import RelyingPartyRow
from issuance.login.provider_models import AssertionRow
from issuance.login.relying_parties import hash_of
from issuance.unit import Unit

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TYPES: Final = (None, "jwt", "client-authentication+jwt")
_LONGEST_ID: Final = 256


def named_client(assertion: str) -> str:
    """Who it says it is of, before anything is verified; empty where it says nothing."""
    try:
        claims = json.loads(extract_compact(assertion.encode()).payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        return ""
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return subject if isinstance(subject, str) else ""


def spend(unit: Unit, session: Session, party: RelyingPartyRow, assertion: str) -> None:
    """Raises ClientKeyError, also for one that was shown before."""
    issuer = unit.services.settings.login_issuer
    claims = signed_claims(assertion, party.jwks, issuer, party.id, unit.now, _TYPES)
    name = claims.get("jti")
    is_name = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_ID
    if claims.get("sub") != party.id or not is_name:
        raise ClientKeyError("not an assertion of this client")
    session.execute(forgetting(AssertionRow, AssertionRow.expires_at < unit.now))
    ends = datetime.fromtimestamp(claims["exp"] + 2 * SKEW_S, UTC)
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    added = (
        dialect.insert(AssertionRow)
        .values(assertion_hash=hash_of(f"{party.id} {name}"), expires_at=ends)
        .on_conflict_do_nothing()
        .returning(AssertionRow.assertion_hash)
    )
    if session.execute(added).first() is None:
        raise ClientKeyError("shown before")
