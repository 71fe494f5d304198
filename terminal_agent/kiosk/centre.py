"""The centre as the kiosk's flows call it: JSON by path, signed like all requests of this terminal."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, runtime_checkable

from cardlib.wire import VISIT_HEADER
from terminal_agent.centre import CentreUnreachableError
from terminal_agent.problems import NoCentreError

SILENT_S: Final = 20.0
"""So long after a request without an answer nothing new is begun that needs the centre."""


@runtime_checkable
class JsonCentre(Protocol):
    async def exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """Raises CentreUnreachableError, CentreRefusedError."""


class SelfServiceCentre:
    """`client` None or without `exchange`: a terminal without a centre, where every call is refused."""

    def __init__(self, client: object, now: Callable[[], float], is_heard: Callable[[], bool]) -> None:
        self._client = client if isinstance(client, JsonCentre) else None
        self._now = now
        self._is_heard = is_heard
        self._silent_since: float | None = None

    @property
    def is_configured(self) -> bool:
        return self._client is not None

    @property
    def is_reachable(self) -> bool:
        """As far as is known without asking."""
        if self._silent_since is not None and self._now() - self._silent_since < SILENT_S:
            return False
        return self.is_configured and self._is_heard()

    async def get(self, path: str) -> dict[str, Any]:
        """Raises NoCentreError, CentreUnreachableError, CentreRefusedError."""
        return await self._call("GET", path, None, {})

    async def post(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        key: str = "",
        content_type: str = "application/json",
        seen: str = "",
    ) -> dict[str, Any]:
        """`key` makes an act the same act however often it is sent; a new one is made where none is given. `seen` is
        the visit that the centre sealed, where the body has no place for it. Raises as `get`.
        """
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": content_type, "Idempotency-Key": key or secrets.token_hex(16)}
        headers |= {VISIT_HEADER: seen} if seen else {}
        return await self._call("POST", path, content, headers)

    async def _call(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        if self._client is None:
            raise NoCentreError("no issuance service is configured")
        try:
            answer = await self._client.exchange(method, path, content, headers)
        except CentreUnreachableError:
            self._silent_since = self._now()
            raise
        self._silent_since = None
        return answer
