"""Who may not log in, and how often a minute anybody may begin to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from issuance.audit.refusals import MinuteLimit
from issuance.clerks.login import shortened
from issuance.problems import ProblemError

CODES_A_MINUTE = 20
"""Link codes of one browser: a page that is left alone takes two, each page that is opened one more."""


@dataclass(frozen=True, slots=True)
class DenyList:
    """`ONECARD_ISSUANCE_LOGIN_DENIED`: networks as address/length, everything else ids of relying parties."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    clients: frozenset[str]

    @classmethod
    def of(cls, entries: Iterable[str]) -> DenyList:
        """Raises ValueError for a network that is none."""
        known = tuple(entries)
        networks = tuple(ipaddress.ip_network(entry) for entry in known if "/" in entry)
        return cls(networks, frozenset(entry for entry in known if "/" not in entry))

    def demand(self, client_id: str, address: str) -> None:
        """Raises LOGIN_DENIED."""
        found = _parsed(address)
        if client_id in self.clients or (found is not None and any(found in network for network in self.networks)):
            raise ProblemError("LOGIN_DENIED", "on the deny list", subject=f"client:{client_id}")


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 address that came in IPv6's clothes is the IPv4 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


@dataclass(slots=True)
class LoginLimits:
    """In this process only, as every MinuteLimit."""

    denied: DenyList
    of_network: MinuteLimit
    of_client: MinuteLimit
    codes: MinuteLimit = field(default_factory=lambda: MinuteLimit(CODES_A_MINUTE))

    def demand_begin(self, client_id: str, address: str, now: datetime) -> None:
        """Raises LOGIN_DENIED, LOGIN_LIMITED."""
        self.denied.demand(client_id, address)
        if not self.of_network.allows(shortened(address), now):
            raise ProblemError("LOGIN_LIMITED", "too many log-ins from this network")
        if not self.of_client.allows(client_id, now):
            raise ProblemError("LOGIN_LIMITED", "too many log-ins for this relying party")

    def demand_code(self, browser: str, now: datetime) -> None:
        """Raises LOGIN_LIMITED."""
        if not self.codes.allows(browser, now):
            raise ProblemError("LOGIN_LIMITED", "too many log-in codes for this browser")
