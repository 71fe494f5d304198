"""Who signs what is published: pairs of the centre's key service, named as `onecard catalog repo` names them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.roles import ONLINE, ROLES
from hsm.api import Algorithm, KeyExistsError, KeyNotFoundError, KeyRef, KeyService

OWN: Final = (*ONLINE, "blocklist", "trust-anchors")
"""Holders whose keys the centre needs all day."""
USABLE: Final = (*ONLINE, *ROLES.delegated)
"""Holders whose keys the centre may have: never those of root and targets, which name all others."""


def signers(keys: KeyService) -> dict[str, ServiceSigner]:
    """Of every holder whose key is here."""
    found = {}
    for holder in USABLE:
        with suppress(KeyNotFoundError):
            found[holder] = ServiceSigner(keys, keys.current(key_name(holder), Algorithm.SM2), holder)
    return found


def make_signers(keys: KeyService, holders: Iterable[str] = OWN) -> dict[str, ServiceSigner]:
    """As `signers`, of these holders, with a new pair for whoever has none yet."""
    made = {}
    for holder in holders:
        name = key_name(holder)
        if not keys.versions(name, Algorithm.SM2):
            with suppress(KeyExistsError):  # another process was faster
                keys.generate_pair(KeyRef(name, Algorithm.SM2))
        made[holder] = ServiceSigner(keys, keys.current(name, Algorithm.SM2), holder)
    return made


def key_name(holder: str) -> str:
    return f"DISTRIBUTION_{holder}"
