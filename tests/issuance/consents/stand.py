"""A holder with a phone and two recipients; what each of them does about consents."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.issuance.conftest import Centre, ok
from tests.issuance.phone import Phone, signed_phone

PURPOSE = "预约挂号"
ITEMS = ["name", "telephone"]
_keys = itertools.count(1)


@dataclass
class Consents:
    centre: Centre
    phone: Phone = field(init=False)

    async def ready(self) -> Consents:
        await self.centre.stock(blanks=2, numbers=2)
        await self.centre.register("clinic", ("verifier",))
        self.phone = await signed_phone(self.centre)
        return self

    async def code(self) -> str:
        return str(ok(await self.phone.post("codes", {"scene": "identity"}), 201)["code"])

    async def ask(self, by: str = "verifier", *, key: str = "", **change: Any) -> httpx.Response:
        body: dict[str, Any] = {"purpose": PURPOSE, "items": ITEMS, "days": 30} | change
        if "ecard_no" not in body and "code" not in body:
            body["code"] = await self.code()
        headers = {"Idempotency-Key": key or f"consent-{next(_keys):06d}"}
        return await self.centre.as_(by).post("/v1/consent-requests", json=body, headers=headers)

    async def asked(self, by: str = "verifier", **change: Any) -> str:
        return str(ok(await self.ask(by, **change), 201)["id"])

    async def waiting(self, phone: Phone | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ok(await (phone or self.phone).get("consent-requests"))["items"]
        return found

    async def text(self, consent_id: str) -> str:
        (text,) = [request["text"] for request in await self.waiting() if request["id"] == consent_id]
        return str(text)

    async def approve(self, consent_id: str, **change: Any) -> httpx.Response:
        """`text`, `phone`, `signature`, `busi_seq`, `key` in place of the right ones."""
        phone: Phone = change.get("phone", self.phone)
        signature = change.get("signature")
        if signature is None:
            text = change["text"] if "text" in change else await self.text(consent_id)
            signature = phone.sign(text.encode()).hex()
        busi_seq = change["busi_seq"] if "busi_seq" in change else await phone.busi_seq("consent")
        body = {"signature": signature, "busi_seq": busi_seq}
        return await phone.post(f"consent-requests/{consent_id}/approve", body, key=change.get("key", ""))

    async def granted(self, by: str = "verifier", **change: Any) -> str:
        consent_id = await self.asked(by, **change)
        ok(await self.approve(consent_id))
        return consent_id

    async def data(
        self, consent_id: str, items: list[str] | None = None, purpose: str = PURPOSE, by: str = "verifier"
    ) -> httpx.Response:
        body = {"purpose": purpose, "items": ["name"] if items is None else items}
        return await self.centre.as_(by).post(f"/v1/consents/{consent_id}/data", json=body)

    async def trail(self, consent_id: str) -> list[tuple[str, str]]:
        """Act and outcome, oldest first."""
        query = {"subject": f"consent:{consent_id}"}
        entries = ok(await self.centre.as_("operator").get("/v1/audit", params=query))
        return [(entry["act"], entry["outcome"]) for entry in reversed(entries)]
