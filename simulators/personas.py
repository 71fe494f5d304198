"""Personas: invented people and defective cards, one TOML file each in `personas/`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from cardlib.spec import Generation
from simulators.card.state import Life
from simulators.faults import Faults

_FOLDER = Path(__file__).with_name("personas")
_FIELDS = frozenset(
    {"title_zh", "title_en", "generation", "life", "region", "serial", "pin", "optional_applications"}
    | {"is_blocked", "blocked_applications", "items", "faults", "based_on", "balance_fen", "applications"}
)
_HEX_FAULTS = frozenset({"fci", "atr"})


class PersonaError(Exception):
    """No such persona, or one whose file contradicts the specification."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class Persona:
    """What a card is to hold. `items` maps file path to tag to value; `pin` is decimal digits, empty for none."""

    name: str
    title_zh: str
    title_en: str
    generation: Generation
    life: Life
    region: str
    serial: int
    pin: str = ""
    optional_applications: tuple[str, ...] = ()
    is_blocked: bool = False
    blocked_applications: tuple[str, ...] = ()
    balance_fen: int = 0
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Applications beside the SSSE by name: `transit`, `pki`, `bank` (simulators/apps/build.py)."""
    fault_values: dict[str, Any] = field(default_factory=dict)

    def faults(self) -> Faults:
        """A freshly armed set of this persona's faults."""
        values: dict[str, Any] = {k: bytes.fromhex(v) if k in _HEX_FAULTS else v for k, v in self.fault_values.items()}
        return Faults(**values)

    def pin_bytes(self) -> bytes:
        """Packed BCD, filled FF (card_files.md section 9)."""
        return bytes.fromhex(self.pin.ljust(16, "F"))


def names() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def load(name: str) -> Persona:
    """Raises PersonaError."""
    table = _read(name)
    unknown = set(table) - _FIELDS
    if unknown:
        raise PersonaError(f"{name}: unknown field {', '.join(sorted(unknown))}")
    try:
        persona = Persona(
            name=name,
            title_zh=table["title_zh"],
            title_en=table["title_en"],
            generation=Generation(table["generation"]),
            life=Life[table["life"]],
            region=table["region"],
            serial=table["serial"],
            pin=table.get("pin", ""),
            optional_applications=tuple(table.get("optional_applications", ())),
            is_blocked=table.get("is_blocked", False),
            blocked_applications=tuple(table.get("blocked_applications", ())),
            balance_fen=table.get("balance_fen", 0),
            items=table.get("items", {}),
            applications=table.get("applications", {}),
            fault_values=table.get("faults", {}),
        )
        persona.faults()
    except (KeyError, ValueError, TypeError) as exc:
        raise PersonaError(f"{name}: {exc}") from exc
    return persona


def _read(name: str) -> dict[str, Any]:
    """The table of a persona over the one it is based on."""
    if name not in names():
        raise PersonaError(f"no persona {name!r}; there are {', '.join(names())}")
    with (_FOLDER / f"{name}.toml").open("rb") as file:
        table = tomllib.load(file)
    base = _read(table["based_on"]) if "based_on" in table else {}
    return _merge(base, table)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(merged[key], value) if isinstance(merged.get(key), dict) else value
    return merged
