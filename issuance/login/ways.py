"""The ways in which a person can be known at the log-in page, and which of them a request leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from authlib.oauth2.rfc6749 import OAuth2Error

from issuance.login.seam import ACR_CARD, ACR_NATIONAL, ACR_SCAN
from issuance.services import Services


class UnmetAuthenticationRequirementsError(OAuth2Error):  # type: ignore[misc]
    """OpenID Connect Unmet Authentication Requirements 1.0."""

    error = "unmet_authentication_requirements"


@dataclass(frozen=True, slots=True)
class Way:
    """`name` is that of its block, `log_in_way_{name}.html`."""

    name: str
    acr: str
    is_offered: Callable[[Services], bool]


WAYS: Final = (
    Way("scan", ACR_SCAN, lambda services: True),
    Way("card", ACR_CARD, lambda services: services.card_certificates.is_configured),
    Way("national", ACR_NATIONAL, lambda services: services.national is not None),
)


def ways_for(services: Services, acr_values: Iterable[str]) -> tuple[Way, ...]:
    """All that are offered, or those of them that were asked for, as OpenID Connect Core, 3.1.2.1 orders them: the one
    the relying party prefers first. Empty where none of these is offered.
    """
    offered = {way.acr: way for way in WAYS if way.is_offered(services)}
    asked = tuple(dict.fromkeys(acr_values))
    return tuple(offered[acr] for acr in asked if acr in offered) if asked else tuple(offered.values())


def is_open(services: Services, acr_values: Iterable[str], acr: str) -> bool:
    return any(way.acr == acr for way in ways_for(services, acr_values))
