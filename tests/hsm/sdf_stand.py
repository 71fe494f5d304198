"""Simulated SDF machines for tests: the library is built once per run, each machine is a copy with its own keys."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

import hsm.sdf
from hsm.sdf import Profile, SdfSource, parse_profile
from simulators.sdf_device import SimSdfDevice, build, init_device, is_available

PROFILES = Path(hsm.sdf.__file__).parent / "profiles"
ENV_PASSWORD, FILE_PASSWORD = '{ env = "ONECARD_SDF_PASSWORD" }', '{ file = "password" }'
needs_compiler = pytest.mark.skipif(not is_available()[0], reason=is_available()[1])
_BUILT: dict[bool, Path] = {}


def make_device(factory: pytest.TempPathFactory, *, seed: str | None = None, old_vendor: bool = False) -> SimSdfDevice:
    if old_vendor not in _BUILT:
        _BUILT[old_vendor] = build(factory.mktemp("sdf-build"), old_vendor=old_vendor)
    return init_device(factory.mktemp("sdf"), seed=seed, library=_BUILT[old_vendor])


def profile_text(name: str = "onecard_simulator") -> str:
    return (PROFILES / f"{name}.toml").read_text("utf-8").replace(ENV_PASSWORD, FILE_PASSWORD)


def profile_of(device: SimSdfDevice, text: str | None = None) -> Profile:
    return parse_profile((text or profile_text()).encode(), device.folder)


def source_of(device: SimSdfDevice, claims: Path, text: str | None = None) -> SdfSource:
    return SdfSource(profile_of(device, text), device.library, claims)


def open_things(device: SimSdfDevice) -> tuple[int, ...]:
    """How many devices, sessions and keys the library holds."""
    counts = [ctypes.c_uint32() for _ in range(3)]
    ctypes.CDLL(str(device.library)).onecard_sdf_open(*map(ctypes.byref, counts))
    return tuple(count.value for count in counts)
