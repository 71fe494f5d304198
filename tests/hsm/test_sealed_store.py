"""The sealed file: damage, wrong passphrases, two processes, crashes while writing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsm import sealed_store
from hsm.api import BadInputError, HsmError, KeyStoreCorruptError, KeyStoreLockedError
from hsm.primitives import default_engine
from hsm.sealed_store import (
    FIRST_DELAY_S,
    FREE_ATTEMPTS,
    MAX_DELAY_S,
    KeyStoreExistsError,
    KeyStoreMissingError,
    KeyStoreVersionError,
    ScryptCost,
    SealedStore,
)
from tests.hsm.vector_files import ROOT

ENGINE = default_engine()
CHEAP = ScryptCost(n=2)
WORDS = "correct horse battery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "store"
    SealedStore.create(path, WORDS, b"payload", ENGINE, cost=CHEAP).close()
    return path


def reopen(path: Path, passphrase: str = WORDS, *, now: float = 0.0) -> bytes:
    store, payload = SealedStore.open(path, passphrase, ENGINE, clock=lambda: now)
    store.close()
    return payload


def test_round_trip(path: Path) -> None:
    assert reopen(path) == b"payload"
    store, _ = SealedStore.open(path, WORDS, ENGINE)
    before = store.stamp()
    store.write(b"other")
    assert store.stamp() != before
    assert store.read() == reopen(path) == b"other"
    assert b"other" not in path.read_bytes()
    assert b"other".hex().encode() not in path.read_bytes()


def test_files_are_for_the_owner_only(path: Path) -> None:
    with pytest.raises(KeyStoreLockedError):
        reopen(path, "something else")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["store", "store.attempts", "store.lock"]
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_missing_and_existing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyStoreMissingError):
        reopen(tmp_path / "nowhere")
    with pytest.raises(KeyStoreExistsError):
        SealedStore.create(path, WORDS, b"", ENGINE, cost=CHEAP)
    with pytest.raises(BadInputError):
        SealedStore.create(tmp_path / "new", "short", b"", ENGINE, cost=CHEAP)
    assert reopen(path) == b"payload"


def test_passphrase_is_normalised(tmp_path: Path) -> None:
    path = tmp_path / "store"
    SealedStore.create(path, "caf\u00e9 caf\u00e9", b"p", ENGINE, cost=CHEAP)
    assert reopen(path, "cafe\u0301 cafe\u0301") == b"p"


def test_wrong_passphrases_lock_with_a_growing_delay(path: Path) -> None:
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(KeyStoreLockedError, match="wrong"):
            reopen(path, "wrong passphrase", now=1000)
    with pytest.raises(KeyStoreLockedError, match="try again in 30 s"):
        reopen(path, WORDS, now=1000)
    now = 1000.0 + FIRST_DELAY_S
    with pytest.raises(KeyStoreLockedError, match="wrong"):
        reopen(path, "wrong passphrase", now=now)
    with pytest.raises(KeyStoreLockedError, match="try again in 60 s"):
        reopen(path, WORDS, now=now)
    with pytest.raises(KeyStoreLockedError, match=f"in {MAX_DELAY_S} s"):
        reopen(path, WORDS, now=-1e9)  # a clock set back waits no longer than the longest delay
    assert reopen(path, WORDS, now=now + 2 * FIRST_DELAY_S) == b"payload"
    with pytest.raises(KeyStoreLockedError, match="wrong"):
        reopen(path, "wrong passphrase", now=now)


def test_a_clock_that_was_ahead_locks_no_longer_than_the_longest_delay(path: Path) -> None:
    ahead = 5 * 365 * 86400.0
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(KeyStoreLockedError, match="wrong"):
            reopen(path, "wrong passphrase", now=ahead)
    with pytest.raises(KeyStoreLockedError, match=f"in {MAX_DELAY_S} s"):
        reopen(path, now=1000)
    with pytest.raises(KeyStoreLockedError, match="in 1 s"):
        reopen(path, now=1000 + MAX_DELAY_S - 1)
    assert reopen(path, now=1000 + MAX_DELAY_S) == b"payload"


def test_the_delay_has_a_ceiling(path: Path) -> None:
    path.with_name("store.attempts").write_text(json.dumps({"failures": 10**6, "not_before": 0}))
    with pytest.raises(KeyStoreLockedError, match="wrong"):
        reopen(path, "wrong passphrase", now=5)
    with pytest.raises(KeyStoreLockedError, match=f"in {MAX_DELAY_S} s"):
        reopen(path, now=5)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"failures": "x", "not_before": 1}', b"\xff"])
def test_a_damaged_count_starts_again(path: Path, content: bytes) -> None:
    path.with_name("store.attempts").write_bytes(content)
    assert reopen(path) == b"payload"


def test_an_interrupted_try_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealed_store, "derive", killed)
        for _ in range(FREE_ATTEMPTS):
            with pytest.raises(KeyboardInterrupt):
                reopen(path)
    with pytest.raises(KeyStoreLockedError, match="too many"):
        reopen(path)


def test_every_damaged_byte_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :])
        try:
            assert reopen(path) == b"payload"  # white space between fields may change
        except KeyStoreCorruptError:
            continue
    for end in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:end])
        with pytest.raises(KeyStoreCorruptError):
            reopen(path)


def tampered(path: Path, **changes: object) -> None:
    """Change fields and mend the digest, as somebody would on purpose."""
    document = json.loads(path.read_bytes())
    del document["digest"]
    for name, value in changes.items():
        (document if name in document else document["header"])[name] = value
    document["digest"] = ENGINE.sm3(sealed_store._canonical(document)).hex()
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"sealed": "00" * 23},
        {"sealed": ""},
        {"nonce": ""},
        {"nonce": 7},
        {"salt": "zz"},
        {"format": "other"},
        {"scrypt": {"n": 1 << 40, "r": 8, "p": 1}},
        {"scrypt": {"n": 1024.0, "r": 8, "p": 1}},
        {"scrypt": {"n": 3, "r": 8, "p": 1}},
        {"scrypt": {}},
        {"scrypt": {"n": 2, "r": 8, "p": 1, "q": 1}},
        {"header": []},
        {"header": None},
    ],
)
def test_tampering_is_noticed(path: Path, changes: dict[str, object]) -> None:
    tampered(path, **changes)
    with pytest.raises(KeyStoreCorruptError):
        reopen(path)


def test_another_version_is_told_from_damage(path: Path) -> None:
    tampered(path, version=1)
    before = path.read_bytes()
    with pytest.raises(KeyStoreVersionError, match="version 1, 2 is in use"):
        reopen(path)
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'"version": 1', b'"version": 3'))
    with pytest.raises(KeyStoreCorruptError, match="damaged"):
        reopen(path)


def test_another_salt_is_a_wrong_passphrase(path: Path) -> None:
    tampered(path, salt="00" * 16)
    with pytest.raises(KeyStoreLockedError):
        reopen(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=60), st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode)
    )
)
def test_any_content_gives_a_store_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(HsmError):
        reopen(path)


def test_a_failed_write_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = SealedStore.open(path, WORDS, ENGINE)

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        store.write(b"lost")
    monkeypatch.undo()
    assert store.read() == b"payload"
    assert not list(path.parent.glob(".*.tmp"))


def test_a_replaced_store_must_be_opened_again(path: Path) -> None:
    store, _ = SealedStore.open(path, WORDS, ENGINE)
    path.unlink()
    with pytest.raises(KeyStoreMissingError):
        store.stamp()
    with pytest.raises(KeyStoreMissingError):
        store.read()
    SealedStore.create(path, WORDS, b"another", ENGINE, cost=CHEAP)
    with pytest.raises(KeyStoreLockedError, match="replaced"):
        store.read()


ADD_ONE = """
import sys
from pathlib import Path
from hsm.primitives import default_engine
from hsm.sealed_store import SealedStore
store, _ = SealedStore.open(Path(sys.argv[1]), sys.argv[2], default_engine())
for _ in range(20):
    with store.exclusive():
        store.write(str(int(store.read()) + 1).encode())
"""


def test_processes_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "store"
    SealedStore.create(path, WORDS, b"0", ENGINE, cost=CHEAP).close()
    command = [sys.executable, "-c", ADD_ONE, str(path), WORDS]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(100) for process in running] == [0, 0, 0]
    assert reopen(path) == b"60"


def test_passphrase_changes_while_others_go_on(path: Path) -> None:
    one, _ = SealedStore.open(path, WORDS, ENGINE)
    two, _ = SealedStore.open(path, WORDS, ENGINE)
    one.change_passphrase("another long one", cost=CHEAP)
    with pytest.raises(KeyStoreLockedError):
        SealedStore.open(path, WORDS, ENGINE)
    assert two.read() == b"payload"
    two.write(b"second")
    assert one.read() == SealedStore.open(path, "another long one", ENGINE)[1] == b"second"
    with pytest.raises(BadInputError):
        one.change_passphrase("short")


def test_data_key_changes_while_others_go_on(path: Path) -> None:
    one, _ = SealedStore.open(path, WORDS, ENGINE)
    two, _ = SealedStore.open(path, WORDS, ENGINE)
    before = json.loads(path.read_bytes())
    one.renew()
    after = json.loads(path.read_bytes())
    assert before["header"]["wrapped"] != after["header"]["wrapped"]
    assert two.read() == b"payload"
    two.write(b"second")
    assert one.read() == SealedStore.open(path, WORDS, ENGINE)[1] == b"second"


def test_who_missed_both_changes_opens_again(path: Path) -> None:
    one, _ = SealedStore.open(path, WORDS, ENGINE)
    two, _ = SealedStore.open(path, WORDS, ENGINE)
    one.change_passphrase("another long one", cost=CHEAP)
    one.renew()
    with pytest.raises(KeyStoreLockedError):
        two.read()
    with pytest.raises(KeyStoreLockedError):
        two.renew()
    assert one.read() == b"payload"


def test_who_followed_a_passphrase_cannot_renew(path: Path) -> None:
    """It would seal the new data key under a passphrase that is out of use."""
    one, _ = SealedStore.open(path, WORDS, ENGINE)
    two, _ = SealedStore.open(path, WORDS, ENGINE)
    one.change_passphrase("another long one", cost=CHEAP)
    with pytest.raises(KeyStoreLockedError):
        two.renew()
    assert SealedStore.open(path, "another long one", ENGINE)[1] == b"payload"
