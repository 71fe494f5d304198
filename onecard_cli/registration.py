"""Registering callers directly on the database: how the first operator comes to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cardlib.client_auth import ClientKey
from onecard_cli.home import Home


def make_client_key(home: Home, client_id: str) -> Path:
    """The caller's key file in the home folder; an existing one is kept."""
    path = home.client_key(client_id)
    if not path.exists():
        ClientKey.generate(client_id).save(path)
    return path


def register_client(home: Home, database_url: str, client_id: str, roles: Sequence[str], region: str | None) -> Path:
    """Register the public half of the caller's key, made here when there is none."""
    from issuance.clients.service import bootstrap_client

    path = make_client_key(home, client_id)
    key = ClientKey.load(path)
    asyncio.run(bootstrap_client(database_url, client_id, key.public_jwk(), roles, region=region))
    return path
