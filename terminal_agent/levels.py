"""Levels of the local API. A newer level adds; what an older one answers stays (tests/terminal_agent/levels).

1: what the first release had. 2: leases, pairing, catalog and block list, journal.
"""

from __future__ import annotations

from typing import Final

API_LEVEL: Final = 2
OLDEST_API_LEVEL: Final = 1
LEVEL_HEADER: Final = "X-OneCard-Api-Level"
"""On every answer the newest level; a request may name the one it needs."""
