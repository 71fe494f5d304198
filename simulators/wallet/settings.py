"""What the app is given by whoever starts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """`http` signs as the wallet client `channel`; `folder` holds the phones."""

    http: httpx.AsyncClient
    channel: str
    folder: Path
    clock: Callable[[], float] = field(default=time.time)
