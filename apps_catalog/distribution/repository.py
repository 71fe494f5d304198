"""The publishing side: signed metadata and files in a directory that any web server can serve as it is.

`metadata/N.ROLE.json` and `metadata/timestamp.json`, `targets/PATH/HASH.NAME`. Nothing there is changed once written
but `timestamp.json`, which is replaced last: readers see the state before a step or after it. One writer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError, StorageError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from apps_catalog.distribution.contents import JOINT, MANIFEST, differences, sm3_of
from apps_catalog.distribution.errors import PublishError
from apps_catalog.distribution.keys import ServiceSigner, Sm2Key
from apps_catalog.distribution.roles import FILE_NAME, ROLES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, RoleRule, Roles
from apps_catalog.errors import CatalogError
from hsm.sealed_store import write_atomically

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
_HASHES: Final = ["sha256"]
_PUBLIC_MODE: Final = 0o644


def _now() -> datetime:
    return datetime.now(UTC)


class Repository:
    """`signers` has whoever's key is at hand; a step that needs another raises PublishError."""

    def __init__(
        self,
        path: Path,
        signers: Mapping[str, ServiceSigner],
        *,
        roles: Roles = ROLES,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.path = path
        self._metadata = path / "metadata"
        self._targets = path / "targets"
        self._signers = dict(signers)
        self._roles = roles
        self._clock = clock

    # -- steps ----------------------------------------------------------------------------------------------------

    def create(self) -> bytes:
        """A new repository with no files in it; needs every holder's key. Returns the root to give to terminals."""
        if self._metadata.exists():
            raise PublishError(f"{self.path.name} is a repository already")
        for holder in self._roles.holders:
            self._signer(holder)
        self._metadata.mkdir(parents=True)
        self._targets.mkdir()
        root = Root(consistent_snapshot=True)
        for rule in self._roles.top.values():
            for holder in rule.holders:
                root.add_key(self._signer(holder).public_key, rule.name)
            root.roles[rule.name].threshold = rule.threshold
        self._write(ROOT, root)
        delegated = {
            rule.name: DelegatedRole(rule.name, [], rule.threshold, terminating=True, paths=list(rule.paths))
            for rule in self._roles.delegated.values()
        }
        top = Targets(delegations=Delegations({}, delegated))
        for rule in self._roles.delegated.values():
            top.add_key(self._signer(rule.name).public_key, rule.name)
        self._write(TARGETS, top)
        for name in self._roles.delegated:
            self._write(name, Targets())
        self.refresh()
        return self._file(ROOT, 1).read_bytes()

    def publish(self, role: str, files: Mapping[str, bytes]) -> bool:
        """`files` by name become all that `role` says; False when it says so already and stays valid for long.

        Terminals see it after `refresh`. Raises PublishError.
        """
        rule = self._rule(role)
        if wrong := [name for name in files if not FILE_NAME.fullmatch(name)]:
            raise PublishError(f"{role}: {wrong[0]!r} is no file name")
        targets = {rule.path_of(name): _target(rule.path_of(name), data) for name, data in files.items()}
        signed = self._latest(role, Targets)
        if signed.targets == targets and not self._needs_again(signed, rule):
            return False
        for name, data in files.items():
            info = targets[rule.path_of(name)]
            place = self._targets / info.get_prefixed_paths()[0]
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_file() or place.read_bytes() != data:
                _write_public(place, data)
        signed.targets = targets
        self._write(role, signed, is_next=True)
        return True

    def refresh(self) -> int:
        """Snapshot of what every role says now, if it changed, and a new timestamp; returns the timestamp's version.

        The catalog's roles go on together: until `waits_for` is empty, the snapshot names what it named before.
        Raises PublishError for a role whose newest file is not signed by its key, speaks outside its paths or expired.
        """
        is_new = self._version(SNAPSHOT) == 0
        snapshot = Snapshot() if is_new else self._latest(SNAPSHOT, Snapshot)
        meta = {f"{role}.json": self._checked(role) for role in (TARGETS, *self._roles.delegated)}
        if not is_new and self.waits_for():
            for role in self._roles.catalog:
                meta[f"{role}.json"] = self._checked(role, snapshot.meta[f"{role}.json"].version)
        rule = self._roles.rule(SNAPSHOT)
        if is_new or snapshot.meta != meta or self._needs_again(snapshot, rule) or not self._verifies(SNAPSHOT):
            snapshot.meta = meta
            self._write(SNAPSHOT, snapshot, is_next=not is_new)
        is_new = not self._file(TIMESTAMP, 0).exists()
        timestamp = Timestamp() if is_new else self._latest(TIMESTAMP, Timestamp)
        timestamp.snapshot_meta = self._meta_file(SNAPSHOT)
        self._write(TIMESTAMP, timestamp, is_next=not is_new)
        return timestamp.version

    def waits_for(self) -> list[str]:
        """Files of the catalog whose newest publication is not the one of the joint manifest. Raises PublishError."""
        said = [self._latest(role, Targets).targets for role in self._roles.catalog]
        infos = {path.rpartition("/")[2]: info for targets in said for path, info in targets.items()}
        manifest = infos.pop(MANIFEST, None)
        if manifest is None:
            return sorted(infos)
        place = self._targets / manifest.get_prefixed_paths()[0]
        try:
            content = place.read_bytes()
            manifest.verify_length_and_hashes(content)
            return differences(content, {name: str((info.custom or {}).get("sm3")) for name, info in infos.items()})
        except (OSError, RepositoryError, CatalogError) as error:
            raise PublishError(f"{JOINT}: {MANIFEST} cannot be read") from error

    def rotate(self, holder: str, new: ServiceSigner, *, good: int | None = None) -> None:
        """From the next fetch on only `new` counts as `holder`'s key; what the old one signed is signed again.

        `good`: version of the role whose files come back, where later ones are the work of a stolen key.
        Needs the root keys for a top-level role, the `targets` key for another. Raises PublishError.
        """
        rule = self._roles.role_of(holder)
        if good is None and rule.name in self._roles.catalog and (waiting := self.waits_for()):
            raise PublishError(f"finish the catalog's publication first or say which version is good: {waiting[0]}")
        self._signers[holder] = new
        if rule.name in self._roles.top:
            root = self._latest(ROOT, Root)
            _exchange(root, root.roles[rule.name], root.keys, rule.name, new.public_key)
            self._write(ROOT, root, is_next=True)
            if rule.name == TARGETS:
                self._write(TARGETS, self._latest(TARGETS, Targets), is_next=True)
        else:
            said = self._read(rule.name, good or self._version(rule.name), Targets).targets
            top = self._latest(TARGETS, Targets)
            assert top.delegations is not None
            _exchange(top, _delegation(top, rule.name), top.delegations.keys, rule.name, new.public_key)
            self._write(TARGETS, top, is_next=True)
            signed = self._latest(rule.name, Targets)
            signed.targets = said
            self._write(rule.name, signed, is_next=True)
        self.refresh()

    def renew_root(self) -> None:
        """The same root for another term; two of its holders are enough."""
        self._write(ROOT, self._latest(ROOT, Root), is_next=True)

    def prune(self, before: datetime) -> int:
        """Remove what neither a role's newest file nor the snapshot names and was written before then; roots stay.

        Versions removed cannot come back as `good`. Terminals in the middle of a fetch need some hours. Returns how
        many files went.
        """
        snapshot = self._latest(SNAPSHOT, Snapshot)
        keep = {self._file(SNAPSHOT, snapshot.version)}
        for role in (TARGETS, *self._roles.delegated):
            for version in {self._version(role), snapshot.meta[f"{role}.json"].version}:
                keep.add(self._file(role, version))
                for info in self._read(role, version, Targets).targets.values():
                    keep.add(self._targets / info.get_prefixed_paths()[0])
        roles = (SNAPSHOT, TARGETS, *self._roles.delegated)
        metadata = [file for role in roles for file in self._metadata.glob(f"*.{role}.json")]
        old = [file for file in (*metadata, *self._targets.rglob("*.*")) if file.stat().st_mtime < before.timestamp()]
        gone = [file for file in old if file.is_file() and file not in keep]
        for file in gone:
            file.unlink()
        return len(gone)

    def status(self) -> list[tuple[str, int, datetime]]:
        """Role, version and end of each signature's term."""
        roles = (*self._roles.top, *self._roles.delegated)
        kinds: dict[str, type[Any]] = {ROOT: Root, SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}
        found = [(role, self._latest(role, kinds.get(role, Targets))) for role in roles]
        return [(role, signed.version, signed.expires) for role, signed in found]

    # -- files ----------------------------------------------------------------------------------------------------

    def _rule(self, role: str) -> RoleRule:
        try:
            return self._roles.delegated[role]
        except KeyError:
            raise PublishError(f"no role {role!r}; there are {', '.join(self._roles.delegated)}") from None

    def _signer(self, holder: str) -> ServiceSigner:
        try:
            return self._signers[holder]
        except KeyError:
            raise PublishError(f"the key of {holder} is not at hand") from None

    def _file(self, role: str, version: int) -> Path:
        return self._metadata / (f"{role}.json" if role == TIMESTAMP else f"{version}.{role}.json")

    def _version(self, role: str) -> int:
        """The highest there is, 0 for none."""
        numbers = (path.name.partition(".")[0] for path in self._metadata.glob(f"*.{role}.json"))
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def _read(self, role: str, version: int, kind: type[S]) -> S:
        return _signed(self._open(role, version), kind)

    def _open(self, role: str, version: int) -> Metadata[Any]:
        try:
            return Metadata.from_file(str(self._file(role, version)))
        except (OSError, StorageError, RepositoryError, ValueError) as error:
            raise PublishError(f"{role} version {version} cannot be read") from error

    def _latest(self, role: str, kind: type[S]) -> S:
        return self._read(role, self._version(role), kind)

    def _delegator(self, role: str) -> Root | Targets:
        return self._latest(ROOT, Root) if role in self._roles.top else self._latest(TARGETS, Targets)

    def _verifies(self, role: str, version: int | None = None) -> bool:
        found = self._open(role, version or self._version(role))
        try:
            self._delegator(role).verify_delegate(role, found.signed_bytes, found.signatures)
        except UnsignedMetadataError:
            return False
        return True

    def _checked(self, role: str, version: int | None = None) -> MetaFile:
        """A role's file, by default its newest, as the snapshot names it; the role's holder may have put it there."""
        signed = self._read(role, version or self._version(role), Targets)
        if not self._verifies(role, signed.version):
            raise PublishError(f"{role} version {signed.version} is not signed by its key")
        if signed.is_expired(self._clock()):
            raise PublishError(f"{role} version {signed.version} expired on {signed.expires:%Y-%m-%d}")
        if role != TARGETS:
            delegation = _delegation(self._latest(TARGETS, Targets), role)
            outside = [path for path in signed.targets if not delegation.is_delegated_path(path)]
            if outside:
                raise PublishError(f"{role} may not speak for {outside[0]}")
        return self._meta_file(role, signed.version)

    def _meta_file(self, role: str, version: int | None = None) -> MetaFile:
        version = version or self._version(role)
        return MetaFile.from_data(version, self._file(role, version).read_bytes(), _HASHES)

    def _needs_again(self, signed: Signed, rule: RoleRule) -> bool:
        return signed.expires - self._clock() < rule.lasts / 2

    def _write(self, role: str, signed: Root | Timestamp | Snapshot | Targets, *, is_next: bool = False) -> None:
        """Sign with the keys at hand and write, only if they are enough for those who will verify."""
        rule = self._roles.rule(role)
        signed.version += is_next
        is_empty = isinstance(signed, Targets) and not signed.targets
        # A role that publishes nothing must not stop all others by expiring soon.
        lasts = self._roles.top[TARGETS].lasts if is_empty else rule.lasts
        signed.expires = (self._clock() + lasts).replace(microsecond=0)
        metadata: Metadata[Any] = Metadata(signed)
        signers = [self._signers[holder] for holder in rule.holders if holder in self._signers]
        if not signers:
            raise PublishError(f"the key of {' or '.join(rule.holders)} is not at hand")
        for signer in signers:
            metadata.sign(signer, append=True)
        judges: list[Root | Targets] = [signed] if isinstance(signed, Root) else [self._delegator(role)]
        if role == ROOT and is_next:
            judges.append(self._delegator(ROOT))
        try:
            for judge in judges:
                judge.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError as error:
            raise PublishError(str(error)) from error
        _write_public(self._file(role, signed.version), metadata.to_bytes())


def _signed(metadata: Metadata[Any], kind: type[S]) -> S:
    if not isinstance(metadata.signed, kind):
        raise PublishError(f"a file of {kind.type} is of another kind")
    return metadata.signed


def _delegation(top: Targets, role: str) -> DelegatedRole:
    """Raises PublishError."""
    roles = top.delegations.roles if top.delegations else None
    if not roles or role not in roles:
        raise PublishError(f"nothing is delegated to {role}")
    return roles[role]


def _exchange(owner: Root | Targets, role: Role, keys: Mapping[str, Key], name: str, new: Sm2Key) -> None:
    for keyid in list(role.keyids):
        old = keys[keyid]
        if isinstance(old, Sm2Key) and old.holder == new.holder:
            owner.revoke_key(keyid, name)
    owner.add_key(new, name)


def _target(path: str, data: bytes) -> TargetFile:
    info = TargetFile.from_data(path, data, _HASHES)
    info.unrecognized_fields["custom"] = {"sm3": sm3_of(data)}
    return info


def _write_public(path: Path, content: bytes) -> None:
    write_atomically(path, content)
    path.chmod(_PUBLIC_MODE)
