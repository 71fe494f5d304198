"""What the protocol with relying parties and the log-in of the holder hand each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

ACR_SCAN: Final = "urn:onecard:acr:scan"
"""The wallet scanned the page's code, and the holder proved to be there."""
ACR_CARD: Final = "urn:onecard:acr:card"
"""Physical card and PIN."""
ACR_NATIONAL: Final = "urn:onecard:acr:national"
"""The national platform named the electronic card."""
LOGIN_COOKIE: Final = "__Host-onecard-login"

_HASHES: Final = ("device_code_hash", "backchannel_hash")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """Of a relying party, validated. Nothing in it is about a person.

    `device_code_hash` is set where a device waits (RFC 8628), `backchannel_hash` where a relying party waits for the
    holder it named (CIBA): `redirect_uri`, `state` and `code_challenge` are then empty.
    """

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str = ""
    nonce: str = ""
    code_challenge: str = ""
    ui_locales: str = ""
    acr_values: tuple[str, ...] = ()
    login_hint: str = ""
    device_code_hash: bytes = b""
    backchannel_hash: bytes = b""
    binding_message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {name: getattr(self, name).hex() for name in _HASHES}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> AuthorizationRequest:
        """Of what `to_json` gave, now or in a version that knew less. Raises TypeError, KeyError for anything else."""
        known = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        lists = {name: tuple(known[name]) for name in ("scopes", "acr_values")}
        return cls(**(known | lists | {name: bytes.fromhex(known[name]) for name in _HASHES if name in known}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who logged in and how strongly that is known; `claims` are the names the holder consented to.

    `ecard_no` is empty where no electronic card was used: then the state of the card alone decides how long it counts.
    `sign_no`: the phone that approved it, empty without one.
    """

    card_number: str
    ecard_no: str = ""
    acr: str
    amr: tuple[str, ...]
    auth_time: datetime
    claims: frozenset[str] = frozenset()
    sign_no: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """`error` as RFC 6749, 4.1.2.1 names it."""

    error: str = "access_denied"
