"""Whose phones sign, asked for all requests of a moment at once."""

from __future__ import annotations

from collections.abc import Sequence

from issuance.database import Database
from issuance.ecards.models import LinkRow
from issuance.ecards.repository import LinkRepository
from issuance.together import Together


class PhoneDirectory:
    """`find` gives a link as it is now, by its number."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.find: Together[str, LinkRow | None] = Together(self._find)

    async def _find(self, sign_nos: Sequence[str]) -> list[LinkRow | None]:
        async with self._database.look() as session:
            known = await LinkRepository(session).some(set(sign_nos))
        return [known.get(sign_no) for sign_no in sign_nos]
