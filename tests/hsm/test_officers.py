"""Two different officers, each with a passphrase of his own; what is done without the file: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm.api import BadInputError, KeyStoreCorruptError
from hsm.officers import OfficerRefusedError, Officers, OfficersNeededError
from hsm.sealed_store import FIRST_DELAY_S, FREE_ATTEMPTS
from hsm.soft import SoftKeyService
from tests.hsm.backends import CHEAP, WORDS

PASSPHRASES = {"甲": "first passphrase", "乙": "second passphrase", "丙": "third passphrase"}
GIVEN = list(PASSPHRASES.items())


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SoftKeyService]:
    with SoftKeyService.create(tmp_path / "store", WORDS, cost=CHEAP) as service:
        yield service


@pytest.fixture
def officers(service: SoftKeyService, tmp_path: Path, clock: Clock) -> Officers:
    officers = Officers(service, tmp_path / "store", clock=clock)
    officers.register(PASSPHRASES, cost=CHEAP)
    return officers


def test_two_different_officers_approve(officers: Officers) -> None:
    assert officers.names() == ["甲", "乙", "丙"]
    assert officers.approve(GIVEN[:2]) == ("甲", "乙")
    assert officers.approve([GIVEN[2], GIVEN[0]]) == ("丙", "甲")
    assert officers.file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("given", [[], GIVEN[:1], [GIVEN[0], GIVEN[0]], [GIVEN[0], (" 甲 ", "x")], [*GIVEN, GIVEN[0]]])
def test_fewer_than_two_different_ones_do_not(officers: Officers, given: list[tuple[str, str]]) -> None:
    with pytest.raises(OfficersNeededError):
        officers.approve(given)


@pytest.mark.parametrize("wrong", [("乙", "first passphrase"), ("乙", ""), ("丁", "second passphrase")])
def test_a_wrong_one_spoils_it_and_is_not_told_apart(officers: Officers, wrong: tuple[str, str]) -> None:
    with pytest.raises(OfficerRefusedError) as refused:
        officers.approve([GIVEN[0], wrong])
    assert str(refused.value) == "an officer is unknown or a passphrase is wrong"


def test_wrong_passphrases_lock_the_officer_and_no_other(officers: Officers, clock: Clock) -> None:
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(OfficerRefusedError):
            officers.approve([GIVEN[0], ("乙", "wrong passphrase")])
    with pytest.raises(OfficerRefusedError, match=r"乙: .*try again in 30 s"):
        officers.approve([GIVEN[0], GIVEN[1]])
    assert officers.approve([GIVEN[0], GIVEN[2]]) == ("甲", "丙")
    clock.now += FIRST_DELAY_S
    assert officers.approve([GIVEN[0], GIVEN[1]]) == ("甲", "乙")


@pytest.mark.parametrize(
    "passphrases",
    [
        {"甲": "first passphrase"},
        {"甲": "same passphrase", "乙": "same passphrase"},
        {"甲": "first passphrase", " 甲": "second passphrase"},
        {"甲": "first passphrase", "乙": "short"},
        {"甲": "first passphrase", "": "second passphrase"},
        {"甲": "first passphrase", "乙\n": "second passphrase", "x" * 33: "third passphrase"},
    ],
)
def test_impossible_officers_are_not_registered(
    service: SoftKeyService, tmp_path: Path, passphrases: dict[str, str]
) -> None:
    officers = Officers(service, tmp_path / "store")
    with pytest.raises(BadInputError):
        officers.register(passphrases, cost=CHEAP)
    assert not officers.exist
    assert service.keys() == []


def test_officers_are_registered_once(officers: Officers) -> None:
    with pytest.raises(BadInputError):
        officers.register(PASSPHRASES, cost=CHEAP)


def test_a_store_that_had_officers_does_nothing_without_their_file(officers: Officers, tmp_path: Path) -> None:
    content = officers.file.read_bytes()
    for change in (content.replace("丙".encode(), "丁".encode()), content[:-3], b""):
        officers.file.write_bytes(change)
        with pytest.raises(KeyStoreCorruptError, match="altered"):
            officers.approve(GIVEN[:2])
    officers.file.unlink()
    assert officers.exist
    with pytest.raises(KeyStoreCorruptError, match="gone"):
        officers.approve(GIVEN[:2])


def test_officers_of_another_store_do_not_count(officers: Officers, tmp_path: Path) -> None:
    with SoftKeyService.create(tmp_path / "other", WORDS, cost=CHEAP) as other:
        theirs = Officers(other, tmp_path / "other")
        theirs.register({"戊": "fourth passphrase", "己": "fifth passphrase"}, cost=CHEAP)
        officers.file.write_bytes(theirs.file.read_bytes())
    with pytest.raises(KeyStoreCorruptError):
        officers.names()


def test_no_passphrase_rests_anywhere(officers: Officers, tmp_path: Path) -> None:
    officers.approve(GIVEN[:2])
    resting = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert not any(passphrase.encode() in resting for passphrase in PASSPHRASES.values())
    assert "check" not in repr(officers._load()[0]), "private, as tracebacks show locals"
