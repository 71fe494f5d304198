"""Backup and restore: verified before anything is replaced, the present store kept, older ones told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.api import Algorithm, KeyRef, Purpose
from hsm.primitives import default_engine
from hsm.soft import SoftKeyService
from onecard_cli.key_backup import BackupInvalidError, unpack
from tests.onecard_cli.ceremony_home import PLACE, TWO, ceremony_home, init, run, told

STORE = "keys.json"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return ceremony_home(tmp_path)


@pytest.fixture
def backup(home: Path) -> Path:
    file = home.parent / "backup"
    done = run(home, "backup", str(file))
    assert done.exit_code == 0, done.output
    return file


def keys(home: Path) -> dict[str, str]:
    return {key["key"]: key["kcv"] + key["state"] for key in told(home, "status")["keys"]}


def previous(home: Path) -> list[Path]:
    return sorted(home.glob("*.previous-*"))


def test_a_damaged_store_comes_back_with_officers_and_log(home: Path, backup: Path) -> None:
    before = keys(home)
    damaged = (home / STORE).read_bytes()[:-9]
    (home / STORE).write_bytes(damaged)
    (home / "keys.json.officers").unlink()
    assert "KEY_STORE_CORRUPT" in run(home, "status").output
    assert "OFFICERS_NEEDED" in run(home, "restore", str(backup)).output
    done = run(home, "restore", str(backup), *TWO)
    assert done.exit_code == 0, done.output
    assert keys(home) == before
    assert told(home, "status")["officers"] == ["甲", "乙", "丙"]
    log = told(home, "log")["acts"]
    assert [entry["act"] for entry in log] == ["init"] + ["backup"] * 2 + ["restore"] * 3
    assert [entry["result"] for entry in log[3:]] == ["refused", "begun", "done"]
    assert damaged in [path.read_bytes() for path in previous(home)]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in [*previous(home), home / STORE, backup])


def test_an_existing_file_is_replaced_with_force_only(home: Path, backup: Path) -> None:
    before = backup.read_bytes()
    assert "CONFLICT" in run(home, "backup", str(backup)).output
    assert backup.read_bytes() == before
    assert [act["act"] for act in told(home, "log")["acts"]].count("backup") == 2, "begun and done, of the first one"
    assert run(home, "backup", "--force", str(backup)).exit_code == 0
    assert backup.read_bytes() != before


def test_a_lost_home_comes_back(home: Path, backup: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "new", "restore", str(backup), *TWO)
    assert done.exit_code == 0, done.output
    assert keys(tmp_path / "new") == keys(home)
    assert previous(tmp_path / "new") == []


@pytest.mark.parametrize("at", [0.1, 0.5, 0.99])
def test_a_damaged_backup_touches_nothing(home: Path, backup: Path, at: float) -> None:
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.suffix != ".lock"}
    content = backup.read_bytes()
    place = int(len(content) * at)
    for wrong in (content[:place], content[:place] + bytes((content[place] ^ 1,)) + content[place + 1 :]):
        backup.write_bytes(wrong)
        refused = run(home, "restore", str(backup), *TWO)
        assert (refused.exit_code, "KEY_STORE_CORRUPT" in refused.output) == (1, True), refused.output
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.suffix != ".lock"} == before


def test_a_backup_put_together_from_two_is_refused(home: Path, backup: Path) -> None:
    other = home.parent / "other"
    assert init(other, home.parent / "other-forms").exit_code == 0
    assert run(other, "backup", str(home.parent / "theirs")).exit_code == 0
    mine = json.loads(backup.read_bytes().partition(b"\n")[2])
    theirs = json.loads((home.parent / "theirs").read_bytes().partition(b"\n")[2])
    mine["files"]["keys.json.officers"] = theirs["files"]["keys.json.officers"]
    body = json.dumps(mine, sort_keys=True).encode()
    mac = backup.read_bytes()[:64]
    backup.write_bytes(mac + b" " + default_engine().sm3(body).hex().encode() + b"\n" + body)
    refused = run(home, "restore", str(backup), *TWO)
    assert (refused.exit_code, "from parts" in refused.output) == (1, True), refused.output


def test_an_older_backup_names_what_would_be_lost(home: Path, backup: Path) -> None:
    with SoftKeyService.open(home / STORE, PLACE["ONECARD_PASSPHRASE"]) as service:
        service.generate(KeyRef("PERSON_SEAL", Algorithm.SM4), Purpose.SEAL)
    assert run(home, "retire", "IRK/SM4/v1", *TWO).exit_code == 0
    refused = run(home, "restore", str(backup), *TWO)
    assert (refused.exit_code, "CONFLICT" in refused.output) == (1, True)
    assert "IRK/SM4/v1" in refused.output
    assert "PERSON_SEAL/SM4/v1" in refused.output
    assert "PERSON_SEAL/SM4/v1" in keys(home)
    done = run(home, "restore", str(backup), "--accept-older", *TWO)
    assert done.exit_code == 0, done.output
    assert "PERSON_SEAL/SM4/v1" not in keys(home)
    acts = [(entry["act"], entry["result"]) for entry in told(home, "log")["acts"]]
    assert ("retire", "done") in acts, "the log goes on, it does not go back"
    assert acts[-3:] == [("restore", "refused"), ("restore", "begun"), ("restore", "done")]


@pytest.mark.parametrize("officers", [(), ("--officer", "甲"), ("--officer", "甲", "--officer", "甲")])
def test_restoring_takes_two_officers(home: Path, backup: Path, officers: tuple[str, ...]) -> None:
    store = (home / STORE).read_bytes()
    refused = run(home, "restore", str(backup), *officers)
    assert (refused.exit_code, "OFFICERS_NEEDED" in refused.output) == (1, True)
    assert (home / STORE).read_bytes() == store
    assert told(home, "log")["acts"][-1]["result"] == "refused"


def test_the_passphrase_of_the_backups_day_is_asked(home: Path, backup: Path) -> None:
    new = "another horse battery"
    assert run(home, "passphrase", *TWO, ONECARD_NEW_PASSPHRASE=new).exit_code == 0
    refused = run(home, "restore", str(backup), *TWO, typed="wrong passphrase\n", ONECARD_PASSPHRASE=new)
    assert (refused.exit_code, "KEY_STORE_LOCKED" in refused.output) == (1, True)
    done = run(home, "restore", str(backup), *TWO, typed=f"{PLACE['ONECARD_PASSPHRASE']}\n", ONECARD_PASSPHRASE=new)
    assert done.exit_code == 0, done.output
    assert keys(home)


def test_a_present_store_that_is_whole_is_not_passed_over(home: Path, backup: Path) -> None:
    """A wrong passphrase for it must not make the backup's officers judges."""
    known = {"ONECARD_PASSPHRASE": "not the right one", "ONECARD_BACKUP_PASSPHRASE": PLACE["ONECARD_PASSPHRASE"]}
    refused = run(home, "restore", str(backup), *TWO, **known)
    assert (refused.exit_code, "KEY_STORE_LOCKED" in refused.output) == (1, True)


@pytest.mark.parametrize("step", ["keys.json", "keys.json.officers"])
def test_a_crash_in_the_middle_leaves_a_store_that_opens(
    home: Path, backup: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = keys(home)
    real = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.parent.name == ".restoring" and path.name == step:
            raise OSError("power cut")
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        assert run(home, "restore", str(backup), *TWO).exit_code == 1
    assert keys(home) == before
    assert not (home / ".restoring").exists()
    assert run(home, "restore", str(backup), *TWO).exit_code == 0
    assert keys(home) == before


NO_BACKUPS = [
    b"[]",
    b"{}",
    b'{"format": 1}',
    b'{"format": "onecard-key-backup-1"}',
    b'{"format": "onecard-key-backup-1", "files": {"../x": ""}}',
    b'{"format": "onecard-key-backup-1", "files": {"keys.json": "", "../x": ""}}',
    b'{"format": "onecard-key-backup-1", "files": {"keys.json": 7}}',
]


@settings(max_examples=80)
@given(body=st.binary(max_size=100) | st.sampled_from(NO_BACKUPS))
def test_anything_else_is_no_backup(body: bytes) -> None:
    for line in (b"", b"0" * 64 + b" " + default_engine().sm3(body).hex().encode()):
        with pytest.raises(BackupInvalidError):
            unpack(line + b"\n" + body)
