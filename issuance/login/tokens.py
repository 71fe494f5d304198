"""Tokens of a grant: access and ID tokens as signed JWTs, refresh tokens as random text of which a hash is kept.

Whatever came of a grant ends with it, so every look at an access token looks at its grant.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Final

from authlib.oauth2.rfc6749.errors import InvalidGrantError
from sqlalchemy import update
from sqlalchemy.orm import Session

from hsm.primitives import default_engine
from issuance.login.holders import CardOverError, holder_of
from issuance.login.live import LiveGrant
from issuance.login.models import GrantRow, RefreshTokenRow, RelyingPartyRow
from issuance.login.relying_parties import hash_of
from issuance.login.signing import base64url
from issuance.login.unit import LoginUnit
from issuance.sealing import Sealer
from issuance.unit import Unit

ACCESS_TTL: Final = timedelta(minutes=10)
GRANT_TTL: Final = timedelta(days=30)
ACCESS_TYPE: Final = "at+jwt"
"""RFC 9068, 2.1; an ID token is never taken for an access token, nor the other way round."""
ID_TYPE: Final = "JWT"


def subject_for(sealer: Sealer, person_id: str, sector: str) -> str:
    """The same person at the same sector for ever, and nothing else (OpenID Connect Core, 8.1: pairwise)."""
    return base64url(sealer.index("login_subject", f"{sector}:{person_id}"))


class TokenWriter:
    """Makes what a token endpoint answers, for one grant of one relying party."""

    def __init__(self, unit: LoginUnit, party: RelyingPartyRow) -> None:
        self._unit = unit
        self._party = party

    def answer(self, grant: LiveGrant, scope: str, *, is_refreshable: bool, nonce: str) -> dict[str, Any]:
        """Also stores the refresh token. Raises InvalidGrantError when the card cannot be used any more."""
        settings, now = self._unit.services.settings, int(self._unit.now.timestamp())
        expires_in = int(ACCESS_TTL.total_seconds())
        common = {
            "iss": settings.login_issuer,
            "sub": subject_for(self._unit.services.sealer, self._holder(grant), self._party.sector),
            "sid": grant.id,
            "iat": now,
            "exp": now + expires_in,
            "auth_time": int(grant.auth_time.timestamp()),
            "acr": grant.acr,
            "amr": grant.amr,
        }
        access = self._signed(
            common
            | {
                "aud": settings.login_issuer,
                "client_id": grant.client_id,
                "scope": scope,
                "jti": secrets.token_urlsafe(16),
            },
            ACCESS_TYPE,
        )
        own = {"aud": grant.client_id, "at_hash": _half_hash(access, self._party.signing_algorithm)}
        identity = self._signed(common | own | ({"nonce": nonce} if nonce else {}), ID_TYPE)
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": scope,
            "id_token": identity,
        }
        if is_refreshable:
            answer["refresh_token"] = self._refresh_token(grant)
        return answer

    def _refresh_token(self, grant: LiveGrant) -> str:
        token = secrets.token_urlsafe(32)
        self._unit.later(RefreshTokenRow, token_hash=hash_of(token), grant_id=grant.id)
        return token

    def _signed(self, claims: dict[str, Any], kind: str) -> str:
        unit = self._unit
        return unit.services.login_keys.encode(claims, self._party.signing_algorithm, kind, unit.now)

    def _holder(self, grant: LiveGrant) -> str:
        try:
            return holder_of(self._unit, grant)
        except CardOverError:
            raise InvalidGrantError("The card cannot be used.") from None


def revoke(session: Session, grant_id: str, unit: Unit) -> None:
    session.execute(
        update(GrantRow)
        .where(GrantRow.id == grant_id, GrantRow.revoked_at.is_(None))
        .values(revoked_at=unit.now)
        .execution_options(synchronize_session=False)
    )


def _half_hash(token: str, algorithm: str) -> str:
    """`at_hash` (OpenID Connect Core, 3.1.3.6): the left half of the digest that the algorithm signs."""
    raw = token.encode()
    digest = default_engine().sm3(raw) if algorithm == "SM2-SM3" else hashlib.sha256(raw).digest()
    return base64url(digest[:16])
