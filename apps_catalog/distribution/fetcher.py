"""How files come: over HTTP with resume and a limit of time, from a folder (a memory stick), or from what is held."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import httpx
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient import FetcherInterface

_CHUNK: Final = 1 << 16
_TIMEOUT_S: Final = 20.0
_FILE_LIMIT_S: Final = 900.0
_PARTIAL: Final = 206
_REFUSED: Final = 400
_VERSIONED: Final = re.compile(r"(\d+)\.(.+)", re.ASCII)


class HttpFetcher(FetcherInterface):
    """`partial`: folder where an interrupted file under `/targets/` waits for its rest; its name carries its hash.

    Redirects and compressed answers are not accepted. Raises DownloadError or one of its kinds only.
    """

    def __init__(
        self, partial: Path, auth: httpx.Auth | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._partial = partial
        self._clock = clock
        self._client = httpx.Client(
            auth=auth, verify=_trusted(), timeout=_TIMEOUT_S, headers={"Accept-Encoding": "identity"}
        )

    def close(self) -> None:
        self._client.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._answer(url, 0)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        if "/targets/" not in url:
            with super().download_file(url, max_length) as file:
                yield file
            return
        place = self._partial / (url.rpartition("/")[2] + ".part")
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab+") as file:
            size = file.seek(0, 2)
            if size < max_length:
                self._append(file, url, size, max_length)
            file.seek(0)
            try:
                yield file
            finally:
                # Judged by its hash now: good ones were copied, bad ones must not be taken up again.
                place.unlink(missing_ok=True)

    def _append(self, file: IO[bytes], url: str, size: int, max_length: int) -> None:
        for chunk in self._answer(url, size, restart=lambda: file.truncate(0)):
            file.write(chunk)
            if file.tell() > max_length:
                file.truncate(0)
                raise DownloadLengthMismatchError(f"more than {max_length} bytes")
        file.flush()

    def _answer(self, url: str, start: int, *, restart: Callable[[], object] = lambda: None) -> Iterator[bytes]:
        ends = self._clock() + _FILE_LIMIT_S
        try:
            with self._client.stream("GET", url, headers={"Range": f"bytes={start}-"} if start else {}) as answer:
                if answer.status_code >= _REFUSED or answer.is_redirect:
                    restart()
                    self._drain(answer, ends)
                    raise DownloadHTTPError(f"HTTP status {answer.status_code}", answer.status_code)
                if start and answer.status_code != _PARTIAL:
                    restart()
                for chunk in answer.iter_raw(_CHUNK):
                    if self._clock() > ends:
                        raise SlowRetrievalError(f"not complete after {_FILE_LIMIT_S:.0f} s")
                    yield chunk
        except httpx.TimeoutException as error:
            raise SlowRetrievalError("no answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DownloadError(type(error).__name__) from error

    def _drain(self, answer: httpx.Response, ends: float) -> None:
        """Read a short refusal to its end, so that the connection serves the next request: each fetch begins with one,
        for the root that is not there yet.
        """
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) <= _CHUNK:
            for _ in answer.iter_raw(_CHUNK):
                if self._clock() > ends:
                    return


class FolderFetcher(FetcherInterface):
    """The repository as a folder, named by a `file:` URL."""

    def close(self) -> None:
        """Nothing is kept open."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        return _chunks(Path(url2pathname(urlsplit(url).path)))


class HeldFetcher(FetcherInterface):
    """The metadata python-tuf keeps, under the names of a repository: what is held is verified as if it came anew."""

    def __init__(self, metadata: Path) -> None:
        self._metadata = metadata

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        if name.endswith(".root.json"):
            return _chunks(self._metadata / "root_history" / name)
        versioned = _VERSIONED.fullmatch(name)
        return _chunks(self._metadata / (versioned[2] if versioned else name))


@cache
def _trusted() -> ssl.SSLContext:
    """Read once: it takes longer than all else of a fetch that brings nothing new."""
    return httpx.create_ssl_context()


def fetcher_for(url: str, partial: Path, auth: httpx.Auth | None = None) -> HttpFetcher | FolderFetcher:
    return FolderFetcher() if urlsplit(url).scheme == "file" else HttpFetcher(partial, auth)


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise DownloadHTTPError(f"{path.name}: {error.strerror}", 404) from error
