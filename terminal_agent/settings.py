"""What differs from terminal to terminal. Read from the environment (`ONECARD_AGENT_…`) or given by the caller."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from apdu.errors import EncodingError
from apdu.serial import mt3
from apdu.serial.mt3 import Form, Slot
from apdu.serial.pinpad import TOTAL_S
from apdu.serial.port import DEFAULT_BAUD
from apdu.serial.scanner import MAX_SCAN, SCANNER_BAUD, Framing

_ORIGIN = re.compile(
    r"(https?)://((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?::(\d{1,5}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}

DEFAULT_HTTP_PORT = 12343
DEFAULT_WS_PORT = 12342  # the port the installed base of pages knows (terminal.md §11)
OTHER_PORTS = {DEFAULT_HTTP_PORT: (12345, 12347, 12349, 12351), DEFAULT_WS_PORT: (12344, 12346, 12348, 12350)}
"""Tried in this order where a usual port is taken; `onecard-agent.js` knows them."""


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


Port = Annotated[str, Field(min_length=1, max_length=256)]
HostPort = Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,39}\]):[0-9]{1,5}$")]
Baud = Annotated[int, Field(ge=1200, le=921600)]
URL_PLACE = "{url}"
STAFF_PIN = r"^(scrypt:[0-9]{1,2}:[0-9a-f]{32}:[0-9a-f]{64})?$"
"""scrypt, its cost as a power of two, salt and result."""


class Mt3Reader(BaseModel):
    """One MT3 reader: its port, speed, frame form and slots in use. A bare string is a port with all else as usual."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: Port
    baud: Baud = DEFAULT_BAUD
    form: Form = Form.SPLIT
    slots: tuple[Slot, ...] = Field(default=(Slot.USER, Slot.SAM1), min_length=1)
    label: str = Field(default="", max_length=32)

    @model_validator(mode="after")
    def _has_its_slots(self) -> Self:
        for slot in self.slots:
            try:
                mt3.power_on(slot, self.form)
            except EncodingError as error:
                raise ValueError(str(error)) from error
        return self


def _mt3_reader(value: Any) -> Any:
    return {"port": value} if isinstance(value, str) else value


def _with_place(command: tuple[str, ...]) -> tuple[str, ...]:
    if command and not any(URL_PLACE in word for word in command):
        raise ValueError(f"the command names no {URL_PLACE}")
    return command


class AgentSettings(BaseSettings):
    """Times are in seconds. A port of 0 means any free one; the bound ports are reported at start.

    `psam_readers` holds reader names or parts of them; a reader that matches is never offered as a card reader.
    Lists in the environment are JSON.
    """

    model_config = SettingsConfigDict(
        env_prefix="ONECARD_AGENT_", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    profile: Profile = Profile.COUNTER
    port: int = Field(default=DEFAULT_HTTP_PORT, ge=0, le=65535)
    ws_port: int = Field(default=DEFAULT_WS_PORT, ge=0, le=65535)
    allowed_origins: tuple[Origin, ...] = ()
    pairing_origins: tuple[Origin, ...] = ()
    """Pages that may call once a person at this terminal has agreed."""
    state_dir: Path | None = None
    """Folder of everything the agent keeps between two runs; without it, nothing that needs keeping is offered."""
    catalog_url: str | None = Field(default=None, pattern=r"^(https?|file)://")
    """Repository of catalog, block list and the other published files (`terminal_agent.catalog`)."""
    catalog_root: Path | None = None
    """The repository's first root file; needed until something was fetched."""
    catalog_interval_s: Seconds = 300.0
    issuance_url: str | None = Field(default=None, pattern=r"^https?://")
    client_key: Path | None = None
    psam_readers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    device_number: str = Field(default="ONECARD00001", pattern=r"^[0-9A-Za-z]{1,32}$")
    terminal_number: str = Field(default="000000000000", pattern=r"^[0-9]{12}$")
    """终端机编号 where no PSAM gives one."""
    pin_pad: Port | None = None
    """Serial port of a PIN pad in one housing with the reader: its PIN blocks come in clear (draft P8, 6.4.4.4)."""
    pin_pad_baud: Baud = DEFAULT_BAUD
    pin_dialog: bool = True
    """Without a PIN pad, PINs are typed in the agent's own page."""
    pin_dialog_s: int = Field(default=TOTAL_S, ge=5, le=75)
    pin_dialog_command: Annotated[tuple[str, ...], AfterValidator(_with_place)] = ()
    """Program and arguments that show the dialog; `{url}` stands for its address, which works once."""
    mt3_readers: tuple[Annotated[Mt3Reader, BeforeValidator(_mt3_reader)], ...] = ()
    id_card_module: Port | None = None
    id_card_baud: Baud = DEFAULT_BAUD
    scanner: Port | None = None
    scanner_baud: Baud = SCANNER_BAUD
    scanner_framing: Framing = Framing.LINES
    scanner_max_bytes: int = Field(default=MAX_SCAN, ge=1, le=MAX_SCAN)
    card_printer: HostPort | None = None
    """Address of the printer's bridge (`terminal_agent.printer_link`); without one, cards are not printed here."""
    printer_wait_s: Seconds = 600.0
    receipt_printer: HostPort | Port | None = None
    """An ESC/POS printer at host:port, or on a serial port."""
    receipt_printer_baud: Baud = 9600
    camera: str | None = Field(default=None, pattern=r"^file:.{1,256}$")
    """`file:` and a folder: the camera is a simulator only."""
    encoder_reader: str = Field(default="", max_length=128)
    """Part of the name of the reader inside the card machine; it is no citizen's slot."""
    kiosk_place: str = Field(default="", max_length=60)
    """Where the kiosk stands and what it is called, for its screens and receipts."""
    kiosk_hours: str = Field(default="", max_length=60)
    """When somebody is there to help."""
    kiosk_elsewhere: str = Field(default="", max_length=120)
    """Where people go while the kiosk is out of service."""
    kiosk_flows: tuple[str, ...] = ()
    """What this kiosk offers, by name; nothing means all it can."""
    kiosk_keep_card_min: int = Field(default=30, ge=1, le=1440)
    """A finished card waits so long inside for its person; then it goes into the reject bin."""
    kiosk_voice: Literal["auto", "browser", "espeak", "off"] = "auto"
    """Who speaks: the browser's own voices, espeak-ng of this computer, the one where the other is missing, nobody."""
    kiosk_staff_pin: str = Field(default="", pattern=STAFF_PIN)
    """What opens the staff's page, as `onecard agent staff-pin` writes it; without one the page stays closed."""
    transit_rules: Path | None = None
    """Rules of a gate (docs/transit-gate.md); with them, profile transit is one. Read again when the file changes."""
    transit_display: bool = False
    """Show the gate's display on the terminal too."""
    transit_statement_s: Seconds = 600.0
    """How often a gate tells the centre its sums of the day, where they have changed."""
    simulated: bool = False
    """Its devices are simulators, which everything that lists them says."""
    debit_journal: Path | None = None
    journal_rows: int = Field(default=100_000, ge=10, le=10_000_000)
    """Records that may wait for the centre (`terminal_agent.journal`); from nine tenths on no purchase is begun."""
    journal_age_h: int = Field(default=72, ge=1, le=24 * 365)
    """No purchase is begun while a record has waited longer."""
    journal_keep_days: int = Field(default=30, ge=1, le=3650)
    heartbeat_s: Seconds = 60.0
    """How often the centre is told how this terminal is; a fifth more or less, so that not all come at once."""
    hsm_addresses: dict[str, str] = Field(default_factory=dict)
    wait_for_card_s: Seconds = 120.0
    operation_timeout_s: Seconds = 20.0
    batch_timeout_s: Seconds = 90.0
    network_timeout_s: Seconds = 15.0
    network_deadline_s: Seconds = 60.0

    @model_validator(mode="after")
    def _keeps_what_it_fetches(self) -> Self:
        if self.catalog_url is not None and self.state_dir is None:
            raise ValueError("catalog_url needs state_dir, the folder where what is fetched is kept")
        if self.transit_rules is not None and (self.state_dir is None or self.profile is not Profile.TRANSIT):
            raise ValueError("transit_rules needs profile transit and state_dir, the folder of the taps")
        return self
