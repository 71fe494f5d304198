"""How far an application is, asked by whoever holds the receipt: receipt numbers, tries, what is shown."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from issuance.progress.receipts import grouped, new_receipt_number, parse_receipt_number, with_check_digits
from tests.issuance.conftest import START, Centre, application, atr, both_engines, ok, refused

BODIES = st.from_regex(r"[0-9]{14}", fullmatch=True)


@given(BODIES)
@settings(max_examples=100)
def test_a_number_is_read_as_it_is_printed(body: str) -> None:
    number = with_check_digits(body)
    for typed in (number, grouped(number), grouped(number).replace(" ", "-"), number.translate(FULL_WIDTH)):
        assert parse_receipt_number(typed) == number


FULL_WIDTH = {ord("0") + n: 0xFF10 + n for n in range(10)}


@given(BODIES, st.integers(0, 15), st.integers(1, 9))
@settings(max_examples=100)
def test_a_wrong_digit_is_found(body: str, place: int, shift: int) -> None:
    number = with_check_digits(body)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    with pytest.raises(ValueError, match="check digits"):
        parse_receipt_number(wrong)


@given(BODIES, st.integers(0, 14))
@settings(max_examples=100)
def test_changed_places_are_found(body: str, place: int) -> None:
    number = with_check_digits(body)
    wrong = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    if wrong != number:
        with pytest.raises(ValueError, match="check digits"):
            parse_receipt_number(wrong)


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_whatever_is_typed_is_a_number_or_none(text: str) -> None:
    try:
        number = parse_receipt_number(text)
    except ValueError:
        return
    assert re.fullmatch(r"[0-9]{16}", number)


def test_a_number_says_its_year_in_china() -> None:
    assert new_receipt_number(START.replace(year=2026, month=12, day=31, hour=16))[:2] == "27"


async def _apply(centre: Centre, serial: int = 1) -> tuple[str, str, str]:
    """Id, receipt number and check of an application."""
    made = ok(await centre.apply(serial), 201)
    return made["id"], made["receipt_number"], application(serial)["person"]["social_security_number"][-6:]


async def _ask(centre: Centre, number: str, check: str) -> httpx.Response:
    return await centre.anyone().post("/v1/progress", json={"receipt_number": number, "check": check})


def _stages(progress: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["status"] for stage in progress["stages"]}


@both_engines
async def test_from_application_to_card(centre: Centre) -> None:
    await centre.stock()
    application_id, number, check = await _apply(centre)
    progress = ok(await _ask(centre, grouped(number), check.lower()))
    assert (progress["outcome"], _stages(progress)["checked"], _stages(progress)["made"]) == ("open", "done", "current")
    centre.clock.advance(86400)
    await centre.run(ok(await centre.start(application_id, atr(1)), 201))
    progress = ok(await _ask(centre, number, check))
    assert progress["outcome"] == "issued"
    assert set(_stages(progress).values()) == {"done"}
    days = {stage["stage"]: stage["day"] for stage in progress["stages"]}
    assert (days["received"], days["handed_over"]) == ("2026-01-05", "2026-01-06")


async def test_it_shows_nobody_and_no_card(centre: Centre) -> None:
    await centre.stock()
    application_id, number, check = await _apply(centre)
    outcome = await centre.run(ok(await centre.start(application_id, atr(1)), 201))
    text = (await _ask(centre, number, check)).text
    person = application(1)["person"]
    for hidden in (person["name"], person["social_security_number"], outcome["result"]["card_number"], application_id):
        assert hidden not in text


async def test_a_refused_application_ends_where_it_was(centre: Centre) -> None:
    application_id, number, check = await _apply(centre)
    order = {"reason": "wrong office"}
    ok(await centre.as_("operator").post(f"/v1/applications/{application_id}/reject", json=order))
    progress = ok(await _ask(centre, number, check))
    assert (progress["outcome"], progress["stages"][-1]["status"]) == ("refused", "failed")
    assert "wrong office" not in str(progress)


async def test_unknown_wrong_and_too_often_look_the_same(centre: Centre) -> None:
    _, number, check = await _apply(centre)
    wrong = check[:-1] + ("0" if check[-1] != "0" else "1")
    unknown = await _ask(centre, with_check_digits("26" + "0" * 12), check)
    answers = [await _ask(centre, number, wrong) for _ in range(3)]
    assert {answer.text for answer in answers} == {unknown.text}
    refused(answers[0], "PROGRESS_UNKNOWN", 404)


@both_engines
async def test_ten_wrong_checks_close_a_number_until_tomorrow(centre: Centre) -> None:
    _, number, check = await _apply(centre)
    wrong = check[:-1] + ("0" if check[-1] != "0" else "1")
    for _ in range(10):
        refused(await _ask(centre, number, wrong), "PROGRESS_UNKNOWN", 404)
        centre.clock.advance(61)
    refused(await _ask(centre, number, check), "PROGRESS_UNKNOWN", 404)
    centre.restart()
    refused(await _ask(centre, number, check), "PROGRESS_UNKNOWN", 404)
    centre.clock.now += timedelta(days=1)
    ok(await _ask(centre, number, check))
    assert centre.store.sql("SELECT count(*) FROM progress_tries") == [(0,)]


async def test_a_network_may_ask_ten_times_a_minute(centre: Centre) -> None:
    _, number, check = await _apply(centre)
    for _ in range(10):
        ok(await _ask(centre, number, check))
    refused(await _ask(centre, number, check), "PROGRESS_LIMITED", 429)
    centre.clock.advance(61)
    ok(await _ask(centre, number, check))


async def test_a_mistyped_number_is_told(centre: Centre) -> None:
    answer = await _ask(centre, "2600000000000176", "010012")
    assert refused(answer, "INPUT_INVALID", 400)["fields"][0]["reason"] == "receipt_number"


async def test_the_same_request_gets_the_same_receipt(centre: Centre) -> None:
    first, again = ok(await centre.apply(1), 201), ok(await centre.apply(1), 201)
    assert first["receipt_number"] == again["receipt_number"]
