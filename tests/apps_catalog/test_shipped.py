"""The catalog we ship: broad enough, honest about what it knows, and right on the cases people ask about."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date

import pytest

from apps_catalog import CardState, Carrier, Catalog, Category, Datum, Equipment, Function, Opened, Standing
from apps_catalog.lint import findings
from apps_catalog.model import LABELS, LOCAL, Channel, Level, Validation

DAY = date(2026, 11, 22)
REGIONS = ("110000", "120000", "130000")
DOMAINS = ("hrss", "government", "medical", "transport", "tourism", "culture", "elderly", "subsidy", "credit")


def ids(catalog: Catalog, region: str, **arguments: str) -> set[str]:
    return {item.id for item in catalog.what_can(region, on=DAY, **arguments)}  # type: ignore[arg-type]


def test_domains_and_regions(shipped: Catalog) -> None:
    assert tuple(domain.key for domain in shipped.domains) == DOMAINS
    assert tuple(region.code for region in shipped.regions) == REGIONS
    assert len({domain.glyph for domain in shipped.domains}) == len(DOMAINS)


def test_enough_items_in_every_province_and_domain(shipped: Catalog) -> None:
    assert len(shipped.items) >= 120
    assert all(item.sources for item in shipped.items)
    for region in REGIONS:
        counts = Counter(item.domain for item in shipped.what_can(region, on=DAY))
        assert all(counts[domain] >= 3 for domain in DOMAINS[:-1]), (region, counts)
    assert ids(shipped, "120000", domain="credit")
    assert "120000-credit-public-credit" not in ids(shipped, "110000", domain="credit")


def test_all_kinds_are_in_use(shipped: Catalog) -> None:
    assert {carrier for item in shipped.items for carrier in item.carriers} == set(Carrier)
    assert {function for item in shipped.items for function in item.functions} == set(Function)
    assert {item.standing for item in shipped.items} == set(Standing)
    assert {item.level for item in shipped.items} == set(Level)
    used = {source for item in shipped.items for source in item.sources}
    assert used == {source.key for source in shipped.sources}


def test_names_do_not_repeat(shipped: Catalog) -> None:
    for language in ("zh", "en"):
        counts = Counter(getattr(item.name, language) for item in shipped.items)
        assert counts.most_common(1)[0][1] == 1, counts.most_common(3)


def test_nothing_claims_to_be_official(shipped: Catalog) -> None:
    assert "不是" in shipped.notice.zh
    assert "not the list published" in shipped.notice.en


def test_weak_items_rest_on_no_strong_source(shipped: Catalog) -> None:
    """`public-reports` collects other places: alone it supports a statement here only for nationwide items."""
    for item in shipped.items:
        if item.sources == ("public-reports",) and item.standing is Standing.STATED:
            assert item.level is Level.NATIONAL, item.id


def test_subsidies_stay_with_the_place_that_pays(shipped: Catalog) -> None:
    for item in shipped.items:
        if item.domain == "subsidy":
            assert item.holders == (LOCAL,)
            assert item.carriers == (Carrier.BANK_ACCOUNT,)


def test_beijing_park_annual_pass(shipped: Catalog) -> None:
    annual_pass = shipped.item("110000-tourism-park-annual-pass")
    assert annual_pass.is_physical_only
    assert annual_pass.generations == ("3.0",)
    assert "100元" in annual_pass.terms.zh
    assert annual_pass.id in ids(shipped, "110000", carrier="contactless")
    assert annual_pass.id not in ids(shipped, "110000", carrier="qr")
    assert annual_pass.id not in ids(shipped, "120000")


def test_a_hebei_card_in_beijing(shipped: Catalog) -> None:
    answer = ids(shipped, "110000", holder_region="130100")
    assert {"joint-culture-library-loan", "joint-transport-bus", "joint-tourism-scenic-entry"} <= answer
    assert not {"110000-tourism-park-annual-pass", "joint-subsidy-farmland"} & answer


def test_a_card_from_elsewhere_keeps_the_nationwide_items(shipped: Catalog) -> None:
    answer = ids(shipped, "130000", holder_region="510100")
    assert {"joint-government-show-card", "joint-transport-nationwide-purse"} <= answer
    assert "joint-culture-library-loan" not in answer


def test_items_of_one_city(shipped: Catalog) -> None:
    fund = "130000-government-housing-fund"
    assert fund in ids(shipped, "130000")
    assert fund in ids(shipped, "130102", holder_region="130102")
    assert fund not in ids(shipped, "130200")
    assert fund not in ids(shipped, "130100", holder_region="130200")
    assert "joint-transport-metro" not in ids(shipped, "130200")


def test_planned_items_are_known_but_never_promised(shipped: Catalog) -> None:
    dining = shipped.item("110000-elderly-community-dining")
    assert dining.standing is Standing.PLANNED
    assert dining not in shipped.what_can("110000", on=date.max)


def test_items_stand_in_domain_order(shipped: Catalog) -> None:
    places = [DOMAINS.index(item.domain) for item in shipped.what_can("130000", on=DAY)]
    assert places == sorted(places)


def test_json_form(shipped: Catalog) -> None:
    answer = shipped.what_can("110000", domain="medical", on=DAY)
    document = json.loads(json.dumps(shipped.to_json(answer)))
    assert document["version"] == shipped.version
    assert document["notice"]["zh"] == shipped.notice.zh
    assert [item["id"] for item in document["items"]] == [item.id for item in answer]
    assert len(shipped.to_json()["items"]) == len(shipped.items)
    item = next(item for item in document["items"] if item["id"] == "joint-medical-outpatient-settlement")
    assert item["carriers"] == ["contact", "qr"]
    assert item["effective_from"] == "2024-05-09"
    assert item["effective_to"] is None
    assert set(item) == set(shipped.items[0].__dataclass_fields__)


def test_the_shipped_catalog_has_no_defect(shipped: Catalog) -> None:
    assert findings(shipped, DAY) == []


KINDS = [Level, Carrier, Function, Channel, Validation, Standing, Equipment, Datum, CardState, Opened, Category]


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_has_a_label(kind: type[Level]) -> None:
    for member in kind:
        assert LABELS[member].zh
        assert LABELS[member].en


def test_a_channel_is_no_way_of_checking_though_both_are_called_online() -> None:
    assert LABELS[Channel.ONLINE].zh == "线上"
    assert LABELS[Validation.ONLINE].zh == "联网核验"
