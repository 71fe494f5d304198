"""Signatures of tokens by keys of the key service: ES256, RS256 and, for domestic relying parties, SM2-SM3.

joserfc writes and checks the tokens; the algorithm it is given sends what is to be signed to the key service. A new
version of a key is published at once and signs within a minute; retired versions stay published until destroyed.

SM2-SM3: SM2 over SM3 (GB/T 32918.2, the default user id) as r || s; its JWK is `kty` EC, `crv` SM2.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSAlgModel, JWSRegistry  # type: ignore[attr-defined]  # JWSAlgModel is documented there

from hsm.api import Algorithm, KeyExistsError, KeyExpiredError, KeyNotFoundError, KeyRef, KeyService
from hsm.primitives import DEFAULT_USER_ID, default_engine

KEYS: Final = {
    "ES256": KeyRef("LOGIN_ES256", Algorithm.P256),
    "RS256": KeyRef("LOGIN_RS256", Algorithm.RSA),
    "SM2-SM3": KeyRef("LOGIN_SM2", Algorithm.SM2),
}
"""JWS algorithm and the key behind it."""
_TRUSTED: Final = timedelta(minutes=1)
_RS_BYTES: Final = 32


class TokenError(Exception):
    """A token that this provider did not sign, or not as a token of this kind."""

    failure: ClassVar[str] = "CLIENT_UNKNOWN"


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key of the key service as joserfc passes it to an algorithm; `public` as `KeyService.public_key` gives it."""

    ref: KeyRef
    public: bytes

    @property
    def kid(self) -> str:
        return f"{self.ref.name}-{self.ref.version}"


class _ServiceAlgorithm(JWSAlgModel):
    recommended = True

    def __init__(self, name: str, keys: KeyService) -> None:
        self.name = name
        self.description = f"{name} by the key service"
        self._keys = keys

    def check_key(self, key: Any) -> None:
        """Each algorithm has keys of its own: none checks or makes a signature of another."""
        if not isinstance(key, ServiceKey) or key.ref.name != KEYS[self.name].name:
            raise TokenError("the key is of another algorithm")

    def sign(self, msg: bytes, key: ServiceKey) -> bytes:
        return self._keys.sign(key.ref, msg, user_id=DEFAULT_USER_ID if self.name == "SM2-SM3" else b"")

    def verify(self, msg: bytes, sig: bytes, key: ServiceKey) -> bool:
        try:
            if self.name == "SM2-SM3":
                return default_engine().sm2_verify(key.public, msg, sig, user_id=DEFAULT_USER_ID)
            if self.name == "RS256":
                _rsa(key.public).verify(sig, msg, PKCS1v15(), SHA256())
            else:
                numbers = (int.from_bytes(sig[:_RS_BYTES]), int.from_bytes(sig[_RS_BYTES:]))
                _p256(key.public).verify(encode_dss_signature(*numbers), msg, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return self.name == "RS256" or len(sig) == 2 * _RS_BYTES


class _KeySet(KeySet):
    """Keys of the key service by `kid`, for joserfc, which would take no key of a type it does not know."""

    def __init__(self, find: Callable[[str, str], ServiceKey]) -> None:
        super().__init__([])
        self._find = find

    def get_by_kid(self, kid: str | None = None, parameters: Any = None) -> Any:
        return self._find(str(parameters["alg"]), kid or "")


class LoginKeys:
    """Makes the keys where there are none yet. Asks the key service: methods may take some milliseconds, the first
    use of RS256 with a new key store a second."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys
        self._current: dict[str, tuple[datetime, ServiceKey]] = {}
        self._set = _KeySet(self._named)
        self._registry = JWSRegistry(algorithms=list(KEYS))
        self._registry.algorithms = {name: _ServiceAlgorithm(name, keys) for name in KEYS}

    def encode(self, claims: dict[str, Any], algorithm: str, kind: str, now: datetime) -> str:
        """A signed token; `kind` is its `typ`."""
        try:
            return self._encode(claims, self._signer(algorithm, now), algorithm, kind)
        except (KeyExpiredError, KeyNotFoundError):  # retired within the last minute
            del self._current[algorithm]
            return self._encode(claims, self._signer(algorithm, now), algorithm, kind)

    def _encode(self, claims: dict[str, Any], key: ServiceKey, algorithm: str, kind: str) -> str:
        header = {"alg": algorithm, "kid": key.kid, "typ": kind}
        return jwt.encode(header, claims, self._set, registry=self._registry)

    def decode(self, token: str, kind: str) -> dict[str, Any]:
        """Claims of a token of this provider and `kind`, whatever its age. Raises TokenError."""
        try:
            found = jwt.decode(token, self._set, registry=self._registry)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise TokenError(type(error).__name__) from None
        if found.header.get("typ") != kind:
            raise TokenError("a token of another kind")
        return found.claims

    def public_keys(self, algorithms: Iterable[str]) -> dict[str, Any]:
        """JWK Set (RFC 7517) of every version of their keys, newest first."""
        return {"keys": [_jwk(name, key) for name in algorithms for key in self._versions(name)]}

    def _signer(self, algorithm: str, now: datetime) -> ServiceKey:
        known = self._current.get(algorithm)
        if known is None or now - known[0] > _TRUSTED:
            wanted = KEYS[algorithm]
            ref = _made(self._keys, wanted)
            known = self._current[algorithm] = (now, ServiceKey(ref, self._keys.public_key(ref)))
        return known[1]

    def _versions(self, algorithm: str) -> list[ServiceKey]:
        wanted = KEYS[algorithm]
        _made(self._keys, wanted)
        refs = [
            KeyRef(wanted.name, wanted.algorithm, version)
            for version in self._keys.versions(wanted.name, wanted.algorithm)
        ]
        return [ServiceKey(ref, self._keys.public_key(ref)) for ref in refs]

    def _named(self, algorithm: str, kid: str) -> ServiceKey:
        if algorithm not in KEYS:
            raise TokenError("no algorithm of this provider")
        recent = self._current.get(algorithm)
        if recent is not None and recent[1].kid == kid:
            return recent[1]
        for key in self._versions(algorithm):
            if key.kid == kid:
                return key
        raise TokenError("no key of this provider")


def _made(keys: KeyService, wanted: KeyRef) -> KeyRef:
    try:
        return keys.current(wanted.name, wanted.algorithm)
    except KeyNotFoundError:
        with suppress(KeyExistsError):  # another replica was faster
            keys.generate_pair(wanted)
        return keys.current(wanted.name, wanted.algorithm)


@lru_cache(maxsize=64)
def _p256(point: bytes) -> EllipticCurvePublicKey:
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)


def _rsa(der: bytes) -> RSAPublicKey:
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey):
        raise TypeError("not an RSA key")
    return key


def _jwk(algorithm: str, key: ServiceKey) -> dict[str, str]:
    common = {"kid": key.kid, "alg": algorithm, "use": "sig"}
    if algorithm == "RS256":
        numbers = _rsa(key.public).public_numbers()
        return common | {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    curve = "SM2" if algorithm == "SM2-SM3" else "P-256"
    x, y = key.public[1 : 1 + _RS_BYTES], key.public[1 + _RS_BYTES :]
    return common | {"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)}


def _number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8))


def base64url(raw: bytes) -> str:
    """Without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
