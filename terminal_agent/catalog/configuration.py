"""What a centre may set on its terminals, from the signed `terminal-configuration/PROFILE.json`.

    {"format": "terminal-configuration-1", "settings": {"allowed_origins": ["https://a.example"], "pin_dialog_s": 45}}

A terminal skips a setting it does not know yet, so that one publication serves old and new programs; a value it knows
and that is wrong refuses the whole file. What is published is checked for both.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardlib.strict_json import once
from hsm.sealed_store import write_atomically
from terminal_agent.settings import AgentSettings, Origin, Seconds

FORMAT: Final = "terminal-configuration-1"
MAX_BYTES: Final = 1 << 16
LIVE: Final = frozenset({"allowed_origins", "pairing_origins", "catalog_interval_s"})
"""Settings that count at once; the others count from the agent's next start."""

LOG = logging.getLogger("terminal_agent.catalog")
Origins = Annotated[tuple[Origin, ...], Field(max_length=256)]


class ConfigurationError(ValueError):
    """A file that is no terminal configuration; none of it is used."""

    failure: ClassVar[str] = "INPUT_INVALID"


class CentreSettings(BaseModel):
    """None: not set by the centre, the terminal's own setting counts. Origins are added to the terminal's own list.

    Names and limits are those of `AgentSettings`; ports of devices are not among them, they belong to the machine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed_origins: Origins = ()
    pairing_origins: Origins = ()
    catalog_interval_s: Annotated[float, Field(ge=30, le=86_400)] | None = None
    pin_dialog: bool | None = None
    pin_dialog_s: Annotated[int, Field(ge=5, le=75)] | None = None
    printer_wait_s: Seconds | None = None
    wait_for_card_s: Seconds | None = None
    operation_timeout_s: Seconds | None = None
    batch_timeout_s: Seconds | None = None
    network_timeout_s: Seconds | None = None
    network_deadline_s: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """`unknown`: names this program does not know."""

    settings: CentreSettings
    unknown: tuple[str, ...]
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises ConfigurationError."""
        if len(raw) > MAX_BYTES:
            raise ConfigurationError(f"more than {MAX_BYTES} bytes")
        try:
            table: Any = json.loads(raw, object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError("not JSON, or a name stands twice") from error
        if not isinstance(table, dict) or table.keys() != {"format", "settings"} or table["format"] != FORMAT:
            raise ConfigurationError(f"an object with format {FORMAT} and settings was expected")
        given = table["settings"]
        if not isinstance(given, dict):
            raise ConfigurationError("settings is no object")
        known = {name: value for name, value in given.items() if name in CentreSettings.model_fields}
        try:
            settings = CentreSettings.model_validate(known)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigurationError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return cls(settings, tuple(sorted(given.keys() - known.keys())), raw)

    def at_start(self) -> dict[str, Any]:
        """Settings of `AgentSettings` that the centre decides, without those that count live."""
        return self.settings.model_dump(exclude=set(LIVE), exclude_none=True)


def keep(settings: AgentSettings, configuration: Configuration | None) -> None:
    """Remember what was verified last for the next start. Raises OSError."""
    place = _place(settings)
    if place is None:
        return
    if configuration is None:
        place.unlink(missing_ok=True)
    elif kept(settings) != configuration:
        write_atomically(place, configuration.raw)


def kept(settings: AgentSettings) -> Configuration | None:
    """What was verified last. A file that cannot be read counts as none: the set in force brings it anew."""
    place = _place(settings)
    try:
        return None if place is None else Configuration.parse(place.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ConfigurationError) as error:
        LOG.warning("the configuration kept here cannot be used: %s", error)
        return None


def with_kept(settings: AgentSettings) -> AgentSettings:
    """The terminal's settings as the centre last decided them."""
    configuration = kept(settings)
    return settings if configuration is None else settings.model_copy(update=configuration.at_start())


def _place(settings: AgentSettings) -> Path | None:
    if settings.state_dir is None or settings.catalog_url is None:
        return None
    return settings.state_dir / f"configuration-{settings.profile.value}.json"
