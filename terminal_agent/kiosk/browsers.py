"""Which browser is the machine's own, and what forms it may send."""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi import Request
from starlette.exceptions import HTTPException

from terminal_agent.kiosk import forms

if TYPE_CHECKING:
    from terminal_agent.kiosk.desk import KioskDesk

COOKIE: Final = "oc_kiosk"


class Browsers:
    """The machine's browser is the last that opened the page while nobody was being served."""

    def __init__(self, desk: KioskDesk) -> None:
        self._desk = desk
        self._key = ""

    def is_ours(self, request: Request) -> bool:
        given = request.cookies.get(COOKIE, "")
        return bool(self._key) and hmac.compare_digest(given.encode(), self._key.encode())

    def admit(self, request: Request) -> str | None:
        """A new key for the browser's cookie, empty where it has the right one, None for a stranger."""
        if self.is_ours(request):
            return ""
        if self._desk.visit is not None or self._desk.staff.is_open:
            return None
        self._key = secrets.token_urlsafe(32)
        return self._key

    def demand(self, request: Request) -> None:
        """Raises HTTPException for another browser."""
        if not self.is_ours(request):
            raise HTTPException(HTTPStatus.FORBIDDEN)


async def form_of(request: Request) -> dict[str, str]:
    """Raises HTTPException for what is no form of ours."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > forms.MAX_FORM:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        return forms.parse(bytes(body))
    except forms.FormError:
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
