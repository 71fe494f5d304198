"""Simulated platforms of other codes: they make codes for holders and say, once, whose a shown one is.

`POST /{family}/v1/translations` `{"request_id", "family", "code", "scene"}`, for some families `"business_type"` too,
answers `{"request_id", "outcome", "essc_no"}`: only to the one centre that signs, and only with the national number of
the electronic card. `POST /sim/codes` `{"family", "essc_no"}` makes a code, as the family's own app would. City codes
are written here from the table alone (`cardlib.spec.city_code`).
"""

from __future__ import annotations

import json
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from cardlib.spec.city_code import city_code_spec
from simulators.centre import KnownCentre
from simulators.partner import SimPartner

FAULTS: Final = ("silent", "closed", "garbled", "other_answer", "endless", "elsewhere", "no_number")
"""What the next so many questions meet: no answer in time; 503; bytes that are no answer; the answer to another one;
an answer without end; a redirect to another host; a holder without number."""
FAMILIES: Final = ("city", "government", "medical")
BUSINESS_TYPES: Final = {"medical": "01101"}
LIFE_S: Final = 60
_ESSC_DIGITS: Final = frozenset("0123456789abcdef")
_ENDLESS: Final = b'{"outcome":"' + b"x" * (1 << 16)


@dataclass(slots=True)
class MadeCode:
    family: str
    essc_no: str
    expires_at: float
    is_used: bool = False


class SimCodePlatforms(SimPartner):
    """`client_jwk` is the public key of the one centre that may ask."""

    def __init__(
        self,
        client_jwk: dict[str, str],
        audience: str,
        *,
        hold_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(FAULTS, hold_s)
        self.codes: dict[str, MadeCode] = {}
        self.questions: list[dict[str, str]] = []
        self._centre = KnownCentre(client_jwk, audience, clock)
        self._clock = clock
        self.app = Starlette(
            routes=[
                Route("/{family}/v1/translations", self._translate, methods=["POST"]),
                Route("/sim/codes", self._make, methods=["POST"]),
                Route("/sim/faults", self._set_faults, methods=["PUT"]),
            ]
        )

    def show(self, family: str, essc_no: str, *, kind: str = "person") -> str:
        """A new code of a holder, as the phone of the holder would show it. Raises ValueError for no such family."""
        now = self._clock()
        match family:
            case "city":
                code = _city_code(int(now), kind)
            case "government":
                code = "ZWFW110000" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
            case "medical":
                code = "".join(secrets.choice(string.digits) for _ in range(28))
            case _:
                raise ValueError(f"no family {family!r}; there are {', '.join(FAMILIES)}")
        self.codes[code] = MadeCode(family, essc_no, now + LIFE_S)
        return code

    def translate(self, family: str, code: str) -> dict[str, str]:
        """Whose a code is; the code is spent with the answer."""
        made = self.codes.get(code)
        if made is None or made.family != family:
            return {"outcome": "unknown"}
        if made.is_used:
            return {"outcome": "used"}
        if self._clock() >= made.expires_at:
            return {"outcome": "expired"}
        made.is_used = True
        return {"outcome": "holder", "essc_no": made.essc_no}

    # -- HTTP -----------------------------------------------------------------------------------------------------

    async def _translate(self, request: Request) -> Response:
        body = await request.body()
        if not self._centre.has_signed(request, body):
            return JSONResponse({"error": "not signed by a known centre"}, status_code=401)
        family = request.path_params["family"]
        question = _parsed(body)
        if question is None or question["family"] != family:
            return JSONResponse({"error": "not a question"}, status_code=400)
        self.questions.append(question)
        fault = self._next_fault()
        if fault is not None and fault != "other_answer" and fault != "no_number":
            return await self._faulty(fault)
        answer = self.translate(family, question["code"])
        if BUSINESS_TYPES.get(family, "") != question.get("business_type", ""):
            answer = {"outcome": "refused"}
        if fault == "no_number":
            answer = {"outcome": "holder"}
        request_id = "0" * 32 if fault == "other_answer" else question["request_id"]
        return JSONResponse({"request_id": request_id} | answer)

    async def _faulty(self, fault: str) -> Response:
        if fault == "silent":
            return await self._silence()
        if fault == "closed":
            return Response(status_code=503)
        if fault == "elsewhere":
            return RedirectResponse("https://elsewhere.example/v1/translations", status_code=307)
        return Response(_ENDLESS if fault == "endless" else b'{"outcome":"hol', media_type="application/json")

    async def _make(self, request: Request) -> Response:
        try:
            wanted: Any = json.loads(await request.body())
            family, essc_no = wanted["family"], wanted["essc_no"]
            if len(essc_no) != 32 or not _ESSC_DIGITS.issuperset(essc_no):
                raise ValueError("not an esscNo")
            return JSONResponse({"code": self.show(family, essc_no)}, status_code=201)
        except (ValueError, RecursionError, KeyError, TypeError):
            return JSONResponse({"error": "a family and an esscNo are needed"}, status_code=400)


def _city_code(now: int, kind: str) -> str:
    spec = city_code_spec()
    attribute = next(known.prefix for known in spec.kinds if known.name == kind).ljust(4, "0")
    extension, security = secrets.token_hex(8), secrets.token_urlsafe(24)
    values = {
        "system": "CITY",
        "authorization": "SIM",
        "attribute": attribute,
        "generated": str(now),
        "validity": str(LIFE_S),
        "extension_length": str(len(extension)),
        "extension": extension,
        "security_length": str(len(security)),
        "security": security,
    }
    parts = [values[part.name].rjust(part.length or 0, "0") for part in spec.parts]
    return f"https://code.city.example/q{spec.guide_end}{''.join(parts)}"


def _parsed(body: bytes) -> dict[str, str] | None:
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not {"request_id", "family", "code", "scene"} <= data.keys():
        return None
    return data if all(isinstance(value, str) for value in data.values()) else None
