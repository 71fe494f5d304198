"""Requests of the browser that a log-in is bound to."""

from __future__ import annotations

import hmac
import re
from typing import Annotated, Final

from fastapi import Path, Request

from issuance.clerks.access import demand_own_origin
from issuance.clerks.sessions import csrf_of
from issuance.login.transactions import Transaction, log_ins, seen
from issuance.problems import ProblemError
from issuance.services import Services

LOGIN_ID: Final = re.compile("[0-9a-f]{32}")
LoginId = Annotated[str, Path(pattern=f"^{LOGIN_ID.pattern}$")]


async def found(services: Services, login_id: str, secret: str) -> Transaction:
    """Raises LOGIN_CLOSED with the status of what is not there, also in another browser: begin again is the remedy."""
    try:
        row, unit = await services.login_units.look(services, log_ins, login_id)
        return seen(row, unit, login_id, secret)
    except ProblemError as error:
        raise ProblemError("LOGIN_CLOSED", error.detail, status=404) from None


def demand_own_page(request: Request, secret: str, token: str) -> None:
    """Raises CSRF_REFUSED unless our page sent it, in the browser of `secret`."""
    demand_own_origin(request)
    if not secret or not hmac.compare_digest(token.encode(), csrf_of(secret).encode()):
        raise ProblemError("CSRF_REFUSED", "the token is not this browser's")
