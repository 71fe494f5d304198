"""The publishing side: signed metadata and files in a directory that any web server can serve as it is.

`metadata/N.ROLE.json` and `metadata/timestamp.json`, `targets/PATH/HASH.NAME`. Nothing there is changed once written
but `timestamp.json`, which is replaced last: readers see the state before a step or after it. One writer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import (
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

from apps_catalog.distribution.contents import JOINT, MANIFEST, differences, named_sm3, sm3_of
from apps_catalog.distribution.errors import HandoverError, PublishError, Refusal
from apps_catalog.distribution.handover import Parcel, delegate, delegation, demand, demand_inside, key_changes
from apps_catalog.distribution.keys import ServiceSigner, Sm2Key
from apps_catalog.distribution.roles import (
    FILE_NAME,
    ONLINE,
    ROLES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    RoleRule,
    Roles,
)
from apps_catalog.distribution.shelf import Shelf, make_public, signed_as, write_public
from apps_catalog.errors import CatalogError

_HASHES: Final = ["sha256"]
_CLOCK_SLACK: Final = timedelta(days=1)


def _now() -> datetime:
    return datetime.now(UTC)


class Repository(Shelf):
    """`signers` has whoever's key is at hand; a step that needs another raises PublishError."""

    def __init__(
        self,
        path: Path,
        signers: Mapping[str, ServiceSigner],
        *,
        roles: Roles = ROLES,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(path)
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
        for folder in (self._metadata, self._targets):
            make_public(folder, within=self.path)
        root = Root(consistent_snapshot=True)
        for rule in self._roles.top.values():
            for holder in rule.holders:
                root.add_key(self._signer(holder).public_key, rule.name)
            root.roles[rule.name].threshold = rule.threshold
        self._write(ROOT, root)
        top = Targets(delegations=Delegations({}, {}))
        for rule in self._roles.delegated.values():
            delegate(top, rule, self._signer(rule.name).public_key)
        self._write(TARGETS, top)
        for name in self._roles.delegated:
            self._write(name, Targets())
        self.refresh()
        return self._file(ROOT, 1).read_bytes()

    def add_roles(self) -> list[str]:
        """`missing_roles`, by the keys of `targets` and theirs; seen after `refresh`. Raises PublishError."""
        top = self._latest(TARGETS, Targets)
        added = self.missing_roles()
        for name in added:
            delegate(top, self._roles.delegated[name], self._signer(name).public_key)
        if added:
            self._write(TARGETS, top, is_next=True)
        for name in added:
            self._write(name, Targets())
        return added

    def missing_roles(self) -> list[str]:
        """Which were not known when the repository was made."""
        there = [name for name in self._there() if self._version(name)]
        return [name for name in self._roles.delegated if name not in there]

    def publish(self, role: str, files: Mapping[str, bytes], *, keep: Collection[str] = ()) -> bool:
        """`files` by name become all that `role` says; False when it says so already and stays valid for long.

        `keep`: names of files that stay as they were published last. Terminals see it after `refresh`.
        Raises PublishError.
        """
        rule = self._rule(role)
        if wrong := [name for name in files if not FILE_NAME.fullmatch(name)]:
            raise PublishError(f"{role}: {wrong[0]!r} is no file name")
        targets = {rule.path_of(name): _target(rule.path_of(name), data) for name, data in files.items()}
        signed = self._latest(role, Targets)
        if missing := [name for name in keep if rule.path_of(name) not in signed.targets]:
            raise PublishError(f"{role}: {missing[0]} was not published before")
        targets |= {rule.path_of(name): signed.targets[rule.path_of(name)] for name in keep}
        if signed.targets == targets and not self._needs_again(signed, rule):
            return False
        for name, data in files.items():
            info = targets[rule.path_of(name)]
            self._put(info.get_prefixed_paths()[0], data)
        signed.targets = targets
        self._write(role, signed, is_next=True)
        return True

    def file_of(self, role: str, name: str) -> Path | None:
        """Where the file that `role` published last under `name` lies; None where it says nothing of it."""
        info = self._latest(role, Targets).targets.get(self._rule(role).path_of(name))
        return None if info is None else self._targets / info.get_prefixed_paths()[0]

    def refresh(self) -> int:
        """Snapshot of what every role says now, if it changed, and a new timestamp; returns the timestamp's version.

        The catalog's roles go on together: until `waits_for` is empty, the snapshot names what it named before.
        Raises PublishError for a role whose newest file is not signed by its key, speaks outside its paths or expired.
        """
        is_new = self._version(SNAPSHOT) == 0
        snapshot = Snapshot() if is_new else self._latest(SNAPSHOT, Snapshot)
        meta = {f"{role}.json": self._checked(role) for role in (TARGETS, *self._there())}
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
            return differences(content, {name: named_sm3(info) for name, info in infos.items()})
        except (OSError, RepositoryError, CatalogError) as error:
            raise PublishError(f"{JOINT}: {MANIFEST} cannot be read") from error

    def rotate(self, holder: str, new: ServiceSigner, *, good: int | None = None) -> None:
        """From the next fetch on only `new` counts as `holder`'s key; what the old one signed is signed again.

        All in one place; `propose_key`, signatures elsewhere and `accept` do the same. Raises PublishError.
        """
        parcel = self.propose_key(new.public_key, good=good)
        self._signers[holder] = new
        self._sign_and_accept(parcel)
        self.refresh()

    def renew_root(self) -> None:
        """The same root for another term; two of its holders are enough."""
        self._sign_and_accept(self.propose_renewal())

    def propose_renewal(self) -> Parcel:
        return self._parcel({ROOT: self._next(ROOT, self._latest(ROOT, Root))})

    def propose_key(self, new: Sm2Key, *, good: int | None = None) -> Parcel:
        """The exchange of a holder's key for `new`, to be signed.

        `good`: version of the role whose files come back, where later ones are the work of a stolen key.
        Needs the root keys for a top-level role, the `targets` key for another, and the new key where its role signs
        again. Raises PublishError.
        """
        if new.holder not in self._roles.holders:
            raise PublishError(f"no holder {new.holder!r}; there are {', '.join(self._roles.holders)}")
        rule = self._roles.role_of(new.holder)
        if good is None and rule.name in self._roles.catalog and (waiting := self.waits_for()):
            raise PublishError(f"finish the catalog's publication first or say which version is good: {waiting[0]}")
        top = self._latest(TARGETS, Targets)
        if rule.name in self._roles.top:
            root = self._latest(ROOT, Root)
            _exchange(root, root.roles[rule.name], root.keys, rule.name, new)
            again = {TARGETS: self._next(TARGETS, top)} if rule.name == TARGETS else {}
            return self._parcel({ROOT: self._next(ROOT, root)} | again)
        said = self._read(rule.name, good or self._version(rule.name), Targets).targets
        assert top.delegations is not None
        _exchange(top, delegation(top, rule.name), top.delegations.keys, rule.name, new)
        signed = self._latest(rule.name, Targets)
        signed.targets = said
        return self._parcel({TARGETS: self._next(TARGETS, top), rule.name: self._next(rule.name, signed)})

    def deliver(self, role: str) -> Parcel:
        """What `role` published last in this copy of the repository, with its files, for the repository to accept."""
        self._rule(role)
        metadata = self._open(role, self._version(role))
        infos = signed_as(metadata, Targets).targets
        files = {path: (self._targets / info.get_prefixed_paths()[0]).read_bytes() for path, info in infos.items()}
        return self._parcel({role: metadata}, files)

    def accept(self, parcel: Parcel) -> None:
        """Write what `parcel` proposes, once all of it is as it must be; terminals see it after `refresh`.

        Raises HandoverError: then nothing was written.
        """
        if parcel.roots[0].signed != self._read(ROOT, 1, Root):
            raise HandoverError(Refusal.OTHER_REPOSITORY, "it was made for another repository")
        for role, metadata in parcel.proposed.items():
            self._demand_next(role, metadata.signed)
        self._demand_signatures(parcel)
        self._demand_online(parcel)
        contents = self._demand_files(parcel)
        for path, data in contents.items():
            self._put(path, data)
        order = [*self._roles.delegated, TARGETS, ROOT]
        for role in sorted(parcel.proposed, key=order.index):
            write_public(self._file(role, parcel.proposed[role].signed.version), parcel.finished(role))

    def prune(self, before: datetime, roles: Collection[str] | None = None) -> int:
        """Remove what neither a role's newest file nor the snapshot names and was written before then; roots stay.

        Of all roles, or of these. Versions removed cannot come back as `good`. Terminals in the middle of a fetch need
        some hours. Returns how many files went.
        """
        snapshot = self._latest(SNAPSHOT, Snapshot)
        keep = {self._file(SNAPSHOT, snapshot.version)}
        for role in (TARGETS, *self._there()):
            for version in {self._version(role), snapshot.meta[f"{role}.json"].version}:
                keep.add(self._file(role, version))
                for info in self._read(role, version, Targets).targets.values():
                    keep.add(self._targets / info.get_prefixed_paths()[0])
        chosen = [role for role in (SNAPSHOT, TARGETS, *self._there()) if roles is None or role in roles]
        folders = [self._targets / self._rule(role).path_of("") for role in chosen if role in self._roles.delegated]
        metadata = [file for role in chosen for file in self._metadata.glob(f"*.{role}.json")]
        targets = [file for folder in folders for file in folder.rglob("*.*")]
        old = [file for file in (*metadata, *targets) if file.stat().st_mtime < before.timestamp()]
        gone = [file for file in old if file.is_file() and file not in keep]
        for file in gone:
            file.unlink()
        return len(gone)

    def status(self) -> list[tuple[str, int, datetime]]:
        """Role, version and end of each signature's term."""
        roles = (*self._roles.top, *self._there())
        kinds: dict[str, type[Any]] = {ROOT: Root, SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}
        found = [(role, self._latest(role, kinds.get(role, Targets))) for role in roles]
        return [(role, signed.version, signed.expires) for role, signed in found]

    def key_ids(self) -> frozenset[str]:
        """Of all keys that count now."""
        delegations = self._latest(TARGETS, Targets).delegations
        return frozenset(self._latest(ROOT, Root).keys) | frozenset(delegations.keys if delegations else ())

    # -- handover -------------------------------------------------------------------------------------------------

    def _parcel(self, proposed: Mapping[str, Metadata[Any]], files: Mapping[str, bytes] | None = None) -> Parcel:
        roots = tuple(self._open(ROOT, version) for version in range(1, self._version(ROOT) + 1))
        return Parcel(roots, self._open(TARGETS, self._version(TARGETS)), proposed, files or {})

    def _sign_and_accept(self, parcel: Parcel) -> None:
        for role in parcel.proposed:
            rule = self._roles.rule(role)
            if not any(holder in self._signers for holder in rule.holders):
                raise PublishError(f"the key of {' or '.join(rule.holders)} is not at hand")
        parcel.sign(self._signers.values())
        self.accept(parcel)

    def _demand_next(self, role: str, signed: Signed) -> None:
        if role not in (ROOT, TARGETS, *self._there()):
            raise HandoverError(Refusal.NOT_YOUR_ROLE, f"there is no role {role!r}")
        if signed.version <= self._version(role):
            raise HandoverError(Refusal.OLDER, f"{role} {signed.version}, but {self._version(role)} is there already")
        now = self._clock()
        if signed.is_expired(now) or signed.expires > now + self._lasts(role, signed) + _CLOCK_SLACK:
            raise HandoverError(Refusal.TERM, f"{role} is valid until {signed.expires:%Y-%m-%d}")

    def _demand_signatures(self, parcel: Parcel) -> None:
        """Every role must be signed by its keys as they will be, so that nothing that stays is left behind."""
        root, top = self._latest(ROOT, Root), self._latest(TARGETS, Targets)
        if ROOT in parcel.proposed:
            new: Root = parcel.proposed[ROOT].signed
            key_changes(root, new)
            demand(root, ROOT, parcel.proposed[ROOT])
            demand(new, ROOT, parcel.proposed[ROOT])
            root = new
        if TARGETS in parcel.proposed:
            key_changes(top, parcel.proposed[TARGETS].signed)
            top = parcel.proposed[TARGETS].signed
        for role in (TARGETS, *self._there()):
            metadata = parcel.proposed.get(role) or self._open(role, self._version(role))
            demand(root if role == TARGETS else top, role, metadata)
            if role != TARGETS and role in parcel.proposed:
                demand_inside(top, role, metadata.signed)

    def _demand_online(self, parcel: Parcel) -> None:
        """Where a root exchanges what signs every day, the new keys are at hand: else terminals would see a gap."""
        if ROOT not in parcel.proposed:
            return
        before, after = self._latest(ROOT, Root), parcel.proposed[ROOT].signed
        if all(before.roles[role].keyids == after.roles[role].keyids for role in (TARGETS, *ONLINE)):
            return
        for role in ONLINE:
            signer = self._signers.get(role)
            if signer is None or signer.public_key.keyid not in after.roles[role].keyids:
                raise HandoverError(Refusal.MISSING_SIGNATURE, f"the {role} key of the new root is needed here")

    def _demand_files(self, parcel: Parcel) -> dict[str, bytes]:
        """What is to be written, by place, for every file that the proposed roles name."""
        infos = {
            path: info
            for role, metadata in parcel.proposed.items()
            if role in self._roles.delegated
            for path, info in metadata.signed.targets.items()
        }
        if foreign := parcel.files.keys() - infos.keys():
            raise HandoverError(Refusal.FILES, f"{min(foreign)} is named by nobody")
        contents: dict[str, bytes] = {}
        for path, info in infos.items():
            place = info.get_prefixed_paths()[0]
            try:
                data = parcel.files[path] if path in parcel.files else (self._targets / place).read_bytes()
                info.verify_length_and_hashes(data)
            except (OSError, RepositoryError) as error:
                raise HandoverError(Refusal.FILES, f"{path} is missing or another one") from error
            if named_sm3(info) != sm3_of(data):
                raise HandoverError(Refusal.FILES, f"the SM3 of {path} is another")
            contents[place] = data
        return contents

    # -- files ----------------------------------------------------------------------------------------------------

    def _there(self) -> list[str]:
        """Delegated roles of this repository, which may be older than some that are known now."""
        delegations = self._latest(TARGETS, Targets).delegations
        known = (delegations and delegations.roles) or {}
        return [name for name in self._roles.delegated if name in known]

    def _rule(self, role: str) -> RoleRule:
        there = self._there()
        if role not in there:
            raise PublishError(f"no role {role!r}; there are {', '.join(there)}")
        return self._roles.delegated[role]

    def _signer(self, holder: str) -> ServiceSigner:
        try:
            return self._signers[holder]
        except KeyError:
            raise PublishError(f"the key of {holder} is not at hand") from None

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
            demand_inside(self._latest(TARGETS, Targets), role, signed)
        return self._meta_file(role, signed.version)

    def _meta_file(self, role: str, version: int | None = None) -> MetaFile:
        version = version or self._version(role)
        return MetaFile.from_data(version, self._file(role, version).read_bytes(), _HASHES)

    def _needs_again(self, signed: Signed, rule: RoleRule) -> bool:
        return signed.expires - self._clock() < rule.lasts / 2

    def _next(self, role: str, signed: Root | Timestamp | Snapshot | Targets, *, is_next: bool = True) -> Metadata[Any]:
        """The next version of `signed`, unsigned, for a term from now on."""
        signed.version += is_next
        signed.expires = (self._clock() + self._lasts(role, signed)).replace(microsecond=0)
        return Metadata(signed)

    def _lasts(self, role: str, signed: Signed) -> timedelta:
        # A role that publishes nothing must not stop all others by expiring soon.
        is_empty = isinstance(signed, Targets) and not signed.targets
        return self._roles.top[TARGETS].lasts if is_empty else self._roles.rule(role).lasts

    def _write(self, role: str, signed: Root | Timestamp | Snapshot | Targets, *, is_next: bool = False) -> None:
        """Sign with the keys at hand and write, only if they are enough for those who will verify."""
        rule = self._roles.rule(role)
        metadata: Metadata[Any] = self._next(role, signed, is_next=is_next)
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
        write_public(self._file(role, signed.version), metadata.to_bytes())


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
