"""Who may call, and which assertions were used, asked for all requests of a moment at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from issuance.clients.models import ClientRow
from issuance.clients.repository import ClientRepository
from issuance.database import Database
from issuance.scope import EVERYWHERE
from issuance.together import Together


@dataclass(frozen=True, slots=True)
class UsedNonce:
    """Of an assertion that was proved at `now`."""

    client_id: str
    nonce: str
    expires_at: datetime
    now: datetime


class ClientDirectory:
    """`find` gives a client as it is now, None for an unknown one; `use_nonce` is False for a nonce seen before.

    A nonce is committed before its request goes on: another replica, or this one after a crash, refuses it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.find: Together[str, ClientRow | None] = Together(self._find)
        self.use_nonce: Together[UsedNonce, bool] = Together(self._use)

    async def _find(self, ids: Sequence[str]) -> list[ClientRow | None]:
        async with self._database.look(scope=EVERYWHERE) as session:
            known = await ClientRepository(session).some(set(ids))
        return [known.get(client_id) for client_id in ids]

    async def _use(self, nonces: Sequence[UsedNonce]) -> list[bool]:
        """Of one nonce that came twice at this moment the first is taken."""
        first: dict[tuple[str, str], UsedNonce] = {}
        for nonce in nonces:
            first.setdefault((nonce.client_id, nonce.nonce), nonce)
        async with self._database.look() as session:  # one statement, which commits itself
            new = await ClientRepository(session).use_nonces(
                {key: nonce.expires_at for key, nonce in first.items()}, nonces[0].now
            )
        return [
            first[nonce.client_id, nonce.nonce] is nonce and (nonce.client_id, nonce.nonce) in new for nonce in nonces
        ]
