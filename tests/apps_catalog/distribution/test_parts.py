from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature

from apps_catalog.distribution.errors import DamagedError, PublishError
from apps_catalog.distribution.held import held, point
from apps_catalog.distribution.keys import Sm2Key
from apps_catalog.distribution.pace import Pace
from apps_catalog.distribution.repository import Repository
from hsm.soft import SoftKeyService
from tests.apps_catalog.distribution.conftest import NOW, Publisher, Terminal

# GB/T 32918.5 annex A: the key of the standard's example on the recommended curve.
PUBLIC = bytes.fromhex(
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)


def test_key_id_is_the_digest_of_the_canonical_key() -> None:
    key = Sm2Key.of(PUBLIC, "root-1")
    written = f'{{"keytype":"sm2","keyval":{{"public":"{PUBLIC.hex()}"}},"scheme":"sm2-sm3"}}'
    assert key.keyid == hashlib.sha256(written.encode()).hexdigest()
    assert Key.from_dict(key.keyid, key.to_dict()) == key
    assert key.holder == "root-1"


def test_signature_counts_for_its_message_and_key_only(publisher: Publisher) -> None:
    first, second = publisher.signers["root-1"], publisher.signers["root-2"]
    signature = first.sign(b"message")
    first.public_key.verify_signature(signature, b"message")
    for key, message in ((first.public_key, b"messagE"), (second.public_key, b"message")):
        with pytest.raises(UnverifiedSignatureError):
            key.verify_signature(signature, message)


@given(st.text(max_size=140), st.one_of(st.none(), st.text(max_size=140)))
@settings(max_examples=60)
def test_malformed_signatures_and_keys_are_refused(signature: str, public: str | None) -> None:
    key = Sm2Key.of(PUBLIC, "x")
    if public is not None:
        with pytest.raises(ValueError, match=r"."):
            Key.from_dict("id", {"keytype": "sm2", "scheme": "sm2-sm3", "keyval": {"public": public}})
        key.keyval = {"public": public}
    with pytest.raises(UnverifiedSignatureError):
        key.verify_signature(Signature(key.keyid, signature), b"message")


POINTER = {"format": "distribution-1", "set": "1", "valid_until": 1, "checked_at": 1}


@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(st.sampled_from(sorted(POINTER)), st.sampled_from([None, "../x", "", "x", 1e400, [], 10**40])).map(
            lambda change: json.dumps(POINTER | dict([change])).encode()
        ),
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bad_pointers_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "current.json").write_bytes(content)
    with pytest.raises(DamagedError):
        held(tmp_path)


def test_pointer_round_trip(tmp_path: Path) -> None:
    now = NOW.replace(microsecond=0)
    found = point(tmp_path, "12-2", valid_until=now, checked_at=now)
    assert (found.number, found.folder.name, found.is_stale(now), found.age_s(NOW) < 1) == (12, "12-2", True, True)


def test_an_outage_does_not_bring_all_back_at_once() -> None:
    pace = Pace(300, 3600)
    quiet = [pace.next_s(0, lambda: 0.0), pace.next_s(0, lambda: 1.0)]
    assert (quiet[0], quiet[1]) == (225, 375)
    assert (pace.next_s(1, lambda: 0.0), pace.next_s(1, lambda: 1.0)) == (150, 750)
    assert (pace.next_s(10_000, lambda: 0.0), pace.next_s(10_000, lambda: 1.0)) == (150, 3750)


def test_publisher_refuses_what_terminals_would(publisher: Publisher, back: Callable[[float], None]) -> None:
    steps: list[tuple[str, Callable[[], object]]] = [
        ("a repository already", publisher.all.create),
        ("no role", lambda: publisher.all.publish("targets", {})),
        ("no file name", lambda: publisher.all.publish("blocklist", {"../x": b""})),
        ("not at hand", lambda: publisher.without("120000").publish("120000", {})),
        ("not at hand", publisher.without("timestamp").refresh),
        ("cannot be read", lambda: publisher.rotate("120000", 2, good=77)),
    ]
    for words, step in steps:
        with pytest.raises(PublishError, match=words):
            step()
    publisher.all.publish("130000", {})
    few = Repository(publisher.path, {"root-2": publisher.signers["root-2"]})
    with pytest.raises(PublishError, match="root was signed by 1/2"):
        few.rotate("root-1", publisher.signer("root-1", 2))
    with pytest.raises(PublishError, match="finish the catalog"):
        publisher.rotate("120000", 2)
    back(-8)
    with pytest.raises(PublishError, match="blocklist version 2 expired"):
        publisher.all.refresh()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_web_server_may_read_it_whatever_the_umask(signing_keys: SoftKeyService, tmp_path: Path) -> None:
    repository = Publisher(tmp_path / "repo", signing_keys).all
    before = os.umask(0o077)
    try:
        repository.create()
        repository.publish("blocklist", {"full-1.bin": b"first"})
    finally:
        os.umask(before)
    places = [repository.path, *repository.path.rglob("*")]
    assert {"metadata", "targets", "blocklist"} <= {place.name for place in places}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_dir()} == {0o755}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_file()} == {0o644}


def test_pruning_leaves_what_is_in_use(publisher: Publisher, terminal: Terminal) -> None:
    lists = publisher.path / "targets" / "blocklist"
    publisher.all.publish("blocklist", {"full-2.bin": b"second"})
    publisher.all.refresh()
    publisher.all.publish("blocklist", {"full-3.bin": b"third"})
    assert publisher.all.prune(NOW - timedelta(days=1)) == 0
    assert publisher.all.prune(NOW + timedelta(days=1)) == 9
    assert sorted(file.name.split(".", 1)[1] for file in lists.iterdir()) == ["full-2.bin", "full-3.bin"]
    terminal.fetch()
    publisher.all.refresh()
    publisher.rotate("root-1", 2)
    terminal.fetch()


def test_content_near_its_end_is_signed_again(publisher: Publisher, back: Callable[[float], None]) -> None:
    files = {"full-1.bin": b"first" * 50_000}
    assert not publisher.all.publish("blocklist", files)
    ends = {role: end for role, _, end in publisher.all.status()}
    assert ends["blocklist"] < ends["trust-anchors"] == ends["targets"]
    back(-4)
    assert publisher.all.publish("blocklist", files)
