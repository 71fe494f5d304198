"""Cards on the console: found, acted on through a page that names card and effect, printed; never in an address."""

from __future__ import annotations

import re

import pytest

from issuance.console.file_parts import Part
from issuance.console.paper import paper
from issuance.console.slips import Line, slip, text_width
from tests.issuance.conftest import Centre, application
from tests.issuance.console.conftest import Browser, Console
from tests.issuance.phone import Phone

NAME = application(1)["person"]["name"]
NUMBER = application(1)["person"]["social_security_number"]


@pytest.fixture
async def card(console: Console, centre: Centre) -> dict[str, str]:
    """An issued card: `number`, and the `path` of its page."""
    await centre.stock()
    number = (await centre.issue(1))["card_number"]
    ((issued,),) = centre.store.sql("SELECT application_id FROM cards")
    return {"number": number, "path": f"/console/cards/{issued}"}


async def act(browser: Browser, card: dict[str, str], which: str, **fields: str) -> str:
    await browser.get(f"{card['path']}/acts/{which}")
    return await browser.post(f"{card['path']}/acts/{which}", **fields)


@pytest.mark.parametrize("wanted", ["name", "number", "card"])
async def test_found_by_name_number_and_card(console: Console, card: dict[str, str], wanted: str) -> None:
    browser = await console.log_in("caiji")
    await browser.post("/console/search", q={"name": NAME, "number": NUMBER, "card": card["number"]}[wanted])
    if wanted == "card":
        assert browser.path == card["path"]
    else:
        assert f'href="{card["path"]}"' in browser.text
        assert "看卡片" in browser.words
    for text in (NUMBER, card["number"]):
        assert text not in browser.text.replace(f'value="{text}"', "")
    await browser.post("/console/search", q="没有这人")
    assert "没有找到" in browser.words


async def test_the_counter_finds_the_card_in_the_reader(console: Console, card: dict[str, str]) -> None:
    browser = await console.log_in("caiji")
    await browser.get("/console/counter")
    assert 'data-agents="[&#34;http://127.0.0.1:12343&#34;]"' in browser.text
    await browser.post("/console/counter", card_number=card["number"])
    assert browser.path == card["path"]
    await browser.get("/console/counter")
    await browser.post("/console/counter", card_number="A99999990")
    assert browser.status in (400, 404)


async def test_the_phones_of_a_card(console: Console, centre: Centre, card: dict[str, str]) -> None:
    browser = await console.log_in("caiji")
    await browser.get(card["path"])
    assert "还没有签发到手机" in browser.words
    await Phone(centre).sign_up(1, card["number"])
    await browser.get(card["path"])
    assert "已绑定" in browser.words


async def test_lost_replaced_and_made_again(console: Console, card: dict[str, str]) -> None:
    browser = await console.log_in("caiji")
    await browser.get(f"{card['path']}/acts/loss")
    assert "正式挂失 · A0000****" in browser.words
    await browser.post(f"{card['path']}/acts/loss")
    assert "已正式挂失" in browser.words
    await act(browser, card, "replace", cause="lost")
    assert browser.path.startswith("/console/applications/")
    assert "补换卡" in browser.words
    await browser.get(card["path"])
    assert "正在办补换卡" in browser.words


async def test_two_clerks_at_one_card(console: Console, card: dict[str, str]) -> None:
    first, second = await console.log_in("caiji"), await console.log_in("faka")
    await second.get(f"{card['path']}/acts/lock")
    await act(first, card, "block")
    await second.post(f"{card['path']}/acts/lock")
    assert (second.status, "CONFLICT" in second.words) == (409, True)
    await second.get(f"{card['path']}/acts/lock")
    assert "不能办“锁定应用”" in second.words
    await act(second, card, "release")
    assert "挂失已取消" in second.words


async def test_who_may_not_cannot(console: Console, card: dict[str, str]) -> None:
    browser = await console.log_in("fuhe")
    await browser.get(card["path"])
    assert "/acts/loss" not in browser.text
    await browser.get(f"{card['path']}/acts/loss")
    assert browser.status == 403
    await browser.get(card["path"])
    await browser.post(f"{card['path']}/acts/loss", version="1")
    assert browser.status == 403
    await browser.get(f"{card['path']}/acts/nothing")
    assert browser.status == 404


async def test_changed_data_wait_for_the_chip(console: Console, card: dict[str, str]) -> None:
    browser = await console.log_in("caiji")
    await act(browser, card, "change")
    assert browser.status == 400
    await act(browser, card, "change", name="测试改")
    assert "测试改" in browser.words
    assert "芯片还没有重写" in browser.words
    assert "/rewrite" in browser.text


async def test_begun_sessions_are_asked_of_the_clerks_rights(
    console: Console, card: dict[str, str], centre: Centre
) -> None:
    issuer, reviewer = await console.log_in("faka"), await console.log_in("shenji")
    path = card["path"].replace("/console/cards/", "/console/counter/cards/") + "/pin_reset"
    await issuer.get(path)
    token = re.search(r'data-csrf="([^"]+)"', issuer.text)
    assert token is not None
    headers = {"X-CSRF-Token": token[1], "Accept": "application/json"}
    assert (await issuer.http.post(f"{path}/begin", headers=headers)).status_code == 204
    assert centre.store.sql("SELECT clerk FROM audit_entries WHERE act = 'card.begin'") == [("faka",)]
    assert (await issuer.http.post(f"{path}/begin", headers=headers | {"X-CSRF-Token": "x"})).status_code == 403
    await reviewer.get(path)
    assert reviewer.status == 403


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_slips_are_pdf_and_masked(console: Console, card: dict[str, str], language: str) -> None:
    browser = await console.log_in("caiji", language)
    for path in (card["path"], card["path"].replace("/cards/", "/applications/")):
        response = await browser.http.get(f"{path}/slip.pdf")
        assert response.headers["content-type"] == "application/pdf"
        text = pdf_text(response.content)
        assert "12333" in text
        assert "A0000****" in text
        assert NUMBER not in text
        assert NUMBER[-4:] in text


def pdf_text(pdf: bytes) -> str:
    """What a slip shows, as its own fonts encode it."""
    shown = re.findall(rb"(?:<([0-9A-F]*)>|\(((?:\\.|[^\\)])*)\)) Tj", pdf)
    return "".join(bytes.fromhex(h.decode()).decode("utf-16-be") if h else t.decode() for h, t in shown)


LONG_NAME = "古丽巴哈尔·阿卜杜热合曼江·买买提依明阿卜杜喀迪尔·艾合买提"
LONG_OFFICE = "示例自治区示例自治州示例自治县社会保险服务中心（示例乡便民服务大厅）示例窗口 · " + "Social Security " * 4


def test_nothing_long_is_cut_off_on_paper() -> None:
    why = "持卡人的母亲到窗口查询，" * 21
    rows = [[LONG_NAME, "2026-01-05", LONG_OFFICE]] * 40
    part = Part("cards", "卡片", ["姓名", "日期", "机构"], rows, [2, 1, 3], is_cut=False)
    printed = paper(LONG_OFFICE, "一人一档", [("姓名", LONG_NAME)], [part], why)
    for pdf in (slip([Line(LONG_OFFICE, 10), Line(f"姓名：{LONG_NAME}")], title="回执"), printed):
        assert LONG_NAME in pdf_text(pdf)
        for page in pdf.split(b"/MediaBox")[1:]:
            width = float(page.split()[2])
            texts = SHOWN.findall(page)
            assert len(texts) == page.count(b"Tj ET"), "what is below the edge has a sign"
            right = max(float(x) + text_width(pdf_text(shown), float(size)) for shown, size, x, _ in texts)
            assert right <= width - 4 * 72 / 25.4 + 0.01
            foot = [float(y) for _, size, _, y in texts if size == b"7"]
            assert max(foot, default=0) + 7 < min(float(y) for _, size, _, y in texts if size != b"7")


SHOWN = re.compile(rb"(BT /\w ([\d.]+) Tf ([\d.]+) ([\d.]+) Td [^\n]* Tj) ET")


def test_a_slip_breaks_lines_and_finds_its_objects() -> None:
    long = "下一步，" + "请等短信通知" * 12 + " word " * 20 + "(end)"
    pdf = slip([Line(long), Line(is_rule=True), Line("")], title="回执")
    assert pdf_text(pdf).replace(" ", "").replace("\\", "") == long.replace(" ", "")
    assert pdf.count(b"Tj ET") > 5
    table = int(re.search(rb"startxref\n(\d+)", pdf)[1])  # type: ignore[index]
    assert pdf[table : table + 4] == b"xref"
    places = re.findall(rb"(\d{10}) 00000 n", pdf)
    assert [pdf[int(place) :].split(b" ", 1)[0] for place in places] == [b"%d" % n for n in range(1, len(places) + 1)]
