"""Whatever stands in the address gets a page: never a trace, never a script of somebody else, never too much work."""

from __future__ import annotations

import gzip
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps_catalog import Catalog
from issuance.catalog.site import asking, pages, query
from issuance.catalog.site.initials import letters_of, readings
from issuance.catalog.site.search import Index, words_of
from issuance.catalog.site.shelf import MAX_PAGES, Shelf
from tests.issuance.catalog_site.conftest import Site, obeys

NAMES = st.sampled_from([*query.FILTERS, *asking.NAMES, "lang", "utm", ""])
VALUES = st.one_of(
    st.text(max_size=70),
    st.sampled_from(["110000", "130102", "999999", "000000", "other", "qr", "3.0", "16", "-1"]),
    st.sampled_from(["2027-01-01", "2027-02-30"]),
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


@given(PAIRS)
@settings(max_examples=100)
def test_an_address_read_and_written_reads_the_same(shipped: Catalog, pairs: list[tuple[str, str]]) -> None:
    found, wrong = query.read(pairs, shipped)
    again, none = query.read(parse_qsl(urlencode(found.pairs()), keep_blank_values=True), shipped)
    assert (again, none) == (found, ())
    assert again.pairs() == found.pairs()
    assert not set(wrong) & set(found.active)


@given(st.lists(st.one_of(PAIRS.map(urlencode), st.text("%&=;+az九\x00\uffff09", max_size=30).map(quote)), max_size=2))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_query_gets_a_page(site: Site, parts: list[str]) -> None:
    raw = "&".join(parts)
    for path in ("", "items/110000-culture-ecard-library", "changes", "data"):
        answer = await site.http.get(f"/catalog/{path}?{raw}")
        assert answer.status_code in (200, 400, 404, 414), raw
        assert len(answer.history) <= 1
        obeys(answer)


async def test_what_cannot_be_is_named_and_left_out(site: Site) -> None:
    page = await site.page("?region=999999&on=2027-02-30&domain=culture", status=400)
    assert "这个地区不在目录里" in page
    assert "日期要写成 2027-01-01" in page
    assert "借书" in page
    assert "没有这种卡" in await site.page("items/joint-transport-bus?card=4.0", status=400)
    assert "最多写 60 个字" in await site.page(f"?q={'字' * 61}", status=400)
    assert "网址太长" in await site.page(f"?q={'a' * 1100}", status=414)
    assert "事项可能已经停用" in await site.page("items/none", status=404)
    await site.page("nowhere", status=404)


async def test_what_was_typed_is_no_markup(site: Site) -> None:
    typed = "\"'><script>alert(1)</script>"
    page = await site.page(f"?q={quote(typed)}")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_pages_are_kept_by_others_and_failures_are_not(site: Site) -> None:
    for path in ("/catalog/", "/catalog/items/joint-transport-bus", "/catalog/changes", "/catalog/data"):
        first = await site.http.get(path)
        assert first.headers["cache-control"] == "public, max-age=300"
        assert "Cookie" in first.headers["vary"]
        again = await site.http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "content-security-policy" in again.headers
    for path in ("/catalog/items/none", "/catalog/?region=999999"):
        assert (await site.http.get(path)).headers["cache-control"] == "no-store"


async def test_a_page_differs_by_language_and_type(site: Site) -> None:
    plain = await site.http.get("/catalog/")
    english = await site.http.get("/catalog/", headers={"Cookie": "oc_lang=en"})
    large = await site.http.get("/catalog/", headers={"Cookie": "oc_type=large"})
    assert len({answer.headers["etag"] for answer in (plain, english, large)}) == 3
    assert 'data-type="large"' in large.text


async def test_packed_only_for_who_takes_it(site: Site) -> None:
    packed = await site.http.get("/catalog/", headers={"Accept-Encoding": "gzip"})
    plain = await site.http.get("/catalog/", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


async def test_one_network_draws_so_many_new_pages_a_minute(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_site_of(site), "_drawn", pages.MinuteLimit(2))
    await site.page("?q=a")
    await site.page("?q=b")
    assert "查询太频繁" in await site.page("?q=c", status=429)
    await site.page("?q=a")


def _site_of(site: Site) -> Any:
    return next(route.app for route in site.app.routes if getattr(route, "path", "") == "/catalog").state.site  # type: ignore[attr-defined]


def test_the_shelf_has_an_end() -> None:
    shelf = Shelf()
    for number in range(MAX_PAGES + 5):
        shelf.put(number, lambda: b"page")
    assert len(shelf) == MAX_PAGES
    assert shelf.get(0) is None
    assert gzip.decompress(shelf.get(MAX_PAGES).packed) == b"page"  # type: ignore[union-attr]


async def test_the_headers_can_be_asked_for_alone(site: Site) -> None:
    answer: httpx.Response = await site.http.head("/catalog/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_first_letters_follow_the_sound() -> None:
    signs = "安保查大额发公行件卡劳码年欧票取人社通外现医政"
    assert "".join(letters_of(sign)[0] for sign in signs) == "abcdefgxjklmnopqrstwxyz"
    assert readings("银行") == ("yx", "yh")
    assert letters_of("㛃") == letters_of("，") == ""


@pytest.fixture(scope="module")
def index(shipped: Catalog) -> Index:
    return Index(shipped)


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_any_words_are_looked_for(index: Index, shipped: Catalog, text: str) -> None:
    words = words_of(text)
    assert all(index.score(item, words) >= 0 for item in shipped.items[::20])
    assert len(readings(text)) <= 16


@given(st.lists(st.tuples(st.sampled_from(asking.NAMES), VALUES), max_size=4))
@settings(max_examples=60)
def test_any_question_is_answered(shipped: Catalog, pairs: list[tuple[str, str]]) -> None:
    asked, _ = asking.read(pairs, shipped)
    for item in shipped.items[::40]:
        answer = asking.ask(shipped, item, asked, date(2026, 11, 22))
        assert (answer is None) == (not asked.holder_region)
