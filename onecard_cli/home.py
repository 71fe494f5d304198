"""Where an embedded installation keeps what is its own: keys, database, client keys, simulated cards.

`ONECARD_HOME` names the folder; without it `.onecard` beside the script, which git ignores. Everything in it is made
at first use with fresh randoms, so no key is ever part of the source.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cardlib.client_auth import ClientKey
from cardlib.failures import FailureCode
from cardlib.spec import CardSpec, Generation, KeyType, load
from hsm.api import Algorithm, KeyNotFoundError, KeyRef, Purpose
from hsm.soft import SoftKeyService
from onecard_cli import ROOT
from onecard_cli.output import CommandError
from simulators.ministry import RootKeys

PURPOSES = {
    KeyType.MASTER: Purpose.MASTER,
    KeyType.AUTHENTICATION: Purpose.AUTHENTICATION,
    KeyType.MESSAGE: Purpose.MESSAGE,
    KeyType.PURCHASE: Purpose.PURCHASE,
    KeyType.LOAD: Purpose.LOAD,
    KeyType.TAC: Purpose.TAC,
}


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one installation; the folder is private to its owner."""

    path: Path

    @classmethod
    def default(cls) -> Home:
        return cls.at(Path(os.environ.get("ONECARD_HOME") or ROOT / ".onecard"))

    @classmethod
    def at(cls, path: Path) -> Home:
        path.mkdir(parents=True, exist_ok=True)
        # An existing folder too: what lies here is keys and personal data.
        path.chmod(0o700)
        return cls(path)

    @property
    def key_store(self) -> Path:
        return self.path / "keys.json"

    @property
    def passphrase_file(self) -> Path:
        return self.path / "passphrase"

    @property
    def ministry(self) -> Path:
        return self.path / "simulated-ministry.json"

    @property
    def database_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.path / 'issuance.sqlite3'}"

    def client_key(self, client_id: str) -> Path:
        return self.path / "clients" / f"{client_id}.json"

    def make_client_key(self, client_id: str) -> Path:
        """The caller's key file; an existing one is kept."""
        path = self.client_key(client_id)
        if not path.exists():
            ClientKey.generate(client_id).save(path)
        return path

    def passphrase(self) -> str:
        """ONECARD_PASSPHRASE, else the embedded default's own file: convenient, and only as safe as this folder."""
        if given := os.environ.get("ONECARD_PASSPHRASE"):
            return given
        if not self.passphrase_file.exists():
            if self.key_store.exists():
                raise CommandError(FailureCode.KEY_STORE_LOCKED, "set ONECARD_PASSPHRASE")
            _write_private(self.passphrase_file, secrets.token_urlsafe(24))
        return self.passphrase_file.read_text().strip()

    def roots(self) -> RootKeys:
        """Root keys of the simulated ministry: what makes simulated cards and this key service belong together."""
        return RootKeys.load_or_create(self.ministry)

    def key_service(self) -> SoftKeyService:
        """Open the key store, made at first use, with the simulated ministry's roots taken over.

        The roots are looked at on every start, because a first start that was interrupted left some of them out. A
        store without a simulated ministry beside it was filled by other hands and is left alone.
        """
        with self._first_start():
            return self._opened()

    @contextmanager
    def _first_start(self) -> Iterator[None]:
        """Two programs that start together in a new home must not both make it."""
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _opened(self) -> SoftKeyService:
        if self.key_store.exists():
            service = SoftKeyService.open(self.key_store, self.passphrase())
        else:
            # The roots first: an interruption then leaves no store that looks like somebody else's.
            self.roots()
            service = SoftKeyService.create(self.key_store, self.passphrase())
        if self.ministry.exists():
            import_roots(service, self.roots())
        return service


def import_roots(service: SoftKeyService, roots: RootKeys) -> int:
    """Import every card root by its two components, as custodians would; returns how many were new."""
    count = 0
    for generation in (Generation.V2, Generation.V3):
        spec: CardSpec = load(generation)
        algorithm = Algorithm(spec.algorithm)
        for key in spec.keys:
            ref = KeyRef(key.name, algorithm)
            try:
                service.info(ref)
            except KeyNotFoundError:
                components = roots.components(key.name, spec.algorithm)
                service.import_components(ref, PURPOSES[key.type], list(components), level=key.root_level)
                count += 1
    return count


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
