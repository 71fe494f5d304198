"""Codes that a phone shows for a family member: only while the phone's own card may be used as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.issuance.codes.stand import scan, show
from tests.issuance.conftest import Centre, ok, refused
from tests.issuance.furnished import furnished
from tests.issuance.phone import Phone, signed_phone

FAMILY = "f" * 32


@pytest.fixture
async def phones(centre: Centre) -> tuple[Phone, Phone]:
    """The asker, and the member whose codes that phone may show."""
    return await furnished(centre, "family", lambda: _phones(centre))


async def _phones(centre: Centre) -> tuple[Phone, Phone]:
    await centre.stock(blanks=2, numbers=2)
    asker, member = await signed_phone(centre), await signed_phone(centre, 2)
    centre.store.sql(
        "INSERT INTO ecard_family (id, ecard_no, member_no, relation, state, asked_at, answered_at)"
        " VALUES (:id, :own, :other, 'parent', 'active', :at, :at)",
        id=FAMILY,
        own=asker.ecard_no,
        other=member.ecard_no,
        at="2026-01-05 00:00:00.000000",
    )
    return asker, member


async def test_a_family_member_is_shown_for_identity_only(centre: Centre, phones: tuple[Phone, Phone]) -> None:
    asker, member = phones
    refused(await asker.post("codes", {"scene": "payment", "member": FAMILY}), "INPUT_INVALID", 400)
    refused(await asker.post("codes", {"scene": "identity", "member": "0" * 32}), "NOT_FOUND", 404)
    shown = (await show(asker, member=FAMILY))["code"]
    assert ok(await scan(centre, shown))["ecard_no"] == member.ecard_no
    later = (await show(asker, member=FAMILY))["code"]
    centre.store.sql("UPDATE ecard_family SET state = 'ended'")
    refused(await scan(centre, later), "ECARD_UNLINKED", 403)
    uses = ok(await member.get("uses"))["items"]
    assert [use["is_this_phone"] for use in uses] == [False], "the member sees who showed it"


async def locked(asker: Phone) -> Any:
    for _ in range(6):
        assert not (await asker.post("password-checks", {"password": "736159", "purpose": "loss"})).is_success


async def lost(asker: Phone) -> Any:
    ok(await asker.act("loss", "loss", kind="formal"))


@pytest.mark.parametrize(
    ("attack", "failure", "status"), [(locked, "ECARD_PASSWORD_LOCKED", 423), (lost, "ECARD_NOT_USABLE", 409)]
)
async def test_a_phone_whose_own_card_may_not_be_used_shows_nobody(
    centre: Centre, phones: tuple[Phone, Phone], attack: Callable[[Phone], Awaitable[Any]], failure: str, status: int
) -> None:
    """Whoever took the phone and tried passwords on it, or had it taken, has the family's codes in it too."""
    asker, member = phones
    out = (await show(asker, member=FAMILY))["code"]
    await attack(asker)
    refused(await scan(centre, out), failure, status)
    refused(await asker.post("codes", {"scene": "identity", "member": FAMILY}), failure, status)
    ok(await scan(centre, (await show(member))["code"]))
    assert centre.store.sql("SELECT count(*) FROM audit_entries WHERE outcome = :outcome", outcome=failure)[0][0] >= 2
