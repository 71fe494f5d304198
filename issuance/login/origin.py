"""Where a log-in is asked for, as coarse as a person can compare it: the network, the browser's make, the system."""

from __future__ import annotations

import ipaddress
from typing import Final

from issuance.clerks.login import address_of, shortened

_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
"""In this order: later ones are named by browsers that are earlier ones."""
_SYSTEMS: Final = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_LOCAL: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")
)


def network_of(address: str) -> str:
    """`203.0.113.*`, `2001:db8:1:2::/64`; `local` inside an office or on one machine, empty where it is unknown."""
    found, network = address_of(address), shortened(address)
    if found is None:
        return ""
    if any(found in local for local in _LOCAL):
        return "local"
    return network.removesuffix("0/24") + "*" if network.endswith("/24") else network


def agent_of(header: str) -> str:
    """Of what a browser says about itself only words of ours: `Chrome, Windows`; empty where none is known."""
    found = (next((name for sign, name in table if sign in header), "") for table in (_BROWSERS, _SYSTEMS))
    return ", ".join(name for name in found if name)
