"""What the app says to the centre: every request signed by the channel's client and proved by the phone's key."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import httpx

from simulators.wallet.phone import PROOF_HEADER, Link, Phone, TransitRight, new_key, proof, sign_text

IDEMPOTENCY_HEADER = "Idempotency-Key"
UNREACHABLE = "SERVICE_UNREACHABLE"
NO_RIGHT = "TRANSIT_ISSUER_MISSING"
"""Nobody lets phones of this region make transit codes."""
_SIX_DIGITS = re.compile(r"[0-9]{6}")
_PASSWORD_FORM = {
    "code": "INPUT_INVALID",
    "title": "密码是 6 位数字",
    "title_en": "The password has six digits",
    "remedy_zh": "只用数字键，输满 6 位再试。",
    "remedy_en": "Use the digits only, enter all six and try again.",
}


class NoLinkError(Exception):
    """This phone has no electronic card."""

    failure: ClassVar[str] = "ECARD_UNLINKED"


class Refused(Exception):
    """The centre said no. `code` is a failure code; the words are the centre's, by language."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.code = str(problem.get("code", "INTERNAL"))
        super().__init__(self.code)
        self.problem = problem

    @property
    def failure(self) -> str:
        return self.code

    def title(self, language: str) -> str:
        return str(self.problem.get("title" if language == "zh" else "title_en", self.code))

    def remedy(self, language: str) -> str:
        """What to do; of a refused field its own remedy."""
        fields = self.problem.get("fields") or ()
        stop = "。" if language == "zh" else ". "
        words = (f"{field[f'text_{language}']}{stop}{field[f'remedy_{language}']}" for field in fields)
        return "\n".join(words) or str(self.problem.get(f"remedy_{language}", ""))


def demand_digits(password: str) -> None:
    """Raises Refused, before anything is sent and a try is spent."""
    if not _SIX_DIGITS.fullmatch(password):
        raise Refused(_PASSWORD_FORM)


@dataclass(slots=True)
class Channel:
    """One phone at the centre. `http` signs as the wallet client `name`.

    Every method raises Refused; those of a link NoLinkError where the phone has none.
    """

    http: httpx.AsyncClient
    name: str
    phone: Phone
    clock: Callable[[], float] = field(default=time.time)

    # -- the electronic card ------------------------------------------------------------------------------------------

    async def sign_up(self, name: str, number: str, card_number: str, password: str, key: str) -> dict[str, Any]:
        """A new key and the electronic card linked to it: the first time, on another channel, or on a new phone."""
        demand_digits(password)
        private, public = new_key()
        body = {
            "name": name,
            "social_security_number": number,
            "card_number": card_number,
            "public_key": public.hex(),
            "password": password,
        }
        made: dict[str, Any] = await self._send("POST", "/v1/ecards", body, key, private, "")
        self.phone.take_link(Link(made["ecard_no"], made["sign_no"], made["holder"]["name"], private))
        return made

    async def card(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.get("")
        return found

    async def catalog(self, region: str) -> dict[str, Any]:
        """The public catalog of a region: names of domains and regions, the notice, what every item is about."""
        found: dict[str, Any] = await self._sent(
            self.http.build_request("GET", "/v1/catalog", params={"region": region})
        )
        return found

    async def password_given(self, password: str, purpose: str) -> str:
        """One-time proof that the holder has just given the password for this."""
        demand_digits(password)
        body = {"password": password, "purpose": purpose}
        return str((await self.post("/password-checks", body))["busi_seq"])

    async def code(self, scene: str, *, member: str = "", password: str = "") -> dict[str, Any]:
        body: dict[str, Any] = {"scene": scene}
        if member:
            body["member"] = member
        if scene == "payment":
            body["busi_seq"] = await self.password_given(password, "payment")
        made: dict[str, Any] = await self.post("/codes", body)
        return made

    async def transit_code(self) -> bytes:
        """Made on the phone; only the right to do so is fetched, once in a while."""
        made = self.phone.transit_code(self.clock())
        if made is None:
            given = await self.post("/transit-authorisation")
            ends_at = int(datetime.fromisoformat(given["authorised_until"]).timestamp())
            authorisation = bytes.fromhex(given["authorisation"])
            self.phone.transit = TransitRight(authorisation, ends_at, given["validity_s"], given["profile"])
            self.phone.save()
            made = self.phone.transit_code(self.clock())
        if made is None:
            raise Refused({"code": NO_RIGHT})
        return made

    async def approve(self, request: dict[str, Any], password: str, key: str) -> None:
        """Sign the text of a consent as it was shown."""
        busi_seq = await self.password_given(password, "consent")
        body = {"signature": sign_text(self.link.private_key, request["text"]), "busi_seq": busi_seq}
        await self.post(f"/consent-requests/{request['id']}/approve", body, key)

    # -- log-ins ------------------------------------------------------------------------------------------------------

    async def scan(self, code: str) -> dict[str, Any]:
        """Who asks for a log-in, from where and for what; from now on it is this phone's."""
        asked: dict[str, Any] = await self.post("/log-ins", {"code": code})
        return asked

    async def log_in(self, asked: dict[str, Any], number: int, password: str, key: str) -> dict[str, Any]:
        """Sign what was shown, and the number that the person chose."""
        busi_seq = await self.password_given(password, "login")
        signature = sign_text(self.link.private_key, f"{asked['text']}{number}")
        body = {"number": number, "signature": signature, "busi_seq": busi_seq}
        done: dict[str, Any] = await self.post(f"/log-ins/{asked['id']}/approve", body, key)
        return done

    # -- requests -----------------------------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        if self.phone.link is None:
            raise NoLinkError("this phone has no electronic card")
        return self.phone.link

    async def get(self, path: str) -> Any:
        """Below the electronic card's own address."""
        return await self._of_card("GET", path, None, "")

    async def post(self, path: str, body: dict[str, Any] | None = None, key: str = "") -> Any:
        return await self._of_card("POST", path, body or {}, key)

    async def put(self, path: str, body: dict[str, Any], key: str = "") -> Any:
        return await self._of_card("PUT", path, body, key)

    async def _of_card(self, method: str, path: str, body: dict[str, Any] | None, key: str) -> Any:
        link = self.link
        path = f"/v1/ecards/{link.ecard_no}{path}"
        answer = await self._send(method, path, body, key, link.private_key, link.sign_no)
        if isinstance(answer, dict) and answer.get("usable") is False:
            self.phone.drop_transit()
        return answer

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, key: str, private: bytes, sign_no: str
    ) -> Any:
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if method != "GET":
            headers[IDEMPOTENCY_HEADER] = key or secrets.token_urlsafe(16)
        request = self.http.build_request(method, path, content=content, headers=headers)
        target = request.url.raw_path.decode("ascii")
        request.headers[PROOF_HEADER] = proof(private, sign_no, method, target, content, self.name, self.clock())
        return await self._sent(request)

    async def _sent(self, request: httpx.Request) -> Any:
        try:
            response = await self.http.send(request)
        except httpx.TransportError:
            raise Refused({"code": UNREACHABLE}) from None
        if response.is_success:
            return response.json() if response.content else None
        raise Refused(response.json() if "json" in response.headers.get("content-type", "") else {})
