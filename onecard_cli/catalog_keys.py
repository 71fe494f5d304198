"""The signing keys of the distribution: one folder per holder, so that each can lie on its holder's own medium."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.roles import ROLES
from cardlib.failures import FailureCode
from hsm.api import Algorithm, KeyRef, KeyState
from hsm.soft import SoftKeyService
from onecard_cli.home import Home
from onecard_cli.output import CommandError


class SigningKeys:
    """`FOLDER/HOLDER/` is a home of its own: sealed key store, its passphrase unless ONECARD_PASSPHRASE gives it, and
    `hsm.toml` where a device has the key. A holder's highest active version signs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, SoftKeyService] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def at_hand(self, holders: Iterable[str], *, among: Collection[str] = ()) -> dict[str, ServiceSigner]:
        """Signers of those whose store is here."""
        return {holder: self.signer(holder, among=among) for holder in holders if self._home(holder) is not None}

    def signer(self, holder: str, *, among: Collection[str] = ()) -> ServiceSigner:
        """The newest key, or the newest whose id is `among` those that count, where one is."""
        found = self._active(holder)
        return next((signer for signer in found if signer.public_key.keyid in among), found[0])

    def all_of(self, holders: Iterable[str]) -> list[ServiceSigner]:
        """Every active key that is here: while a key is exchanged, old and new ones sign."""
        return [signer for holder in holders if self._home(holder) is not None for signer in self._active(holder)]

    def make(self, holder: str) -> ServiceSigner:
        """A signer with a new pair, in a new store where there is none."""
        home = self._home(holder)
        if home is None:
            home = Home.at(self._folder / holder)
            self._open[holder] = self._stack.enter_context(home.create_store(home.key_store))
        service = self._service(holder)
        version = max(service.versions(_name(holder), Algorithm.SM2), default=0) + 1
        key = KeyRef(_name(holder), Algorithm.SM2, version)
        service.generate_pair(key)
        return ServiceSigner(service, key, holder)

    def end_older(self, new: ServiceSigner, *, destroy: bool) -> None:
        """Retire the versions before `new`, or destroy them."""
        for version in new.service.versions(new.key.name, Algorithm.SM2):
            if version < new.key.version:
                key = KeyRef(new.key.name, Algorithm.SM2, version)
                if destroy:
                    new.service.destroy(key)
                else:
                    new.service.retire(key)

    def _active(self, holder: str) -> list[ServiceSigner]:
        """The newest first. Raises KeyNotFoundError."""
        service = self._service(holder)
        newest = service.current(_name(holder), Algorithm.SM2)
        refs = (KeyRef(newest.name, Algorithm.SM2, version) for version in service.versions(newest.name, Algorithm.SM2))
        return [ServiceSigner(service, key, holder) for key in refs if service.info(key).state is KeyState.ACTIVE]

    def _home(self, holder: str) -> Home | None:
        if holder not in ROLES.holders:
            raise CommandError(FailureCode.INPUT_INVALID, f"{holder!r}: {', '.join(ROLES.holders)}")
        if not (self._folder / holder).is_dir():
            return None
        home = Home.at(self._folder / holder)
        return home if home.key_store.exists() else None

    def _service(self, holder: str) -> SoftKeyService:
        if holder not in self._open:
            home = self._home(holder)
            if home is None:
                raise CommandError(FailureCode.KEY_NOT_FOUND, f"{self._folder.name}/{holder}")
            self._open[holder] = self._stack.enter_context(home.open_store(home.key_store, home.passphrase()))
        return self._open[holder]


def _name(holder: str) -> str:
    return f"DISTRIBUTION_{holder}"
