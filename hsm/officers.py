"""Officers of the keys: each with a passphrase of his own, two of them for what cannot be undone.

The file beside the store is under a MAC of a store key. That the key exists says that the store has officers: without
the file nothing is approved. Officers are a rule for people who use the program; who holds the store's passphrase and
writes programs of his own is not held back by it.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from hsm.act_log import make_own_key, own_key
from hsm.api import BadInputError, HsmError, KeyStoreCorruptError, KeyStoreLockedError
from hsm.primitives import default_engine
from hsm.sealed_store import DEFAULT_COST, Attempts, ScryptCost, check_passphrase, derive, exclusive, write_atomically
from hsm.service import StoreKeyService

OFFICERS_KEY: Final = "onecard-officers"
MAX_NAME: Final = 32
_FILE = b"officers\0"


class OfficerRefusedError(HsmError):
    """Unknown, a wrong passphrase, or locked after too many of them."""

    failure: ClassVar[str] = "OFFICER_REFUSED"


class OfficersNeededError(HsmError):
    """Two different officers have to approve."""

    failure: ClassVar[str] = "OFFICERS_NEEDED"


@dataclass(frozen=True, slots=True)
class _Officer:
    name: str
    salt: str
    scrypt: ScryptCost
    check: str = field(repr=False)

    def accepts(self, passphrase: str) -> bool:
        found = _check(passphrase, bytes.fromhex(self.salt), self.scrypt)
        return hmac.compare_digest(found, self.check)


class Officers:
    """The officers of one store."""

    def __init__(self, service: StoreKeyService, store: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._service = service
        self._path = store.with_name(store.name + ".officers")
        self._clock = clock

    @property
    def file(self) -> Path:
        return self._path

    @property
    def exist(self) -> bool:
        """Whether the store was made with officers; it then never goes on without them."""
        return own_key(self._service, OFFICERS_KEY) is not None

    def register(self, passphrases: Mapping[str, str], *, cost: ScryptCost = DEFAULT_COST) -> None:
        """Two to nine officers, once. Raises BadInputError: names and passphrases have to differ."""
        names = [officer_name(name) for name in passphrases]
        if not 2 <= len(set(names)) == len(names) <= 9:
            raise BadInputError("two to nine officers with different names")
        for passphrase in passphrases.values():
            check_passphrase(passphrase)
        if len(set(passphrases.values())) != len(names):
            raise BadInputError("every officer has a passphrase of his own")
        officers = []
        for name, passphrase in zip(names, passphrases.values(), strict=True):
            salt = secrets.token_bytes(16)
            officers.append(_Officer(name, salt.hex(), cost, _check(passphrase, salt, cost)))
        if self.exist:
            raise BadInputError("this store has officers")
        make_own_key(self._service, OFFICERS_KEY)
        text = json.dumps([asdict(officer) for officer in officers], ensure_ascii=False).encode("utf-8")
        write_atomically(self._path, self._mac(text) + b" " + text)

    def names(self) -> list[str]:
        """Raises KeyStoreCorruptError for a file that is gone or was touched."""
        return [officer.name for officer in self._load()] if self.exist else []

    def approve(self, given: Sequence[tuple[str, str]]) -> tuple[str, ...]:
        """Names of two different officers whose passphrases are right. Raises OfficersNeededError, OfficerRefusedError.

        All are checked before any is told, so that one officer does not learn whether the other typed right first.
        """
        names = [officer_name(name) for name, _ in given]
        if len(names) < 2 or len(set(names)) != len(names):
            raise OfficersNeededError("two different officers have to approve")
        refused = [name for name, passphrase in given if not self._accepts(officer_name(name), passphrase)]
        if refused:
            raise OfficerRefusedError("an officer is unknown or a passphrase is wrong")
        return tuple(names)

    def _accepts(self, name: str, passphrase: str) -> bool:
        officers = self._load()
        for number, officer in enumerate(officers, 1):
            if officer.name == name:
                return self._tried(officer, self._path.with_name(f"{self._path.name}.{number}"), passphrase)
        return False

    def _tried(self, officer: _Officer, path: Path, passphrase: str) -> bool:
        with exclusive(path):
            attempts = Attempts(path)
            try:
                attempts.count(self._clock())
            except KeyStoreLockedError as error:
                raise OfficerRefusedError(f"{officer.name}: {error}") from None
            if not officer.accepts(passphrase):
                return False
            attempts.clear()
            return True

    def _load(self) -> list[_Officer]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            raise KeyStoreCorruptError("the store has officers, but their file is gone") from None
        mac, _, text = content.partition(b" ")
        if not hmac.compare_digest(mac, self._mac(text)):
            raise KeyStoreCorruptError("the file of the officers was altered")
        return [_Officer(**{**item, "scrypt": ScryptCost(**item["scrypt"])}) for item in json.loads(text)]

    def _mac(self, text: bytes) -> bytes:
        key = own_key(self._service, OFFICERS_KEY)
        if key is None:
            raise OfficersNeededError("this store has no officers")
        return self._service.index(key, _FILE + text).hex().encode("ascii")


def officer_name(text: str) -> str:
    """As it is kept and compared. Raises BadInputError."""
    name = unicodedata.normalize("NFKC", text).strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise BadInputError(f"an officer's name has 1 to {MAX_NAME} characters")
    return name


def _check(passphrase: str, salt: bytes, cost: ScryptCost) -> str:
    return default_engine().hmac_sm3(derive(passphrase, salt, cost), b"onecard officer")[:16].hex()
