"""The contract of a one-time store, kept alike in process memory and in Redis.

An entry lives `ttl_s` seconds and is remembered `KEPT_LONGER_S` more, so that a claim too late is told apart from an
unknown key. Nothing is ever given to two claimants: neither expiry nor a lost connection nor an emptied store makes a
claimed entry claimable, only unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol

KEPT_LONGER_S = 600.0
MAX_KEY_CHARS = 256
MAX_VALUE_BYTES = 4096


class OneTimeUnavailableError(Exception):
    """The store does not answer or has no room; nothing may be accepted that it has not confirmed."""

    failure: ClassVar[str] = "ONE_TIME_UNAVAILABLE"


class Outcome(StrEnum):
    UNKNOWN = "unknown"
    FIRST = "first"
    """Claimed now."""
    AGAIN = "again"
    """Claimed before by this very claimant, and still alive."""
    TAKEN = "taken"
    """Claimed before: by another claimant, or by this one in a life that is over."""
    EXPIRED = "expired"
    """Over without having been claimed."""
    OTHER_LABEL = "other_label"
    """Under another label than asked for; not claimed by this."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`value` is there in every outcome but UNKNOWN; `holder` is the claimant who has it when it is TAKEN."""

    outcome: Outcome
    value: bytes = field(default=b"", repr=False)
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Claiming:
    """What `claim` is asked for, of many at once."""

    key: str
    claimant: str
    label: str = ""


class OneTimeStore(Protocol):
    """Keys are at most `MAX_KEY_CHARS` characters, values `MAX_VALUE_BYTES` bytes; what is personal comes sealed.

    Every method raises OneTimeUnavailableError.
    """

    async def put(
        self, key: str, value: bytes, ttl_s: float, *, label: str = "", slot: str = "", since: int | None = None
    ) -> bool:
        """Add an entry; False when there is one of this key, be it over.

        A `slot` holds one entry: the one that was in it ends now, unless it is claimed. `since`, in Unix seconds: when
        the store began later, as after a restart, it may have forgotten such a key and is unavailable for it.
        """

    async def claim(self, key: str, claimant: str, *, label: str = "") -> Claim:
        """Claim for `claimant`, a text that names caller and request. Atomic among all processes of the store."""

    async def claim_all(self, claims: Sequence[Claiming]) -> list[Claim]:
        """Each as by `claim`, one after the other and none between; all with one question to the store."""

    async def drop(self, key: str) -> None:
        """Forget an entry, which is unknown from now on."""

    async def ping(self) -> None:
        """Whether it answers."""

    async def close(self) -> None: ...


def begun_later() -> OneTimeUnavailableError:
    return OneTimeUnavailableError("the one-time store has begun anew and does not remember that long")


def check(key: str, value: bytes = b"") -> None:
    """Raises ValueError for what no store takes."""
    if not 0 < len(key) <= MAX_KEY_CHARS or len(value) > MAX_VALUE_BYTES:
        raise ValueError("key or value of a one-time entry has a length that is not allowed")
