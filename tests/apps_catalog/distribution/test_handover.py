"""Keys on machines of their own: what travels between them is checked by who signs and by who accepts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, TargetFile, Targets

from apps_catalog.catalog import DATA
from apps_catalog.distribution.contents import by_owner
from apps_catalog.distribution.errors import HandoverError, PublishError, Refusal
from apps_catalog.distribution.handover import Parcel, key_file, read_key_file
from apps_catalog.distribution.keys import ServiceSigner
from apps_catalog.distribution.repository import Repository
from tests.apps_catalog.distribution.conftest import NOW, Publisher, Terminal


def travelled(parcel: Parcel) -> Parcel:
    return Parcel.from_bytes(parcel.to_bytes())


def held_by(publisher: Publisher, *holders: str) -> list[ServiceSigner]:
    return [publisher.signers[holder] for holder in holders]


def centre(publisher: Publisher) -> Repository:
    """The machine with the repository has the online keys only."""
    online = {holder: publisher.signers[holder] for holder in ("snapshot", "timestamp")}
    return Repository(publisher.path, online, clock=lambda: publisher.now)


@pytest.fixture
def province(publisher: Publisher) -> Repository:
    """A copy of the repository on the machine of 110000, which has its own key only."""
    copy = publisher.path.parent / "copy"
    shutil.copytree(publisher.path, copy)
    return Repository(copy, {"110000": publisher.signers["110000"]}, clock=lambda: publisher.now)


def delivery(province: Repository) -> Parcel:
    files = by_owner(DATA)["110000"]
    province.publish("110000", {name: data + b"# again\n" for name, data in files.items()})
    return travelled(province.deliver("110000"))


def test_the_root_is_renewed_by_two_holders_who_never_meet(publisher: Publisher, terminal: Terminal) -> None:
    first = travelled(centre(publisher).propose_renewal())
    assert first.missing() == ["root 0/2", "root 0/2"]
    assert first.changes(publisher.root)[0].startswith("root 2, ")
    assert first.sign(held_by(publisher, "root-1")) == ["root: root-1"]
    second = travelled(first)
    with pytest.raises(HandoverError, match=r"missing signature: root was signed by 1/2"):
        centre(publisher).accept(second)
    second.sign(held_by(publisher, "root-3"))
    assert second.missing() == []
    centre(publisher).accept(travelled(second))
    centre(publisher).refresh()
    assert (terminal.fetch().metadata / "root_history" / "2.root.json").exists()


def test_a_province_gets_a_key_made_on_its_own_machine(
    publisher: Publisher, terminal: Terminal, province: Repository
) -> None:
    new = publisher.signer("110000", 2)
    parcel = travelled(centre(publisher).propose_key(read_key_file(key_file(new))))
    old_id, new_id = (signer.public_key.keyid[:16] for signer in (publisher.signers["110000"], new))
    assert f"  110000 110000: {old_id} → {new_id}" in parcel.changes(publisher.root)
    parcel.sign(held_by(publisher, "targets"))
    assert parcel.missing() == ["110000 0/1"]
    parcel.sign([new])
    centre(publisher).accept(travelled(parcel))
    centre(publisher).refresh()
    assert len(terminal.fetch().catalog().items) == 132
    by_the_old_key = delivery(province)
    newer = publisher.all._latest("110000", Targets).version + 1
    by_the_old_key.proposed["110000"].signed.version = newer
    with pytest.raises(HandoverError, match="not your role"):
        centre(publisher).accept(signed_again(by_the_old_key, "110000", publisher.signers["110000"]))


@pytest.mark.parametrize("holder", ["targets", "timestamp"])
def test_a_daily_key_is_exchanged_where_the_new_one_signs(
    holder: str, publisher: Publisher, terminal: Terminal
) -> None:
    new = publisher.signer(holder, 2)
    parcel = centre(publisher).propose_key(new.public_key)
    parcel.sign([*held_by(publisher, "root-1", "root-2"), new])
    if holder == "timestamp":
        with pytest.raises(HandoverError, match="the timestamp key of the new root"):
            centre(publisher).accept(parcel)
        publisher.signers[holder] = new
    online = centre(publisher)
    online.accept(travelled(parcel))
    online.refresh()
    terminal.fetch()


def test_a_province_delivers_what_it_signed(publisher: Publisher, terminal: Terminal, province: Repository) -> None:
    parcel = delivery(province)
    assert parcel.changes(publisher.root)[1].startswith("  catalog/110000/110000")
    centre(publisher).accept(parcel)
    assert "110000.toml" in centre(publisher).waits_for()
    centre(publisher).refresh()
    terminal.fetch()
    with pytest.raises(HandoverError, match="older version"):
        centre(publisher).accept(parcel)


Spoil = Callable[[Publisher, Repository], Parcel]
SPOILT: list[tuple[Refusal, Spoil]] = []


def spoilt(reason: Refusal) -> Callable[[Spoil], Spoil]:
    def add(function: Spoil) -> Spoil:
        SPOILT.append((reason, function))
        return function

    return add


def renewal(publisher: Publisher, *holders: str) -> Parcel:
    parcel = centre(publisher).propose_renewal()
    parcel.sign(held_by(publisher, *(holders or ("root-1", "root-2"))))
    return travelled(parcel)


def signed_again(parcel: Parcel, role: str, *signers: ServiceSigner) -> Parcel:
    metadata: Metadata[Any] = Metadata(parcel.proposed[role].signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return replace(parcel, proposed={**parcel.proposed, role: metadata})


@spoilt(Refusal.NOT_YOUR_ROLE)
def foreign_key(publisher: Publisher, province: Repository) -> Parcel:
    return signed_again(renewal(publisher), "root", *held_by(publisher, "root-1", "120000"))


@spoilt(Refusal.NOT_YOUR_ROLE)
def one_province_for_another(publisher: Publisher, province: Repository) -> Parcel:
    return signed_again(delivery(province), "110000", publisher.signers["130000"])


@spoilt(Refusal.NOT_YOUR_ROLE)
def unknown_role(publisher: Publisher, province: Repository) -> Parcel:
    parcel = delivery(province)
    return replace(parcel, proposed={"140000": parcel.proposed["110000"]})


@spoilt(Refusal.OLDER)
def older_half_signed_file_finished_later(publisher: Publisher, province: Repository) -> Parcel:
    old = renewal(publisher, "root-1")
    centre(publisher).accept(renewal(publisher))
    old.sign(held_by(publisher, "root-2"))
    return old


@spoilt(Refusal.OLDER)
def root_that_skips_a_version(publisher: Publisher, province: Repository) -> Parcel:
    parcel = centre(publisher).propose_renewal()
    parcel.proposed["root"].signed.version += 1
    return signed_again(parcel, "root", *held_by(publisher, "root-1", "root-2"))


@spoilt(Refusal.MISSING_SIGNATURE)
def altered_after_the_first_signature(publisher: Publisher, province: Repository) -> Parcel:
    parcel = renewal(publisher, "root-1")
    parcel.proposed["root"].signed.expires -= timedelta(days=1)
    parcel.sign(held_by(publisher, "root-2"))
    return travelled(parcel)


@spoilt(Refusal.MISSING_SIGNATURE)
def the_same_signature_under_two_ids(publisher: Publisher, province: Repository) -> Parcel:
    parcel = renewal(publisher, "root-1")
    signatures = parcel.proposed["root"].signatures
    (only,) = signatures.values()
    other = publisher.signers["root-2"].public_key.keyid
    signatures[other] = type(only)(other, only.signature)
    return travelled(parcel)


@spoilt(Refusal.MORE_THAN_KEYS)
def threshold_lowered(publisher: Publisher, province: Repository) -> Parcel:
    parcel = centre(publisher).propose_renewal()
    parcel.proposed["root"].signed.roles["timestamp"].threshold = 0 + 1
    parcel.proposed["root"].signed.roles["root"].threshold = 1
    return signed_again(parcel, "root", *held_by(publisher, "root-1", "root-2"))


@spoilt(Refusal.MORE_THAN_KEYS)
def another_key_under_the_same_id(publisher: Publisher, province: Repository) -> Parcel:
    parcel = centre(publisher).propose_renewal()
    root = parcel.proposed["root"].signed
    keyid = publisher.signers["timestamp"].public_key.keyid
    root.keys[keyid].keyval = publisher.signers["130000"].public_key.keyval
    return travelled(signed_again(parcel, "root", *held_by(publisher, "root-1", "root-2")))


@spoilt(Refusal.MORE_THAN_KEYS)
def wider_prefix(publisher: Publisher, province: Repository) -> Parcel:
    parcel = centre(publisher).propose_key(publisher.signer("110000", 2).public_key)
    parcel.proposed["targets"].signed.delegations.roles["110000"].paths = ["catalog/*"]
    return signed_again(
        signed_again(parcel, "targets", publisher.signers["targets"]), "110000", publisher.signer("110000", 2)
    )


@spoilt(Refusal.OUTSIDE_PREFIX)
def another_province_s_file(publisher: Publisher, province: Repository) -> Parcel:
    parcel = delivery(province)
    path = "catalog/130000/130000.toml"
    parcel.proposed["110000"].signed.targets[path] = TargetFile.from_data(path, b"x", ["sha256"])
    parcel = signed_again(parcel, "110000", publisher.signers["110000"])
    return replace(parcel, files={**parcel.files, path: b"x"})


@spoilt(Refusal.FILES)
def file_exchanged(publisher: Publisher, province: Repository) -> Parcel:
    parcel = delivery(province)
    return replace(parcel, files=dict.fromkeys(parcel.files, b"other"))


@spoilt(Refusal.FILES)
def file_left_out(publisher: Publisher, province: Repository) -> Parcel:
    return replace(delivery(province), files={})


@spoilt(Refusal.FILES)
def file_that_nobody_names(publisher: Publisher, province: Repository) -> Parcel:
    parcel = delivery(province)
    return replace(parcel, files={**parcel.files, "catalog/110000/more.toml": b""})


@spoilt(Refusal.FILES)
def another_sm3(publisher: Publisher, province: Repository) -> Parcel:
    parcel = delivery(province)
    for info in parcel.proposed["110000"].signed.targets.values():
        info.unrecognized_fields["custom"] = {"sm3": "00" * 32}
    return signed_again(parcel, "110000", publisher.signers["110000"])


@spoilt(Refusal.TERM)
def expired_on_the_way(publisher: Publisher, province: Repository) -> Parcel:
    parcel = delivery(province)
    publisher.now = NOW + timedelta(days=91)
    return parcel


@spoilt(Refusal.TERM)
def for_ever(publisher: Publisher, province: Repository) -> Parcel:
    parcel = centre(publisher).propose_renewal()
    parcel.proposed["root"].signed.expires += timedelta(days=3650)
    return signed_again(parcel, "root", *held_by(publisher, "root-1", "root-2"))


@spoilt(Refusal.OTHER_REPOSITORY)
def made_for_another_repository(publisher: Publisher, province: Repository) -> Parcel:
    other = Publisher(publisher.path.parent / "other", publisher.keys)
    other.now = NOW - timedelta(days=1)
    other.all.create()
    return renewal(other)


@pytest.mark.parametrize(("reason", "spoil"), SPOILT, ids=[spoil.__name__ for _, spoil in SPOILT])
def test_what_is_not_as_it_must_be_is_refused_and_nothing_written(
    reason: Refusal, spoil: Spoil, publisher: Publisher, province: Repository
) -> None:
    parcel = spoil(publisher, province)
    before = sorted(publisher.path.rglob("*"))
    with pytest.raises(HandoverError) as caught:
        centre(publisher).accept(parcel)
    assert caught.value.reason is reason, str(caught.value)
    assert sorted(publisher.path.rglob("*")) == before


@pytest.mark.parametrize("spoil", [threshold_lowered, another_key_under_the_same_id, root_that_skips_a_version])
def test_a_holder_sees_it_before_signing(spoil: Spoil, publisher: Publisher, province: Repository) -> None:
    with pytest.raises(HandoverError):
        spoil(publisher, province).changes(publisher.root)


def test_a_holder_trusts_the_chain_from_the_own_root_only(publisher: Publisher, province: Repository) -> None:
    parcel = made_for_another_repository(publisher, province)
    with pytest.raises(HandoverError, match="does not build on your root"):
        parcel.changes(publisher.root)
    publisher.rotate("root-1", 2)
    chained = centre(publisher).propose_renewal()
    assert chained.changes(publisher.root)[0].startswith("root 3, ")
    for roots in (
        chained.roots[1:],
        (chained.roots[0], chained.roots[0]),
        (chained.roots[0], *renewal(publisher).roots),
    ):
        with pytest.raises(HandoverError):
            replace(chained, roots=roots).changes(publisher.root)
    with pytest.raises(HandoverError, match="no key at hand"):
        chained.sign(held_by(publisher, "110000"))


def test_a_key_file_is_signed_by_its_own_key(publisher: Publisher) -> None:
    first, second = (json.loads(key_file(publisher.signers[holder])) for holder in ("110000", "120000"))
    with pytest.raises(HandoverError, match="not signed by its own key"):
        read_key_file(json.dumps(first | {"holder": "120000"}).encode())
    with pytest.raises(HandoverError, match="not signed by its own key"):
        read_key_file(json.dumps(first | {"proof": second["proof"]}).encode())
    unknown = replace_holder(publisher, "140000")
    with pytest.raises(PublishError, match="no holder"):
        centre(publisher).propose_key(read_key_file(key_file(unknown)))


def replace_holder(publisher: Publisher, holder: str) -> ServiceSigner:
    return ServiceSigner(publisher.keys, publisher.signers["110000"].key, holder)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.binary(max_size=60),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("roots", "targets", "proposed", "files", "holder", "key", "proof"), JSON)
    ),
)
@settings(max_examples=80)
def test_whatever_arrives_is_read_or_refused(data: bytes, table: dict[str, Any]) -> None:
    parcel = {"format": "handover-1", "roots": [], "targets": {}, "proposed": {}, "files": {}} | table
    for content in (data, json.dumps(table).encode(), json.dumps(parcel).encode(), b"[" * 100_000):
        for read in (Parcel.from_bytes, read_key_file):
            with pytest.raises(HandoverError):
                read(content)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), JSON | st.just("\ud800") | st.just(1.5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_parcel_with_any_part_exchanged_is_refused_by_name(publisher: Publisher, way: list[int], value: Any) -> None:
    whole = json.loads(centre(publisher).propose_key(publisher.signers["110000"].public_key).to_bytes())
    node: Any = whole
    for step in way:
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        key = keys[step % len(keys)]
        if not isinstance(node[key], dict | list) or not node[key] or step == way[-1]:
            node[key] = value
            break
        node = node[key]
    with suppress(HandoverError):
        parcel = Parcel.from_bytes(json.dumps(whole).encode())
        parcel.missing()
        parcel.changes(publisher.root)
    with suppress(HandoverError):
        centre(publisher).accept(Parcel.from_bytes(json.dumps(whole).encode()))
        raise AssertionError("it is not signed, but was accepted")
