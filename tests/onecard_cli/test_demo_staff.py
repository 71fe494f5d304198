"""Invented clerks are made in a demo home, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from issuance.clerks import passwords
from onecard_cli.demo_staff import CLERKS, demo_staff
from onecard_cli.home import Home
from tests.onecard_cli.ceremony_home import PLACE, ceremony_home


@pytest.fixture(autouse=True)
def quick_hasher() -> None:
    passwords.use_hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def test_a_new_home_gets_them_once_and_keeps_them_to_its_owner(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    made = demo_staff(home, "110000")
    assert {clerk.login for clerk in made} == CLERKS.keys()
    assert len({clerk.password for clerk in made}) == len(made)
    assert demo_staff(home, "110000") == made
    kept = home.path / "demo-staff.json"
    assert kept.stat().st_mode & 0o077 == 0
    kept.unlink()
    assert demo_staff(home, "110000") == [], "the database has clerks, whoever made them"


def test_a_home_made_by_a_ceremony_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home.at(ceremony_home(tmp_path))
    monkeypatch.setenv("ONECARD_PASSPHRASE", PLACE["ONECARD_PASSPHRASE"])
    home.roots()  # as a simulated card leaves them
    assert demo_staff(home, "110000") == []
    assert not (home.path / "issuance.sqlite3").exists()
    assert not (home.path / "demo-staff.json").exists()
