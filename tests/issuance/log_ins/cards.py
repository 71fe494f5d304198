"""A card with a certificate of a simulated office, as the log-in page sees it through a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from cardlib.login_text import signed_bytes
from hsm.primitives import default_engine
from issuance.clerks.sessions import csrf_of
from issuance.login.transactions import Transaction
from simulators.certificate_authority import CertificateAuthority, pem
from tests.issuance.conftest import ok
from tests.issuance.log_ins.stand import LogIns

DAY = timedelta(days=1)


@dataclass
class CardLogIns:
    """The holder's card, and the office that certified it, which the centre trusts."""

    log_ins: LogIns
    folder: Path
    authority: CertificateAuthority = field(init=False)
    private: bytes = field(init=False, repr=False)
    public: bytes = field(init=False)
    certificate: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.authority = CertificateAuthority.new("模拟发证机构", self.now)
        self.private, self.public = default_engine().sm2_generate()
        self.certificate = self.certified()
        anchors = self.folder / "offices.pem"
        anchors.write_text(pem("CERTIFICATE", self.authority.root()), encoding="ascii")
        self.log_ins.services.card_certificates.anchors = anchors

    @property
    def now(self) -> datetime:
        return self.log_ins.centre.clock()

    @property
    def card_number(self) -> str:
        return self.log_ins.phone.card_number

    @property
    def page(self) -> str:
        return self.log_ins.services.settings.login_issuer

    def code_of(self, card_number: str) -> str:
        """卡识别码"""
        query = "SELECT identification_code FROM cards WHERE card_number = :number"
        return str(self.log_ins.centre.store.sql(query, number=card_number)[0][0])

    def certified(self, **change: Any) -> bytes:
        """For the card, or with other things in it."""
        number = change.pop("card_number", self.card_number)
        authority: CertificateAuthority = change.pop("authority", self.authority)
        code = change.pop("identification_code", "") or self.code_of(number)
        start, until = change.pop("start", self.now - DAY), change.pop("until", self.now + 3650 * DAY)
        return authority.certificate(change.pop("public", self.public), number, code, start, until, **change)

    async def challenge(self, opened: Transaction, **change: Any) -> httpx.Response:
        """`browser`: another one than the log-in's; `headers` beside or in place of the page's."""
        return await self._post(opened, "/card/challenge", {}, **change)

    async def text(self, opened: Transaction) -> str:
        return str(ok(await self.challenge(opened))["text"])

    def answer(self, text: str, **change: Any) -> dict[str, str]:
        """What the terminal gives; `page`, `private`, `certificate` in place of the right ones."""
        signed = signed_bytes(text, change.get("page", self.page))
        signature = default_engine().sm2_sign(change.get("private", self.private), signed)
        return {"certificate": change.get("certificate", self.certificate).hex(), "signature": signature.hex()}

    async def send(self, opened: Transaction, answer: dict[str, str], **change: Any) -> httpx.Response:
        return await self._post(opened, "/card", answer, **change)

    async def log_in(self, opened: Transaction, **change: Any) -> httpx.Response:
        return await self.send(opened, self.answer(await self.text(opened), **change))

    async def _post(self, opened: Transaction, path: str, body: Any, **change: Any) -> httpx.Response:
        sender: Transaction = change.get("browser", opened)
        headers = {"Accept": "application/json", "X-CSRF-Token": csrf_of(sender.browser)} | change.get("headers", {})
        async with self.log_ins.browser(sender) as browser:
            return await browser.post(opened.path + path, json=body, headers=headers)
