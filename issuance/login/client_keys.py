"""Public keys of relying parties, and what they sign with them: client assertions (RFC 7523) and requests (RFC 9101).

Keys are handed over at registration; none is ever fetched from anywhere.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

ALGORITHMS: Final = ("ES256", "RS256")
SKEW_S: Final = 60
LONGEST_LIFE: Final = timedelta(hours=1)
MOST_KEYS: Final = 10
_MEMBERS: Final = {"EC": ("crv", "x", "y"), "RSA": ("n", "e")}
_OPTIONAL: Final = ("kid", "use", "alg")
_RSA_BITS: Final = range(2048, 4097)
_RSA_CHARS: Final = 342
"""Of the least modulus in base64url."""


class ClientKeyError(ValueError):
    """What a relying party sent is not signed as it is registered to sign, or not for here and now."""


def public_key_set(value: Any) -> dict[str, Any]:
    """A JWK Set (RFC 7517) with what is known of each key. Raises ValueError for one that is private, weak or other."""
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= MOST_KEYS:
        raise ValueError("a JWK Set with one to ten keys")
    kept = [_public(key) for key in keys]
    names = [key.get("kid") for key in kept]
    if len(kept) > 1 and (None in names or len(set(names)) != len(names)):
        raise ValueError("each of several keys has a kid of its own")
    return {"keys": kept}


def _public(key: Any) -> dict[str, str]:
    kind = key.get("kty") if isinstance(key, dict) else None
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None or "d" in key:
        raise ValueError("public EC or RSA keys only")
    kept = {name: key[name] for name in ("kty", *members, *_OPTIONAL) if name in key}
    if not all(isinstance(text, str) and len(text) <= 1024 for text in kept.values()):
        raise ValueError("members of a key are text")
    algorithm = "ES256" if key["kty"] == "EC" else "RS256"
    if kept.get("use", "sig") != "sig" or kept.get("alg", algorithm) != algorithm:
        raise ValueError(f"a key for signatures with {algorithm}")
    try:
        if algorithm == "ES256":
            is_strong = ECKey.import_key(dict(kept)).curve_name == "P-256"
        else:
            is_long = len(kept["n"]) >= _RSA_CHARS  # joserfc takes shorter ones and warns
            is_strong = is_long and RSAKey.import_key(dict(kept)).public_key.key_size in _RSA_BITS
    except (JoseError, ValueError, KeyError, TypeError):
        raise ValueError("a key that cannot be read") from None
    if not is_strong:
        raise ValueError("P-256, or RSA with 2048 to 4096 bits")
    return kept | {"alg": algorithm}


def signed_claims(
    token: str, jwks: dict[str, Any] | None, issuer: str, client_id: str, now: datetime, types: tuple[str | None, ...]
) -> dict[str, Any]:
    """Claims that the relying party signed for this provider (`iss`, `aud`), within an hour before `exp`.

    `types`: values that the header `typ` may have, in small letters; None for no `typ`. Raises ClientKeyError.
    """
    if jwks is None:
        raise ClientKeyError("no key is registered")
    try:
        found = jwt.decode(token, KeySet.import_key_set(jwks), algorithms=list(ALGORITHMS))  # type: ignore[arg-type]
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise ClientKeyError(type(error).__name__) from None
    kind = found.header.get("typ")
    if (kind.lower() if isinstance(kind, str) else kind) not in types:
        raise ClientKeyError("a token of another kind")
    claims = found.claims
    if claims.get("iss") != client_id or claims.get("aud") not in (issuer, [issuer]):
        raise ClientKeyError("of or for somebody else")
    _demand_in_time(claims, now.timestamp())
    return claims


def _demand_in_time(claims: dict[str, Any], now: float) -> None:
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or not all(type(at) in (int, float) for at in times.values()):
        raise ClientKeyError("times are numbers, and it has an end")
    ends = times.pop("exp")
    if not now < ends + SKEW_S or ends > now + LONGEST_LIFE.total_seconds() + SKEW_S:
        raise ClientKeyError("over, or good for too long")
    if any(at > now + SKEW_S for at in times.values()):
        raise ClientKeyError("not yet good")
