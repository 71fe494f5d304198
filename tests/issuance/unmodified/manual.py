"""Configuration as docs/relying-parties.md has it, for a client of a test: what is tried here is what people copy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.issuance.unmodified.browser import PATIENCE_S

_PAGE: Final = (Path(__file__).parents[3] / "docs" / "relying-parties.md").read_text("utf-8")
_ISSUER: Final = "https://login.example"
_PATHS: Final = {
    "authorization_endpoint": "/oidc/authorize",
    "token_endpoint": "/oidc/token",
    "userinfo_endpoint": "/oidc/userinfo",
    "jwks_uri": "/oidc/jwks",
}


@dataclass(frozen=True)
class Client:
    """A client as it is registered, with what its configuration needs."""

    issuer: str
    client_id: str
    client_secret: str

    @property
    def discovery(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"


def block(name: str) -> str:
    """As it stands there, under its mark."""
    _, mark, rest = _PAGE.partition(f"<!-- {name} -->\n```")
    assert mark, f"the page has no block {name!r}"
    return rest.partition("\n")[2].partition("\n```")[0]


def configuration(name: str, client: Client, site: str = "") -> str:
    """The block for this client and site; paths are those of the discovery document, which the peer's are not."""
    text = block(name)
    if any(_ISSUER + path in text for path in _PATHS.values()):
        about = httpx.get(client.discovery, timeout=PATIENCE_S).raise_for_status().json()
        for key, path in _PATHS.items():
            text = text.replace(_ISSUER + path, about[key])
    given = {
        _ISSUER: client.issuer,
        "https://hall.example": site,
        "hall-1": client.client_id,
    }
    for said, value in given.items():
        text = text.replace(said, value)
    return re.sub(r"\bSECRET\b", lambda _: client.client_secret, text)
