"""`agent.toml`: the same names as `AgentSettings`, and from where each value in force came.

A value is the first of: option of the command, environment (`ONECARD_AGENT_…`), file, registration, default. What the
signed configuration of the centre decides (`terminal_agent.catalog.configuration`) is laid over that at the start.
`python -m terminal_agent.configuration_file` prints the JSON Schema that editors use.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsError

from terminal_agent.catalog.configuration import kept
from terminal_agent.registration import registered_settings
from terminal_agent.settings import AgentSettings

MAX_BYTES: Final = 1 << 16
SCHEMA_ID: Final = "agent-config.schema.json"
_PATHS: Final = ("state_dir", "catalog_root", "client_key", "debit_journal")
_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


class Source(StrEnum):
    """Who decided a value, from the weakest to the strongest."""

    DEFAULT = "default"
    REGISTRATION = "registration"
    FILE = "file"
    ENVIRONMENT = "environment"
    OPTION = "option"
    CENTRE = "centre"


@dataclass(frozen=True, slots=True)
class Fault:
    """`line` counts from 1, 0 where no line is at fault; `field` is dotted, list items by their number."""

    line: int
    field: str
    rule: str
    text_zh: str
    text_en: str
    remedy_zh: str
    remedy_en: str


class ConfigurationFileError(ValueError):
    """The file or another source of settings is wrong; the agent does not start with half of what was meant."""

    failure: ClassVar[str] = "AGENT_CONFIGURATION"

    def __init__(self, faults: list[Fault], name: str = "") -> None:
        super().__init__("; ".join(f"{name}:{fault.line} {fault.field}: {fault.text_en}" for fault in faults))
        self.faults = faults


class _Given(AgentSettings):
    """Settings of what is given alone, whatever the environment says."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **_named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Effective:
    """`sources` by name of the setting."""

    settings: AgentSettings
    sources: dict[str, Source]

    def rows(self) -> list[dict[str, Any]]:
        """Name, value as JSON, source. Key files are shown by their path, never by what is in them."""
        values = self.settings.model_dump(mode="json")
        return [{"name": name, "value": values[name], "source": source} for name, source in self.sources.items()]


def load(file: Path | None, options: Mapping[str, Any]) -> Effective:
    """The settings an agent starts with. Raises ConfigurationFileError."""
    table = {} if file is None else _table(file)
    layers: dict[Source, Mapping[str, Any]] = {
        Source.FILE: table,
        Source.ENVIRONMENT: _environment(),
        Source.OPTION: options,
    }
    given = {name: value for layer in layers.values() for name, value in layer.items()}
    folder = given.get("state_dir")
    layers = {Source.REGISTRATION: registered_settings(Path(folder) if folder else None)} | layers
    settings = _validated(dict(layers[Source.REGISTRATION]) | given, file)
    layers[Source.CENTRE] = {} if (decided := kept(settings)) is None else decided.at_start()
    sources = {
        name: next((source for source in reversed(layers) if name in layers[source]), Source.DEFAULT)
        for name in AgentSettings.model_fields
    }
    return Effective(settings.model_copy(update=dict(layers[Source.CENTRE])), sources)


def check(file: Path) -> list[Fault]:
    """Everything that is wrong with the file by itself."""
    try:
        _validated(_table(file), file)
    except ConfigurationFileError as error:
        return error.faults
    return []


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file."""
    found = AgentSettings.model_json_schema()
    found["properties"]["$schema"] = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **found,
        "title": "OneCard terminal agent: agent.toml",
    }


# -- inside -----------------------------------------------------------------------------------------------------------


def _table(file: Path) -> dict[str, Any]:
    """As it stands, paths taken from the file's folder. Raises ConfigurationFileError."""
    text = _text(file)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of numbers and lists without end too
        at = _AT_LINE.search(str(error))
        line = 0 if at is None else int(at[1] or text.count("\n") + 1)
        raise ConfigurationFileError([_fault(line, "", "syntax", {"error": error})], file.name) from None
    table.pop("$schema", None)
    for name in _PATHS:
        if isinstance(table.get(name), str):
            table[name] = str(file.parent / table[name])
    return table


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
        if len(raw) > MAX_BYTES:
            raise ValueError(f"{len(raw)} bytes")
        return raw.decode("utf-8-sig")  # some editors begin a file with a mark
    except (OSError, ValueError) as error:
        words = {"error": error.strerror if isinstance(error, OSError) else error}
        raise ConfigurationFileError([_fault(0, "", "unreadable", words)], file.name) from None


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(AgentSettings)()
    except SettingsError as error:
        raise ConfigurationFileError([_fault(0, "", "other", {"error": error})], "environment") from None


def _validated(given: dict[str, Any], file: Path | None) -> AgentSettings:
    try:
        return _Given(**given)
    except ValidationError as error:
        places = [one["loc"] or _named_in(one["msg"]) for one in error.errors()]
        lines = _lines_of(_text(file), places) if file is not None else [0] * len(places)
        faults = sorted(map(_fault_of, error.errors(), places, lines), key=lambda fault: fault.line)
        raise ConfigurationFileError(faults, "" if file is None else file.name) from None


def _fault_of(error: ErrorDetails, place: tuple[int | str, ...], line: int) -> Fault:
    context = dict(error.get("ctx") or {}) | {"error": error["msg"].removeprefix("Value error, ")}
    rule = error["type"]
    if rule == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), AgentSettings.model_fields, 1)
        rule, context["near"] = (rule, near[0]) if near and len(place) == 1 else ("extra_forbidden_far", "")
    return _fault(line, ".".join(map(str, place)), rule, context)


def _named_in(text: str) -> tuple[str, ...]:
    """A rule over several settings names the one to mend first."""
    return tuple(name for name in text.replace(",", " ").split() if name in AgentSettings.model_fields)[:1]


def _lines_of(text: str, places: Sequence[tuple[int | str, ...]]) -> list[int]:
    """Where the innermost part of each place that the file has begins; 0 where it has none.

    The file is read once, line by line, until everything is there.
    """
    whole = tomllib.loads(text)
    wanted = [_innermost(whole, place) for place in places]
    missing = {place for place in wanted if place}
    found: dict[tuple[int | str, ...], int] = {}
    lines, begun = text.splitlines(keepends=True), 0
    for end in range(1, len(lines) + 1):
        if not missing:
            break
        try:
            table = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        there = {place for place in missing if _has(table, place)}
        found |= dict.fromkeys(there, begun + 1)
        missing, begun = missing - there, end
    return [found.get(place, 0) for place in wanted]


def _innermost(table: Any, place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    while place and not _has(table, place):
        place = place[:-1]
    return place


def _has(table: Any, place: tuple[int | str, ...]) -> bool:
    for step in place:
        try:
            table = table[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _fault(line: int, field: str, rule: str, context: Mapping[str, Any]) -> Fault:
    words = _words().get(rule) or _words()["other"]
    return Fault(line, field, rule, **{name: text.format_map(context) for name, text in words.items()})


@cache
def _words() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("configuration_words.toml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    print(json.dumps(schema(), ensure_ascii=False, indent=2))
