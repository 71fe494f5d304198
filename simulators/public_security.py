"""The simulated population register of public security: asked over signed HTTP whether a person is as stated.

`POST /v1/identity-checks` `{"request_id", "name", "social_security_number", "sex", "birth_date"}` answers
`{"request_id", "outcome", "reference"}`. It says whether everything matches, never what is registered instead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.centre import KnownCentre
from simulators.partner import SimPartner

FAULTS = ("silent", "closed", "garbled", "other_answer")
"""What the next so many questions meet: no answer in time; 503; bytes that are no answer; the answer to another one."""
PATH = "/v1/identity-checks"
_QUESTION = frozenset({"request_id", "name", "social_security_number", "sex", "birth_date"})


class PeopleFileError(ValueError):
    """The file of invented people is malformed."""

    failure: ClassVar[str] = "INPUT_INVALID"


@dataclass(frozen=True, slots=True)
class Registered:
    name: str
    sex: str
    birth_date: str
    is_deceased: bool = False


class SimPublicSecurity(SimPartner):
    """`client_jwk` is the public key of the one centre that may ask."""

    def __init__(
        self,
        people: dict[str, Registered],
        client_jwk: dict[str, str],
        audience: str,
        *,
        hold_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(FAULTS, hold_s)
        self.people = people
        self.questions = 0
        self._centre = KnownCentre(client_jwk, audience, clock)
        self._clock = clock
        self.app = Starlette(
            routes=[
                Route(PATH, self._check, methods=["POST"]),
                Route("/sim/faults", self._set_faults, methods=["PUT"]),
            ]
        )

    async def _check(self, request: Request) -> Response:
        body = await request.body()
        if not self._centre.has_signed(request, body):
            return JSONResponse({"error": "not signed by a known centre"}, status_code=401)
        question = _parsed(body)
        if question is None:
            return JSONResponse({"error": "not a question"}, status_code=400)
        self.questions += 1
        fault = self._next_fault()
        if fault == "silent":
            return await self._silence()
        if fault == "closed":
            return Response(status_code=503)
        if fault == "garbled":
            return Response(b'{"outcome":"match', media_type="application/json")
        request_id = "0" * 32 if fault == "other_answer" else question["request_id"]
        reference = f"PS{self.questions:08d}"
        return JSONResponse({"request_id": request_id, "outcome": self.outcome(question), "reference": reference})

    def outcome(self, question: dict[str, str]) -> str:
        found = self.people.get(question["social_security_number"])
        if found is None:
            return "unknown"
        is_same = (found.name, found.birth_date) == (question["name"], question["birth_date"])
        if not is_same or question["sex"] not in (found.sex, "9"):
            return "mismatch"
        return "deceased" if found.is_deceased else "matches"


def load_people(path: Path) -> dict[str, Registered]:
    """`{"number": {"name": …, "sex": …, "birth_date": …, "is_deceased": false}}`. Raises PeopleFileError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {number: Registered(**entry) for number, entry in data.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise PeopleFileError(f"{path.name} is no file of people: {type(error).__name__}") from None


def _parsed(body: bytes) -> dict[str, str] | None:
    try:
        data: Any = json.loads(body)
    except ValueError:
        return None
    if not isinstance(data, dict) or data.keys() != _QUESTION:
        return None
    return data if all(isinstance(value, str) for value in data.values()) else None
