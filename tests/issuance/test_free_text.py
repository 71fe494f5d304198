"""Numbers in what people type as a reason: masked, whatever they look like; other numbers stay."""

from __future__ import annotations

import re

import pytest

from cardlib.identity import card_number as full_number
from issuance.console.page import HERE
from issuance.privacy.free_text import masked_text
from tests.issuance.conftest import SECRET_NUMBER, Centre, ok

ACCOUNT = "6222020000000000000"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("来电13900001234要求", "来电*******1234要求"),
        ("tel. 139-0000-1234, again 139 0000 1234.", "tel. *********1234, again *********1234."),
        ("+86 13900001234", "+**********1234"),
        ("１３９００００１２３４", "*******１２３４"),
        (f"证件{SECRET_NUMBER}已核", f"证件{'*' * 14}{SECRET_NUMBER[-4:]}已核"),
        ("99010019900101001x", "**************001x"),
        (f"退回{ACCOUNT}", f"退回{'*' * 15}{ACCOUNT[-4:]}"),
    ],
)
def test_numbers_of_persons_are_masked(typed: str, kept: str) -> None:
    assert masked_text(typed) == kept
    assert masked_text(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05 第3批",
        "受理号 2604 1358 0311 1929",
        "1300002601050001",
        "00FE00000086FE990100000001",
        "A00000011",
        "12345",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert masked_text(text) == text


def test_every_field_for_a_reason_says_that_names_are_not_masked() -> None:
    """The macro `remark` has the hint; `field` has none of its own."""
    templates = "".join(path.read_text(encoding="utf-8") for path in (HERE / "templates").glob("*.html"))
    fields = re.findall(r'(\w+)\("(?:reason|note|why)"', templates)
    assert len(fields) > 10
    assert set(fields) == {"remark"}


async def test_no_number_in_a_reason_reaches_the_database(centre: Centre) -> None:
    """Of an act, of an application that is rejected, and of a look into a person's file."""
    await centre.stock(blanks=2, numbers=4)
    number = (await centre.issue(1))["card_number"]
    second = ok(await centre.apply(2), 201)["id"]
    operator, why = centre.as_("operator"), f"本人{SECRET_NUMBER}电话13900001234"
    subject = f"card:{number}"
    for path, body in (
        (f"/v1/applications/{second}/reject", {}),
        ("/v1/person-files", {"subject": subject}),
        ("/v1/reveals", {"subject": subject, "fields": ["name"]}),
        ("/v1/card-numbers/changes", {"act": "lock", "numbers": [full_number("A0000003")]}),
    ):
        ok(await operator.post(path, json=body | {"reason": why}, headers={"Idempotency-Key": "free-text-1"}))
    stored = centre.store.stored()
    assert b"*******1234" in stored
    for secret in (SECRET_NUMBER, "13900001234"):
        assert secret.encode() not in stored
