"""Whole log-ins at the two providers, step by step, so that a server's processor time can be told for each step."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from bench.login_wire import Reply, Wire
from bench.measure import BenchError
from tests.issuance.phone import Phone

BACK: Final = "https://hall.example/back"
SCOPE: Final = "openid profile"
_LINK: Final = re.compile(r"/login/link#([\w-]{22})")
_NUMBER: Final = re.compile(r"<output[^>]*>\s*<span>(\d)</span><span>(\d)</span>")


@dataclass(slots=True)
class Login:
    """One browser on its way."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    cookies: dict[str, str] = field(default_factory=dict)
    at: str = ""
    link: str = ""
    number: int = 0
    asked: dict[str, Any] = field(default_factory=dict)
    busi_seq: str = ""
    code: str = ""
    tokens: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """`is_phone`: the other provider has nothing like it, since there nobody is asked who they are."""

    zh: str
    en: str
    run: Callable[[Login], Awaitable[None]]
    is_phone: bool = False


@dataclass(frozen=True, slots=True)
class Registered:
    client_id: str
    client_secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()


class Flow:
    """What a browser and a relying party do at any provider, by its discovery document."""

    def __init__(self, wire: Wire, client: Registered) -> None:
        self.wire = wire
        self._client = client
        self._about: dict[str, str] = {}

    async def discover(self) -> None:
        self._about = json.loads((await self.wire.ask("/.well-known/openid-configuration")).body)

    async def begin(self, login: Login) -> None:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=").decode()
        parameters = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": BACK,
            "scope": SCOPE,
            "state": secrets.token_urlsafe(16),
            "nonce": secrets.token_urlsafe(16),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        await self.go(login, f"{self._about['authorization_endpoint']}?{urlencode(parameters)}")

    async def go(self, login: Login, address: str) -> Reply:
        """One request of the browser; where it is sent to is where it is next."""
        reply = await self.wire.ask(address, cookies=login.cookies)
        login.cookies |= reply.cookies
        if "location" in reply.headers:
            login.at = reply.location
            login.code = parse_qs(urlsplit(login.at).query).get("code", [""])[0] if login.at.startswith(BACK) else ""
        elif reply.status != 200:
            raise BenchError(f"{address}: {reply.status} {reply.body[:200]!r}")
        return reply

    async def exchange(self, login: Login) -> None:
        form = {
            "grant_type": "authorization_code",
            "code": login.code,
            "redirect_uri": BACK,
            "code_verifier": login.verifier,
        }
        reply = await self.wire.ask(self._about["token_endpoint"], form=form, authorization=self._client.basic)
        login.tokens = _answered(reply)

    async def ask_who(self, login: Login) -> None:
        bearer = f"Bearer {login.tokens['access_token']}"
        login.user = _answered(await self.wire.ask(self._about["userinfo_endpoint"], authorization=bearer))

    def rest(self) -> list[Step]:
        return [Step("取令牌", "token", self.exchange), Step("用户信息", "userinfo", self.ask_who)]

    def steps(self) -> list[Step]:
        raise NotImplementedError


class PeerFlow(Flow):
    """Whoever comes is somebody, and agrees."""

    def steps(self) -> list[Step]:
        return [
            Step("请求", "authorize", self.begin),
            Step("登录页（自动通过）", "interaction, passed at once", self._on),
            Step("回依赖方", "way back", self._on),
            *self.rest(),
        ]

    async def _on(self, login: Login) -> None:
        await self.go(login, login.at)


class OurFlow(Flow):
    """`phones` take turns; each does what a wallet does, over HTTP."""

    def __init__(self, wire: Wire, client: Registered, phones: list[Phone]) -> None:
        super().__init__(wire, client)
        self.phones = phones
        self._scans = 0

    def steps(self) -> list[Step]:
        return [
            Step("请求", "authorize", self.begin),
            Step("登录页", "log-in page with the code", self.look),
            Step("手机：扫码", "phone: scan", self.scan, is_phone=True),
            Step("手机：密码", "phone: password", self.give_password, is_phone=True),
            Step("手机：同意", "phone: approve", self.approve, is_phone=True),
            Step("回依赖方", "way back", self.leave),
            *self.rest(),
        ]

    async def look(self, login: Login) -> None:
        page = (await self.go(login, login.at)).body.decode()
        link, number = _LINK.search(page), _NUMBER.search(page)
        if link is None or number is None:
            raise BenchError(f"no code on the log-in page: {page[:200]}")
        login.link, login.number = link[1], int(number[1] + number[2])

    async def scan(self, login: Login) -> None:
        phone = self.phones[self._scans % len(self.phones)]
        self._scans += 1
        login.asked = (await phone.post("log-ins", {"code": login.link})).json() | {"phone": phone}

    async def give_password(self, login: Login) -> None:
        login.busi_seq = await login.asked["phone"].busi_seq("login")

    async def approve(self, login: Login) -> None:
        phone: Phone = login.asked["phone"]
        signature = phone.sign(f"{login.asked['text']}{login.number}".encode()).hex()
        body = {"number": login.number, "signature": signature, "busi_seq": login.busi_seq}
        answer = await phone.post(f"log-ins/{login.asked['id']}/approve", body)
        if answer.status_code != 200:
            raise BenchError(f"not approved: {answer.text[:200]}")

    async def leave(self, login: Login) -> None:
        await self.go(login, login.at)
        if not login.code:
            raise BenchError(f"no code, but {login.at}")


def _answered(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        raise BenchError(f"{reply.status} {reply.body[:200]!r}")
    answer: dict[str, Any] = json.loads(reply.body)
    return answer
