"""A secret kept in one file under a passphrase: scrypt, then SM4-GCM; written atomically, readable by its owner only.

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
_VERSION = 1
_CHECK_LABEL = b"onecard key store passphrase check"
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


class KeyStoreExistsError(HsmError):
    """A key store is there already; it is never overwritten."""

    failure: ClassVar[str] = "CONFLICT"


class SealedStore:
    """One open store. `exclusive` around read, change and write makes an update safe between processes."""

    def __init__(self, path: Path, engine: Engine, header: dict[str, Any], derived: bytes) -> None:
        self._path = path
        self._engine = engine
        self._header = header
        self._key = bytearray(derived[:16])

    @classmethod
    def create(
        cls, path: Path, passphrase: str, payload: bytes, engine: Engine, *, cost: ScryptCost = DEFAULT_COST
    ) -> SealedStore:
        """Make the file, holding `payload`; raises KeyStoreExistsError, BadInputError for a short passphrase."""
        path = path.resolve()
        if len(passphrase) < MIN_PASSPHRASE:
            raise BadInputError(f"passphrase must have at least {MIN_PASSPHRASE} characters")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _exclusive(path):
            if path.exists():
                raise KeyStoreExistsError(f"{path.name} exists")
            salt = secrets.token_bytes(16)
            derived = _derive(passphrase, salt, cost)
            header = {
                "format": _FORMAT,
                "version": _VERSION,
                "scrypt": asdict(cost),
                "salt": salt.hex(),
                "check": _check(engine, derived).hex(),
            }
            store = cls(path, engine, header, derived)
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
        with _exclusive(path):
            document = _load(path, engine)
            attempts = _Attempts(path)
            attempts.count(clock())
            header = document["header"]
            derived = _derive(passphrase, bytes.fromhex(header["salt"]), ScryptCost(**header["scrypt"]))
            if not hmac.compare_digest(_check(engine, derived), bytes.fromhex(header["check"])):
                raise KeyStoreLockedError("wrong passphrase")
            attempts.clear()
            store = cls(path, engine, header, derived)
            return store, store._unseal(document)

    def read(self) -> bytes:
        """The payload as it is in the file now."""
        document = _load(self._path, self._engine)
        if document["header"] != self._header:
            raise KeyStoreLockedError("the key store was replaced; open it again")
        return self._unseal(document)

    def write(self, payload: bytes) -> None:
        """Replace the payload: all of it or, after a crash, none of it."""
        nonce = secrets.token_bytes(12)
        sealed = self._engine.sm4_gcm_seal(bytes(self._key), nonce, payload, _canonical(self._header))
        document = {"header": self._header, "nonce": nonce.hex(), "sealed": sealed.hex()}
        document["digest"] = self._engine.sm3(_canonical(document)).hex()
        _write_atomically(self._path, json.dumps(document, indent=1).encode("ascii"))

    def stamp(self) -> tuple[int, int, int]:
        """Changes whenever any process writes the store."""
        try:
            status = self._path.stat()
        except OSError:
            raise KeyStoreMissingError(f"key store {self._path.name} is gone") from None
        return status.st_ino, status.st_mtime_ns, status.st_size

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other process or thread writes meanwhile."""
        with _exclusive(self._path):
            yield

    def close(self) -> None:
        """Forget the key; the object is of no use afterwards."""
        self._key[:] = bytes(len(self._key))

    def _unseal(self, document: dict[str, Any]) -> bytes:
        nonce, sealed = bytes.fromhex(document["nonce"]), bytes.fromhex(document["sealed"])
        try:
            return self._engine.sm4_gcm_open(bytes(self._key), nonce, sealed, _canonical(self._header))
        except (AuthenticationFailed, BadInputError):
            raise KeyStoreCorruptError("key store content does not verify") from None


class _Attempts:
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
        _write_atomically(self._path, json.dumps(record).encode("ascii"))


def _derive(passphrase: str, salt: bytes, cost: ScryptCost) -> bytes:
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
        if set(document) != {"header", "nonce", "sealed"} or (header["format"], header["version"]) != (
            _FORMAT,
            _VERSION,
        ):
            raise KeyStoreCorruptError("not a key store of a known version")
        if not hmac.compare_digest(bytes.fromhex(digest), engine.sm3(_canonical(document))):
            raise KeyStoreCorruptError("key store file is damaged")
        if set(header["scrypt"]) != {"n", "r", "p"}:
            raise KeyStoreCorruptError("key store file is damaged")
        ScryptCost(**header["scrypt"])
        for text in (document["nonce"], document["sealed"], header["salt"], header["check"]):
            bytes.fromhex(text)
    except FileNotFoundError:
        raise KeyStoreMissingError(f"key store {path.name} is gone") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyStoreCorruptError("key store file is damaged") from error
    return dict(document)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, _MODE)
    try:
        _take(descriptor)
        yield
    finally:
        os.close(descriptor)


def _write_atomically(path: Path, content: bytes) -> None:
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
