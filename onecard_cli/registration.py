"""Registering callers directly on the database: how the first operator comes to be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cardlib.client_auth import ClientKey
from issuance.clients.service import bootstrap_client
from onecard_cli.home import Home


def register_clients(
    home: Home,
    database_url: str,
    clients: Mapping[str, Sequence[str]],
    region: str | None = None,
    names: Mapping[str, str] = MappingProxyType({}),
    channel_no: str | None = None,
) -> None:
    """Register callers by id with their roles and, where `names` has one, the name that holders see.

    Keys are made in the home folder where there are none. `channel_no`: of one wallet; drawn where none is given.
    """

    async def register() -> None:
        for client_id, roles in clients.items():
            key = ClientKey.load(home.make_client_key(client_id))
            name = names.get(client_id, "")
            await bootstrap_client(
                database_url, client_id, key.public_jwk(), roles, name=name, region=region, channel_no=channel_no
            )

    asyncio.run(register())
