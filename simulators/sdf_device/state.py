"""The folder of one simulated device: what it holds, and what is wrong with it at the moment.

`device.keys` has lines "kind index hex": `serial`, `kek`, `sign`, `encrypt`, `password`. `control` has lines
"name value" and is read again by the library whenever it has changed, also by a library in another process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hsm.primitives.sm2_forms import N
from simulators.sdf_device.library import LIBRARY, build

KEYS_FILE, CONTROL_FILE, PASSWORD_FILE = "device.keys", "control", "password"
KEK, ENVELOPE = 1, 1
PAIRS = tuple(range(2, 17))
"""Indexes whose two pairs are the same, so that one key signs and deciphers; index 1 has two pairs."""

Draw = Callable[[str, int], bytes]


@dataclass(slots=True)
class SimSdfDevice:
    """Faults of a device made by `init_device`. Each change counts from the moment it is made."""

    folder: Path
    _control: dict[str, int] = field(default_factory=dict)

    @property
    def library(self) -> Path:
        return self.folder / LIBRARY

    @property
    def password(self) -> str:
        return (self.folder / PASSWORD_FILE).read_text("ascii")

    def unplug(self) -> None:
        """Every call fails; handles opened before are dead for good, as after a restart of the machine."""
        self._set(unplugged=1, incarnation=self._control.get("incarnation", 0) + 1)

    def plug(self) -> None:
        self._set(unplugged=0)

    def delay(self, milliseconds: int) -> None:
        """Each call takes this much longer."""
        self._set(delay_ms=milliseconds)

    def refuse_after(self, operations: int, code: int = 0x01000004) -> None:
        """Answer `code` (hardware failure) once so many calls were made; a negative number ends it."""
        self._set(refuse_after=operations, refuse_code=code)

    def limit_sessions(self, count: int) -> None:
        self._set(max_sessions=count)

    def _set(self, **changes: int) -> None:
        self._control |= changes
        fresh = self.folder / f"{CONTROL_FILE}.new"
        fresh.write_text("".join(f"{name} {value}\n" for name, value in self._control.items()), "ascii")
        fresh.replace(self.folder / CONTROL_FILE)


def init_device(
    folder: Path,
    *,
    seed: str | None = None,
    library: Path | None = None,
    old_vendor: bool = False,
) -> SimSdfDevice:
    """A new device in `folder`, which must be empty or absent; `library` saves building it again.

    Raises FileExistsError, SdfBuildError. With `seed` keys and password follow from it: for clusters and tests.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    draw = _drawn(seed)
    password = draw("password", 0)[:8].hex()
    (folder / "files").mkdir(mode=0o700)
    _write(folder / PASSWORD_FILE, password)
    serial = secrets.token_hex(6)
    lines = [f"serial 0 {serial}", f"kek {KEK} {draw('kek', KEK)[:16].hex()}"]
    for index in (ENVELOPE, *PAIRS):
        signing = _number(draw, "sign", index)
        deciphering = _number(draw, "encrypt", index) if index == ENVELOPE else signing
        lines += [f"sign {index} {signing}", f"encrypt {index} {deciphering}"]
        lines += [f"password {index} {password.encode('ascii').hex()}"]
    _write(folder / KEYS_FILE, "\n".join(lines) + "\n")
    if library is None:
        build(folder, old_vendor=old_vendor)
    else:
        shutil.copyfile(library, folder / LIBRARY)
    return SimSdfDevice(folder)


def _drawn(seed: str | None) -> Draw:
    if seed is None:
        return lambda kind, index: secrets.token_bytes(32)
    return lambda kind, index: hashlib.sha256(f"onecard-sdf/{seed}/{kind}/{index}".encode()).digest()


def _number(draw: Draw, kind: str, index: int) -> str:
    """An SM2 private number, 1 to n-2, in hex."""
    return (1 + int.from_bytes(draw(kind, index), "big") % (N - 2)).to_bytes(32, "big").hex()


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(text)
