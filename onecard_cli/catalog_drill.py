"""A rehearsal of what must work on the day a key is lost or stolen, on a repository that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from apps_catalog.catalog import DATA
from apps_catalog.distribution.client import fetch, verify
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.errors import PublishError
from apps_catalog.distribution.handover import Parcel, key_file, read_key_file
from apps_catalog.distribution.held import Held
from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ONLINE, ROLES, ROOT, TARGETS
from cardlib.failures import FailureCode
from hsm.api import Algorithm, KeyRef
from hsm.soft import SoftKeyService
from onecard_cli.output import CommandError

_STOLEN = "120000"
_TOP = {holder for rule in ROLES.top.values() for holder in rule.holders}


def rehearse() -> Iterator[str]:
    """What was done and held, step by step. Raises CommandError INTERNAL at the first step that did not hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with SoftKeyService.create(folder / "keys", "thrown away with the folder") as service:
            yield from _Drill(folder, service).run()


class _Drill:
    def __init__(self, folder: Path, service: SoftKeyService) -> None:
        self._repo, self._terminal, self._service = folder / "repo", folder / "terminal", service
        self._signers = {holder: self._pair(holder, 1) for holder in ROLES.holders}

    def run(self) -> Iterator[str]:
        root = self._repository().create()
        contents = by_owner(DATA)
        for role, files in contents.items():
            self._repository().publish(role, files)
        self._repository().refresh()
        first = fetch(self._repo.as_uri(), self._terminal, root=root)
        yield f"发布、取回 / published and fetched: {len(first.catalog().items)} items"
        for holder in ROLES.holders:
            self._rotate(holder, 2)
            yield f"换钥 / rotated: {holder} → {self._fetched().number}"
        del self._signers["root-2"]
        self._rotate("root-2", 3)
        yield f"丢失一把根密钥后换新 / a lost root key replaced: {self._fetched().number}"
        good = contents[_STOLEN]
        self._repository().publish(_STOLEN, {})
        self._repository().refresh()
        self._rotate(_STOLEN, 3, good=2)
        if self._paths(self._fetched()) != set(good):
            raise CommandError(FailureCode.INTERNAL, "the good files did not come back")
        yield f"吊销并退回内容 / revoked, good files back: {_STOLEN}"
        self._signers[_STOLEN] = self._pair(_STOLEN, 2)
        try:
            self._repository().publish(_STOLEN, {})
        except PublishError:
            yield "旧密钥不再有效 / the stolen key counts no more"
        else:
            raise CommandError(FailureCode.INTERNAL, "the stolen key still counts")
        yield f"断网核对 / verified offline: {verify(self._terminal).number}"

    def _pair(self, holder: str, version: int) -> ServiceSigner:
        key = KeyRef(f"DRILL_{holder}", Algorithm.SM2, version)
        if version not in self._service.versions(key.name, Algorithm.SM2):
            self._service.generate_pair(key)
        return ServiceSigner(self._service, key, holder)

    def _repository(self) -> Repository:
        return Repository(self._repo, self._signers)

    def _rotate(self, holder: str, version: int, *, good: int | None = None) -> None:
        """As on the day itself: the new key, the proposal and its signatures travel as files, one machine at a time."""
        new = self._pair(holder, version)
        parcel = Repository(self._repo, {}).propose_key(read_key_file(key_file(new)), good=good)
        own = (self._repo / "metadata" / "1.root.json").read_bytes()
        judges = [name for name in ROLES.top[ROOT].holders if name in self._signers and name != holder]
        for signer in (*(self._signers[name] for name in (judges if holder in _TOP else [TARGETS])), new):
            parcel = Parcel.from_bytes(parcel.to_bytes())
            parcel.changes(own)
            if parcel.missing():
                parcel.sign([signer])
        self._signers[holder] = new
        centre = Repository(self._repo, {name: self._signers[name] for name in ONLINE})
        centre.accept(Parcel.from_bytes(parcel.to_bytes()))
        centre.refresh()

    def _fetched(self) -> Held:
        return fetch(self._repo.as_uri(), self._terminal)

    def _paths(self, found: Held) -> set[str]:
        return {path.name for path in (found.files / "catalog" / _STOLEN).iterdir()}
