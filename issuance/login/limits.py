"""Who may not log in, and how often a minute anybody may begin to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from issuance.audit.refusals import MinuteLimit
from issuance.clerks.login import address_of, shortened
from issuance.problems import ProblemError

CODES_A_MINUTE = 20
"""Link codes of one browser: a page that is left alone takes two, each page that is opened one more."""
ASKED_A_MINUTE = 3
"""How often one relying party may ask one holder by name."""
_MAPPED_BITS = 96
"""Of ::ffff:0:0/96 (RFC 4291, 2.5.5.2)."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def denied_network(entry: str) -> Network | None:
    """Of an address that address alone; None for what names no network. IPv4 in IPv6's clothes is IPv4, as it is in
    `address_of`. Raises ValueError for a network that is none."""
    try:
        network = ipaddress.ip_network(entry)
    except ValueError:
        if "/" in entry:
            raise
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - _MAPPED_BITS))


@dataclass(frozen=True, slots=True)
class DenyList:
    """`ONECARD_ISSUANCE_LOGIN_DENIED`: networks and addresses, everything else ids of relying parties."""

    networks: tuple[Network, ...]
    clients: frozenset[str]

    @classmethod
    def of(cls, entries: Iterable[str]) -> DenyList:
        """Raises ValueError for a network that is none."""
        known = {entry: denied_network(entry) for entry in entries}
        networks = tuple(network for network in known.values() if network is not None)
        return cls(networks, frozenset(entry for entry, network in known.items() if network is None))

    def demand(self, client_id: str, address: str) -> None:
        """Raises LOGIN_DENIED."""
        found = address_of(address)
        if client_id in self.clients or (found is not None and any(found in network for network in self.networks)):
            raise ProblemError("LOGIN_DENIED", "on the deny list", subject=f"client:{client_id}")


@dataclass(slots=True)
class LoginLimits:
    """In this process only, as every MinuteLimit."""

    denied: DenyList
    of_network: MinuteLimit
    of_client: MinuteLimit
    codes: MinuteLimit = field(default_factory=lambda: MinuteLimit(CODES_A_MINUTE))
    of_holder: MinuteLimit = field(default_factory=lambda: MinuteLimit(ASKED_A_MINUTE))
    changes: int = 0
    """Of the list that is stored, made by this process."""
    _stored: tuple[DenyList, datetime] | None = None

    def demand_begin(self, client_id: str, address: str, now: datetime) -> None:
        """`address`: empty where a server asks that does not tell it. Raises LOGIN_DENIED, LOGIN_LIMITED."""
        self.denied.demand(client_id, address)
        if address and not self.of_network.allows(shortened(address), now):
            raise ProblemError("LOGIN_LIMITED", "too many log-ins from this network")
        if not self.of_client.allows(client_id, now):
            raise ProblemError("LOGIN_LIMITED", "too many log-ins for this relying party")

    def demand_row(self, address: str, now: datetime) -> None:
        """For what is stored before a browser comes, where anybody may ask for it. Raises LOGIN_LIMITED."""
        if not self.of_network.allows(f"row {shortened(address)}", now):
            raise ProblemError("LOGIN_LIMITED", "too many requests from this network")

    def demand_code(self, browser: str, now: datetime) -> None:
        """Raises LOGIN_LIMITED."""
        if not self.codes.allows(browser, now):
            raise ProblemError("LOGIN_LIMITED", "too many log-in codes for this browser")

    def demand_ask(self, client_id: str, holder: str, now: datetime) -> None:
        """`holder`: index of what the relying party named, the same whether there is such a holder or not.

        Raises LOGIN_LIMITED.
        """
        if not self.of_client.allows(client_id, now):
            raise ProblemError("LOGIN_LIMITED", "too many log-ins for this relying party")
        if not self.of_holder.allows(f"{client_id}:{holder}", now):
            raise ProblemError("LOGIN_LIMITED", "this holder was asked too often")

    def stored_at(self, now: datetime, known_for: timedelta) -> DenyList | None:
        """What `keep_stored` was given last; None when that is too long ago, or it was forgotten."""
        is_known = self._stored is not None and timedelta() <= now - self._stored[1] < known_for
        return self._stored[0] if is_known and self._stored is not None else None

    def keep_stored(self, entries: DenyList, now: datetime, changes: int) -> None:
        """`changes` as it was before they were read: what was changed since is not in them."""
        if changes == self.changes:
            self._stored = (entries, now)

    def forget_stored(self) -> None:
        self._stored = None
        self.changes += 1
