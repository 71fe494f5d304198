"""A phone with a card of level 2, and whoever scans it."""

from __future__ import annotations

from typing import Any

import httpx

from tests.issuance.conftest import START, Centre, ok
from tests.issuance.phone import Phone, signed_phone

VALIDATE = "/v1/ecard-codes/validate"


async def phone_of_level_2(centre: Centre, serial: int = 1) -> Phone:
    """The bank's account is put there behind the service's back."""
    phone = await signed_phone(centre, serial)
    ((card_number, region),) = centre.store.sql(
        "SELECT c.card_number, c.region FROM cards c JOIN ecards e ON e.card_number = c.card_number"
        " WHERE e.ecard_no = :no",
        no=phone.ecard_no,
    )
    centre.store.sql(
        'INSERT INTO card_accounts (card_number, region, state, is_lost_with_card, since, "by")'
        " VALUES (:card, :region, 'active', :no, :at, 'bank')",
        card=card_number,
        region=region,
        no=False,
        at=START,
    )
    centre.store.sql("UPDATE ecards SET level = 2 WHERE ecard_no = :no", no=phone.ecard_no)
    return phone


async def show(phone: Phone, scene: str = "identity", **more: Any) -> dict[str, Any]:
    if scene == "payment" and "busi_seq" not in more:
        more["busi_seq"] = await phone.busi_seq("payment")
    made: dict[str, Any] = ok(await phone.post("codes", {"scene": scene} | more), 201)
    return made


async def scan(
    centre: Centre, code: str, scene: str = "identity", *, key: str = "", by: str = "verifier", **more: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await centre.as_(by).post(VALIDATE, json={"code": code, "scene": scene} | more, headers=headers)
