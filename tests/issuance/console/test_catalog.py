"""The catalog in the console: from draft to release over three provinces, by whom, and what is refused."""

from __future__ import annotations

import io
import zipfile
from datetime import date, timedelta
from html.parser import HTMLParser

import pytest

from apps_catalog.catalog import DATA, read_catalog, read_files
from apps_catalog.errors import CatalogError
from tests.issuance.conftest import START, Centre, both_engines
from tests.issuance.console.catalog_stand import HEBEI, REVIEWERS, current, drafted, provinces
from tests.issuance.console.conftest import Browser, Console

__all__ = ["provinces"]
TODAY = START.date()
LIBRARY, CITY, BEIJING = "joint-hrss-card-loss", "130000-government-housing-fund", "110000-credit-campus"
PACKAGED = read_catalog(read_files(DATA))


class _Fields(HTMLParser):
    """What a browser sends of the form `#item`."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._is_in = False
        self._area = self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self._is_in = known.get("id") == "item" if tag == "form" else self._is_in
        name = known.get("name", "")
        if not self._is_in:
            return
        if tag == "textarea":
            self._area = name
            self.values[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self.values or "selected" in known):
            self.values[self._select] = known["value"]
        elif tag == "input" and (known.get("type") != "checkbox" or "checked" in known):
            self.values[name] = known.get("value", "")

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._area = ""
        elif tag == "form":
            self._is_in = False


def fields(browser: Browser) -> dict[str, str]:
    parser = _Fields()
    parser.feed(browser.text)
    return parser.values


async def save(browser: Browser, path: str, **changed: str) -> str:
    """The item's form as it is shown, with `changed`; `__` is a dot."""
    sent = fields(browser) | {name.replace("__", "."): value for name, value in changed.items()}
    return browser._shown(await browser.http.post(path, data=sent))


async def step(browser: Browser, at: str, name: str) -> str:
    await browser.get(f"{at}/steps/{name}")
    return await browser.post(f"{at}/steps/{name}")


async def say(console: Console, at: str, login: str, *, accepts: bool = True, reason: str = "") -> Browser:
    browser = await console.log_in(login)
    await browser.get(at)
    await browser.post(f"{at}/review", accepts="true" if accepts else "false", reason=reason)
    return browser


async def changed(console: Console) -> tuple[Browser, str]:
    """A draft of Hebei's editor with one change."""
    editor, at = await drafted(console)
    await editor.get(f"{at}/items/{HEBEI}")
    await save(editor, f"{at}/items/{HEBEI}", change__zh="写明时限", change__en="Period named", terms__zh="当场。")
    assert "已保存" in editor.words, editor.words
    assert "还没有保存" not in editor.words
    return editor, at


@both_engines
async def test_from_draft_to_release_and_back(provinces: Console) -> None:
    centre = provinces.centre
    editor, at = await changed(provinces)
    assert "办理条件：原为" in await editor.get(at)
    assert "河北省 1 项" in editor.words
    assert '"当场。"' in editor.words, "data is to be read"
    await step(editor, at, "hand_in")
    assert "已送审" in editor.words, editor.words
    await editor.get(f"{at}/items/{HEBEI}")
    assert 'id="item"' not in editor.text, "what is handed in is not changed"
    no = await say(provinces, at, "jin-review", accepts=False)
    assert no.status == 400, "a no has its reason"
    await say(provinces, at, "jin-review", accepts=False, reason="时限没有依据")
    chief = await provinces.log_in("jing-chief")
    await chief.get(f"{at}/release")
    later = TODAY + timedelta(days=30)
    await chief.post(f"{at}/release", effective=later.isoformat(), reason="三地一致")
    assert (chief.status, "还缺" in chief.words) == (409, True)
    for login in REVIEWERS:
        assert "意见已记下" in (await say(provinces, at, login)).words
    await chief.get(f"{at}/release")
    for wrong in ("", "昨天", "2025-12-31", "9999-12-31"):
        await chief.post(f"{at}/release", effective=wrong, reason="三地一致")
        assert chief.status == 400, wrong
    await chief.post(f"{at}/release", effective=later.isoformat(), reason="三地一致")
    assert "已发布。" in chief.words, chief.words
    catalogs = centre.app.state.services.catalogs
    assert (await catalogs.current()).item(HEBEI).terms.zh != "当场。"
    now = await catalogs.current(later)
    assert (now.item(HEBEI).terms.zh, now.item(HEBEI).version) == ("当场。", PACKAGED.item(HEBEI).version + 1)
    assert now.version == (await catalogs.releases())[-1].number
    assert read_catalog(await catalogs.files(later)).items == now.items
    centre.restart()
    assert (await centre.app.state.services.catalogs.current(later)).items == now.items

    await _back(provinces, later, now.version)


async def _back(console: Console, later: date, number: str) -> None:
    chief = await console.log_in("jing-chief")
    await chief.get("/console/catalog")
    first = chief.text.rpartition("/console/catalog/")[2].partition('"')[0]
    await chief.get(f"/console/catalog/{first}/rollback")
    await chief.post(f"/console/catalog/{first}/rollback", reason="时限有误")
    assert "已起草退回的版本并送审" in chief.words, chief.words
    at = chief.path
    for login in REVIEWERS:
        await say(console, at, login)
    await chief.get(f"{at}/release")
    await chief.post(f"{at}/release", effective=later.isoformat(), reason="退回")
    assert (chief.status, "APPROVAL_SELF" in chief.words) == (403, True)
    console.centre.store.sql("UPDATE catalog_versions SET drafted_by = 'x', handed_in_by = 'x' WHERE again IS NOT NULL")
    await chief.get(f"{at}/release")
    await chief.post(f"{at}/release", effective=later.isoformat(), reason="退回")
    catalogs = console.centre.app.state.services.catalogs
    assert (await catalogs.current(later)).items == PACKAGED.items
    assert (await catalogs.current(later)).version > number
    acts = console.centre.store.sql("SELECT act, clerk, region, detail FROM audit_entries WHERE act LIKE 'catalog.%'")
    assert [act for act, *_ in acts][:3] == ["catalog.draft", "catalog.change", "catalog.hand_in"]
    assert all("content_sm3" in detail for act, _, _, detail in acts if act == "catalog.review")


async def test_who_may_do_what(provinces: Console) -> None:
    """By act, region and four eyes."""
    editor, at = await changed(provinces)
    await editor.get(f"{at}/items/{BEIJING}")
    assert "您只能看" in editor.words
    await editor.get(f"{at}/items/{HEBEI}")
    await save(editor, f"{at}/items/{BEIJING}", id=BEIJING)
    assert editor.status == 403, "of another province"
    city = await provinces.log_in("shi-edit")
    for item, status in ((CITY, 200), (HEBEI, 403), (LIBRARY, 403)):
        await city.get(f"{at}/items/{CITY}")
        await save(city, f"{at}/items/{item}", change__zh="改", change__en="Changed", terms__en="At the counter.")
        assert city.status == status, item
    await city.get(f"{at}/items/{CITY}")
    await save(city, f"{at}/items/{CITY}", areas__130200="true")
    assert city.status == 403, "of another city"
    reviewer = await provinces.log_in("jing-review")
    for path in ("/items/new", "/import", "/steps/hand_in", "/release"):
        await reviewer.get(at + path)
        assert reviewer.status == 403, path
    await reviewer.get(at)
    await reviewer.post(f"{at}/review", accepts="true", round="0")
    assert reviewer.status == 409, "a draft is not reviewed"
    both = await provinces.log_in("jing-both")
    await both.get(f"{at}/items/{LIBRARY}")
    await save(both, f"{at}/items/{LIBRARY}", change__zh="改", change__en="Changed", terms__en="At the counter.")
    await step(both, at, "hand_in")
    for login, code in (("jing-both", "APPROVAL_SELF"), ("shi-edit", "ACT_FORBIDDEN"), ("ji-edit", "ACT_FORBIDDEN")):
        browser = await provinces.log_in(login)
        await browser.get(at)
        await browser.post(f"{at}/review", accepts="true", round="1")
        assert (browser.status, code in browser.words) == (403, True), login
    await say(provinces, at, "jin-review")
    provinces.centre.store.sql("UPDATE catalog_edits SET access_by = 'ji-review' WHERE act = 'hand_in'")
    gave = await say(provinces, at, "ji-review")
    assert (gave.status, "APPROVAL_SELF" in gave.words) == (403, True), "gave access to who handed it in"
    await step(both, at, "take_back")
    await step(both, at, "hand_in")
    assert "不再算数" in await both.get(f"{at}?view=course")
    await reviewer.get(at)
    await reviewer.post(f"{at}/review", accepts="true", round="1")
    assert (reviewer.status, "内容已经改过" in reviewer.words) == (409, True), "said of another round"
    await step(both, at, "drop")
    await step(both, at, "take_back")
    assert both.status == 409


async def test_a_fault_is_shown_at_its_field_and_nothing_is_lost(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    path = f"{at}/items/{HEBEI}"
    await editor.get(path)
    before = fields(editor)
    await save(
        editor, path, change__zh="改", change__en="改", name__en="", rule__age_from="200", summary__zh="<b>新的</b>"
    )
    assert editor.status == 400
    shown = fields(editor)
    assert {name: shown[name] for name in before if before[name] != shown[name]} == {
        "key": shown["key"], "change.zh": "改", "change.en": "改", "name.en": "", "summary.zh": "<b>新的</b>",
        "rule.age_from": "200",
    }  # fmt: skip
    for name, words in (("name.en", "不能为空"), ("rule.age_from", "0到150"), ("change.en", "英文栏里有汉字")):
        assert words in editor.text.partition(f'id="{name}-error"')[2][:400], name
        assert f'href="#{name}"' in editor.text
    await save(editor, path, change__en="Changed", name__en="At once", rule__age_from="16")
    assert (editor.status, "有变化" in editor.words) == (200, True)
    await save(editor, path, change__en="", **dict.fromkeys(before_sources(before), ""))
    assert 'href="#sources-group"' in editor.text
    await editor.get(path)
    await save(editor, f"{path}/restore")
    assert "恢复" in editor.words
    assert editor.text.count("原为") == 0
    await editor.get(at)
    assert "和现行版本一样" in editor.words
    await step(editor, at, "hand_in")
    assert (editor.status, "没有差别" in editor.words) == (409, True)


def before_sources(values: dict[str, str]) -> list[str]:
    return [name.replace(".", "__") for name in values if name.startswith("sources.")]


async def test_what_lint_finds_is_linked_and_not_handed_in(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    path = f"{at}/items/{LIBRARY}"
    await editor.get(path)
    every = {name: "" for name in fields(editor) if name.startswith("rule.card_states.")}
    note = {"change__zh": "改", "change__en": "Changed", "rule__card_states__cancelled": "true"}
    await save(editor, path, **dict.fromkeys((name.replace(".", "__") for name in every), "") | note)
    assert "已保存" in editor.words, editor.words
    await editor.get(f"{at}?view=check")
    assert f'href="{path}"' in editor.text
    assert "只有已注销的卡符合条件" in editor.words
    await step(editor, at, "hand_in")
    assert (editor.status, "还有1处要改" in editor.words) == (409, True)


async def test_an_untouched_form_changes_nothing(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    for item in (HEBEI, LIBRARY, CITY, "joint-transport-metro"):
        if item in {known.id for known in PACKAGED.items}:
            await editor.get(f"{at}/items/{item}")
            await save(editor, f"{at}/items/{item}", change__zh="没有改", change__en="Nothing")
            assert editor.status == 200, editor.words
    await editor.get(at)
    assert "和现行版本一样" in editor.words


async def test_the_second_of_two_editors_sees_what_changed(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    path = f"{at}/items/{LIBRARY}"
    other = await provinces.log_in("jing-edit")
    await other.get(path)
    await editor.get(path)
    note = {"change__zh": "改", "change__en": "Changed"}
    await save(editor, path, **note, terms__zh="先到先办。")
    await save(other, path, **note, terms__zh="按预约办。", provider__zh="各区大厅")
    assert (other.status, "ji-edit" in other.words, "先到先办" in other.words) == (409, True, True)
    assert fields(other)["terms.zh"] == "按预约办。", "what was typed is there"
    await save(other, path)
    assert "已保存" in other.words, other.words
    await editor.get(path)
    assert (fields(editor)["terms.zh"], fields(editor)["provider.zh"]) == ("按预约办。", "各区大厅")
    await save(editor, f"{path}/remove", seen="1")
    assert editor.status == 409, "nor is it taken out over a change not seen"


async def test_items_come_and_go_and_come_back(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    await editor.get(f"{at}/items/new?owner=joint")
    new = {"domain": "culture", "slug": "night-museum", "areas__130000": "true", "holders__local": "true"}
    texts = {
        f"{name}__{side}": text
        for name in ("name", "summary", "department", "provider", "eligibility", "terms")
        for side, text in (("zh", "夜间博物馆"), ("en", "Museums at night"))
    }
    chosen = {"carriers__contact": "true", "functions__identity": "true", "channels__offline": "true"}
    more = {"effective_from": "2026-02-01", "sources__provisions-2024": "true"}
    await save(editor, f"{at}/items/new", **new, **texts, **chosen, **more)
    assert editor.path.endswith("/items/joint-culture-night-museum"), editor.words
    await editor.get(f"{at}/items/new?owner=joint")
    await save(editor, f"{at}/items/new", **new, **texts, **chosen, **more)
    assert (editor.status, "编号已被" in editor.words) == (400, True)
    path = f"{at}/items/{HEBEI}"
    await editor.get(path)
    await save(editor, f"{path}/remove")
    await editor.get(f"{at}/items/new?owner=130000")
    await save(
        editor, f"{at}/items/new", **new | {"domain": "hrss", "slug": "instant-issue"}, **texts, **chosen, **more
    )
    assert (editor.status, "编号已被" in editor.words) == (400, True), "what was taken out is put back instead"
    await editor.get(at)
    assert "不再提供" in editor.words
    assert "新增：夜间博物馆" in editor.words
    await editor.get(f"{at}/items?owner=130000")
    await editor.post(f"{path}/restore", seen="2")
    assert editor.status == 200, editor.words
    packed = zipfile.ZipFile(io.BytesIO((await editor.http.get(f"{at}/files.zip")).content))
    files = {name: packed.read(name) for name in packed.namelist()}
    assert {name for name, raw in files.items() if raw != read_files(DATA)[name]} == {
        "catalog.toml",
        "joint-living.toml",
    }
    assert {item.id for item in read_catalog(files).items} - {item.id for item in PACKAGED.items} == {
        "joint-culture-night-museum"
    }


async def test_lists_and_files_come_in_whole_or_with_a_report(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    shared = (
        'owner = "130000"\n[defaults]\nlevel = "province"\nareas = ["130000"]\nholders = ["local"]\n'
        'carriers = ["contact"]\n'
        'functions = ["identity"]\nchannels = ["offline"]\nvalidation = "online"\nstanding = "stated"\nversion = 1\n'
        'sources = ["provisions-2024"]\neffective_from = 2026-01-01\ndepartment = { zh = "部门", en = "Department" }\n'
    )
    texts = ("name", "summary", "provider", "eligibility", "terms")
    heads = ",".join(["id", "领域", *(f"{name}_{side}" for name in texts for side in ("zh", "en"))])
    good = "130000-culture-fair,culture,庙会,Fair,庙会,Fair,县里,County,人人,Everybody,无,None"

    async def bring(name: str, data: str, **typed: str) -> str:
        await editor.get(f"{at}/import")
        files = {"file": (name, data.encode()), "defaults": ("d.toml", shared.encode())}
        return await editor.post(f"{at}/import", files=files, owner="130000", **typed)

    await bring("新 清单.csv", f"{heads}\n{good.replace('Fair', '庙会', 1)}\n{good}\n")
    assert (editor.status, "没有导入，1 处要改" in editor.words) == (400, True), editor.words
    assert "英文栏里有汉字" in editor.words
    await bring("新 清单.csv", f"{heads}\n{good}\n")
    assert "已导入" in editor.words, editor.words
    assert "新增：庙会" in editor.words
    beijing = (DATA / "110000.toml").read_text(encoding="utf-8")
    await bring("110000.toml", beijing.replace("仅实体卡。", "只收实体卡。"))
    assert (editor.status, "ACT_FORBIDDEN" in editor.words) == (403, True)
    await bring("110000.toml", beijing)
    assert (await editor.get(f"{at}?view=course")).count("<time>") == 2, "what says the same is no change"
    head = (DATA / "catalog.toml").read_text(encoding="utf-8")
    await bring(
        "catalog.toml",
        head + '[[source]]\nkey = "new-law"\ntitle = { zh = "新法", en = "New law" }\nconfidence = "high"\n',
    )
    assert "共用部分也有变化" in await editor.get(at)
    city = await provinces.log_in("shi-edit")
    await city.get(f"{at}/import")
    await city.post(f"{at}/import", files={"file": ("catalog.toml", head.encode())}, owner="130000")
    assert city.status == 403, "an office below the province"
    await bring("130000.toml", 'owner = "130000"\n[[item]]\nid = 3\n')
    assert (editor.status, "130000.toml:3:1" in editor.words) == (400, True)
    await bring("x.xlsx", "PK no workbook")
    assert (editor.status, "打不开这个XLSX工作簿" in editor.words) == (400, True)
    assert "照“导出文件”里同类文件的写法改" in editor.words
    await bring("x.csv", f"{heads},颜色\n{good},红\n")
    assert (editor.status, "不认识栏目“颜色”" in editor.words) == (400, True)
    await editor.get(f"{at}/import")
    await bring("130000.csv", f"{heads}\n{good}\n", seen="0")
    assert (editor.status, "草稿已被改动" in editor.words) == (409, True)


async def test_a_draft_catches_up_with_a_release(provinces: Console) -> None:
    editor, slow = await changed(provinces)
    other = await provinces.log_in("jing-edit")
    await other.get("/console/catalog")
    await other.post("/console/catalog/draft", reason="急")
    fast = other.path
    await other.get(f"{fast}/items/{LIBRARY}")
    await save(other, f"{fast}/items/{LIBRARY}", change__zh="改", change__en="Changed", terms__zh="即时。")
    await step(other, fast, "hand_in")
    for login in REVIEWERS:
        await say(provinces, fast, login)
    chief = await provinces.log_in("jing-chief")
    await chief.get(f"{fast}/release")
    await chief.post(f"{fast}/release", effective=TODAY.isoformat(), reason="急")
    assert "已发布。" in chief.words, chief.words
    await step(editor, slow, "hand_in")
    assert (editor.status, "请先跟上" in editor.words) == (409, True)
    await step(editor, slow, "catch_up")
    assert "已跟上" in editor.words, editor.words
    assert "河北省 1 项" in editor.words
    assert "即时。" in await editor.get(f"{slow}/items/{LIBRARY}")
    await step(editor, slow, "hand_in")
    assert "已送审" in editor.words


async def test_what_is_no_address(provinces: Console) -> None:
    editor, at = await drafted(provinces)
    for path in (
        f"/console/catalog/{'0' * 32}",
        f"/console/catalog/{'0' * 32}/items",
        f"{at}/items/joint-x-nothing",
        f"{at}/items/..%2f..%2fx",
        f"{at}/steps/publish",
        "/console/catalog/zz",
    ):
        await editor.get(path)
        assert editor.status == 404, path


async def test_nothing_was_released(centre: Centre) -> None:
    catalog = await current(centre)
    services = centre.app.state.services
    assert catalog is services.catalog
    assert [one.number for one in await services.catalogs.releases()] == [catalog.version]
    assert read_catalog(await services.catalogs.files()).items == catalog.items


async def test_files_changed_behind_the_service_are_not_used(provinces: Console) -> None:
    await drafted(provinces)
    provinces.centre.store.sql("UPDATE catalog_files SET text = text || '# more' WHERE name = '110000.toml'")
    provinces.centre.restart()
    with pytest.raises(CatalogError, match="not the file that was drafted"):
        await provinces.centre.app.state.services.catalogs.current(TODAY + timedelta(days=900))
