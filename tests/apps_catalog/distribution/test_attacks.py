"""The attack table: whatever the server does, the terminal keeps its last good state and names what happened."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from apps_catalog import CatalogError
from apps_catalog.catalog import DATA
from apps_catalog.distribution import client
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.errors import (
    DiskError,
    DistributionError,
    NothingHeldError,
    PublishError,
    StaleError,
    UnreachableError,
)
from apps_catalog.distribution.held import held
from apps_catalog.distribution.repository import Repository
from apps_catalog.distribution.roles import ROLES
from cardlib.failures import FailureCode
from tests.apps_catalog.distribution.conftest import NOW, Publisher, Terminal

Attack = Callable[[Publisher, Terminal], None]
ATTACKS: list[tuple[FailureCode, Attack]] = []


def attack(failure: FailureCode) -> Callable[[Attack], Attack]:
    def add(function: Attack) -> Attack:
        ATTACKS.append((failure, function))
        return function

    return add


class Careless(Repository):
    """An online operator who signs whatever the roles put there."""

    _checked = Repository._meta_file

    def waits_for(self) -> list[str]:
        return []


def careless(publisher: Publisher) -> Careless:
    return Careless(publisher.path, publisher.signers, clock=lambda: publisher.now)


def newest(publisher: Publisher, role: str) -> Path:
    return max((publisher.path / "metadata").glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


def forge(publisher: Publisher, role: str, signed: Targets | Root, *holders: str) -> None:
    metadata: Metadata[Any] = Metadata(signed)
    for holder in holders:
        metadata.sign(publisher.signers[holder], append=True)
    (publisher.path / "metadata" / f"{signed.version}.{role}.json").write_bytes(metadata.to_bytes())


def changed(owner: str) -> bytes:
    return (DATA / f"{owner}.toml").read_bytes() + b"# another edition\n"


def new_block_list(publisher: Publisher, content: bytes = b"second") -> Path:
    publisher.all.publish("blocklist", {"full-2.bin": content})
    publisher.all.refresh()
    (file,) = (publisher.path / "targets" / "blocklist").glob("*.full-2.bin")
    return file


@attack(FailureCode.CATALOG_ROLLED_BACK)
def old_timestamp_replayed(publisher: Publisher, terminal: Terminal) -> None:
    file = publisher.path / "metadata" / "timestamp.json"
    old = file.read_bytes()
    new_block_list(publisher)
    terminal.fetch()
    file.write_bytes(old)


@attack(FailureCode.CATALOG_DAMAGED)
def old_snapshot_under_a_new_timestamp(publisher: Publisher, terminal: Terminal) -> None:
    old = newest(publisher, "snapshot").read_bytes()
    new_block_list(publisher)
    newest(publisher, "snapshot").write_bytes(old)


@attack(FailureCode.CATALOG_FROZEN)
def timestamp_frozen(publisher: Publisher, terminal: Terminal) -> None:
    publisher.now -= timedelta(days=365)
    publisher.all._write("timestamp", publisher.all._latest("timestamp", Timestamp), is_next=True)


@attack(FailureCode.CATALOG_SIGNATURE)
def province_outside_its_prefix(publisher: Publisher, terminal: Terminal) -> None:
    targets = publisher.all._latest("110000", Targets)
    targets.version += 1
    targets.targets["catalog/130000/130000.toml"] = TargetFile.from_data("catalog/130000/130000.toml", b"x")
    forge(publisher, "110000", targets, "110000")
    with pytest.raises(PublishError, match="may not speak"):
        publisher.all.refresh()
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_SIGNATURE)
def path_that_leaves_the_folder(publisher: Publisher, terminal: Terminal) -> None:
    targets = publisher.all._latest("110000", Targets)
    targets.version += 1
    targets.targets["catalog/110000/.."] = TargetFile.from_data("catalog/110000/..", b"x")
    forge(publisher, "110000", targets, "110000")
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_SIGNATURE)
def province_signs_for_another(publisher: Publisher, terminal: Terminal) -> None:
    targets = publisher.all._latest("130000", Targets)
    targets.version += 1
    targets.targets.clear()
    forge(publisher, "130000", targets, "110000")
    with pytest.raises(PublishError, match="not signed"):
        publisher.all.refresh()
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_INVALID)
def province_speaks_for_another_inside_its_file(publisher: Publisher, terminal: Terminal) -> None:
    (file,) = (publisher.path / "targets" / "catalog" / "130000").glob("*.130000.toml")
    publisher.all.publish("130000", {})
    own = by_owner(DATA)["120000"]
    publisher.all.publish("120000", own | {"130000.toml": file.read_bytes()})
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_INVALID)
def one_province_without_the_others(publisher: Publisher, terminal: Terminal) -> None:
    publisher.all.publish("120000", {"120000.toml": changed("120000")})
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_INVALID)
def catalog_without_a_manifest(publisher: Publisher, terminal: Terminal) -> None:
    files = by_owner(DATA)["joint"]
    del files["manifest.json"]
    publisher.all.publish("joint", files)
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_INVALID)
def manifest_without_a_bottom(publisher: Publisher, terminal: Terminal) -> None:
    publisher.all.publish("joint", by_owner(DATA)["joint"] | {"manifest.json": b"[" * 100_000})
    with pytest.raises(PublishError, match="cannot be read"):
        publisher.all.refresh()
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_SIGNATURE)
def province_names_a_key_for_another(publisher: Publisher, terminal: Terminal) -> None:
    own, other = (publisher.all._latest(owner, Targets) for owner in ("110000", "130000"))
    own.version, other.version = own.version + 1, other.version + 1
    rule = DelegatedRole("130000", [], 1, terminating=False, paths=["catalog/110000/*"])
    own.delegations = Delegations({}, {"130000": rule})
    own.add_key(publisher.signers["110000"].public_key, "130000")
    other.targets.clear()
    forge(publisher, "110000", own, "110000")
    forge(publisher, "130000", other, "110000")
    careless(publisher).refresh()


@attack(FailureCode.CATALOG_DAMAGED)
def snapshot_leaves_a_province_out(publisher: Publisher, terminal: Terminal) -> None:
    snapshot = publisher.all._latest("snapshot", Snapshot)
    del snapshot.meta["120000.json"]
    publisher.all._write("snapshot", snapshot, is_next=True)
    timestamp = publisher.all._latest("timestamp", Timestamp)
    timestamp.snapshot_meta = publisher.all._meta_file("snapshot")
    publisher.all._write("timestamp", timestamp, is_next=True)


@attack(FailureCode.CATALOG_DAMAGED)
def mixed_versions(publisher: Publisher, terminal: Terminal) -> None:
    old = newest(publisher, "blocklist").read_bytes()
    new_block_list(publisher)
    newest(publisher, "blocklist").write_bytes(old)


@attack(FailureCode.CATALOG_DAMAGED)
def longer_than_signed(publisher: Publisher, terminal: Terminal) -> None:
    new_block_list(publisher).write_bytes(b"second" * 1000)


@attack(FailureCode.CATALOG_DAMAGED)
def truncated(publisher: Publisher, terminal: Terminal) -> None:
    new_block_list(publisher).write_bytes(b"secon")


@attack(FailureCode.CATALOG_DAMAGED)
def wrong_hash(publisher: Publisher, terminal: Terminal) -> None:
    new_block_list(publisher).write_bytes(b"seconD")


@attack(FailureCode.CATALOG_DAMAGED)
def good_sha256_and_another_sm3(publisher: Publisher, terminal: Terminal) -> None:
    new_block_list(publisher)
    targets = publisher.all._latest("blocklist", Targets)
    targets.version += 1
    targets.targets["blocklist/full-2.bin"].unrecognized_fields["custom"] = {"sm3": "00" * 32}
    forge(publisher, "blocklist", targets, "blocklist")
    publisher.all.refresh()


@attack(FailureCode.CATALOG_DAMAGED)
def role_that_another_hides(publisher: Publisher, terminal: Terminal) -> None:
    top = publisher.all._latest("targets", Targets)
    assert top.delegations is not None
    assert top.delegations.roles is not None
    top.version += 1
    top.delegations.roles["hidden"] = DelegatedRole("hidden", [], 1, terminating=True, paths=["blocklist/*"])
    forge(publisher, "targets", top, "targets")
    publisher.all.refresh()


@attack(FailureCode.SERVICE_UNREACHABLE)
def file_missing(publisher: Publisher, terminal: Terminal) -> None:
    new_block_list(publisher).unlink()


@attack(FailureCode.CATALOG_ROOT_EXPIRED)
def expired_root(publisher: Publisher, terminal: Terminal) -> None:
    publisher.now -= timedelta(days=730)
    publisher.all.renew_root()


@attack(FailureCode.CATALOG_SIGNATURE)
def threshold_not_met(publisher: Publisher, terminal: Terminal) -> None:
    root = publisher.all._latest("root", Root)
    root.version += 1
    with pytest.raises(PublishError, match="root was signed by 1/2"):
        publisher.without("root-2", "root-3").renew_root()
    forge(publisher, "root", root, "root-1")


@attack(FailureCode.CATALOG_SIGNATURE)
def the_same_key_twice(publisher: Publisher, terminal: Terminal) -> None:
    root = publisher.all._latest("root", Root)
    root.version += 1
    root.roles["root"].keyids = [publisher.signers["root-1"].public_key.keyid]
    root.roles["root"].threshold = 1
    forge(publisher, "root", root, "root-1", "root-1")


@pytest.mark.parametrize(("failure", "attack"), ATTACKS, ids=[attack.__name__ for _, attack in ATTACKS])
def test_the_last_good_state_stays(
    failure: FailureCode, attack: Attack, publisher: Publisher, terminal: Terminal
) -> None:
    attack(publisher, terminal)
    before = held(terminal.into)
    with pytest.raises((DistributionError, CatalogError)) as caught:
        terminal.fetch()
    assert getattr(caught.value, "failure", "") == failure
    assert client.verify(terminal.into) == before
    assert len(before.catalog().items) == 132


@pytest.mark.parametrize("step", ["link", "settle", "point", "lay_catalog", "shutil.copytree"])
def test_full_disk(step: str, publisher: Publisher, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    new_block_list(publisher)
    before = held(terminal.into)
    with monkeypatch.context() as patch:
        patch.setattr(f"apps_catalog.distribution.client.{step}", full)
        with pytest.raises(DiskError):
            terminal.fetch()
    assert client.verify(terminal.into) == before
    assert (terminal.fetch().files / "blocklist" / "full-2.bin").read_bytes() == b"second"


def test_root_chain_of_five(publisher: Publisher, terminal: Terminal) -> None:
    for holder, version in (("root-1", 2), ("root-2", 2), ("root-3", 2), ("root-1", 3), ("timestamp", 2)):
        publisher.rotate(holder, version)
    assert (terminal.fetch().metadata / "root_history" / "6.root.json").exists()


def test_the_catalog_goes_on_when_all_have_published(publisher: Publisher, terminal: Terminal, tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "next")
    (tmp_path / "next" / "120000.toml").write_bytes(changed("120000"))
    contents = by_owner(tmp_path / "next")
    publisher.all.publish("120000", contents["120000"])
    new_block_list(publisher)
    assert publisher.all.waits_for() == ["120000.toml"]
    found = terminal.fetch()
    assert (found.files / "blocklist" / "full-2.bin").exists()
    assert not (found.folder / "catalog" / "120000.toml").read_bytes().endswith(b"edition\n")
    publisher.all.publish("joint", contents["joint"])
    publisher.all.refresh()
    assert (terminal.fetch().folder / "catalog" / "120000.toml").read_bytes().endswith(b"edition\n")


def test_stale(terminal: Terminal) -> None:
    late = NOW + timedelta(days=365)
    assert client.verify(terminal.into) == held(terminal.into)
    with pytest.raises(StaleError):
        client.verify(terminal.into, clock=lambda: late)


def test_file_changed_on_the_terminal_is_noticed_and_cured(terminal: Terminal) -> None:
    file = held(terminal.into).files / "blocklist" / "full-1.bin"
    file.write_bytes(b"nobody is blocked")
    with pytest.raises(DistributionError, match="not the signed file"):
        client.verify(terminal.into)
    terminal.fetch()
    client.verify(terminal.into)


def test_torn_metadata_comes_back_and_rollback_is_still_refused(publisher: Publisher, terminal: Terminal) -> None:
    old_timestamp_replayed(publisher, terminal)
    (terminal.into / "metadata" / "timestamp.json").write_bytes(b"")
    with pytest.raises(DistributionError) as caught:
        terminal.fetch()
    assert caught.value.failure == FailureCode.CATALOG_ROLLED_BACK


def test_first_fetch_needs_a_root_and_another_one_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    url = publisher.path.as_uri()
    with pytest.raises(NothingHeldError):
        client.fetch(url, tmp_path / "new")
    foreign: Metadata[Root] = Metadata.from_bytes(publisher.root)
    foreign.signatures.clear()
    with pytest.raises(DistributionError) as caught:
        client.fetch(url, tmp_path / "new", root=foreign.to_bytes())
    assert caught.value.failure == FailureCode.CATALOG_SIGNATURE
    client.fetch(url, tmp_path / "new", root=publisher.root)
    client.fetch(url, tmp_path / "new", root=foreign.to_bytes())


def test_lost_folder_of_the_set_in_force_is_fetched_again(terminal: Terminal) -> None:
    shutil.rmtree(held(terminal.into).folder)
    terminal.fetch()
    client.verify(terminal.into)


def test_a_set_of_some_roles_is_proved_by_theirs_alone(publisher: Publisher, tmp_path: Path) -> None:
    """Though an attempt at all of them was broken off before."""
    url, into = publisher.path.as_uri(), tmp_path / "new"
    (file,) = (publisher.path / "targets" / "blocklist").iterdir()
    file.unlink()
    with pytest.raises(UnreachableError):
        client.fetch(url, into, root=publisher.root)
    client.fetch(url, into, roles=ROLES.catalog)
    assert len(client.verify(into).catalog().items) == 132
