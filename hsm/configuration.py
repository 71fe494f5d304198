"""Which device the key service works with: `hsm.toml` beside the key store, read once at the start.

    backend = "sdf"          # soft (no file at all), pkcs11, sdf, remote

    [pool]                   # may be left out
    sessions = 8             # per machine
    wait_s = 5               # for a free session

    [[machine]]              # one or more that hold the same keys; the profile's directory is this file's
    name = "machine-a"
    profile = "vendor.toml"
    library = "/opt/vendor/libsdf.so"

    claims = "sdf-claims"    # sdf only: which signing pairs are given out, common to all machines

`remote` takes `socket = "keys.socket"` instead: another process has the store (`onecard hsm serve`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from hsm import pkcs11, sdf
from hsm.device import KeyDevice, SessionSource
from hsm.pool import DevicePool
from hsm.primitives import Engine
from hsm.profile_table import ProfileError, ProfileTable

LOG = logging.getLogger("hsm")
FILE_NAME: Final = "hsm.toml"
_MAX_MACHINES: Final = 16


class Backend(StrEnum):
    SOFT = "soft"
    PKCS11 = "pkcs11"
    SDF = "sdf"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Machine:
    """`library` empty: the profile names it (PKCS#11)."""

    name: str
    profile: Path
    library: Path | None = None


@dataclass(frozen=True, slots=True)
class KeyConfiguration:
    """Paths are absolute. `socket` counts for REMOTE, `machines` for devices."""

    backend: Backend = Backend.SOFT
    machines: tuple[Machine, ...] = ()
    sessions: int = 8
    wait_s: int = 5
    claims: Path = field(default_factory=Path)
    socket: Path = field(default_factory=Path)

    @classmethod
    def load(cls, folder: Path) -> KeyConfiguration:
        """From `hsm.toml` in `folder`; the embedded service where there is none. Raises ProfileError."""
        path = folder / FILE_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise ProfileError(f"{FILE_NAME} cannot be read") from error
        try:
            return cls.parse(content, folder)
        except ProfileError as error:
            raise ProfileError(f"{FILE_NAME}: {error}") from None

    @classmethod
    def parse(cls, content: bytes, folder: Path) -> KeyConfiguration:
        """Raises ProfileError."""
        top = ProfileTable.parse(content)
        backend = top.choice("backend", Backend.SOFT)
        found = cls(backend)
        if backend is Backend.REMOTE:
            found = replace(found, socket=folder / top.text("socket"))
        elif backend is not Backend.SOFT:
            if backend is Backend.SDF:
                found = replace(found, claims=folder / top.text("claims"))
            found = replace(found, machines=_machines(top, folder, needs_library=backend is Backend.SDF))
            if top.has("pool"):
                pool = top.table("pool")
                found = replace(found, sessions=pool.number("sessions", 1, 1024), wait_s=pool.number("wait_s", 1, 600))
                pool.end()
        top.end()
        return found

    def device(self, engine: Engine) -> KeyDevice | None:
        """The pool over the machines; None for the software device. The machines are not touched yet.

        Raises ProfileError for a profile or library that is none.
        """
        if not self.machines:
            return None
        sources = [self._source(machine, engine) for machine in self.machines]
        return DevicePool(sources, sessions=self.sessions, wait_s=self.wait_s)

    def _source(self, machine: Machine, engine: Engine) -> SessionSource:
        if self.backend is Backend.SDF:
            profile = sdf.load_profile(machine.profile)
            assert machine.library is not None
            return sdf.SdfSource(profile, machine.library, self.claims, name=machine.name, engine=engine)
        token = replace(pkcs11.load_profile(machine.profile), name=machine.name)
        if machine.library is not None:
            token = replace(token, library=machine.library)
        return pkcs11.Pkcs11Source(token, engine=engine)


def _machines(top: ProfileTable, folder: Path, *, needs_library: bool) -> tuple[Machine, ...]:
    items: list[Any] = top.take("machine", list)
    if not 1 <= len(items) <= _MAX_MACHINES:
        top.wrong("machine", f"must be 1 to {_MAX_MACHINES} tables")
    found = []
    for number, values in enumerate(items, start=1):
        table = ProfileTable(values, f"machine {number}")
        name, profile = table.text("name"), folder / table.text("profile")
        library = folder / table.text("library") if needs_library or table.has("library") else None
        table.end()
        found.append(Machine(name, profile, library))
    if len({machine.name for machine in found}) != len(found):
        top.wrong("machine", "names must differ")
    return tuple(found)
