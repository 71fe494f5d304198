"""A province's ceremony: what is on paper, what is kept, and that nothing is kept of one that went wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.api import Algorithm, CardFactors, KeyRef
from hsm.ceremony import Share
from hsm.primitives import default_engine
from hsm.soft import SoftKeyService
from onecard_cli import key_ceremony
from onecard_cli.key_forms import share_text
from onecard_cli.key_office import key_ref
from simulators.ministry import RootKeys
from tests.onecard_cli.ceremony_home import OFFICERS, PLACE, REGIONS, ceremony_home, init, passphrases, run, told

FACTORS = CardFactors("990100", bytes(range(8)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return ceremony_home(tmp_path)


def service_of(home: Path) -> SoftKeyService:
    return SoftKeyService.open(home / "keys.json", PLACE["ONECARD_PASSPHRASE"])


def shares_of(folder: Path) -> list[Share]:
    pages = [(folder / f"share-{n}.html").read_text("utf-8") for n in (1, 2, 3)]
    return [Share.parse(share_text(page), default_engine()) for page in pages]


def is_empty(home: Path) -> bool:
    return {path.name for path in home.iterdir()} <= {"lock"}


def test_nation_province_and_city_give_cards_one_key(home: Path) -> None:
    roots = RootKeys.load_or_create(home / "simulated-ministry.json")
    with service_of(home) as service:
        for algorithm in (Algorithm.TDES, Algorithm.SM4):
            chain = [KeyRef("IRK", algorithm, region=region) for region in ("", "990000", "990100")]
            assert [service.info(ref).level for ref in chain] == [1, 2, 3]
            assert len({service.card_kcv(ref, FACTORS) for ref in chain}) == 1
            of_city = KeyRef("UK1DF02" if algorithm is Algorithm.TDES else "UK2DF02", algorithm)
            simulated = roots.root("IRK", algorithm.value)
            engine = default_engine()
            ecb = engine.sm4_ecb if algorithm is Algorithm.SM4 else engine.des_ecb
            assert ecb(simulated, bytes(16))[:3] == service.info(chain[0]).kcv, "simulated cards fit"
            assert service.info(of_city).level in (2, 3)


def test_a_form_has_one_share_and_the_record_none(home: Path) -> None:
    forms = home.parent / "forms"
    shares = shares_of(forms)
    pages = {n: (forms / f"share-{n}.html").read_text("utf-8") for n in (1, 2, 3)}
    record = (forms / "record.html").read_text("utf-8")
    for share in shares:
        # The first three begin with the number of the ceremony, which all forms show.
        groups = " ".join(share.text(default_engine())).split()[3:]
        assert [number for number, page in pages.items() if any(group in page for group in groups)] == [share.number]
        assert not any(group in record for group in groups)
        assert share.check(default_engine()) in record
    for number, name in enumerate(OFFICERS, 1):
        assert [other for other in OFFICERS if f"<dd>{other}</dd>" in pages[number]] == [name]
    envelopes = re.findall(r"OC-[0-9A-F]{5}-[0-9A-F]{5}-\d", record)
    assert len(set(envelopes)) == 3
    assert all(envelopes[n - 1] in pages[n] for n in pages)
    with service_of(home) as service:
        irk = service.info(KeyRef("IRK", Algorithm.SM4, region="990100"))
    assert irk.kcv.hex().upper() in record
    assert all("http" not in page and "<script" not in page for page in (*pages.values(), record))
    assert {path.stat().st_mode & 0o777 for path in forms.iterdir()} == {0o600}


def test_an_officers_name_is_text_on_the_form(tmp_path: Path) -> None:
    forms, words = tmp_path / "forms", passphrases("甲", "乙")
    files = [word for n in (1, 2) for word in ("--shares-from", str(forms / f"share-{n}.html"))]
    officers = ("--officer", "<b>", "--officer", "乙")
    result = run(tmp_path / "home", "init", "--region", "990000", *officers, "--forms", str(forms), *files, **words)
    assert result.exit_code == 0, result.output
    assert "&lt;b&gt;" in (forms / "share-1.html").read_text("utf-8")
    assert not (tmp_path / "forms" / "share-3.html").exists()


@pytest.mark.parametrize("numbers", [(1, 3), (3, 2)])
def test_two_of_three_shares_make_the_same_roots_again(home: Path, numbers: tuple[int, int]) -> None:
    forms, again = home.parent / "forms", home.parent / "again"
    files = [word for n in numbers for word in ("--shares-from", str(forms / f"share-{n}.html"))]
    officers = ("--officer", "丁", "--officer", "戊")
    known = passphrases("passphrase-four", "passphrase-five")
    result = run(again, "restore-from-shares", *REGIONS, *officers, *files, "--no-simulator", **known)
    assert result.exit_code == 0, result.output
    before, after = (
        {key["key"]: key["kcv"] for key in told(place, "status")["keys"] if key["purpose"] != "seal"}
        for place in (home, again)
    )
    assert before == after
    assert told(again, "status")["officers"] == ["丁", "戊"]
    assert not (again / "simulated-ministry.json").exists()


def test_too_few_or_foreign_shares_make_nothing(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert init(other / "home", other / "forms", "--xor").exit_code == 0
    mine, theirs = home.parent / "forms", other / "forms"
    officers = ("--officer", "甲", "--officer", "乙")
    for files, says in (
        ([mine / "share-1.html"], "1 of the 2"),
        ([mine / "share-1.html", theirs / "share-2.html"], "another ceremony"),
        ([mine / "share-1.html", mine / "share-1.html"], "twice"),
        ([theirs / "share-1.html", theirs / "share-2.html"], "2 of the 3"),
    ):
        given_files = [word for file in files for word in ("--shares-from", str(file))]
        refused = run(tmp_path / "again", "restore-from-shares", *REGIONS, *officers, *given_files)
        assert (refused.exit_code, "SHARE_INVALID" in refused.output, says in refused.output) == (1, True, True)
        assert is_empty(tmp_path / "again")
    given_files = [word for n in (3, 1, 2) for word in ("--shares-from", str(theirs / f"share-{n}.html"))]
    assert run(tmp_path / "again", "restore-from-shares", *REGIONS, *officers, *given_files).exit_code == 0


@pytest.mark.parametrize("handed_in", [(2, 1, 3), (1, 1, 3)])
def test_a_wrong_share_leaves_no_key_and_no_form(tmp_path: Path, handed_in: tuple[int, ...]) -> None:
    refused = init(tmp_path / "home", tmp_path / "forms", shares=handed_in)
    assert (refused.exit_code, "SHARE_INVALID" in refused.output) == (1, True)
    assert is_empty(tmp_path / "home")
    assert list((tmp_path / "forms").iterdir()) == []


def test_a_share_typed_wrong_is_told_by_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def typing(_: str, **__: Any) -> str:
        groups = share_text((tmp_path / "forms" / "share-1.html").read_text("utf-8")).split()
        groups[6] = ("3" if groups[6][0] == "2" else "2") + groups[6][1:]  # one character: found for certain
        return " ".join(groups)

    monkeypatch.setattr(key_ceremony, "ask_pin", typing)
    names = [word for name in OFFICERS for word in ("--officer", name)]
    refused = run(tmp_path / "home", "init", *REGIONS, *names, "--forms", str(tmp_path / "forms"))
    assert "group 7 of 10 (line 2)" in refused.output
    assert is_empty(tmp_path / "home")


def test_an_interrupted_ceremony_can_be_held_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("onecard_cli.hierarchy.derive_regions", broken)
        assert init(tmp_path / "home", tmp_path / "forms").exit_code == 1
    assert not (tmp_path / "home" / "keys.json").exists()
    assert not (tmp_path / "home" / ".making").exists()
    assert list((tmp_path / "forms").iterdir()) == []
    assert init(tmp_path / "home", tmp_path / "forms").exit_code == 0


def test_a_store_that_exists_is_not_overwritten(home: Path) -> None:
    content = (home / "keys.json").read_bytes()
    refused = init(home, home.parent / "more")
    assert (refused.exit_code, "CONFLICT" in refused.output) == (1, True)
    assert (home / "keys.json").read_bytes() == content
    assert not (home.parent / "more").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--region", "990000"),
        ("--region", "990000", "--officer", "甲", "--officer", "乙"),
        ("--region", "990000", "--officer", "甲", "--officer", "甲", "--forms", "f"),
        ("--region", "990000", "--officer", "甲", "--forms", "f"),
        ("--region", "99000", "--officer", "甲", "--officer", "乙", "--forms", "f"),
        ("--region", "990000", "--city", "120100", "--officer", "甲", "--officer", "乙", "--forms", "f"),
        ("--region", "990000", "--city", "990000", "--officer", "甲", "--officer", "乙", "--forms", "f"),
        ("--region", "990000", "--officer", "甲", "--officer", "乙", "--threshold", "3", "--forms", "f"),
        ("--region", "990000", "--officer", "甲", "--officer", "乙", "--threshold", "1", "--forms", "f"),
        ("--officer", "甲"),
    ],
)
def test_impossible_ceremonies_are_refused_before_they_begin(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = run(tmp_path / "home", "init", *(str(tmp_path / "f") if a == "f" else a for a in arguments))
    assert (refused.exit_code, "INPUT_INVALID" in refused.output) == (1, True)
    assert not (tmp_path / "f").exists()
    assert not (tmp_path / "home" / "keys.json").exists()


def test_a_development_home_says_plainly_that_it_has_no_officers(tmp_path: Path) -> None:
    assert run(tmp_path, "init").exit_code == 0
    assert "no officers" in run(tmp_path, "status").output
    assert told(tmp_path, "log")["acts"][0]["act"] == "init"
    assert run(tmp_path, "rotate", "IRK").exit_code == 0


@settings(max_examples=60)
@given(name=st.text(st.characters(codec="ascii", exclude_characters="/@ \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"), min_size=1),
       version=st.integers(1, 255), region=st.sampled_from(["", "990100"]), algorithm=st.sampled_from(Algorithm),
       text=st.text(max_size=30))  # fmt: skip
def test_key_names_are_read_as_they_are_shown(
    name: str, version: int, region: str, algorithm: Algorithm, text: str
) -> None:
    ref = KeyRef(name, algorithm, version, region)
    assert key_ref(str(ref)) == ref
    with pytest.raises(ValueError, match="named as in"):
        key_ref(text)
