"""How programs prove to the centre who they are: one signed assertion per request.

The assertion is a JWT (RFC 7519) signed with Ed25519 (RFC 8037, algorithm name of RFC 9864), sent as
`Authorization: Bearer ...`. It names the centre, the method, the path with its query, the SHA-256 of the body, the
clerk and the idempotency key, lives at most sixty seconds and carries a number used once, so a captured request can be
neither altered nor sent again nor carried to another centre.
Terminal agent, command line and issuance service all use this module.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hsm.sealed_store import write_atomically

ALGORITHM = "Ed25519"
DEFAULT_AUDIENCE = "onecard-issuance"
CLERK_HEADER = "X-Clerk"
IDEMPOTENCY_HEADER = "Idempotency-Key"
LIFETIME_S = 60
CLOCK_SKEW_S = 30
MAX_TOKEN_CHARS = 4096
MAX_CLIENT_ID_CHARS = 64
_HEADERS = frozenset({"alg", "typ", "kid"})
_NONCE_BYTES = 16
_CLIENT_ID_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class ClientAuthError(Exception):
    """The assertion does not prove this caller for this request."""

    failure: ClassVar[str] = "CLIENT_UNKNOWN"


class AssertionExpiredError(ClientAuthError):
    """Outside its sixty seconds; often the terminal's clock is wrong."""

    failure: ClassVar[str] = "REQUEST_EXPIRED"


class ClientKeyError(Exception):
    """The key file is missing, malformed, or readable by others."""

    failure: ClassVar[str] = "KEY_STORE_CORRUPT"


class ClientKeyNotFoundError(ClientKeyError):
    failure: ClassVar[str] = "KEY_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class AssertionClaims:
    """What a verified assertion says; `expires_at` (Unix seconds) is how long its `nonce` must be remembered."""

    client_id: str
    nonce: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A program's own Ed25519 key and the centre it is registered at. The private half stays in a file of mode 0600."""

    client_id: str
    _key: Ed25519PrivateKey = field(repr=False)
    audience: str = DEFAULT_AUDIENCE

    @classmethod
    def generate(cls, client_id: str, audience: str = DEFAULT_AUDIENCE) -> ClientKey:
        return cls(_checked_client_id(client_id), Ed25519PrivateKey.generate(), _checked_client_id(audience))

    @classmethod
    def load(cls, path: Path | str) -> ClientKey:
        """Raises ClientKeyError when group or others may read the file: the key must be taken as known to them."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                document = json.loads(file.read(MAX_TOKEN_CHARS))
        except FileNotFoundError:
            raise ClientKeyNotFoundError(f"no client key file {path.name}") from None
        except (OSError, ValueError):
            raise ClientKeyError(f"{path.name} is not a readable client key file") from None
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ClientKeyError(f"{path.name} must not be open to group or others (mode 0600)")
        try:
            key = _private_key(document["key"])
            audience = _checked_client_id(document.get("audience", DEFAULT_AUDIENCE))
            return cls(_checked_client_id(document["client_id"]), key, audience)
        except (KeyError, TypeError, ValueError):
            raise ClientKeyError(f"{path.name} is not a client key file") from None

    def save(self, path: Path | str) -> None:
        """Write with mode 0600, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"client_id": self.client_id, "audience": self.audience, "key": self._private_jwk()}
        write_atomically(path, json.dumps(content, indent=1).encode())

    def public_jwk(self) -> dict[str, str]:
        """Public half as a JWK (RFC 8037), for registration at the centre."""
        return _jwk_of(self._key.public_key())

    def _private_jwk(self) -> dict[str, str]:
        return self.public_jwk() | {"d": _encoded(self._key.private_bytes_raw()).decode()}

    def assertion(
        self,
        method: str,
        path_with_query: str,
        body: bytes,
        now: float | None = None,
        *,
        clerk: str = "",
        idempotency_key: str = "",
    ) -> str:
        """Token for exactly one request; `now` is Unix time in seconds. A header not sent is signed as empty."""
        issued_at = int(time.time() if now is None else now)
        claims = {
            "iss": self.client_id,
            "aud": self.audience,
            "iat": issued_at,
            "exp": issued_at + LIFETIME_S,
            "jti": secrets.token_urlsafe(_NONCE_BYTES),
        } | _bound_claims(method, path_with_query, body, clerk, idempotency_key)
        signed = b".".join(_encoded(_json(part)) for part in ({"typ": "JWT", "alg": ALGORITHM}, claims))
        return b".".join((signed, _encoded(self._key.sign(signed)))).decode()

    def sign(self, text: bytes) -> bytes:
        """64 bytes, Ed25519. `text` begins with words that no assertion begins with."""
        return self._key.sign(text)


class ClientAuth(httpx.Auth):
    """Signs every request of an httpx client with the headers it carries; a retried request gets a fresh assertion."""

    requires_request_body = True

    def __init__(self, key: ClientKey, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._key.assertion(
            request.method,
            request.url.raw_path.decode("ascii"),
            request.content,
            self._clock(),
            clerk=request.headers.get(CLERK_HEADER, ""),
            idempotency_key=request.headers.get(IDEMPOTENCY_HEADER, ""),
        )
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def verify_assertion(
    token: str | Assertion,
    jwk: dict[str, str],
    method: str,
    path_with_query: str,
    body: bytes,
    now: float | None = None,
    *,
    clerk: str = "",
    idempotency_key: str = "",
    audience: str = DEFAULT_AUDIENCE,
) -> AssertionClaims:
    """Accept the token only for this centre, key, request and moment; the caller must refuse a `nonce` seen before.

    Raises AssertionExpiredError outside the time window, ClientAuthError for everything else.
    """
    moment = time.time() if now is None else now
    assertion = token if isinstance(token, Assertion) else Assertion.parse(token)
    claims = assertion.claims
    try:
        _public_key(json.dumps(jwk)).verify(assertion.signature, assertion.signed)
    except (InvalidSignature, ValueError, TypeError):
        raise ClientAuthError("assertion is not signed by the registered key") from None
    issued_at, expires_at = _number(claims, "iat"), _number(claims, "exp")
    if not issued_at < expires_at <= issued_at + LIFETIME_S:
        raise ClientAuthError("assertion lives too long")
    if issued_at > moment + CLOCK_SKEW_S or expires_at + CLOCK_SKEW_S <= moment:
        raise AssertionExpiredError("assertion is outside its time")
    nonce = claims.get("jti")
    if not isinstance(nonce, str) or not 16 <= len(nonce) <= 64:
        raise ClientAuthError("assertion has no usable jti")
    bound = {"aud": audience} | _bound_claims(method, path_with_query, body, clerk, idempotency_key)
    for name, wanted in bound.items():
        said = claims.get(name)
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), wanted.encode()):
            raise ClientAuthError(f"assertion was made for another request ({name})")
    return AssertionClaims(assertion.issuer, nonce, expires_at + CLOCK_SKEW_S)


def is_signed(jwk: dict[str, str], text: bytes, signature: bytes) -> bool:
    """Whether the holder of the registered key made `signature` over `text` (`ClientKey.sign`)."""
    try:
        _public_key(json.dumps(jwk)).verify(signature, text)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def check_public_jwk(jwk: dict[str, Any]) -> dict[str, str]:
    """The JWK reduced to its public members; ValueError when it is not an Ed25519 key."""
    _public_part(jwk)
    return {name: jwk[name] for name in ("kty", "crv", "x")}


def body_digest(body: bytes) -> str:
    """base64url of SHA-256, without padding."""
    return _encoded(hashlib.sha256(body).digest()).decode()


@dataclass(frozen=True, slots=True)
class Assertion:
    """A JWS in compact form (RFC 7515, 7.1) as assertions are, and nothing is proved yet: `signed` is header and
    claims as sent."""

    signed: bytes
    claims: dict[str, Any]
    signature: bytes

    @property
    def issuer(self) -> str:
        """Client id it claims; before anything is proved only for looking up the key to verify with."""
        try:
            return _checked_client_id(self.claims.get("iss"))
        except ValueError as error:
            raise ClientAuthError(str(error)) from None

    @classmethod
    def parse(cls, token: str) -> Assertion:
        """Takes less than the standard allows: one algorithm, no header that would have to be understood."""
        if len(token) > MAX_TOKEN_CHARS:
            raise ClientAuthError("assertion too long")
        try:
            signed, _, signature = token.encode("ascii").rpartition(b".")
            header, claims = (json.loads(_decoded(part).decode()) for part in signed.split(b"."))
            if not isinstance(header, dict) or not isinstance(claims, dict):
                raise ValueError("header and claims must be JSON objects")
            if header.get("alg") != ALGORITHM or not header.keys() <= _HEADERS:
                raise ValueError("another algorithm, or a header that is not known")
            return cls(signed, claims, _decoded(signature))
        except (ValueError, RecursionError):
            raise ClientAuthError("not an assertion") from None


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _encoded(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    """Of the one text that `_encoded` gives; ValueError for any other."""
    value = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if _encoded(value) != text:
        raise ValueError("not base64url")
    return value


def _bound_claims(method: str, path_with_query: str, body: bytes, clerk: str, idempotency_key: str) -> dict[str, str]:
    """What ties an assertion to its request. The key's digest, because a key may be long; both empty without header."""
    return {
        "htm": method.upper(),
        "htu": _normal_path(path_with_query),
        "bsh": body_digest(body),
        "clk": clerk,
        "idk": body_digest(idempotency_key.encode()) if idempotency_key else "",
    }


def _jwk_of(key: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "x": _encoded(key.public_bytes_raw()).decode(), "kty": "OKP"}


def _public_part(jwk: dict[str, Any]) -> Ed25519PublicKey:
    """ValueError when `jwk` is not an Ed25519 key (RFC 8037)."""
    return Ed25519PublicKey.from_public_bytes(_member(jwk, "x"))


def _private_key(jwk: dict[str, Any]) -> Ed25519PrivateKey:
    """ValueError when `jwk` is not a whole Ed25519 key (RFC 8037)."""
    _public_part(jwk)
    return Ed25519PrivateKey.from_private_bytes(_member(jwk, "d"))


def _member(jwk: dict[str, Any], name: str) -> bytes:
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise ValueError("not an Ed25519 key (JWK)")
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError("JWK members must be text")
    return _decoded(value.encode("ascii"))


@lru_cache(maxsize=1024)
def _public_key(jwk: str) -> Ed25519PublicKey:
    """Of a JWK as JSON. Kept, because the same callers come again and again."""
    return _public_part(json.loads(jwk))


def _checked_client_id(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_CLIENT_ID_CHARS or not set(value) <= _CLIENT_ID_CHARS:
        raise ValueError("client id: 1 to 64 letters, digits, '.', '_' or '-'")
    return value


def _normal_path(path_with_query: str) -> str:
    """An empty query ("/x?") equals none: the ASGI scope cannot tell them apart."""
    return path_with_query.removesuffix("?")


def _number(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise ClientAuthError(f"assertion has no {name}")
    return float(value)
