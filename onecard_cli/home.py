"""Where an embedded installation keeps what is its own: keys, database, client keys, simulated cards.

`ONECARD_HOME` names the folder; without it `.onecard` beside the script, which git ignores. Everything in it is made
at first use with fresh randoms, so no key is ever part of the source.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cardlib.client_auth import ClientKey
from cardlib.failures import FailureCode
from cardlib.spec import CardSpec, Generation, KeyType, load
from hsm.act_log import ActLog, ActLogError
from hsm.api import Algorithm, KeyNotFoundError, KeyRef, KeyService, KeyStoreLockedError, Purpose
from hsm.configuration import Backend, KeyConfiguration
from hsm.device import KeyDevice
from hsm.officers import Officers
from hsm.primitives import default_engine
from hsm.remote import connect
from hsm.sealed_store import KeyStoreExistsError, write_atomically
from hsm.soft import SoftKeyService
from onecard_cli import ROOT
from onecard_cli.operator_keys import import_operator_roots
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
    def next_passphrase_file(self) -> Path:
        """Holds the new passphrase while it is being changed."""
        return self.path / "passphrase.next"

    @property
    def ministry(self) -> Path:
        return self.path / "simulated-ministry.json"

    @property
    def transit_book(self) -> Path:
        """Roots and issuer certificates of the transit CA, see `transit_ca`."""
        return self.path / "transit-ca.json"

    @property
    def transit_certificate(self) -> Path:
        """Issuer certificate that the issuance service of this home signs transit authorisations under."""
        return self.path / "transit-issuer.cer"

    @property
    def transit_roots(self) -> Path:
        """The demo's list of roots, for gates."""
        return self.path / "transit-roots.json"

    @property
    def repository(self) -> Path:
        """What terminals fetch, see `issuance.publication`."""
        return self.path / "repository"

    @property
    def repository_root(self) -> Path:
        """The root a terminal begins with."""
        return self.repository / "metadata" / "1.root.json"

    @property
    def database_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.path / 'issuance.sqlite3'}"

    def audit_heads(self, database_url: str) -> Path | None:
        """Signed heads of the embedded database's audit log; for another database the setting names the file."""
        return self.path / "audit-heads.jsonl" if database_url == self.database_url else None

    def client_key(self, client_id: str) -> Path:
        return self.path / "clients" / f"{client_id}.json"

    def console_client(self, port: int) -> Path:
        """What the log-in provider told at the registration of the console that is reached at this port."""
        return self.path / f"console-login-{port}.json"

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

    @contextmanager
    def making(self) -> Iterator[Home]:
        """A folder for a whole new store; its files become this home's, the store last, when the block succeeds.

        Raises KeyStoreExistsError for a store, or roots of a simulated ministry that cards may have been made with.
        """
        with self._first_start():
            for path in (self.key_store, self.ministry):
                if path.exists():
                    raise KeyStoreExistsError(f"{path.name} exists; set ONECARD_HOME to a new folder or move it away")
            folder = self.path / ".making"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                made = Home.at(folder)
                yield made
                for path in sorted(folder.iterdir(), key=lambda path: path == made.key_store):
                    path.replace(self.path / path.name)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def create_store(self, path: Path) -> SoftKeyService:
        """A new, empty store at `path` under this home's passphrase, over the device `hsm.toml` names."""
        return SoftKeyService.create(path, self.passphrase(), device=self._device())

    def open_store(self, path: Path, passphrase: str) -> SoftKeyService:
        return SoftKeyService.open(path, passphrase, device=self._device())

    def _device(self) -> KeyDevice | None:
        configuration = KeyConfiguration.load(self.path)
        if configuration.backend is Backend.REMOTE:
            raise CommandError(FailureCode.KEY_PURPOSE, "hsm.toml: another process has the keys; work in its home")
        return configuration.device(default_engine())

    @contextmanager
    def keys_in_use(self) -> Iterator[KeyService]:
        """For services that use keys and manage none: over the socket that `hsm.toml` names, else in this process."""
        configuration = KeyConfiguration.load(self.path)
        if configuration.backend is Backend.REMOTE:
            with closing(connect(configuration.socket)) as keys:
                yield keys
        else:
            with self.key_service() as service:
                yield service

    def expect_passphrase(self, passphrase: str) -> None:
        """Before the store's passphrase becomes this one: a process that ends between the two locks nobody out."""
        if self._uses_file():
            write_atomically(self.next_passphrase_file, passphrase.encode("utf-8"))

    def take_passphrase(self) -> None:
        """The store's passphrase is the expected one now."""
        if self.next_passphrase_file.exists():
            self.next_passphrase_file.replace(self.passphrase_file)

    def _uses_file(self) -> bool:
        return "ONECARD_PASSPHRASE" not in os.environ and self.passphrase_file.exists()

    def _existing(self) -> SoftKeyService:
        try:
            service = self.open_store(self.key_store, self.passphrase())
        except KeyStoreLockedError:
            if not (self._uses_file() and self.next_passphrase_file.exists()):
                raise
            service = self.open_store(self.key_store, self.next_passphrase_file.read_text(encoding="utf-8"))
            self.take_passphrase()
        return service

    def _opened(self) -> SoftKeyService:
        if self.key_store.exists():
            service = self._existing()
        else:
            # The roots first: an interruption then leaves no store that looks like somebody else's.
            self.roots()
            service = self.create_store(self.key_store)
        if self.ministry.exists() and not Officers(service, self.key_store).exist:
            self._take_over_roots(service)
        return service

    def _take_over_roots(self, service: SoftKeyService) -> None:
        try:
            destroyed = ActLog(service, self.key_store).destroyed()
        except ActLogError:
            return  # what was destroyed is not known, and must not come back; `hsm status` tells of the log
        import_roots(service, self.roots(), without=destroyed)
        import_operator_roots(service, self.roots(), without=destroyed)


def import_roots(service: SoftKeyService, roots: RootKeys, *, without: Collection[str] = ()) -> int:
    """Import every card root by its two components, as custodians would; returns how many were new."""
    count = 0
    for generation in (Generation.V2, Generation.V3):
        spec: CardSpec = load(generation)
        algorithm = Algorithm(spec.algorithm)
        for key in spec.keys:
            ref = KeyRef(key.name, algorithm)
            if str(ref) in without:
                continue
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
