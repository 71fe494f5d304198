"""One SDF machine as a source of sessions: opened when first asked, opened again after it was lost."""

from __future__ import annotations

import contextlib
import logging
import threading
from ctypes import byref, c_void_p
from dataclasses import dataclass
from pathlib import Path

from hsm.api import Algorithm
from hsm.device import DeviceError, DeviceLostError, SessionSource
from hsm.primitives import Engine, default_engine
from hsm.sdf import known_answers
from hsm.sdf.binding import Layout, SdfLibrary
from hsm.sdf.claims import PairClaims
from hsm.sdf.profile import Profile
from hsm.sdf.session import SdfSession, Shared

_LOG = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Device:
    """One SDF_OpenDevice; closed with its last session once it is retired."""

    handle: c_void_p
    algorithms: frozenset[Algorithm] = frozenset()
    sessions: int = 0
    is_retired: bool = False


class SdfSource(SessionSource):
    """Safe for several threads. `claims` is the folder of `hsm.sdf.claims`, common to all machines of a cluster."""

    def __init__(
        self, profile: Profile, library: Path, claims: Path, *, name: str = "", engine: Engine | None = None
    ) -> None:
        """Loads the library and touches no device. Raises hsm.sdf.ProfileError when it is no SDF library."""
        layout = Layout(profile.field_bytes, profile.cipher_layout)
        loaded = SdfLibrary(library, profile)
        self._shared = Shared(loaded, profile, layout, engine or default_engine(), PairClaims(claims))
        self._name = name or profile.name
        self._lock = threading.RLock()
        self._device: _Device | None = None
        self._known: frozenset[Algorithm] = frozenset()
        self._is_closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def max_sessions(self) -> int:
        """What the machine can serve at a time, for the pool."""
        return self._shared.profile.max_sessions

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """Of the last time the device was opened; opens it once when it never was. Empty while it never answered."""
        with self._lock:
            if self._device is None and not self._known:
                with contextlib.suppress(DeviceError):
                    self._replace()
            return self._known

    def open_session(self) -> SdfSession:
        with self._lock:
            if self._device is not None:
                try:
                    return self._session(self._device, self._device.algorithms)
                except DeviceLostError as error:
                    _LOG.info("%s: opening the device again: %s", self._name, error)
            device = self._replace()
            return self._session(device, device.algorithms)

    def close(self) -> None:
        """The device is closed with its last session."""
        with self._lock:
            self._is_closed = True
            self._retire()

    def _replace(self) -> _Device:
        """Open the device anew; the one before is given up only when that worked. Raises DeviceLostError."""
        if self._is_closed:
            raise DeviceLostError(f"{self._name} is closed")
        device = self._open()
        self._retire()
        self._device, self._known = device, device.algorithms
        names = ", ".join(sorted(device.algorithms))
        _LOG.info("%s: open, algorithms: %s", self._name, names or "none")
        return device

    def _open(self) -> _Device:
        handle = c_void_p()
        try:
            self._shared.library.call("SDF_OpenDevice", byref(handle))
        except DeviceError as error:
            raise DeviceLostError(str(error), error.code) from None
        device = _Device(handle)
        profile = self._shared.profile
        candidates = frozenset(profile.ciphers) | (frozenset({Algorithm.SM2}) if profile.sm2 else frozenset())
        try:
            with contextlib.closing(self._session(device, candidates)) as session:
                device.algorithms = known_answers.answering(session, candidates, self._name)
        except BaseException:
            self._close_device(device)
            raise
        return device

    def _session(self, device: _Device, algorithms: frozenset[Algorithm]) -> SdfSession:
        handle = c_void_p()
        try:
            self._shared.library.call("SDF_OpenSession", device.handle, byref(handle))
        except DeviceError as error:
            raise DeviceLostError(str(error), error.code) from None
        device.sessions += 1
        return SdfSession(self._shared, handle, algorithms, lambda: self._session_closed(device))

    def _session_closed(self, device: _Device) -> None:
        with self._lock:
            device.sessions -= 1
            if device.is_retired and not device.sessions:
                self._close_device(device)

    def _retire(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.is_retired = True
            if not device.sessions:
                self._close_device(device)

    def _close_device(self, device: _Device) -> None:
        with contextlib.suppress(DeviceError):
            self._shared.library.call("SDF_CloseDevice", device.handle)
