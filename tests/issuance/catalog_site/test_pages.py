"""The catalog's public pages: what is found, counted, said of an item, answered and compared."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from apps_catalog import Catalog, Holder, Outcome, Place, Region, Text
from issuance.catalog.site.listing import Finder
from issuance.catalog.site.query import Query
from tests.issuance.catalog_site.conftest import TODAY, Site, changed, ids_on
from tests.issuance.conftest import Centre

LIBRARY = "110000-culture-ecard-library"


@pytest.mark.parametrize(
    ("words", "item"),
    [
        ("图书馆", "joint-culture-interlibrary-loan"),
        ("借书", "110000-culture-ecard-library"),
        ("公园年票", "110000-tourism-park-annual-pass"),
        ("看病", "joint-medical-registration"),
        ("唐山 公园", "joint-tourism-park-entry"),
        ("LIBRARIES", "joint-culture-interlibrary-loan"),
        ("bus", "joint-transport-bus"),
        ("yljf", "joint-elderly-pension-payment"),
        ("ｂｕｓ", "joint-transport-bus"),
    ],
)
async def test_words_people_use_find_it(site: Site, words: str, item: str) -> None:
    assert item in await site.ids(f"?q={words}")


async def test_what_answers_best_stands_first(site: Site) -> None:
    assert (await site.ids("?q=公园"))[0] == "110000-tourism-municipal-parks"


async def test_filters_find_what_the_interface_answers(site: Site) -> None:
    catalog = site.catalog
    for region, holder, carrier, domain in [
        ("110000", "130000", "qr", ""),
        ("130100", "120000", "", "transport"),
        ("130200", "", "contact", ""),
        ("120000", "110000", "", ""),
    ]:
        query = f"?carrier={carrier}&domain={domain}&holder_region={holder}&region={region}"
        wanted = catalog.what_can(
            region, holder_region=holder or None, carrier=carrier or None, domain=domain or None, on=TODAY
        )
        assert set(await site.ids(query)) == {item.id for item in wanted}
        assert (await site.http.get(f"/catalog/data{query}")).json() == catalog.to_json(wanted)


def test_every_count_is_what_choosing_it_finds(shipped: Catalog) -> None:
    finder = Finder(shipped)
    queries = (Query(), Query(q="公交"), Query(region="130200", holder_region="110000"), Query(holder_region="other"))
    for query in queries:
        found = finder.find(query, TODAY)
        for name, counts in found.counts.items():
            for value, count in [*counts.items()][2:5]:
                other = finder.find(replace(query, **{name: value}), TODAY)  # type: ignore[arg-type]
                assert len(other.items) == count, (query, name, value)
        for looser in found.looser:
            assert len(finder.find(looser.query, TODAY).items) == looser.count


async def test_nothing_found_tells_what_to_let_go(site: Site) -> None:
    page = await site.page("?q=公园&carrier=bank_account")
    assert ids_on(page) == []
    assert "放宽一个试试" in page
    link = re.search(r'class="cat-looser">\s*<li><a [^>]*href="([^"]+)">([^<]+)', page)
    assert link is not None
    looser = (await site.http.get(html.unescape(link[1]))).text
    assert f"{len(ids_on(looser))} 项" in link[2]
    assert "换个说法" in await site.page("?q=宇宙飞船")
    two = await site.page("?q=公园&carrier=bank_account&holder_region=other")
    assert f"只按“公园”找：{len(await site.ids('?q=公园'))} 项" in two


async def test_the_announced_has_a_shelf_of_its_own(site: Site) -> None:
    page = await site.page("?domain=hrss")
    found, _, announced = page.partition('id="announced"')
    assert "数字人民币支付" in announced
    assert "数字人民币支付" not in found
    assert "日期未定" in announced


async def test_an_address_is_written_in_one_way(site: Site) -> None:
    site.http.follow_redirects = False
    messy = "/catalog/?carrier=&q=%20%E5%85%AC%E5%9B%AD++&utm=x&region=110000&region=120000&lang=en"
    answer = await site.http.get(messy)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/catalog/?q=%E5%85%AC%E5%9B%AD&region=110000&lang=en",
    )
    assert (await site.http.get(answer.headers["location"])).status_code == 200


async def test_the_language_is_kept(site: Site) -> None:
    page = await site.page("?region=110000&lang=en")
    assert '<html lang="en"' in page
    assert '<html lang="en"' in await site.page("changes")
    assert 'href="/catalog/?region=110000&amp;lang=zh"' in page


async def test_a_day_to_come_shows_its_version(site: Site) -> None:
    item = site.catalog.item(LIBRARY)
    site.shelf.released[date(2027, 1, 1)] = changed(
        site.catalog, "2027.01.1", **{LIBRARY.replace("-", "_"): {"effective_to": date(2027, 6, 30)}}
    )
    assert "2027-01-01 起有新版本" in await site.page()
    assert LIBRARY in await site.ids("?domain=culture&on=2027-01-01")
    assert LIBRARY not in await site.ids("?domain=culture&on=2027-07-01")
    later = changed(site.catalog, "2027.02.1", **{LIBRARY.replace("-", "_"): {"effective_from": date(2027, 3, 1)}})
    site.shelf.released[date(2027, 1, 10)] = later
    page = await site.page("?domain=culture&on=2027-02-01")
    assert item.name.zh in page.partition('id="announced"')[2]
    assert "2027-03-01 起" in page
    only_then = site.catalog.item(LIBRARY)
    site.shelf.packaged = changed(site.catalog, "2026.47.8", gone=LIBRARY)
    await site.page(f"items/{LIBRARY}", status=404)
    link = re.search(rf'href="(/catalog/items/{LIBRARY}[^"]*)"', page)
    assert link is not None
    then = (await site.http.get(html.unescape(link[1]))).text
    assert only_then.name.zh in then
    assert "2027-02-01 的情况" in then


async def test_every_item_has_a_page_that_says_it_all(site: Site) -> None:
    catalog = site.catalog
    titles = {source.key: source.title for source in catalog.sources}
    for item in catalog.items:
        page = html.unescape(await site.page(f"items/{item.id}"))
        texts = [item.name, item.summary, item.eligibility, item.terms, item.provider, *item.guide, *item.materials]
        texts += [titles[key] for key in item.sources] + [catalog.notice]
        texts += [text for text in (item.accessibility, item.change, item.differs) if text]
        assert [text.zh for text in texts if text.zh not in page] == [], item.id
        assert (item.standing == "inferred") == ("没有写明这里" in page)
    page = html.unescape(await site.page(f"items/{LIBRARY}?lang=en"))
    assert catalog.item(LIBRARY).terms.en in page
    assert catalog.item(LIBRARY).terms.zh not in page


async def test_places_stand_by_area(site: Site) -> None:
    doors = (
        Place("130100", Text("测试一馆", "Hall One"), Text("测试路 1 号", "1 Test Road"), date(2027, 5, 1)),
        Place("110000", Text("测试二馆", "Hall Two")),
    )
    site.shelf.packaged = changed(site.catalog, "2026.47.9", **{LIBRARY.replace("-", "_"): {"places": doors}})
    page = await site.page(f"items/{LIBRARY}")
    stand = [page.index(text) for text in ("<h3>北京市</h3>", "测试二馆", "<h3>石家庄市</h3>", "测试一馆")]
    assert stand == sorted(stand)
    assert "测试路 1 号" in page
    assert "2027-05-01 之后关闭" in page


def _said(page: str) -> tuple[str, list[str]]:
    """The verdict and its reasons."""
    verdict = re.search(r'class="cat-verdict">.*?<strong>(.*?)</strong>', page, re.S)
    reasons = re.search(r'<ul class="cat-reasons">(.*?)</ul>', page, re.S)
    assert verdict is not None
    assert reasons is not None
    return verdict[1], re.findall(r"<span>(.*?)</span></li>", html.unescape(reasons[1]))


async def test_can_i_answers_as_the_catalog_does(site: Site) -> None:
    words = {Outcome.YES: "能用", Outcome.DEPENDS: "要看情况", Outcome.NO: "不能用"}
    seen = set()
    for holder, region in [("130000", "110000"), ("110000", "110000")]:
        answers = site.catalog.what(Holder(holder, age=16, generation="3.0"), region, on=TODAY)
        for answer in answers[::9]:
            query = f"holder_region={holder}&region={region}&card=3.0&age=16"
            verdict, reasons = _said(await site.page(f"items/{answer.item.id}?{query}"))
            assert verdict == words[answer.outcome]
            assert sorted(reasons) == sorted(reason.text.zh for reason in answer.reasons)
            seen.add(verdict)
    assert seen == set(words.values())


async def test_can_i_with_a_card_from_elsewhere_and_with_the_code_alone(site: Site) -> None:
    verdict, reasons = _said(await site.page(f"items/{LIBRARY}?holder_region=other&lang=en"))
    assert (verdict, reasons[0]) == ("No", "Only cards of Beijing, Tianjin, Hebei are honoured")
    physical = next(item for item in site.catalog.items if item.is_physical_only and item.is_in_force(TODAY))
    verdict, reasons = _said(await site.page(f"items/{physical.id}?holder_region=110000&card=ecard"))
    assert verdict == "No"
    assert any(reason.startswith("Not with this carrier") for reason in reasons)


async def test_what_changed_in_a_citizens_words(site: Site) -> None:
    assert "这是第一版" in await site.page("changes")
    item = site.catalog.item(LIBRARY)
    gone = site.catalog.item("joint-culture-interlibrary-loan")
    note = Text("武清区也能借", "Also in Wuqing")
    newer = changed(
        site.catalog,
        "2026.48.1",
        gone=gone.id,
        **{LIBRARY.replace("-", "_"): {"areas": ("110000", "120000"), "version": item.version + 1, "change": note}},
    )
    site.shelf.released[TODAY] = newer
    page = html.unescape(await site.page("changes"))
    assert f"{site.catalog.version} 和 2026.48.1 之间" in page
    assert "可用地区：增加天津市" in page
    assert note.zh in page
    assert gone.name.zh in page
    assert f'<a href="/catalog/items/{gone.id}">' not in page
    assert item.name.zh in (await site.page()).partition('id="news"')[2]
    back = html.unescape(await site.page(f"changes?from=2026.48.1&to={site.catalog.version}"))
    assert "可用地区：取消天津市" in back
    assert "两个不同的版本" in await site.page("changes?from=2026.48.1&to=2026.48.1")
    await site.page("changes?from=2019.01.1", status=404)


async def test_another_region_needs_no_new_page(site: Site) -> None:
    head = site.catalog.head
    more: Any = replace(head, regions=(*head.regions, Region("140000", Text("山西省", "Shanxi"))))
    site.shelf.packaged = type(site.catalog)(more, site.catalog.items)
    page = await site.page()
    assert '<option value="140000">山西省（0）</option>' in page
    assert "各地互认" not in page


async def test_the_service_shows_what_its_interface_answers(centre: Centre) -> None:
    query = "region=110000&holder_region=130000&carrier=qr"
    shown = await centre.anyone().get(f"/catalog/data?{query}")
    assert shown.json() == (await centre.anyone().get(f"/v1/catalog?{query}")).json()
    page = await centre.anyone().get("/catalog", follow_redirects=True)
    assert (page.status_code, "一张卡，能办哪些事" in page.text) == (200, True)
