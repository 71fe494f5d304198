"""Pages that were drawn once, kept packed for whoever asks next; their tag and headers let others keep them, too."""

from __future__ import annotations

import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

MAX_PAGES: Final = 512
MAX_AGE_S: Final = 300
HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Kept:
    packed: bytes
    tag: str
    media_type: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Kept:
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        return cls(gzip.compress(body, _LEVEL, mtime=0), tag, media_type)

    def answer(self, request: Request) -> Response:
        """Packed where the browser takes that; nothing but the headers where it has the page already."""
        headers = {
            "ETag": self.tag,
            "Cache-Control": f"public, max-age={MAX_AGE_S}",
            "Vary": "Accept-Encoding, Cookie",
        }
        known = {entry.strip() for entry in request.headers.get("If-None-Match", "").split(",")}
        if known & {self.tag, self.tag.removeprefix("W/"), "*"}:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            packed = headers | {"Content-Encoding": "gzip"}
            return Response(self.packed, media_type=self.media_type, headers=packed)
        return Response(gzip.decompress(self.packed), media_type=self.media_type, headers=headers)


class Shelf:
    """The pages asked for last. A key says everything the page depends on, the catalog's version among it."""

    def __init__(self) -> None:
        self._pages: OrderedDict[Hashable, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, key: Hashable) -> Kept | None:
        kept = self._pages.get(key)
        if kept is not None:
            self._pages.move_to_end(key)
        return kept

    def put(self, key: Hashable, draw: Callable[[], bytes], media_type: str = HTML) -> Kept:
        kept = self._pages[key] = Kept.of(draw(), media_type)
        while len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)
        return kept
