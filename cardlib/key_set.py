"""Which versions of the roots a card's keys come from (docs/card.md, "Key versions").

The keys of a card form a set, numbered by the version of its IRK: the one key a card proves without a try being spent.
A key that a rotation left out has no version of the new set; cards of that set carry its newest older one. That holds
only while no version is added to a set that cards carry already, so a rotation numbers its keys by `next_version`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from hsm.api import Algorithm, CardAuthenticator, CardFactors, KeyRef, KeyService, KeyVersions

IRK: Final = "IRK"
ONLY_SET: Final = 1
"""What the keys of a source without versions are called, a PSAM's for one."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys of one set as `source` knows them; each name is looked up once."""

    source: object
    algorithm: Algorithm
    version: int = ONLY_SET
    _refs: dict[str, KeyRef] = field(default_factory=dict, init=False, repr=False, compare=False)

    def ref(self, name: str, index: int = 1) -> KeyRef:
        """`index` is the key group on the card (密钥索引号), counted from the set's own; others have no older ones."""
        if index > 1:
            return KeyRef(name, self.algorithm, self.version + index - 1)
        if name not in self._refs:
            self._refs[name] = self._found(name)
        return self._refs[name]

    def _found(self, name: str) -> KeyRef:
        held = self.source.versions(name, self.algorithm) if isinstance(self.source, KeyVersions) else []
        return KeyRef(name, self.algorithm, next((v for v in held if v <= self.version), self.version))


def set_versions(source: object, algorithm: Algorithm) -> list[int]:
    """Every set `source` holds, newest first; at least one."""
    held = source.versions(IRK, algorithm) if isinstance(source, KeyVersions) else []
    return held or [ONLY_SET]


def current_set(keys: KeyService, algorithm: Algorithm) -> int:
    """The set new cards get. Raises KeyNotFoundError."""
    return keys.current(IRK, algorithm).version


def next_version(keys: KeyVersions, name: str, algorithm: Algorithm) -> int:
    """The number of a card key's next version: above its own and above every set that cards may carry.

    So the keys of a rotation come first and IRK last, which makes the set.
    """
    held = keys.versions(name, algorithm) + keys.versions(IRK, algorithm)
    return 1 + max(held, default=0)


def set_of_answer(
    source: CardAuthenticator,
    algorithm: Algorithm,
    factors: CardFactors,
    challenge: bytes,
    original: bytes,
    answer: bytes,
) -> int | None:
    """The set whose IRK gives `answer` of INTERNAL AUTHENTICATION (P5 §6.7); None: not genuine, or of other roots."""
    for version in set_versions(source, algorithm):
        key = KeyRef(IRK, algorithm, version)
        if hmac.compare_digest(source.authentication_value(key, factors, challenge, original), answer):
            return version
    return None
