"""The key service over any device: names, purposes, states and use counts here, keys in the device.

Every operation looks its key up in the table, checks the purpose, and runs the card's rules over the device's opaque
key. Card keys of level 0 go into cards as they are, so their values stay in the sealed store; all other keys are
known to the device only. A TAC key is folded before use (P7 §15), which a device cannot do: the card's own TAC key is
in this process for one call.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from hsm import card_rules, sealing
from hsm.api import (
    CARD_PURPOSES,
    PAIR_ALGORITHMS,
    PAIR_PURPOSES,
    Algorithm,
    BadInputError,
    CardFactors,
    DiversificationStep,
    KeyExistsError,
    KeyExpiredError,
    KeyInfo,
    KeyNotFoundError,
    KeyPurposeError,
    KeyRef,
    KeyService,
    KeyState,
    Purpose,
)
from hsm.card_operations import CardOperations
from hsm.device import DeviceKey, DeviceSession, KeyDevice
from hsm.key_rules import check_new, check_ref, is_loaded_as_it_is
from hsm.key_table import KeyRow, KeyTable, copy_of, encode
from hsm.primitives import Engine, default_engine
from hsm.sealed_store import DEFAULT_COST, ScryptCost, SealedStore
from hsm.soft_device import SoftDevice, SoftKey
from hsm.transactions import TransactionOperations
from hsm.transit_transactions import TransitTacOperations
from hsm.usage import UseCounts

T = TypeVar("T")
R = TypeVar("R")
MAX_RANDOM: Final = 1 << 16
_STEPS: Final = ("province", "city", "card")


class StoreKeyService(CardOperations, TransactionOperations, TransitTacOperations, KeyService):
    """`hsm.api.KeyService` over a key table and a device; safe for several threads and several processes."""

    def __init__(
        self,
        table: KeyTable,
        device: KeyDevice,
        engine: Engine,
        uses: UseCounts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._device = device
        self._engine = engine
        self._uses = uses
        self._clock = clock

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: str,
        *,
        engine: Engine | None = None,
        cost: ScryptCost = DEFAULT_COST,
        device: KeyDevice | None = None,
    ) -> Self:
        """A new, empty store; raises KeyStoreExistsError, BadInputError for a passphrase under 8 characters.

        `device` is the software device where none is given; the service closes it.
        """
        engine = engine or default_engine()
        store = SealedStore.create(path, passphrase, encode({}), engine, cost=cost)
        return cls._over(path, store, encode({}), engine, device, time.time)

    @classmethod
    def open(
        cls,
        path: Path,
        passphrase: str,
        *,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.time,
        device: KeyDevice | None = None,
    ) -> Self:
        """An existing store; raises KeyStoreMissingError, KeyStoreCorruptError or KeyStoreLockedError."""
        engine = engine or default_engine()
        store, payload = SealedStore.open(path, passphrase, engine, clock=clock)
        return cls._over(path, store, payload, engine, device, clock)

    @classmethod
    def _over(
        cls,
        path: Path,
        store: SealedStore,
        payload: bytes,
        engine: Engine,
        device: KeyDevice | None,
        clock: Callable[[], float],
    ) -> Self:
        held = device or SoftDevice(engine)

        def dropped(row: KeyRow) -> None:
            if row.purpose in PAIR_PURPOSES and isinstance(held, SoftDevice):
                held.forget(bytes(row.handle))

        table = KeyTable(store, payload, dropped)
        return cls(table, held, engine, UseCounts(path), clock=clock)

    @property
    def table(self) -> KeyTable:
        """For ceremonies: backup, passphrase, data key."""
        return self._table

    @property
    def device(self) -> KeyDevice:
        return self._device

    def close(self) -> None:
        """Overwrite the keys; every later call raises KeyStoreLockedError."""
        self._uses.flush()
        self._table.close()
        self._device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- keys -----------------------------------------------------------------------------------------------------

    def info(self, key: KeyRef) -> KeyInfo:
        return self._describe(key, self._table.find(key), self._uses.totals())

    def keys(self) -> list[KeyInfo]:
        uses = self._uses.totals()
        rows = sorted(self._table.rows().items(), key=lambda item: str(item[0]))
        return [self._describe(key, row, uses) for key, row in rows]

    def current(self, name: str, algorithm: Algorithm, *, region: str = "") -> KeyRef:
        found = [
            key
            for key, row in self._table.rows().items()
            if (key.name, key.algorithm, key.region) == (name, algorithm, region) and not self._is_over(row)
        ]
        if not found:
            raise KeyNotFoundError(f"no active {name}/{algorithm}")
        return max(found, key=lambda key: key.version)

    def versions(self, name: str, algorithm: Algorithm, *, region: str = "") -> list[int]:
        wanted = (name, algorithm, region)
        found = (key.version for key in self._table.refs() if (key.name, key.algorithm, key.region) == wanted)
        return sorted(found, reverse=True)

    def generate(
        self, key: KeyRef, purpose: Purpose, *, level: int = 0, length: int = 16, expires: int | None = None
    ) -> KeyInfo:
        check_new(key, purpose, level, length)
        if is_loaded_as_it_is(purpose, level):
            return self._keep(key, purpose, level, self.random(length), expires)
        return self._add(key, purpose, level, length, lambda s: s.generate(key.algorithm, length), expires)

    def import_components(
        self, key: KeyRef, purpose: Purpose, components: list[bytes], *, level: int = 0, expires: int | None = None
    ) -> KeyInfo:
        if len(components) < 2 or len({len(component) for component in components}) != 1:
            raise BadInputError("a key needs at least two components of equal length")
        value = bytearray(len(components[0]))
        for component in components:
            for at, byte in enumerate(component):
                value[at] ^= byte
        if not any(value):
            raise BadInputError("the components cancel out")
        return self._keep(key, purpose, level, bytes(value), expires)

    def import_wrapped(
        self, key: KeyRef, purpose: Purpose, wrapped: bytes, *, kek: KeyRef, kcv: bytes, level: int = 0
    ) -> KeyInfo:
        if len(wrapped) not in (8, 16) or len(wrapped) % card_rules.block_size(kek.algorithm):
            raise BadInputError("a wrapped key has one or two blocks")
        value = self._use(kek, (Purpose.TRANSPORT,), lambda k: k.ecb(wrapped, decrypt=True), is_new=True)
        check_new(key, purpose, level, len(value))
        if not hmac.compare_digest(card_rules.key_check_value(self.software_key(key.algorithm, value)), kcv):
            raise BadInputError("the check value is another; wrong transport key or damaged on its way")
        return self._keep(key, purpose, level, value, None)

    def derive_root(self, key: KeyRef, source: KeyRef, *, level: int) -> KeyInfo:
        row = self._row(source, CARD_PURPOSES, is_new=True)
        value = self._root_value(source, row, key.region, level)
        if key.algorithm is not source.algorithm:
            raise BadInputError("a root and its source have one algorithm")
        return self._keep(key, row.purpose, level, value, row.expires)

    def wrap_root(self, source: KeyRef, *, region: str, level: int, kek: KeyRef) -> tuple[bytes, bytes]:
        row = self._row(source, CARD_PURPOSES, is_new=True)
        value = self._root_value(source, row, region, level)
        if len(value) % card_rules.block_size(kek.algorithm):
            raise BadInputError("an 8-byte key does not travel under an SM4 key")
        wrapped = self._use(kek, (Purpose.TRANSPORT,), lambda k: k.ecb(value), is_new=True)
        return wrapped, card_rules.key_check_value(self.software_key(source.algorithm, value))

    def retire(self, key: KeyRef) -> KeyInfo:
        with self._table.changing() as rows:
            if key not in rows:
                raise KeyNotFoundError(str(key))
            rows[key] = copy_of(rows[key])
            rows[key].state = KeyState.RETIRED
        return self.info(key)

    def destroy(self, key: KeyRef) -> None:
        with self._table.changing() as rows:
            if key not in rows:
                raise KeyNotFoundError(str(key))
            row = rows.pop(key)
            handle, in_store = bytes(row.handle), row.in_store
        if not in_store:
            self._device.run(lambda session: session.forget(handle))

    def random(self, length: int) -> bytes:
        if not 1 <= length <= MAX_RANDOM:
            raise BadInputError(f"random length must be 1 to {MAX_RANDOM}")
        return self._device.run(lambda session: session.random(length))

    # -- cards ----------------------------------------------------------------------------------------------------

    def diversification(self, key: KeyRef, factors: CardFactors) -> list[DiversificationStep]:
        row = self._row(key, CARD_PURPOSES)
        parts = card_rules.factors_of_level(row.level, factors)

        def steps(session: DeviceSession) -> list[DiversificationStep]:
            card_key = self._root(session, key, row)
            found = [DiversificationStep("root", b"", row.kcv)]
            for name, part in zip(_STEPS[row.level - 1 :], parts, strict=False):
                card_key = card_rules.diversify(card_key, part)
                found.append(DiversificationStep(name, part, card_rules.key_check_value(card_key)))
            return found

        return self._device.run(steps)

    # -- data at rest ---------------------------------------------------------------------------------------------

    def seal(self, key: KeyRef, plaintext: bytes, context: bytes = b"") -> bytes:
        return self._use(key, (Purpose.SEAL,), lambda k: sealing.seal(self._engine, k, plaintext, context), is_new=True)

    def unseal(self, key: KeyRef, sealed: bytes, context: bytes = b"") -> bytes:
        return self._use(key, (Purpose.SEAL,), lambda k: sealing.unseal(self._engine, k, sealed, context))

    def index(self, key: KeyRef, value: bytes) -> bytes:
        return self.index_batch(key, [value])[0]

    def index_batch(self, key: KeyRef, values: Sequence[bytes]) -> list[bytes]:
        row = self._row(key, (Purpose.SEAL,), times=len(values))
        return self._device.run(lambda session: sealing.indices(self._engine, self._root(session, key, row), values))

    # -- key pairs ------------------------------------------------------------------------------------------------

    def generate_pair(self, key: KeyRef, purpose: Purpose = Purpose.SIGN, *, expires: int | None = None) -> bytes:
        check_ref(key)
        if key.algorithm not in PAIR_ALGORITHMS or purpose not in PAIR_PURPOSES:
            raise BadInputError("a pair has algorithm SM2, P-256 or RSA and signs or decrypts")
        if purpose is Purpose.DECRYPT and key.algorithm is not Algorithm.SM2:
            raise BadInputError("only SM2 pairs decrypt")
        self._check_absent(key)
        handle, public = self._device.run(lambda session: session.generate_pair(key.algorithm))
        kcv = self._engine.sm3(public)[: card_rules.KCV_LENGTH]
        row = KeyRow(purpose, 0, len(public), kcv, bytearray(handle), int(self._clock()), expires=expires)
        row.public = public
        self._table.add(key, row)
        return public

    def public_key(self, key: KeyRef) -> bytes:
        return self._row(key, PAIR_PURPOSES).public

    def sign(self, key: KeyRef, message: bytes, *, user_id: bytes = b"") -> bytes:
        return self.sign_batch(key, [message], user_id=user_id)[0]

    def sign_batch(self, key: KeyRef, messages: Sequence[bytes], *, user_id: bytes = b"") -> list[bytes]:
        if key.algorithm is Algorithm.SM2 and not user_id:
            raise BadInputError("an SM2 signature needs an explicit user id")
        row = self._row(key, (Purpose.SIGN,), is_new=True, times=len(messages))
        handle = bytes(row.handle)
        return self._device.run(
            lambda session: [session.sign(key.algorithm, handle, row.public, message, user_id) for message in messages]
        )

    def decrypt(self, key: KeyRef, ciphertext: bytes) -> bytes:
        row = self._row(key, (Purpose.DECRYPT,))
        handle = bytes(row.handle)
        return self._device.run(lambda session: session.decrypt(key.algorithm, handle, row.public, ciphertext))

    # -- for rules that live beside this module ----------------------------------------------------------------------

    def use_key(self, key: KeyRef, purpose: Purpose, operation: Callable[[DeviceKey], T]) -> T:
        """`operation` over the key itself: for cards with a diversification of their own (交通联合)."""
        return self._use(key, (purpose,), operation)

    def software_key(self, algorithm: Algorithm, value: bytes) -> DeviceKey:
        """A value that is known in this process, as a key."""
        return SoftKey(self._engine, algorithm, value)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _row(
        self, key: KeyRef, purposes: frozenset[Purpose] | tuple[Purpose, ...], *, is_new: bool = False, times: int = 1
    ) -> KeyRow:
        """The only way to a key: purpose, state and term are checked, the use is counted."""
        row = self._table.find(key)
        if row.purpose not in purposes:
            raise KeyPurposeError(f"{key} serves {row.purpose} only")
        if is_new and self._is_over(row):
            raise KeyExpiredError(f"{key} is retired or past its term")
        self._uses.count(str(key), times)
        return row

    def _is_over(self, row: KeyRow) -> bool:
        return row.state is KeyState.RETIRED or (row.expires is not None and self._clock() >= row.expires)

    def _use(
        self, key: KeyRef, purposes: tuple[Purpose, ...], operation: Callable[[DeviceKey], T], *, is_new: bool = False
    ) -> T:
        row = self._row(key, purposes, is_new=is_new)
        return self._device.run(lambda session: operation(self._root(session, key, row)))

    def _with_card_key(
        self, key: KeyRef, factors: CardFactors, purposes: tuple[Purpose, ...], operation: Callable[[DeviceKey], T]
    ) -> T:
        return self._each(key, purposes, [(factors, None)], lambda card, _: operation(card))[0]

    def _each(
        self,
        key: KeyRef,
        purposes: frozenset[Purpose] | tuple[Purpose, ...],
        items: Sequence[tuple[CardFactors, T]],
        operation: Callable[[DeviceKey, T], R],
    ) -> list[R]:
        """`operation` with each card's own key; what the cards of one region share is computed once."""
        row = self._row(key, purposes, times=len(items))

        def run(session: DeviceSession) -> list[R]:
            root = self._root(session, key, row)
            if not row.level:
                return [operation(root, item) for _, item in items]
            shared: dict[str, DeviceKey] = {}
            found = []
            for factors, item in items:
                city = shared.get(factors.region)
                if city is None:
                    parts = card_rules.factors_of_level(row.level, factors)
                    city = shared[factors.region] = card_rules.diversified(root, parts[:-1])
                found.append(operation(card_rules.diversify(city, factors.card), item))
            return found

        return self._device.run(run)

    def _card_value(
        self, key: KeyRef, factors: CardFactors, purposes: frozenset[Purpose], *, is_new: bool = False
    ) -> bytes:
        row = self._row(key, purposes, is_new=is_new)
        if row.in_store:
            return bytes(row.handle)
        parts = card_rules.factors_of_level(row.level, factors)
        return self._device.run(lambda s: card_rules.diversified_value(self._root(s, key, row), parts))

    def _root_value(self, source: KeyRef, row: KeyRow, region: str, level: int) -> bytes:
        if not 1 <= row.level < level <= 3:
            raise BadInputError(f"no root of level {level} follows from one of level {row.level}")
        parts = card_rules.factors_of_level(row.level, CardFactors(region, bytes(8)))[: level - row.level]
        return self._device.run(lambda s: card_rules.diversified_value(self._root(s, source, row), parts))

    def _root(self, session: DeviceSession, key: KeyRef, row: KeyRow) -> DeviceKey:
        handle = bytes(row.handle)
        return (
            self.software_key(key.algorithm, handle) if row.in_store else session.key(key.algorithm, row.length, handle)
        )

    def _tac_key(self, key: KeyRef, factors: CardFactors) -> DeviceKey:
        value = self._card_value(key, factors, frozenset((Purpose.TAC,)))
        return self.software_key(key.algorithm, card_rules.tac_key(key.algorithm, value))

    def _keep(self, key: KeyRef, purpose: Purpose, level: int, value: bytes, expires: int | None) -> KeyInfo:
        """A key whose value is known here: to the device, or to the store where it goes into cards as it is."""
        check_new(key, purpose, level, len(value))
        if not is_loaded_as_it_is(purpose, level):
            return self._add(key, purpose, level, len(value), lambda s: s.adopt(key.algorithm, value), expires)
        kcv = card_rules.key_check_value(self.software_key(key.algorithm, value))
        row = KeyRow(purpose, level, len(value), kcv, bytearray(value), int(self._clock()), True, expires)
        self._table.add(key, row)
        return self._describe(key, row, {})

    def _add(
        self,
        key: KeyRef,
        purpose: Purpose,
        level: int,
        length: int,
        make: Callable[[DeviceSession], bytes],
        expires: int | None,
    ) -> KeyInfo:
        self._check_absent(key)

        def made(session: DeviceSession) -> tuple[bytes, bytes]:
            handle = make(session)
            return handle, card_rules.key_check_value(session.key(key.algorithm, length, handle))

        handle, kcv = self._device.run(made)
        row = KeyRow(purpose, level, length, kcv, bytearray(handle), int(self._clock()), expires=expires)
        self._table.add(key, row)
        return self._describe(key, row, {})

    def _check_absent(self, key: KeyRef) -> None:
        """Before the device makes a key that the table would refuse."""
        if key in self._table.rows():
            raise KeyExistsError(f"{key} exists")

    def _describe(self, key: KeyRef, row: KeyRow, uses: dict[str, int]) -> KeyInfo:
        return KeyInfo(
            key,
            row.purpose,
            row.level,
            row.length,
            row.kcv,
            row.state,
            row.created,
            row.expires,
            uses.get(str(key), 0),
        )
