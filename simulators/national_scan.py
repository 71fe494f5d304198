"""A simulated national platform (全国社保卡服务平台): the scan protocol that systems in the field log people in by.

`POST /csb` is the bus: `qrcode_channel_encrypt` and `qrcode_channel_query_encrypt`. `GET /h5` is the page that browsers
are handed over to; its form sends them back with a signed answer. `POST /sim/scans` `{"qrCode", "esscNo"}` is the
holder who confirms in an app. As in the field, it answers as often as it is asked, tells name and number beside the
esscNo, and knows nothing of the browser that shows a code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from simulators.partner import SimPartner

FAULTS: Final = ("silent", "closed", "garbled", "endless", "elsewhere", "refused", "other_key", "no_number", "no_state")
"""What the next so many questions, or hand-overs, meet: no answer in time; 503; bytes that are no answer; a right
answer that is far too long; a redirect; the platform's own no; an answer under another key; no esscNo in it; no state
in it."""
LIFE_S: Final = 60
PERSON: Final = {"aac002": "990100190001010010", "aac003": "某某"}
_HEADERS: Final = ("_api_access_key", "_api_name", "_api_timestamp", "_api_version")
_ENDLESS: Final = {"pad": "0" * (1 << 16)}
_PAGE: Final = (
    "<!doctype html><meta charset=utf-8><title>模拟的国家平台</title><form method=post>"
    "<p>{name}</p>"
    "<label>esscNo <input name=esscNo required></label><button>确认登录</button></form>"
)


@dataclass(frozen=True, slots=True)
class SimKeys:
    """What one centre holds too: `key` in hex, `cipher` sm4-cbc or aes-ecb."""

    access_key: str
    cipher: str
    key: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def new(cls, cipher: str = "sm4-cbc") -> SimKeys:
        return cls(secrets.token_hex(16), cipher, secrets.token_hex(16), secrets.token_urlsafe(24))

    def _cipher(self, iv: bytes) -> Cipher[Any]:
        key = bytes.fromhex(self.key)
        if self.cipher == "aes-ecb":
            return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  # as in the field
        return Cipher(algorithms.SM4(key), modes.CBC(iv))

    def encrypt(self, value: Mapping[str, str]) -> str:
        plain = json.dumps(value, ensure_ascii=False).encode()
        padding = 16 - len(plain) % 16
        iv = b"" if self.cipher == "aes-ecb" else secrets.token_bytes(16)
        worker = self._cipher(iv).encryptor()
        return base64.b64encode(iv + worker.update(plain + bytes([padding]) * padding) + worker.finalize()).decode()

    def decrypt(self, text: str) -> dict[str, str]:
        raw = base64.b64decode(text)
        iv, data = (b"", raw) if self.cipher == "aes-ecb" else (raw[:16], raw[16:])
        worker = self._cipher(iv).decryptor()
        plain = worker.update(data) + worker.finalize()
        value: dict[str, str] = json.loads(plain[: -plain[-1]])
        return value

    def sign(self, fields: Mapping[str, str]) -> str:
        text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        digest = "sha1" if self.cipher == "aes-ecb" else "sm3"
        return base64.b64encode(hmac.new(self.secret.encode(), text.encode(), _hash(digest)).digest()).decode()


def _forbidden(error: ValueError) -> Response:
    return JSONResponse({"error": str(error)}, status_code=403)


def _hash(name: str) -> Callable[[], Any]:
    return lambda: hashlib.new(name)


@dataclass(slots=True)
class _Code:
    expires_at: float
    essc_no: str = ""


class SimNationalScan(SimPartner):
    """Holders of esscNo, and codes that wait for them."""

    def __init__(self, keys: SimKeys, *, hold_s: float = 0.0, clock: Callable[[], float] = time.time) -> None:
        super().__init__(FAULTS, hold_s)
        self.keys = keys
        self.questions: list[str] = []
        self._codes: dict[str, _Code] = {}
        self._clock = clock
        self.app = Starlette(
            routes=[
                Route("/csb", self._bus, methods=["POST"]),
                Route("/h5", self._page, methods=["GET"]),
                Route("/h5", self._confirm, methods=["POST"]),
                Route("/sim/scans", self._scan, methods=["POST"]),
                Route("/sim/faults", self._set_faults, methods=["PUT"]),
            ]
        )

    def scan(self, code: str, essc_no: str) -> bool:
        """The holder confirms in an app; False for a code that is over or unknown."""
        made = self._codes.get(code)
        if made is None or self._clock() >= made.expires_at:
            return False
        made.essc_no = essc_no
        return True

    def answer(self, query: Mapping[str, str], essc_no: str, *, result: str = "0", age_s: int = 0) -> str:
        """Where the browser is sent that came with `query`. Raises ValueError for what no centre signed."""
        asked = self._handed_over(query)
        told = {"esscNo": essc_no, "state": asked["state"]} | PERSON
        if self._meets("no_state"):
            del told["state"]
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(self._clock() - age_s + 8 * 3600))
        fields = {"result": result, "_api_timestamp": stamp, "security": self.keys.encrypt(told)}
        answer = fields | {"ak": self.keys.access_key, "_api_signature": self.keys.sign(fields)}
        return f"{asked['returnUrl']}?{urlencode(answer)}"

    def _handed_over(self, query: Mapping[str, str]) -> dict[str, str]:
        """Raises ValueError."""
        signed = {name: query.get(name, "") for name in ("_api_name", "_api_access_id", "_api_timestamp", "security")}
        if not hmac.compare_digest(self.keys.sign(signed), query.get("_api_signature", "")):
            raise ValueError("not signed by a known centre")
        return self.keys.decrypt(query["security"])

    # -- HTTP -----------------------------------------------------------------------------------------------------

    async def _bus(self, request: Request) -> Response:
        body = await request.json()
        fields = {name: request.headers.get(name, "") for name in _HEADERS} | {"security": str(body["security"])}
        if not hmac.compare_digest(self.keys.sign(fields), request.headers.get("_api_signature", "")):
            return JSONResponse({"code": 401, "csbCode": 401, "message": "signature"}, status_code=401)
        self.questions.append(fields["_api_name"])
        fault = next((name for name in FAULTS[:6] if self._meets(name)), None)
        if fault is not None:
            return await self._faulty(fault)
        asked = self.keys.decrypt(fields["security"])
        if fields["_api_name"] == "qrcode_channel_encrypt":
            return self._told({"qrCode": self._new_code()})
        if fields["_api_name"] == "qrcode_channel_query_encrypt":
            made = self._codes.get(asked["qrCode"])
            if made is not None and made.essc_no:
                return self._told({"esscNo": made.essc_no} | PERSON)
            return JSONResponse({"msgCode": 700, "msg": "失败"})
        return JSONResponse({"code": 503, "csbCode": 503, "message": "service not registed"}, status_code=503)

    def _new_code(self) -> str:
        code = f"https://essc.example/login?{secrets.token_hex(16)}"
        self._codes = {old: made for old, made in self._codes.items() if made.expires_at > self._clock() - LIFE_S}
        self._codes[code] = _Code(self._clock() + LIFE_S)
        return code

    def _told(self, value: dict[str, str], more: Mapping[str, str] = MappingProxyType({})) -> Response:
        if self._meets("no_number"):
            value.pop("esscNo", None)
        keys = SimKeys.new(self.keys.cipher) if self._meets("other_key") else self.keys
        return JSONResponse(
            {"msgCode": "000000", "msg": "成功", "result": {"encrypt": keys.encrypt(value)}} | dict(more)
        )

    async def _faulty(self, fault: str) -> Response:
        if fault == "silent":
            return await self._silence()
        if fault == "closed":
            return JSONResponse({"code": 503, "csbCode": 503, "message": "service not registed"}, status_code=503)
        if fault == "elsewhere":
            return RedirectResponse("https://elsewhere.example/csb", status_code=307)
        if fault == "refused":
            return JSONResponse({"msgCode": "999999", "msg": "渠道未登记"})
        if fault == "endless":
            return self._told({"qrCode": self._new_code()}, _ENDLESS)
        return Response(b'{"msgCode":"000', media_type="application/json")

    async def _page(self, request: Request) -> Response:
        try:
            asked = self._handed_over(request.query_params)
        except ValueError as error:
            return _forbidden(error)
        return HTMLResponse(_PAGE.format(name=html.escape(asked["systemName"])))

    async def _confirm(self, request: Request) -> Response:
        form = await request.form()
        try:
            return RedirectResponse(self.answer(request.query_params, str(form["esscNo"])), status_code=303)
        except ValueError as error:
            return _forbidden(error)

    async def _scan(self, request: Request) -> Response:
        wanted = await request.json()
        return Response(status_code=204 if self.scan(str(wanted["qrCode"]), str(wanted["esscNo"])) else 404)
