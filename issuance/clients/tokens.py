"""Bearer tokens for callers that ask the same thing many times a second (RFC 6749, 4.4; RFC 6750).

A token proves its client without a signature for each request, so it neither binds what is asked nor is used up. It
therefore lives for minutes and opens what `OPENED` names, nothing else: there a request is once by the code it brings.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from issuance.audit.refusals import MinuteLimit
from issuance.clients.directory import ClientDirectory
from issuance.clients.models import ClientRow
from issuance.one_time import Claim, Claiming, OneTimeStore, Outcome
from issuance.problems import ProblemError
from issuance.sealing import Sealer
from issuance.together import Together

LIFETIME_S: Final = 300
CACHED_S: Final = 5
"""A client that was suspended is refused by then."""
MAX_CACHED: Final = 1000
MAX_A_MINUTE: Final = 10
SCOPE: Final = "ecard-codes.validate"
OPENED: Final = frozenset({"POST /v1/ecard-codes/validate"})
"""By `issuance.clients.auth.act_of`."""
_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_LABEL: Final = "access-token"
_GOOD: Final = (Outcome.FIRST, Outcome.AGAIN)


@dataclass(frozen=True, slots=True)
class _Known:
    client: ClientRow
    ends_at: datetime
    """Of the token, or of what is remembered of it, whichever is first."""


class AccessTokens:
    """A token is kept as its hash in the one-time store, which all replicas share; in this process for `CACHED_S`."""

    def __init__(self, store: OneTimeStore, sealer: Sealer, clients: ClientDirectory) -> None:
        self._store = store
        self._sealer = sealer
        self._clients = clients
        self._limit = MinuteLimit(MAX_A_MINUTE)
        self._find: Together[Claiming, Claim] = Together(store.claim_all)
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def make(self, client_id: str, now: datetime) -> str:
        """Raises REQUEST_LIMIT, ONE_TIME_UNAVAILABLE."""
        if not self._limit.allows(client_id, now):
            raise ProblemError(
                "REQUEST_LIMIT", f"at most {MAX_A_MINUTE} tokens a minute", subject=f"client:{client_id}"
            )
        token = secrets.token_urlsafe(_BYTES)
        key = _key(token)
        told = {"client": client_id, "ends_at": now.timestamp() + LIFETIME_S}
        await self._store.put(key, self._sealer.seal(told, key), LIFETIME_S, label=_LABEL)
        return token

    async def client_of(self, token: str, now: datetime) -> ClientRow:
        """Whose it is. Raises CLIENT_UNKNOWN, ONE_TIME_UNAVAILABLE."""
        key = _key(token)
        known = self._known.get(key)
        if known is None or known.ends_at <= now:
            known = await self._looked_up(key, now)
            self._remember(key, known)
        return known.client

    async def _looked_up(self, key: str, now: datetime) -> _Known:
        # By one claimant always, to whom it is told for as long as it lives.
        claim = await self._find(Claiming(key, _LABEL, _LABEL))
        if claim.outcome not in _GOOD:
            raise ProblemError("CLIENT_UNKNOWN", "this token is not known or its time is over")
        told = self._sealer.unseal(claim.value, key)
        token_ends = datetime.fromtimestamp(told["ends_at"], UTC)
        client = await self._clients.find(told["client"])
        if client is None or client.status != "active" or token_ends <= now:
            raise ProblemError("CLIENT_UNKNOWN", "this token's client is suspended or its time is over")
        return _Known(client, min(token_ends, now + timedelta(seconds=CACHED_S)))

    def _remember(self, key: str, known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > MAX_CACHED:
            self._known.popitem(last=False)


def is_token(text: str) -> bool:
    """By its shape: an assertion has dots."""
    return _TOKEN.fullmatch(text) is not None


def _key(token: str) -> str:
    return f"{_LABEL}:{hashlib.sha256(token.encode()).hexdigest()}"
