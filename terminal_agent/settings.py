"""What differs from terminal to terminal. Read from the environment (`ONECARD_AGENT_…`) or given by the caller."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_ORIGIN = re.compile(
    r"(https?)://((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?::(\d{1,5}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}

DEFAULT_HTTP_PORT = 12343
DEFAULT_WS_PORT = 12342  # the port the installed base of pages knows (terminal.md §11)


class Profile(StrEnum):
    """Where the terminal stands; it decides how much of a person's data the agent's own page may show."""

    COUNTER = "counter"
    KIOSK = "kiosk"
    TRANSIT = "transit"


def checked_origin(value: str) -> str:
    """One web origin exactly as a browser writes it (RFC 6454 §6.2): no path, no wildcard, no default port."""
    match = _ORIGIN.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a web origin such as https://hall.example")
    scheme, _host, port = match.groups()
    if port is not None and (port.startswith("0") or int(port) > 65535 or int(port) == _DEFAULT_PORTS[scheme]):
        raise ValueError(f"{value!r}: a browser never sends this port")
    return value


Origin = Annotated[str, AfterValidator(checked_origin)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class AgentSettings(BaseSettings):
    """Times are in seconds. A port of 0 means any free one; the bound ports are reported at start.

    `psam_readers` holds reader names or parts of them; a reader that matches is never offered as a card reader.
    Lists in the environment are JSON.
    """

    model_config = SettingsConfigDict(env_prefix="ONECARD_AGENT_", extra="forbid", frozen=True)

    profile: Profile = Profile.COUNTER
    port: int = Field(default=DEFAULT_HTTP_PORT, ge=0, le=65535)
    ws_port: int = Field(default=DEFAULT_WS_PORT, ge=0, le=65535)
    allowed_origins: tuple[Origin, ...] = ()
    issuance_url: str | None = Field(default=None, pattern=r"^https?://")
    client_key: Path | None = None
    psam_readers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    device_number: str = Field(default="ONECARD00001", pattern=r"^[0-9A-Za-z]{1,32}$")
    pin_pad: str | None = Field(default=None, min_length=1)
    """Serial port of a PIN pad in one housing with the reader: its PIN blocks come in clear (draft P8, 6.4.4.4)."""
    pin_pad_baud: int = Field(default=115200, ge=1200, le=921600)
    debit_journal: Path | None = None
    hsm_addresses: dict[str, str] = Field(default_factory=dict)
    wait_for_card_s: Seconds = 120.0
    operation_timeout_s: Seconds = 20.0
    batch_timeout_s: Seconds = 90.0
    network_timeout_s: Seconds = 15.0
    network_deadline_s: Seconds = 60.0
