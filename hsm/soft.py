"""Key service in software: keys in a sealed file, the purpose of each enforced on every call.

Open keys live in bytearrays that are overwritten when a key is destroyed or the service closed; copies that Python and
the libraries make while computing are beyond its reach. Changes by another process are seen at the next call.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from hsm import card_crypto
from hsm.api import (
    Algorithm,
    BadInputError,
    CardFactors,
    KeyExistsError,
    KeyInfo,
    KeyNotFoundError,
    KeyPurposeError,
    KeyRef,
    KeyService,
    KeyStoreCorruptError,
    KeyStoreLockedError,
    Purpose,
)
from hsm.primitives import AuthenticationFailed, Engine, default_engine
from hsm.sealed_store import DEFAULT_COST, ScryptCost, SealedStore

_CARD_PURPOSES = frozenset(Purpose) - {Purpose.SEAL, Purpose.SIGN}
_SEAL_VERSION = b"\x01"
_SALT = 16
_TAG = 16
_SEAL_LABEL, _INDEX_LABEL = b"onecard seal", b"onecard index"
_MAX_RANDOM = 1 << 16
_MAX_NAME = 64


@dataclass(slots=True)
class _Entry:
    purpose: Purpose
    level: int
    key: bytearray
    public: bytes = b""


_Entries = dict[KeyRef, _Entry]


class SoftKeyService(KeyService):
    """`hsm.api.KeyService` over a sealed store; safe for several threads and several processes."""

    def __init__(self, store: SealedStore, entries: _Entries, engine: Engine) -> None:
        self._store = store
        self._entries = entries
        self._engine = engine
        self._lock = threading.RLock()
        # Of no file yet: another process may have written since the entries were read.
        self._stamp = (0, 0, 0)
        self._is_open = True

    @classmethod
    def create(
        cls, path: Path, passphrase: str, *, engine: Engine | None = None, cost: ScryptCost = DEFAULT_COST
    ) -> SoftKeyService:
        """A new, empty store; raises KeyStoreExistsError, BadInputError for a passphrase under 8 characters."""
        engine = engine or default_engine()
        return cls(SealedStore.create(path, passphrase, _encode({}), engine, cost=cost), {}, engine)

    @classmethod
    def open(
        cls, path: Path, passphrase: str, *, engine: Engine | None = None, clock: Callable[[], float] = time.time
    ) -> SoftKeyService:
        """An existing store; raises KeyStoreMissingError, KeyStoreCorruptError or KeyStoreLockedError."""
        engine = engine or default_engine()
        store, payload = SealedStore.open(path, passphrase, engine, clock=clock)
        return cls(store, _decode(payload), engine)

    def close(self) -> None:
        """Overwrite the keys; every later call raises KeyStoreLockedError."""
        with self._lock:
            self._is_open = False
            for entry in self._entries.values():
                self._wipe(entry)
            self._entries = {}
            self._store.close()

    def __enter__(self) -> SoftKeyService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def info(self, key: KeyRef) -> KeyInfo:
        with self._lock:
            return self._describe(key, self._find(key))

    def keys(self) -> list[KeyInfo]:
        with self._lock:
            self._refresh()
            return [self._describe(key, entry) for key, entry in sorted(self._entries.items(), key=lambda i: str(i[0]))]

    def generate(self, key: KeyRef, purpose: Purpose, *, level: int = 0, length: int = 16) -> KeyInfo:
        _check_new(key, purpose, level, length)
        return self._add(key, _Entry(purpose, level, bytearray(secrets.token_bytes(length))))

    def import_components(self, key: KeyRef, purpose: Purpose, components: list[bytes], *, level: int = 0) -> KeyInfo:
        if len(components) < 2 or len({len(component) for component in components}) != 1:
            raise BadInputError("a key needs at least two components of equal length")
        value = bytearray(len(components[0]))
        for component in components:
            for at, byte in enumerate(component):
                value[at] ^= byte
        _check_new(key, purpose, level, len(value))
        if not any(value):
            raise BadInputError("the components cancel out")
        return self._add(key, _Entry(purpose, level, value))

    def destroy(self, key: KeyRef) -> None:
        with self._changing() as entries:
            if key not in entries:
                raise KeyNotFoundError(str(key))
            del entries[key]

    def random(self, length: int) -> bytes:
        if not 1 <= length <= _MAX_RANDOM:
            raise BadInputError(f"random length must be 1 to {_MAX_RANDOM}")
        return secrets.token_bytes(length)

    def authentication_value(self, key: KeyRef, factors: CardFactors, challenge: bytes, original: bytes) -> bytes:
        card_key = self._card_key(key, factors, Purpose.AUTHENTICATION, Purpose.MASTER)
        return card_crypto.authentication_value(self._engine, key.algorithm, card_key, challenge, original)

    def secured_data(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False
    ) -> bytes:
        card_key = self._card_key(key, factors, Purpose.MESSAGE)
        return card_crypto.secured_data(self._engine, key.algorithm, card_key, challenge, header, data, encrypt=encrypt)

    def wrap_card_key(
        self,
        key: KeyRef,
        factors: CardFactors,
        record_header: bytes,
        *,
        under: KeyRef,
        under_factors: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        value = self._card_key(key, factors, *_CARD_PURPOSES)
        return self.wrap_value(
            value, record_header, under=under, under_factors=under_factors, challenge=challenge, header=header
        )

    def wrap_value(
        self,
        value: bytes,
        record_header: bytes,
        *,
        under: KeyRef,
        under_factors: CardFactors,
        challenge: bytes,
        header: bytes,
    ) -> bytes:
        plain = card_crypto.key_record(record_header, value)
        master = self._card_key(under, under_factors, Purpose.MASTER)
        return card_crypto.key_load_data(self._engine, under.algorithm, master, challenge, header, plain)

    def master_mac(
        self, key: KeyRef, factors: CardFactors, challenge: bytes, header: bytes, data: bytes = b""
    ) -> bytes:
        master = self._card_key(key, factors, Purpose.MASTER)
        return card_crypto.load_mac(self._engine, key.algorithm, master, challenge, header, data)

    def card_kcv(self, key: KeyRef, factors: CardFactors) -> bytes:
        card_key = self._card_key(key, factors, *_CARD_PURPOSES)
        return card_crypto.key_check_value(self._engine, key.algorithm, card_key)

    def seal(self, key: KeyRef, plaintext: bytes, context: bytes = b"") -> bytes:
        # Key and nonce come from a 16-byte random salt: random 12-byte nonces under one key would have to be counted
        # against collision once every field of a hundred million holders is sealed with it.
        salt = secrets.token_bytes(_SALT)
        message_key, nonce = self._message_key(key, salt)
        return _SEAL_VERSION + salt + self._engine.sm4_gcm_seal(message_key, nonce, plaintext, context)

    def unseal(self, key: KeyRef, sealed: bytes, context: bytes = b"") -> bytes:
        start = len(_SEAL_VERSION) + _SALT
        message_key, nonce = self._message_key(key, sealed[len(_SEAL_VERSION) : start])
        if len(sealed) < start + _TAG or sealed[: len(_SEAL_VERSION)] != _SEAL_VERSION:
            raise AuthenticationFailed("sealed data does not verify")
        return self._engine.sm4_gcm_open(message_key, nonce, sealed[start:], context)

    def index(self, key: KeyRef, value: bytes) -> bytes:
        subkey = self._engine.hmac_sm3(self._use(key, Purpose.SEAL), _INDEX_LABEL)
        return self._engine.hmac_sm3(subkey, value)

    def sm2_generate(self, key: KeyRef) -> bytes:
        _check_ref(key)
        private, public = self._engine.sm2_generate()
        self._add(key, _Entry(Purpose.SIGN, 0, bytearray(private), public))
        return public

    def sm2_public_key(self, key: KeyRef) -> bytes:
        with self._lock:
            self._use(key, Purpose.SIGN)
            return self._entries[key].public

    def sm2_sign(self, key: KeyRef, message: bytes, *, user_id: bytes) -> bytes:
        return self._engine.sm2_sign(self._use(key, Purpose.SIGN), message, user_id=user_id)

    def _message_key(self, key: KeyRef, salt: bytes) -> tuple[bytes, bytes]:
        derived = self._engine.hmac_sm3(self._use(key, Purpose.SEAL), _SEAL_LABEL + salt)
        return derived[:16], derived[16:28]

    def _card_key(self, key: KeyRef, factors: CardFactors, *purposes: Purpose) -> bytes:
        with self._lock:
            root = self._use(key, *purposes)
            level = self._entries[key].level
        return card_crypto.diversification_chain(self._engine, key.algorithm, root, level, factors)

    def _use(self, key: KeyRef, *purposes: Purpose) -> bytes:
        """Key bytes for one computation; the only way to them."""
        with self._lock:
            entry = self._find(key)
            if entry.purpose not in purposes:
                raise KeyPurposeError(f"{key} serves {entry.purpose} only")
            return bytes(entry.key)

    def _find(self, key: KeyRef) -> _Entry:
        self._refresh()
        try:
            return self._entries[key]
        except KeyError:
            raise KeyNotFoundError(str(key)) from None

    def _describe(self, key: KeyRef, entry: _Entry) -> KeyInfo:
        if entry.purpose is Purpose.SIGN:
            kcv = self._engine.sm3(entry.public)[: card_crypto.KCV_LENGTH]
        else:
            kcv = card_crypto.key_check_value(self._engine, key.algorithm, bytes(entry.key))
        return KeyInfo(key, entry.purpose, entry.level, len(entry.key), kcv)

    def _add(self, key: KeyRef, entry: _Entry) -> KeyInfo:
        with self._changing() as entries:
            if key in entries:
                raise KeyExistsError(f"{key} exists")
            entries[key] = entry
        return self._describe(key, entry)

    def _refresh(self) -> None:
        if not self._is_open:
            raise KeyStoreLockedError("the key service is closed")
        stamp = self._store.stamp()
        if stamp != self._stamp:
            self._replace(_decode(self._store.read()), stamp)

    @contextmanager
    def _changing(self) -> Iterator[_Entries]:
        """A copy of the entries as they stand in the file; kept, in the file first, when the block succeeds."""
        with self._lock, self._store.exclusive():
            self._refresh()
            entries = dict(self._entries)
            yield entries
            self._store.write(_encode(entries))
            self._replace(entries, self._store.stamp())

    def _replace(self, entries: _Entries, stamp: tuple[int, int, int]) -> None:
        kept = {id(entry) for entry in entries.values()}
        for entry in self._entries.values():
            if id(entry) not in kept:
                self._wipe(entry)
        self._entries, self._stamp = entries, stamp

    def _wipe(self, entry: _Entry) -> None:
        if entry.purpose is Purpose.SIGN:
            self._engine.sm2_forget(bytes(entry.key))
        entry.key[:] = bytes(len(entry.key))


def _check_ref(key: KeyRef) -> None:
    if not 1 <= len(key.name) <= _MAX_NAME or not key.name.isprintable() or not 1 <= key.version <= 255:
        raise BadInputError("key name or version out of bounds")


def _check_new(key: KeyRef, purpose: Purpose, level: int, length: int) -> None:
    _check_ref(key)
    if purpose is Purpose.SIGN:
        raise BadInputError("signing keys are made by sm2_generate")
    if purpose is Purpose.SEAL and (key.algorithm is not Algorithm.SM4 or level):
        raise BadInputError("sealing keys are SM4 keys of level 0")
    if not 0 <= level <= 3:
        raise BadInputError(f"root level must be 0 to 3, not {level}")
    card_crypto.check_key_length(key.algorithm, length)


def _encode(entries: _Entries) -> bytes:
    rows = [
        {
            "name": key.name,
            "algorithm": key.algorithm.value,
            "version": key.version,
            "purpose": entry.purpose.value,
            "level": entry.level,
            "key": entry.key.hex(),
            "public": entry.public.hex(),
        }
        for key, entry in entries.items()
    ]
    return json.dumps(rows).encode("utf-8")


def _decode(payload: bytes) -> _Entries:
    try:
        return {_ref(row): _entry(row) for row in json.loads(payload)}
    except (ValueError, KeyError, TypeError) as error:
        raise KeyStoreCorruptError("key store holds something else than keys") from error


def _ref(row: dict[str, Any]) -> KeyRef:
    return KeyRef(str(row["name"]), Algorithm(row["algorithm"]), int(row["version"]))


def _entry(row: dict[str, Any]) -> _Entry:
    key, public = bytearray.fromhex(row["key"]), bytes.fromhex(row["public"])
    return _Entry(Purpose(row["purpose"]), int(row["level"]), key, public)
