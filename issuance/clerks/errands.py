"""What a clerk goes to the log-in provider for: kept sealed by the browser meanwhile, so that any replica goes on."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from issuance.clerks.provider import Begun, Known, ScanOverError
from issuance.sealing import SealedDataError

if TYPE_CHECKING:
    from issuance.services import Services

AWAY: Final = timedelta(minutes=15)
"""The provider gives a log-in ten."""
Purpose = Literal["log_in", "unlock", "bind", "bind_other"]


@dataclass(frozen=True, slots=True)
class Errand:
    """`session_id`, `by`: session and name of the clerk who is logged in, if any; `clerk_id`: whose account is meant;
    `after`: page of the console that follows.
    """

    purpose: Purpose
    session_id: str = ""
    clerk_id: str = ""
    after: str = "/"
    by: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A card that was scanned, to be bound to the account of `clerk_id` once the clerk `by` confirms it."""

    subject: str = field(repr=False)
    session_id: str
    clerk_id: str
    by: str


async def set_out(services: Services, errand: Errand, redirect_uri: str, language: str) -> tuple[str, str]:
    """Where the browser goes, and what it keeps. Raises ProviderUnreachableError."""
    begun = await services.login_provider.begin(redirect_uri, language)
    return begun.url, _kept(services, "errand", {"begun": asdict(begun), "errand": asdict(errand)})


def errand_in(services: Services, kept: str) -> tuple[Errand, Begun]:
    """Raises ScanOverError for what this browser did not begin, or long ago."""
    found = _opened(services, "errand", kept)
    return Errand(**found["errand"]), Begun(**found["begun"])


async def come_back(services: Services, kept: str, answer: Mapping[str, str]) -> tuple[Errand, Known]:
    """Raises ScanOverError, ProviderUnreachableError."""
    errand, begun = errand_in(services, kept)
    return errand, await services.login_provider.finish(begun, answer)


def ticket_for(services: Services, ticket: Ticket) -> str:
    return _kept(services, "ticket", asdict(ticket))


def ticket_in(services: Services, kept: str, *, is_waiting: bool = False) -> Ticket:
    """`is_waiting`: for a second clerk, with whose approval it lasts. Raises ScanOverError."""
    return Ticket(**_opened(services, "ticket", kept, is_waiting=is_waiting))


def _kept(services: Services, kind: str, value: dict[str, Any]) -> str:
    until = (services.clock() + AWAY).timestamp()
    sealed = services.sealer.seal({"value": value, "until": until}, f"clerk_scan:{kind}")
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def _opened(services: Services, kind: str, kept: str, *, is_waiting: bool = False) -> dict[str, Any]:
    try:
        sealed = urlsafe_b64decode(kept + "=" * (-len(kept) % 4))
        found = services.sealer.unseal(sealed, f"clerk_scan:{kind}")
    except (SealedDataError, ValueError):
        raise ScanOverError("not begun in this browser") from None
    if found["until"] < services.clock().timestamp() and not is_waiting:
        raise ScanOverError("begun too long ago")
    value: dict[str, Any] = found["value"]
    return value
