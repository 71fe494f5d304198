"""What `what_can` answers, on a catalog of one item: Beijing and Shijiazhuang, own holders and Tianjin's, 2025 only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from apps_catalog import Carrier, Catalog, QueryError, RegionUnknownError, load
from tests.apps_catalog.conftest import ITEM

DAY = date(2025, 6, 1)


@pytest.fixture
def small(write: Callable[..., Path]) -> Catalog:
    return load(write(items=ITEM))


@pytest.mark.parametrize(
    ("region", "holder", "expected"),
    [
        ("110000", None, True),
        ("110105", None, True),  # a district of an offering province
        ("130000", None, True),  # a province some city of which offers it
        ("130100", None, True),
        ("130200", None, False),  # another city of that province
        ("120000", None, False),
        ("110000", "110000", True),
        ("110105", "110108", True),  # own holders of Beijing, whichever district
        ("110000", "120000", True),  # honoured by name
        ("110000", "120101", True),
        ("110000", "130100", False),  # local to Shijiazhuang is not local to Beijing
        ("130100", "130100", True),
        ("130000", "130100", True),
        ("130100", "130200", False),
        ("130100", "130000", False),  # issued by the province: not known to be the city's
        ("110000", "310000", False),
        ("130200", "120000", False),  # honoured, but not offered there
    ],
)
def test_region_and_holder(small: Catalog, region: str, holder: str | None, expected: bool) -> None:
    assert bool(small.what_can(region, holder_region=holder, on=DAY)) is expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2024, 12, 31), False),
        (date(2025, 1, 1), True),
        (date(2025, 12, 31), True),
        (date(2026, 1, 1), False),
    ],
)
def test_both_days_are_included(small: Catalog, day: date, expected: bool) -> None:
    assert bool(small.what_can("110000", on=day)) is expected


def test_today_is_the_default_day(write: Callable[..., Path]) -> None:
    assert load(write(items=ITEM)).what_can("110000") == []
    assert load(write(items=ITEM.replace("effective_to = 2025-12-31", ""))).what_can("110000")


def test_filters(small: Catalog) -> None:
    assert small.what_can("110000", domain="culture", carrier="qr", on=DAY)
    assert small.what_can("110000", carrier=Carrier.CONTACT, on=DAY)
    assert not small.what_can("110000", carrier=Carrier.CONTACTLESS, on=DAY)
    assert not small.what_can("110000", domain="medical", on=DAY)


@pytest.mark.parametrize("region", ["310000", "990100"])
def test_a_region_outside_the_catalog_is_not_an_empty_answer(small: Catalog, region: str) -> None:
    with pytest.raises(RegionUnknownError, match="110000 北京市") as caught:
        small.what_can(region)
    assert caught.value.failure == "REGION_UNKNOWN"


@pytest.mark.parametrize(
    "arguments",
    [
        {"region": "Beijing"},
        {"region": "000000"},
        {"region": "110000", "holder_region": "11"},
        {"region": "110000", "domain": "sport"},
        {"region": "110000", "carrier": "chip"},
    ],
)
def test_impossible_questions_are_refused(small: Catalog, arguments: dict[str, str]) -> None:
    region = arguments.pop("region")
    with pytest.raises(QueryError) as caught:
        small.what_can(region, **arguments)  # type: ignore[arg-type]
    assert caught.value.failure == "INPUT_INVALID"


def test_unknown_item_is_refused(small: Catalog) -> None:
    assert small.item("joint-culture-loan").name.zh == "借书"
    with pytest.raises(QueryError, match="joint-culture-nothing"):
        small.item("joint-culture-nothing")
