"""A phone for tests: its own SM2 pair, proofs made from the description alone, and what an app does with them."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx
from argon2 import PasswordHasher

from hsm.primitives import compress, default_engine
from issuance.clerks import passwords
from tests.issuance.conftest import Centre, application, ok

passwords.use_hasher(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "482915"
_keys = itertools.count(1)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass
class Phone:
    """`channel`: the client whose app it runs. After `sign_up` paths without a slash in front are those of its card."""

    centre: Centre
    channel: str = "wallet"
    ecard_no: str = ""
    sign_no: str = ""
    card_number: str = ""
    password: str = PASSWORD
    private: bytes = field(default=b"", repr=False)
    point: bytes = b""

    def __post_init__(self) -> None:
        self.private, self.point = default_engine().sm2_generate()

    @property
    def public_key(self) -> bytes:
        return compress(self.point)

    def sign(self, message: bytes) -> bytes:
        return default_engine().sm2_sign(self.private, message)

    def members(self, method: str, path: str, body: bytes, **change: Any) -> dict[str, Any]:
        return {
            "sign_no": self.sign_no,
            "at": int(self.centre.clock().timestamp()),
            "nonce": secrets.token_urlsafe(16),
            "method": method,
            "path": path,
            "body_sm3": default_engine().sm3(body).hex(),
            "channel": self.channel,
        } | change

    def sealed(self, members: dict[str, Any]) -> str:
        payload = _text(json.dumps(members).encode())
        return f"{payload}.{_text(self.sign(payload.encode()))}"

    def proof(self, method: str, path: str, body: bytes = b"", **change: Any) -> str:
        return self.sealed(self.members(method, path, body, **change))

    def path(self, path: str) -> str:
        if path.startswith("/"):
            return path
        return f"/v1/ecards/{self.ecard_no}/{path}" if path else f"/v1/ecards/{self.ecard_no}"

    async def request(
        self, method: str, path: str, body: Any = None, *, key: str = "", proof: str | None = None
    ) -> httpx.Response:
        """`proof` in place of its own; "" sends none."""
        url, content = self.path(path), b"" if body is None else json.dumps(body).encode()
        headers = {"Device-Proof": self.proof(method, url, content) if proof is None else proof}
        if method != "GET":
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key or f"phone-{next(_keys):06d}"}
        client = self.centre.as_(self.channel)
        return await client.request(method, url, content=content, headers={n: v for n, v in headers.items() if v})

    async def get(self, path: str = "") -> httpx.Response:
        return await self.request("GET", path)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.request("POST", path, {} if body is None else body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return await self.request("PUT", path, body, **options)

    async def ask_to_sign(self, serial: int, number: str, **change: Any) -> httpx.Response:
        """Of the person that `application(serial)` describes."""
        key = change.pop("key", "")
        body = claim(serial, number) | {"public_key": self.public_key.hex(), "password": self.password} | change
        return await self.post("/v1/ecards", body, key=key)

    async def sign_up(self, serial: int, number: str, **change: Any) -> dict[str, Any]:
        signed: dict[str, Any] = ok(await self.ask_to_sign(serial, number, **change), 201)
        self.ecard_no, self.sign_no, self.card_number = signed["ecard_no"], signed["sign_no"], number
        return signed

    async def busi_seq(self, purpose: str) -> str:
        body = {"password": self.password, "purpose": purpose}
        return str(ok(await self.post("password-checks", body), 201)["busi_seq"])

    async def act(self, path: str, purpose: str, **body: Any) -> httpx.Response:
        """With the password given for it."""
        return await self.post(path, body | {"busi_seq": await self.busi_seq(purpose)})


def claim(serial: int, card_number: str) -> dict[str, str]:
    person = application(serial)["person"]
    return {
        "name": person["name"],
        "social_security_number": person["social_security_number"],
        "card_number": card_number,
    }


async def signed_phone(centre: Centre, serial: int = 1, channel: str = "wallet") -> Phone:
    """With the electronic card of a card that is issued for it; blanks and numbers must be in stock."""
    phone = Phone(centre, channel)
    await phone.sign_up(serial, (await centre.issue(serial))["card_number"])
    return phone
