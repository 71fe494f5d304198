"""A secret kept in one file under a passphrase: scrypt, then SM4-GCM; written atomically, readable by its owner only.

The content is sealed with a data key of its own, which the passphrase only wraps: passphrase and data key are changed
one at a time, while other processes go on with the one that stayed.

Beside `store` lie `store.lock` (processes take turns) and `store.attempts` (wrong passphrases and when the next may
be tried). The delay guards a running installation against guessing at its own door; who can copy the file meets only
the cost of scrypt. A digest over the whole file tells damage from a wrong passphrase.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hsm.api import BadInputError, HsmError, KeyStoreCorruptError, KeyStoreLockedError
from hsm.primitives import AuthenticationFailed, Engine

_FORMAT = "onecard-key-store"
_VERSION = 2
_CHECK_LABEL = b"onecard key store passphrase check"
_WRAP_LABEL = b"onecard key store data key"
_NONCE = 12
_MODE = 0o600

MIN_PASSPHRASE = 8
FREE_ATTEMPTS = 5
FIRST_DELAY_S = 30
MAX_DELAY_S = 3600

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        # LK_LOCK gives up after ten seconds; another process may be deriving its key for longer.
        while True:
            with contextlib.suppress(OSError):
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                return
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """Work per guess; the default takes 32 MiB and about a tenth of a second."""

    n: int = 1 << 15
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        # The file is outside data: bounds keep a damaged one from asking for all memory.
        if not all(type(value) is int for value in (self.n, self.r, self.p)):
            raise BadInputError("scrypt cost must be whole numbers")
        is_power = self.n > 1 and self.n & (self.n - 1) == 0
        if not (is_power and self.n <= 1 << 20 and 1 <= self.r <= 16 and 1 <= self.p <= 16):
            raise BadInputError("scrypt cost out of bounds")


DEFAULT_COST = ScryptCost()


class KeyStoreMissingError(KeyStoreCorruptError):
    """There is no key store at the path."""


class KeyStoreVersionError(KeyStoreCorruptError):
    """The file is of another format version; nothing of it was used."""

    failure: ClassVar[str] = "KEY_STORE_VERSION"


class KeyStoreExistsError(HsmError):
    """A key store is there already; it is never overwritten."""

    failure: ClassVar[str] = "CONFLICT"


class SealedStore:
    """One open store. `exclusive` around read, change and write makes an update safe between processes."""

    def __init__(self, path: Path, engine: Engine, header: dict[str, Any], derived: bytes, key: bytes) -> None:
        self._path, self._place = path, os.fspath(path)
        self._engine = engine
        self._header = header
        self._wrapping = bytearray(derived[:16])
        self._key = bytearray(key)

    @classmethod
    def create(
        cls, path: Path, passphrase: str, payload: bytes, engine: Engine, *, cost: ScryptCost = DEFAULT_COST
    ) -> SealedStore:
        """Make the file, holding `payload`; raises KeyStoreExistsError, BadInputError for a short passphrase."""
        path = path.resolve()
        check_passphrase(passphrase)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(path):
            if path.exists():
                raise KeyStoreExistsError(f"{path.name} exists")
            key = secrets.token_bytes(16)
            header, derived = _new_header(engine, passphrase, cost, key)
            store = cls(path, engine, header, derived, key)
            store.write(payload)
            return store

    @classmethod
    def open(
        cls, path: Path, passphrase: str, engine: Engine, *, clock: Callable[[], float] = time.time
    ) -> tuple[SealedStore, bytes]:
        """The store and its payload.

        Raises KeyStoreMissingError, KeyStoreCorruptError, or KeyStoreLockedError for a wrong passphrase and while the
        delay after too many of them runs. Parallel tries take turns, so they cannot outrun the count.
        """
        path = path.resolve()
        if not path.exists():
            raise KeyStoreMissingError(f"no key store {path.name}")
        with exclusive(path):
            document = _load(path, engine)
            attempts = Attempts(path)
            attempts.count(clock())
            header = document["header"]
            derived = derive(passphrase, bytes.fromhex(header["salt"]), ScryptCost(**header["scrypt"]))
            if not hmac.compare_digest(_check(engine, derived), bytes.fromhex(header["check"])):
                raise KeyStoreLockedError("wrong passphrase")
            attempts.clear()
            store = cls(path, engine, header, derived, _unwrap(engine, derived[:16], header))
            return store, store._unseal(document)

    def read(self) -> bytes:
        """The payload as it is in the file now, also after another process changed passphrase or data key.

        Raises KeyStoreLockedError when both changed, or the file is another store's.
        """
        document = _load(self._path, self._engine)
        header = document["header"]
        if header != self._header:
            try:
                key = _unwrap(self._engine, bytes(self._wrapping), header)
            except KeyStoreCorruptError:
                key = bytes(self._key)  # another passphrase; then the data key is the same
            try:
                payload = self._open(document, key)
            except KeyStoreCorruptError:
                raise KeyStoreLockedError("the key store was replaced; open it again") from None
            self._header, self._key[:] = header, key
            return payload
        return self._unseal(document)

    def change_passphrase(self, passphrase: str, *, cost: ScryptCost = DEFAULT_COST) -> None:
        """Raises BadInputError for a short one. Wrong passphrases counted before stay counted."""
        check_passphrase(passphrase)
        with self.exclusive():
            payload = self.read()
            header, derived = _new_header(self._engine, passphrase, cost, bytes(self._key))
            self._header, self._wrapping[:] = header, derived[:16]
            self.write(payload)

    def renew(self) -> None:
        """Seal everything under a new data key; the passphrase stays."""
        with self.exclusive():
            payload = self.read()
            key = secrets.token_bytes(16)
            try:
                _unwrap(self._engine, bytes(self._wrapping), self._header)
            except KeyStoreCorruptError:
                raise KeyStoreLockedError("the passphrase was changed; open the key store again") from None
            wrapped = _wrap(self._engine, bytes(self._wrapping), key)
            self._header, self._key[:] = {**self._header, "wrapped": wrapped.hex()}, key
            self.write(payload)

    def write(self, payload: bytes) -> None:
        """Replace the payload: all of it or, after a crash, none of it."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._engine.sm4_gcm_seal(bytes(self._key), nonce, payload, _canonical(self._header))
        document = {"header": self._header, "nonce": nonce.hex(), "sealed": sealed.hex()}
        document["digest"] = self._engine.sm3(_canonical(document)).hex()
        write_atomically(self._path, json.dumps(document, indent=1).encode("ascii"))

    def stamp(self) -> tuple[int, int, int]:
        """Changes whenever any process writes the store."""
        try:
            status = os.stat(self._place)  # noqa: PTH116 - before every use of a key, and three times as quick
        except OSError:
            raise KeyStoreMissingError(f"key store {self._path.name} is gone") from None
        return status.st_ino, status.st_mtime_ns, status.st_size

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other process or thread writes meanwhile."""
        with exclusive(self._path):
            yield

    def close(self) -> None:
        """Forget the keys; the object is of no use afterwards."""
        for key in (self._key, self._wrapping):
            key[:] = bytes(len(key))

    def _unseal(self, document: dict[str, Any]) -> bytes:
        return self._open(document, bytes(self._key))

    def _open(self, document: dict[str, Any], key: bytes) -> bytes:
        nonce, sealed = bytes.fromhex(document["nonce"]), bytes.fromhex(document["sealed"])
        try:
            return self._engine.sm4_gcm_open(key, nonce, sealed, _canonical(document["header"]))
        except (AuthenticationFailed, BadInputError):
            raise KeyStoreCorruptError("key store content does not verify") from None


class Attempts:
    """Wrong passphrases in a row. A try is counted before it is made, so a killed process has not tried for free."""

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".attempts")
        self._failures, self._not_before = 0, 0.0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
            recorded = json.loads(self._path.read_bytes())
            self._failures, self._not_before = int(recorded["failures"]), float(recorded["not_before"])

    def count(self, now: float) -> None:
        if self._not_before - now > MAX_DELAY_S:
            # The clock was ahead when this was written. Recorded, so that the longest delay runs out by this clock.
            self._not_before = now + MAX_DELAY_S
            self._write()
        wait = self._not_before - now
        if wait > 0:
            raise KeyStoreLockedError(f"too many wrong passphrases, try again in {wait:.0f} s")
        self._failures += 1
        over = self._failures - FREE_ATTEMPTS
        delay = min(FIRST_DELAY_S << min(over, 16), MAX_DELAY_S) if over >= 0 else 0
        self._not_before = now + delay if delay else 0
        self._write()

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        record = {"failures": self._failures, "not_before": self._not_before}
        write_atomically(self._path, json.dumps(record).encode("ascii"))


def check_passphrase(passphrase: str) -> None:
    if len(passphrase) < MIN_PASSPHRASE:
        raise BadInputError(f"passphrase must have at least {MIN_PASSPHRASE} characters")


def _new_header(engine: Engine, passphrase: str, cost: ScryptCost, key: bytes) -> tuple[dict[str, Any], bytes]:
    """A header for data key `key`, and what was derived from the passphrase."""
    salt = secrets.token_bytes(16)
    derived = derive(passphrase, salt, cost)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "scrypt": asdict(cost),
        "salt": salt.hex(),
        "check": _check(engine, derived).hex(),
        "wrapped": _wrap(engine, derived[:16], key).hex(),
    }
    return header, derived


def _wrap(engine: Engine, wrapping: bytes, key: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + engine.sm4_gcm_seal(wrapping, nonce, key, _WRAP_LABEL)


def _unwrap(engine: Engine, wrapping: bytes, header: dict[str, Any]) -> bytes:
    wrapped = bytes.fromhex(header["wrapped"])
    try:
        return engine.sm4_gcm_open(wrapping, wrapped[:_NONCE], wrapped[_NONCE:], _WRAP_LABEL)
    except (AuthenticationFailed, BadInputError):
        raise KeyStoreCorruptError("the data key of the key store does not open") from None


def derive(passphrase: str, salt: bytes, cost: ScryptCost) -> bytes:
    # Normalised, because the same characters typed on another system may come composed differently.
    secret = unicodedata.normalize("NFKC", passphrase).encode("utf-8")
    return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(secret)


def _check(engine: Engine, derived: bytes) -> bytes:
    return engine.hmac_sm3(derived[16:], _CHECK_LABEL)[:8]


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _load(path: Path, engine: Engine) -> dict[str, Any]:
    """The file's fields with their shapes checked, so that nothing after it can fail on them."""
    try:
        document = json.loads(path.read_bytes())
        digest = document.pop("digest")
        header = document["header"]
        if set(document) != {"header", "nonce", "sealed"} or header["format"] != _FORMAT:
            raise KeyStoreCorruptError("not a key store")
        if not hmac.compare_digest(bytes.fromhex(digest), engine.sm3(_canonical(document))):
            raise KeyStoreCorruptError("key store file is damaged")
        if header["version"] != _VERSION:
            raise KeyStoreVersionError(f"format version {header['version']!r}, {_VERSION} is in use")
        if set(header["scrypt"]) != {"n", "r", "p"}:
            raise KeyStoreCorruptError("key store file is damaged")
        ScryptCost(**header["scrypt"])
        for text in (document["nonce"], document["sealed"], header["salt"], header["check"], header["wrapped"]):
            bytes.fromhex(text)
    except FileNotFoundError:
        raise KeyStoreMissingError(f"key store {path.name} is gone") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyStoreCorruptError("key store file is damaged") from error
    return dict(document)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, _MODE)
    try:
        _take(descriptor)
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sys.platform != "win32":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
