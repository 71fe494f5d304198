"""What a key device does: opaque keys, used where they live, behind sessions that one thread uses at a time.

The card's rules (`hsm.card_rules`) are written over `DeviceKey`, so a device needs block operations only. Handles
are what the key table keeps of a key: the bytes themselves for the software device, a blob wrapped by the device's own
key otherwise, so that a second device with the same wrapping key can take over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol, TypeVar

from hsm.api import Algorithm, HsmError

T = TypeVar("T")


class DeviceError(HsmError):
    """The device refused or failed; `code` is its own error number. The session may be used again."""

    failure: ClassVar[str] = "HSM_REFUSED"

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class DeviceLostError(DeviceError):
    """The device or its session is gone; nothing is known to be wrong with the request."""

    failure: ClassVar[str] = "HSM_UNAVAILABLE"


class DeviceBusyError(HsmError):
    """No session became free in time."""

    failure: ClassVar[str] = "HSM_BUSY"


class AlgorithmUnavailableError(HsmError):
    """The device does not have the algorithm, or gave a wrong known answer for it."""

    failure: ClassVar[str] = "ALGORITHM_UNAVAILABLE"


class DeviceKey(Protocol):
    """One symmetric key where it lives. Valid until its session ends the operation it was made in."""

    @property
    def algorithm(self) -> Algorithm: ...

    @property
    def length(self) -> int:
        """In bytes: 16, or 8 for single DES."""
        ...

    def ecb(self, data: bytes, *, decrypt: bool = False) -> bytes:
        """Block by block, no padding; `data` is whole blocks."""
        ...

    def cbc(self, iv: bytes, data: bytes) -> bytes:
        """CBC encryption without padding; `iv` is one block."""
        ...

    def cmacs(self, messages: Sequence[bytes]) -> list[bytes]:
        """CMAC of each (NIST SP 800-38B)."""
        ...

    def derive(self, data: bytes) -> DeviceKey:
        """A key of the same algorithm whose value is `ecb(data)`; `data` has the length of the new key.

        A device that cannot derive inside computes the value and uses it in software.
        """
        ...


class DeviceSession(Protocol):
    """Operations of a device. Methods raise DeviceError, DeviceLostError, AlgorithmUnavailableError."""

    def random(self, length: int) -> bytes: ...

    def generate(self, algorithm: Algorithm, length: int) -> bytes:
        """Handle of a new random key."""
        ...

    def adopt(self, algorithm: Algorithm, value: bytes) -> bytes:
        """Handle of a key with this value."""
        ...

    def key(self, algorithm: Algorithm, length: int, handle: bytes) -> DeviceKey: ...

    def generate_pair(self, algorithm: Algorithm) -> tuple[bytes, bytes]:
        """Handle and public key of a new SM2, P-256 (04 || X || Y) or RSA (DER SubjectPublicKeyInfo) pair."""
        ...

    def sign(self, algorithm: Algorithm, handle: bytes, public: bytes, message: bytes, user_id: bytes) -> bytes:
        """SM2 and P-256: raw r || s; RSA: PKCS #1 v1.5 with SHA-256. `user_id` counts for SM2 only."""
        ...

    def decrypt(self, algorithm: Algorithm, handle: bytes, public: bytes, ciphertext: bytes) -> bytes:
        """Plaintext of SM2 04 || C1 || C3 || C2 (GB/T 32918.4). Raises AuthenticationFailed."""
        ...

    def forget(self, handle: bytes) -> None:
        """The key is destroyed: wipe and drop what the device holds of it."""
        ...


class KeyDevice(Protocol):
    """A device as the key service sees it; safe for several threads."""

    @property
    def name(self) -> str: ...

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """Those that gave the right known answers."""
        ...

    def run(self, operation: Callable[[DeviceSession], T]) -> T:
        """`operation` in a session of its own. It may be run a second time, elsewhere, when a device is lost.

        Raises what the operation raises, DeviceLostError when no device answers, DeviceBusyError.
        """
        ...

    def close(self) -> None: ...


class OpenSession(DeviceSession, Protocol):
    """A session as a pool keeps it."""

    def end_operation(self) -> None:
        """Drop keys derived since the last call."""
        ...

    def check(self) -> None:
        """Raises DeviceLostError when the session no longer answers."""
        ...

    def close(self) -> None:
        """Never raises."""
        ...


class SessionSource(Protocol):
    """One machine or token. `hsm.pool.DevicePool` makes a `KeyDevice` of one or several."""

    @property
    def name(self) -> str: ...

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """Empty while the machine never answered."""
        ...

    @property
    def max_sessions(self) -> int: ...

    def open_session(self) -> OpenSession:
        """Raises DeviceLostError. Safe for several threads."""
        ...

    def close(self) -> None: ...
