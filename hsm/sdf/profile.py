"""Profile of an SDF machine: what vendors do differently under GM/T 0018, read from TOML (docs/keys.md).

The library's path is no part of it: it comes from the installation's setting, so that one profile serves every
installation of a product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from hsm.api import CARD_ALGORITHMS, Algorithm
from hsm.profile_table import MAX_FILE, MAX_NUMBER, ProfileError, ProfileTable, SecretReference

_MAX_PAIRS = 1024
_MAX_ERRORS = 1024
_ERRORS_FILE = Path(__file__).with_name("errors.toml")


class CipherLayout(StrEnum):
    """Order of ECCCipher: x y M L C, or in older libraries L x y C[136] M."""

    STANDARD = "standard"
    OLD = "old"


class DecryptForm(StrEnum):
    """Arguments of SDF_InternalDecrypt_ECC: as the standard has them, with an algorithm number, or no such function."""

    STANDARD = "standard"
    ALGORITHM = "algorithm"
    NONE = "none"


class ErrorKind(StrEnum):
    """What an error number means for the caller."""

    REFUSED = "refused"
    LOST = "lost"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    name: str
    zh: str
    en: str
    kind: ErrorKind = ErrorKind.REFUSED


@dataclass(frozen=True, slots=True)
class CipherIds:
    """Algorithm numbers of one block cipher."""

    ecb: int
    cbc: int


@dataclass(frozen=True, slots=True)
class Kek:
    """The stored key that wraps generated keys; `blob_bytes` is the length of a wrapped 16-byte key, 0 for any."""

    index: int
    algorithm: int
    blob_bytes: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """The internal pair to whose public half adopted keys are encrypted."""

    index: int
    password: SecretReference


@dataclass(frozen=True, slots=True)
class Sm2Pairs:
    """Internal pairs that may be given out, in that order."""

    pairs: tuple[int, ...]
    password: SecretReference
    decrypt: DecryptForm
    decrypt_algorithm: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One product and how to speak to it."""

    name: str
    field_bytes: int
    cipher_layout: CipherLayout
    max_sessions: int
    max_data: int
    cached_keys: int
    kek: Kek
    envelope: Envelope
    ciphers: Mapping[Algorithm, CipherIds]
    sm2: Sm2Pairs | None
    errors: Mapping[int, ErrorMeaning] = field(repr=False)


def load_profile(path: Path) -> Profile:
    """Raises ProfileError. A relative password file lies beside the profile."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        return parse_profile(content, path.parent)
    except OSError as problem:
        raise ProfileError(f"{path.name}: {problem.strerror or 'cannot be read'}") from None
    except ProfileError as problem:
        raise ProfileError(f"{path.name}: {problem}") from None


def parse_profile(content: bytes, folder: Path) -> Profile:
    """The profile written in TOML; raises ProfileError, also for a name it does not know."""
    top = ProfileTable.parse(content)
    profile = Profile(
        name=top.text("name"),
        field_bytes=top.number("field_bytes", 32, 64),
        cipher_layout=top.choice("cipher_layout", CipherLayout.STANDARD),
        max_sessions=top.number("max_sessions", 1, 4096),
        max_data=top.number("max_data", 256, 1 << 20),
        cached_keys=top.number("cached_keys", 1, 4096),
        kek=_kek(top.table("kek")),
        envelope=_envelope(top.table("envelope"), folder),
        ciphers=_ciphers(top.table("ciphers")),
        sm2=_sm2(top.table("sm2"), folder) if top.has("sm2") else None,
        errors=standard_errors() | _errors(top),
    )
    if profile.field_bytes not in (32, 64):
        top.wrong("field_bytes", "must be 32 or 64")
    if profile.max_data % 16:
        top.wrong("max_data", "must be a multiple of 16")
    top.end()
    return profile


@cache
def standard_errors() -> dict[int, ErrorMeaning]:
    """The numbers of GM/T 0018."""
    return _errors(ProfileTable.parse(_ERRORS_FILE.read_bytes()))


def _kek(table: ProfileTable) -> Kek:
    kek = Kek(table.number("index"), table.number("algorithm"), table.number("blob_bytes", 0, 1024))
    table.end()
    return kek


def _envelope(table: ProfileTable, folder: Path) -> Envelope:
    envelope = Envelope(table.number("index"), table.secret("password", folder))
    table.end()
    return envelope


def _ciphers(table: ProfileTable) -> dict[Algorithm, CipherIds]:
    found = {}
    for algorithm in CARD_ALGORITHMS:
        if table.has(algorithm):
            ids = table.table(algorithm)
            found[algorithm] = CipherIds(ids.number("ecb"), ids.number("cbc"))
            ids.end()
    table.end()
    return found


def _sm2(table: ProfileTable, folder: Path) -> Sm2Pairs:
    pairs = table.take("pairs", list)
    if len(pairs) > _MAX_PAIRS or len(set(map(repr, pairs))) != len(pairs):
        table.wrong("pairs", f"must be at most {_MAX_PAIRS} different numbers")
    if not all(type(index) is int and 0 <= index <= MAX_NUMBER for index in pairs):
        table.wrong("pairs", "must be numbers")
    form = table.choice("decrypt", DecryptForm.STANDARD)
    algorithm = table.number("decrypt_algorithm") if form is DecryptForm.ALGORITHM else 0
    sm2 = Sm2Pairs(tuple(pairs), table.secret("password", folder), form, algorithm)
    table.end()
    return sm2


def _errors(top: ProfileTable) -> dict[int, ErrorMeaning]:
    rows = top.take("errors", list, [])
    if len(rows) > _MAX_ERRORS:
        top.wrong("errors", f"must be at most {_MAX_ERRORS}")
    found = {}
    for values in rows:
        row = ProfileTable(values, "errors")
        code = row.number("code", 1)
        found[code] = ErrorMeaning(
            row.text("name"), row.text("zh"), row.text("en"), row.choice("kind", ErrorKind.REFUSED)
        )
        row.end()
    return found
