"""Which family a code belongs to: one each, by its form alone, in no time whatever is sent."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import issuance.recognition.families as module
from issuance.codes.text import new_code
from issuance.recognition.families import MAX_CHARS, FamiliesError, families, family_of, read_families

FAMILIES = families()
EXAMPLES = {name: family.whole_example for name, family in FAMILIES.items()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_family_knows_its_own_and_no_others(name: str) -> None:
    found = family_of(EXAMPLES[name])
    assert found is not None
    assert found.name == name
    others = {other.name for other in FAMILIES.values() if other.fits(EXAMPLES[name])} - {name}
    assert others <= {"address"}, "only a city code is an address as well"
    assert found.source in ("ours", "public", "assumed")
    words = (found.zh, found.en, found.owner_zh, found.owner_en, found.works_zh, found.works_en)
    assert all((*words, found.advice_zh, found.advice_en))


def test_our_own_are_ours_and_nobody_is_asked() -> None:
    family = family_of(new_code())
    assert family is not None
    assert (family.name, family.is_ours, family.is_asked) == ("ecard", True, False)
    assert [name for name, known in FAMILIES.items() if known.is_ours] == ["ecard"]


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=1100), st.sampled_from(list(EXAMPLES.values())).map(lambda code: code + "\n")))
def test_any_text_has_a_family_or_none(text: str) -> None:
    family = family_of(text)
    assert family is None or (family.fits(text) and len(text) <= MAX_CHARS)
    assert family_of(text + "\n") is None


@pytest.mark.parametrize("text", ["1" * 1024, "8" * 1024, "https://" + "!" * 1016, "0A:" * 341, "ZWFW" + "-" * 1020])
def test_no_code_takes_long(text: str) -> None:
    begun = time.process_time()
    for _ in range(20):
        family_of(text)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("change", [{"pattern": "("}, {"parser": "no such"}, {"pattern": ""}, {"more": 1}])
def test_a_table_that_is_not_whole_is_refused(change: dict[str, object]) -> None:
    data = tomllib.loads(Path(module.__file__).with_name("families.toml").read_text(encoding="utf-8"))
    with pytest.raises(FamiliesError):
        read_families({"family": [data["family"][0] | change]})
    with pytest.raises(FamiliesError):
        read_families({})
