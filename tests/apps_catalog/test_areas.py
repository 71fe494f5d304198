from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps_catalog.areas import NATIONWIDE, contains, is_area, is_province, overlaps

PAIR = st.integers(1, 99).map("{:02d}".format)
AREAS = st.builds("{}{}{}".format, st.integers(10, 89), st.just("00") | PAIR, st.just("00") | PAIR).filter(is_area)


@pytest.mark.parametrize("code", ["110000", "500000", "131000", "130100", "130102"])
def test_areas_of_every_depth(code: str) -> None:
    assert is_area(code)


@pytest.mark.parametrize("code", ["", "11", "010000", "130001", "11000", "1100000", "11000x", "110000\n", "１１0000"])
def test_shapes_that_are_no_area(code: str) -> None:
    assert not is_area(code)


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ("130000", "130102", True),
        ("130100", "130102", True),
        ("130100", "130000", False),
        ("131000", "130100", False),
        ("130100", "131000", False),
        ("500000", "500101", True),
        (NATIONWIDE, "310000", True),
    ],
)
def test_containment_follows_the_tree(outer: str, inner: str, expected: bool) -> None:
    assert contains(outer, inner) is expected


@given(AREAS, AREAS)
def test_areas_overlap_only_as_ancestor_and_descendant(one: str, other: str) -> None:
    assert contains(one, one)
    assert overlaps(one, other) == overlaps(other, one)
    if contains(one, other) and contains(other, one):
        assert one == other
    assert contains(one[:2] + "0000", one)
    assert is_province(one) == (one[2:] == "0000")
