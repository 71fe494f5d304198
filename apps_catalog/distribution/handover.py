"""What travels between the machines of those who sign: public keys, and metadata that waits for more signatures.

A parcel is one JSON file: the chain of roots and the `targets` it builds on, the metadata proposed with the signatures
it has so far, and for a delivery the files themselves. Nothing in it is secret. Who signs checks what it changes from a
root of their own; the repository checks all of it again before anything is written.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Self

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, Signature
from tuf.api.exceptions import RepositoryError, StorageError
from tuf.api.metadata import DelegatedRole, Metadata, Root, Targets

from apps_catalog.distribution.contents import named_sm3, sm3_of
from apps_catalog.distribution.errors import HandoverError, Refusal
from apps_catalog.distribution.keys import ServiceSigner, Sm2Key
from apps_catalog.distribution.roles import FILE_NAME, ROOT, TARGETS, RoleRule

FORMAT: Final = "handover-1"
KEY_FORMAT: Final = "signing-key-1"
MAX_BYTES: Final = 32 << 20
Document = dict[str, Any]


def key_file(signer: ServiceSigner) -> bytes:
    """The public key of `signer` with a signature of its own, which shows that somebody has the private one."""
    said = {"format": KEY_FORMAT, "holder": signer.public_key.holder, "key": signer.public_key.to_dict()}
    proof = signer.sign(_canonical(said)).signature
    return json.dumps(said | {"proof": proof}, indent=1, sort_keys=True).encode() + b"\n"


def read_key_file(data: bytes) -> Sm2Key:
    """Raises HandoverError for what is no key file, or one whose proof is not of its key."""
    try:
        table: Document = json.loads(data)
        proof, holder = str(table.pop("proof")), str(table["holder"])
        if set(table) != {"format", "holder", "key"} or table["format"] != KEY_FORMAT:
            raise HandoverError(Refusal.DAMAGED, f"the key file is not {KEY_FORMAT}")
        key = Sm2Key.of(bytes.fromhex(table["key"]["keyval"]["public"]), holder)
        key.verify_signature(Signature(key.keyid, proof), _canonical(table))
    except UnverifiedSignatureError as error:
        raise HandoverError(Refusal.MISSING_SIGNATURE, "the key file is not signed by its own key") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise HandoverError(Refusal.DAMAGED, "this is no key file") from error
    return key


@dataclass(frozen=True, slots=True)
class Parcel:
    """`roots`: from the first to the one in force; `targets`: in force; `proposed`: by role; `files`: by path."""

    roots: tuple[Metadata[Root], ...]
    targets: Metadata[Targets]
    proposed: Mapping[str, Metadata[Any]]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        table = {
            "format": FORMAT,
            "roots": [root.to_dict() for root in self.roots],
            "targets": self.targets.to_dict(),
            "proposed": {role: metadata.to_dict() for role, metadata in self.proposed.items()},
            "files": {path: base64.b64encode(data).decode("ascii") for path, data in self.files.items()},
        }
        return json.dumps(table, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Only the form is checked. Raises HandoverError."""
        if len(data) > MAX_BYTES:
            raise HandoverError(Refusal.DAMAGED, f"a parcel has at most {MAX_BYTES >> 20} MiB")
        try:
            table: Document = json.loads(data)
            if set(table) != {"format", "roots", "targets", "proposed", "files"} or table["format"] != FORMAT:
                raise HandoverError(Refusal.DAMAGED, f"the file is not {FORMAT}")
            roots = tuple(_metadata(root, Root) for root in table["roots"])
            proposed = {
                role: _metadata(metadata, Root if role == ROOT else Targets)
                for role, metadata in table["proposed"].items()
            }
            files = {path: base64.b64decode(text, validate=True) for path, text in table["files"].items()}
            targets = _metadata(table["targets"], Targets)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise HandoverError(Refusal.DAMAGED, "this is no parcel") from error
        except (RepositoryError, StorageError) as error:
            raise HandoverError(Refusal.DAMAGED, "the metadata in it cannot be read") from error
        if not roots or not proposed:
            raise HandoverError(Refusal.DAMAGED, "there is nothing in it to sign")
        return cls(roots, targets, proposed, files)

    def changes(self, anchor: bytes) -> list[str]:
        """What signing this would change, in words, once the chain from the root file `anchor` holds.

        Raises HandoverError where the chain does not hold, or where more changes than keys, terms and files.
        """
        root = self._checked_root(anchor)
        demand(root, TARGETS, self.targets)
        return [line for role in sorted(self.proposed) for line in self._changes_of(role, root)]

    def sign(self, signers: Iterable[ServiceSigner]) -> list[str]:
        """Add the signatures of those of `signers` whose keys count here; role and holder of each.

        Call `changes` first. Raises HandoverError when none counts.
        """
        done: list[str] = []
        for signer in signers:
            for role, metadata in self.proposed.items():
                if any(signer.public_key.keyid in judge.keyids for judge, _ in self.judges(role)):
                    metadata.sign(signer, append=True)
                    done.append(f"{role}: {signer.public_key.holder}")
        if not done:
            raise HandoverError(Refusal.NOT_YOUR_ROLE, "no key at hand is one that signs this")
        return done

    def missing(self) -> list[str]:
        """What still lacks signatures: role, how many there are and are needed."""
        found = []
        for role, metadata in self.proposed.items():
            for judge, keys in self.judges(role):
                good = sum(_is_good(keys.get(keyid), metadata) for keyid in judge.keyids)
                if good < judge.threshold:
                    found.append(f"{role} {good}/{judge.threshold}")
        return found

    def judges(self, role: str) -> Iterator[tuple[Any, Mapping[str, Key]]]:
        """The roles, with their keys, whose thresholds the proposal for `role` must reach."""
        root = self.roots[-1].signed
        newest: Root = self.proposed[ROOT].signed if ROOT in self.proposed else root
        if role == ROOT:
            yield root.roles[ROOT], root.keys
            yield newest.roles[ROOT], newest.keys
        elif role == TARGETS:
            yield newest.roles[TARGETS], newest.keys
        else:
            top: Targets = (self.proposed.get(TARGETS) or self.targets).signed
            yield delegation(top, role), top.delegations.keys if top.delegations else {}

    @property
    def key_ids(self) -> frozenset[str]:
        """Of all keys that the proposals name."""
        found = [metadata.signed for role, metadata in self.proposed.items() if role in (ROOT, TARGETS)]
        return frozenset(keyid for signed in found for keyid in _keys(signed))

    def finished(self, role: str) -> bytes:
        """What is published: the proposal with those signatures that count."""
        metadata = self.proposed[role]
        counting = {
            keyid for judge, keys in self.judges(role) for keyid in judge.keyids if _is_good(keys.get(keyid), metadata)
        }
        kept = {keyid: signature for keyid, signature in metadata.signatures.items() if keyid in counting}
        return Metadata(metadata.signed, kept).to_bytes()

    def _checked_root(self, anchor: bytes) -> Root:
        try:
            trusted: Metadata[Root] = Metadata.from_bytes(anchor)
            demand(trusted.signed, ROOT, trusted)
        except (RepositoryError, StorageError, AttributeError, ValueError) as error:
            raise HandoverError(Refusal.DAMAGED, "the root file cannot be read") from error
        chain = [root for root in self.roots if root.signed.version >= trusted.signed.version]
        if not chain or chain[0].signed != trusted.signed:
            raise HandoverError(Refusal.OTHER_REPOSITORY, "it does not build on your root file")
        for before, after in pairwise(chain):
            if after.signed.version != before.signed.version + 1:
                raise HandoverError(Refusal.OTHER_REPOSITORY, "a root is missing in the chain")
            demand(before.signed, ROOT, after)
            demand(after.signed, ROOT, after)
        return chain[-1].signed

    def _changes_of(self, role: str, root: Root) -> Iterator[str]:
        signed = self.proposed[role].signed
        yield f"{role} {signed.version}, {signed.expires:%Y-%m-%d}, SM3 {sm3_of(self.proposed[role].signed_bytes)[:16]}"
        if role == ROOT:
            yield from key_changes(root, signed)
        elif role == TARGETS:
            yield from key_changes(self.targets.signed, signed)
        else:
            demand_inside(self.targets.signed, role, signed)
            for path, info in sorted(signed.targets.items()):
                yield f"  {path} {named_sm3(info)[:16]}"


def key_changes(before: Root | Targets, after: Root | Targets) -> list[str]:
    """Holders whose keys change. Raises HandoverError when anything but keys and terms does."""
    if after.version != before.version + 1:
        raise HandoverError(Refusal.OLDER, f"{after.type} {after.version} does not follow {before.version}")
    was, now = _holders(before), _holders(after)
    if was.keys() != now.keys() or _outline(before) != _outline(after):
        raise HandoverError(Refusal.MORE_THAN_KEYS, f"{after.type} changes more than keys")
    return [f"  {holder}: {was[holder][:16]} → {now[holder][:16]}" for holder in was if was[holder] != now[holder]]


def delegation(top: Targets, role: str) -> DelegatedRole:
    """Raises HandoverError for a role that `top` does not know."""
    roles = top.delegations.roles if top.delegations else None
    if not roles or role not in roles:
        raise HandoverError(Refusal.NOT_YOUR_ROLE, f"there is no role {role!r}")
    return roles[role]


def delegate(top: Targets, rule: RoleRule, key: Sm2Key) -> None:
    """Let `top` name `rule` and its key."""
    assert top.delegations is not None
    assert top.delegations.roles is not None
    top.delegations.roles[rule.name] = DelegatedRole(
        rule.name, [], rule.threshold, terminating=True, paths=list(rule.paths)
    )
    top.add_key(key, rule.name)


def demand_inside(top: Targets, role: str, signed: Targets) -> None:
    """Raises HandoverError for a path that `top` does not give to `role`."""
    rule = delegation(top, role)
    for path in signed.targets:
        if not rule.is_delegated_path(path) or not FILE_NAME.fullmatch(path.rpartition("/")[2]):
            raise HandoverError(Refusal.OUTSIDE_PREFIX, f"{role} may not speak for {path!r}")


def _roles(signed: Root | Targets) -> Mapping[str, Any]:
    if isinstance(signed, Root):
        return signed.roles
    return (signed.delegations and signed.delegations.roles) or {}


def _keys(signed: Root | Targets) -> Mapping[str, Key]:
    if isinstance(signed, Root):
        return signed.keys
    return signed.delegations.keys if signed.delegations else {}


def _holders(signed: Root | Targets) -> dict[str, str]:
    """Key id by role and holder, each made anew from the key itself. Raises HandoverError for any other key."""
    keys = _keys(signed)
    found: dict[str, str] = {}
    for name, role in _roles(signed).items():
        for keyid in role.keyids:
            key = keys.get(keyid)
            if not isinstance(key, Sm2Key) or f"{name} {key.holder}" in found or key.own_id != keyid:
                raise HandoverError(Refusal.MORE_THAN_KEYS, f"a key of {name} is not one of its holder's")
            found[f"{name} {key.holder}"] = keyid
    if keys.keys() - set(found.values()):
        raise HandoverError(Refusal.MORE_THAN_KEYS, f"{signed.type} has a key that nobody holds")
    return found


def _outline(signed: Root | Targets) -> Document:
    """Everything but version, term and which keys."""
    table = signed.to_dict()
    for part in ("version", "expires", "keys", "roles", "delegations"):
        table.pop(part, None)
    roles = [(name, role.to_dict() | {"keyids": len(role.keyids)}) for name, role in _roles(signed).items()]
    return table | {"roles": roles}


def demand(judge: Root | Targets, role: str, metadata: Metadata[Any]) -> None:
    """Raises HandoverError unless enough of the keys that `judge` names for `role` signed."""
    try:
        result = judge.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    except ValueError as error:
        raise HandoverError(Refusal.NOT_YOUR_ROLE, f"there is no role {role!r}") from error
    if not result:
        foreign = metadata.signatures.keys() - result.signed.keys() - result.unsigned.keys()
        reason = Refusal.NOT_YOUR_ROLE if foreign else Refusal.MISSING_SIGNATURE
        raise HandoverError(reason, f"{role} was signed by {len(result.signed)}/{result.threshold} keys")


def _is_good(key: Key | None, metadata: Metadata[Any]) -> bool:
    signature = metadata.signatures.get(key.keyid) if key else None
    if key is None or signature is None:
        return False
    try:
        key.verify_signature(signature, metadata.signed_bytes)
    except UnverifiedSignatureError:
        return False
    return True


def _metadata(table: Document, kind: type[Any]) -> Metadata[Any]:
    metadata: Metadata[Any] = Metadata.from_dict(table)
    if not isinstance(metadata.signed, kind):
        raise HandoverError(Refusal.DAMAGED, f"a file of {kind.type} is of another kind")
    # What has no canonical form could not be signed.
    assert metadata.signed_bytes
    return metadata


def _canonical(table: Document) -> bytes:
    text = encode_canonical(table)
    assert text is not None
    return text.encode()
