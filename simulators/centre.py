"""Who asks a simulated partner: the one centre it knows, by a signed assertion that is good once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from cardlib.client_auth import ClientAuthError, verify_assertion

_REMEMBERED: Final = 10_000


class KnownCentre:
    """`client_jwk` is its public key, `audience` what its assertions must name."""

    def __init__(self, client_jwk: dict[str, str], audience: str, clock: Callable[[], float]) -> None:
        self._client_jwk = client_jwk
        self._audience = audience
        self._clock = clock
        self._nonces: dict[str, float] = {}

    def has_signed(self, request: Request, body: bytes) -> bool:
        """Once for each assertion."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        now = self._clock()
        try:
            claims = verify_assertion(
                token, self._client_jwk, request.method, request.url.path, body, now, audience=self._audience
            )
        except ClientAuthError:
            return False
        self._nonces = {nonce: until for nonce, until in self._nonces.items() if until > now}
        if scheme.lower() != "bearer" or claims.nonce in self._nonces or len(self._nonces) >= _REMEMBERED:
            return False
        self._nonces[claims.nonce] = claims.expires_at
        return True
