"""A clerk collects, another one reviews, and only then a card is bound: adults, minors, newborns."""

from __future__ import annotations

from typing import Any

import pytest

from cardlib.identity import citizen_number
from issuance.console import applications
from issuance.progress.receipts import grouped
from simulators.portrait import Portrait
from tests.issuance.conftest import GUARDIAN, Centre, ok, refused
from tests.issuance.console.conftest import Browser, Console
from tests.issuance.console.test_cards import pdf_text

ADULT = citizen_number("99010019900101001")
CHILD = citizen_number("99010020180601001")
BABY = citizen_number("99010020251220001")


async def collect(browser: Browser, number: str = ADULT, who: str = "adult", **more: str) -> str:
    """Returns the application's id."""
    await browser.get(f"/console/collect?who={who}")
    person = {"person__name": "测试甲", "person__social_security_number": number, "person__birthplace": "990100"}
    await browser.post("/console/collect", **person, person__ethnic_group="01", delivery__way="counter", **more)
    assert browser.path.startswith("/console/applications/"), browser.words
    return browser.path.rpartition("/")[2]


async def test_collected_reviewed_by_another_clerk_then_made(console: Console, centre: Centre) -> None:
    collector, reviewer = await console.log_in("caiji"), await console.log_in("fuhe")
    (blank,) = await centre.stock()
    application = await collect(collector, with_ecard="true")
    assert "这笔是您受理的" in collector.words
    assert ADULT not in collector.text
    assert "990***********" in collector.text
    body = {"kind": "personalization", "atr": blank, "application_id": application}
    refused(await centre.as_("terminal").post("/v1/card-sessions", json=body), "APPLICATION_STATE", 409)

    await reviewer.get("/console/reviews")
    assert f'href="/console/applications/{application}"' in reviewer.text
    await reviewer.get(f"/console/applications/{application}")
    await reviewer.post(f"/console/applications/{application}/review")
    assert "复核通过" in reviewer.words
    await reviewer.get("/console/reviews")
    assert "没有要复核的" in reviewer.words
    outcome = await centre.run(ok(await centre.start(application, blank), 201))
    assert outcome["result"]["card_number"]
    await collector.get(f"/console/cards/{application}")
    assert "正常" in collector.words


async def test_the_same_form_twice_is_one_application(console: Console, centre: Centre) -> None:
    browser = await console.log_in("caiji")
    await browser.get("/console/collect")
    form = browser.text
    fields = {"person__name": "测试甲", "person__social_security_number": ADULT, "person__birthplace": "990100"}
    await browser.post("/console/collect", **fields, person__ethnic_group="01")
    first = browser.path
    browser.text = form
    await browser.post("/console/collect", **fields, person__ethnic_group="01")
    assert browser.path == first
    assert centre.store.sql("SELECT count(*) FROM applications") == [(1,)]


async def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(console: Console) -> None:
    browser = await console.log_in("caiji")
    await browser.get("/console/collect")
    wrong = ADULT[:-1] + ("1" if ADULT[-1] != "1" else "2")
    await browser.post(
        "/console/collect", person__name="测试甲", person__social_security_number=wrong, person__birthplace="990100"
    )
    assert browser.status == 400
    assert f'value="{wrong}"' in browser.text
    assert 'id="person.social_security_number-error"' in browser.text
    assert "person.birth_date-error" not in browser.text, "what follows from the number is not blamed"


@pytest.mark.parametrize("who", ["minor", "adult"])
async def test_a_child_needs_its_guardian(console: Console, who: str) -> None:
    browser = await console.log_in("caiji")
    await browser.get(f"/console/collect?who={who}")
    person = {"person__name": "测试小", "person__social_security_number": CHILD, "person__birthplace": "990100"}
    await browser.post("/console/collect", **person, person__ethnic_group="01")
    assert browser.status == 400
    assert 'name="guardian.name"' in browser.text, "the form that asks for one"
    guardian = {f"guardian__{name}": value for name, value in GUARDIAN.items()}
    await browser.post("/console/collect", **person, person__ethnic_group="01", **guardian)
    assert "测*父" in browser.words


async def test_a_newborn_waits_for_its_name_and_then_for_review(console: Console, centre: Centre) -> None:
    browser = await console.log_in("caiji")
    await browser.get("/console/collect?who=newborn")
    parent: dict[str, Any] = {
        "mother__name": "测试母",
        "mother__social_security_number": citizen_number("99010019870202002"),
        "mother__telephone": "13900000000",
    }
    child = {"child__birth_date": "2025-12-20", "child__sex": "1", "child__birthplace": "990100"}
    await browser.post(
        "/console/collect/newborns",
        certificate_number="Z990000001",
        hospital="示例妇幼保健院",
        child__ethnic_group="01",
        applicant="mother",
        **child,
        **parent,
    )
    assert browser.path.startswith("/console/collect/newborns/"), browser.words
    waiting = browser.path
    ((receipt,),) = centre.store.sql("SELECT receipt_number FROM newborns")
    slip = pdf_text((await browser.http.get(f"{waiting}/slip.pdf")).content)
    assert grouped(receipt) in slip
    assert "测试母" not in slip
    citizen = console.anyone()
    await citizen.get("/progress/")
    await citizen.post("/progress/", receipt_number=receipt, check=parent["mother__social_security_number"][-6:])
    assert "等孩子的姓名和号码" in citizen.words
    await browser.get(waiting)
    await browser.post(waiting, name="测试宝", social_security_number=BABY)
    await citizen.post("/progress/", receipt_number=receipt, check=parent["mother__social_security_number"][-6:])
    assert citizen.status == 404
    await citizen.post("/progress/", receipt_number=receipt, check=BABY[-6:])
    assert citizen.status == 200
    assert browser.path.startswith("/console/applications/"), browser.words
    assert "新生儿申领" in browser.words
    assert "等复核" in browser.words
    reviewer = await console.log_in("fuhe")
    await reviewer.get("/console/reviews")
    assert "测试宝" in reviewer.words


async def test_a_returned_application_is_over_and_says_why(console: Console) -> None:
    collector, reviewer = await console.log_in("caiji"), await console.log_in("fuhe")
    application = await collect(collector)
    path = f"/console/applications/{application}"
    await reviewer.get(path)
    await reviewer.post(f"{path}/review", word="return", reason="")
    assert reviewer.status == 400
    await reviewer.post(f"{path}/review", word="return", reason="相片不是本人")
    assert "相片不是本人" in reviewer.words
    await collector.get(path)
    assert "已退回" in collector.words


async def test_nobody_reviews_what_they_collected(console: Console, centre: Centre) -> None:
    collector = await console.log_in("caiji")
    application = await collect(collector)
    centre.store.sql("UPDATE clerks SET roles = '[\"collector\", \"reviewer\"]' WHERE login = 'caiji'")
    await collector.get(f"/console/applications/{application}")
    assert f"{application}/review" not in collector.text
    await collector.post(f"/console/applications/{application}/review", word="accept")
    assert (collector.status, "APPROVAL_SELF" in collector.words) == (403, True), collector.words


async def test_photo_is_looked_at_by_the_clerk_where_nothing_measures_it(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "face_finder", lambda: None)
    browser = await console.log_in("caiji")
    path = f"/console/applications/{await collect(browser)}"
    await browser.post(f"{path}/photo", files={"picture": ("a.jpg", Portrait(width=100).jpeg())}, taken_on="2026-01-04")
    assert "PHOTO_REJECTED" in browser.words
    await browser.post(f"{path}/photo", files={"picture": ("a.jpg", Portrait().jpeg())}, taken_on="2026-01-04")
    assert "/photos/" in browser.path, browser.words
    picture = await browser.http.get(browser.text.partition('<img src="')[2].partition('"')[0])
    assert picture.headers["content-type"] == "image/jpeg"
    await browser.post(browser.path, word="good")
    assert browser.path == path
    assert "相片合格" in browser.words


async def test_a_photo_exchanged_after_the_review_is_reviewed_again(
    console: Console, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applications, "face_finder", lambda: None)
    collector, reviewer = await console.log_in("caiji"), await console.log_in("fuhe")
    path = f"/console/applications/{await collect(collector)}"
    await reviewer.get(path)
    await reviewer.post(f"{path}/review", word="accept")
    assert centre.store.sql("SELECT state FROM application_reviews") == [("accepted",)]
    await collector.get(path)
    picture = {"picture": ("a.jpg", Portrait().jpeg())}
    await collector.post(f"{path}/photo", files=picture, taken_on="2026-01-04")
    await collector.post(collector.path, word="good")
    assert "等复核" in collector.words
    assert centre.store.sql("SELECT state, collected_by, reviewed_by FROM application_reviews") == [
        ("waiting", "caiji", None)
    ]
    await reviewer.get(path)
    await reviewer.post(f"{path}/review", word="accept")
    assert centre.store.sql("SELECT state FROM application_reviews") == [("accepted",)]


@pytest.mark.parametrize("order", [("caiji", "faka"), ("faka", "caiji")])
async def test_nobody_reviews_a_photo_they_chose(
    console: Console, centre: Centre, monkeypatch: pytest.MonkeyPatch, order: tuple[str, str]
) -> None:
    """Whoever chose one before or after another clerk did."""
    monkeypatch.setattr(applications, "face_finder", lambda: None)
    both = "UPDATE clerks SET roles = '[\"collector\", \"reviewer\"]' WHERE login IN ('fuhe', 'faka', 'caiji')"
    centre.store.sql(both)
    collector = await console.log_in("fuhe")
    path = f"/console/applications/{await collect(collector)}"
    picture = {"picture": ("a.jpg", Portrait().jpeg())}
    browsers = {login: await console.log_in(login) for login in order}
    for browser in browsers.values():
        await browser.get(path)
        await browser.post(f"{path}/photo", files=picture, taken_on="2026-01-04")
        await browser.post(browser.path, word="good")
    for browser in (*browsers.values(), collector):
        await browser.get(path)
        assert f"{path}/review" not in browser.text
        await browser.post(f"{path}/review", word="accept")
        assert (browser.status, "APPROVAL_SELF" in browser.words) == (403, True), browser.words
    centre.store.sql("UPDATE clerks SET roles = '[\"reviewer\"]' WHERE login = 'kuguan'")
    fourth = await console.log_in("kuguan")
    await fourth.get(path)
    await fourth.post(f"{path}/review", word="accept")
    assert centre.store.sql("SELECT state, reviewed_by FROM application_reviews") == [("accepted", "kuguan")]


async def test_another_region_sees_nothing_and_is_told_nothing(console: Console, centre: Centre) -> None:
    browser = await console.log_in("caiji")
    path = f"/console/applications/{await collect(browser)}"
    missing = await (other := await console.log_in("fuhe")).get(f"/console/applications/{'0' * 32}")
    centre.store.sql("UPDATE clerks SET region = '130000' WHERE login = 'fuhe'")
    centre.store.sql("UPDATE offices SET region = '130000'")
    assert await other.get(path) == missing.replace("0" * 32, path.rpartition("/")[2])
