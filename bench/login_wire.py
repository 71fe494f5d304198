"""HTTP of the log-in bench: as little work of the client's own as there can be, the same for both providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes

    @property
    def location(self) -> str:
        return self.headers["location"]


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Wire:
    """Connections to one server, kept for the next request."""

    origin: str
    _free: list[Connection] = field(default_factory=list)

    async def ask(
        self,
        path: str,
        *,
        cookies: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        authorization: str = "",
    ) -> Reply:
        """A GET, or a POST of `form`. `path` may be a whole address of this server."""
        request = self._request(path, cookies or {}, form, authorization)
        while True:
            was_kept = bool(self._free)
            reader, writer = await self._connection()
            writer.write(request)
            try:
                reply = await _reply(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                if not was_kept:
                    raise
                continue  # it was closed, idle for seconds, while this was sent
            self._free.append((reader, writer))
            return reply

    @asynccontextmanager
    async def stream(self, path: str, cookies: Mapping[str, str]) -> AsyncIterator[asyncio.StreamReader]:
        """What the server sends until it is closed."""
        reader, writer = await self._open()
        writer.write(self._request(path, cookies, None, ""))
        try:
            yield reader
        finally:
            writer.close()

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
        self._free.clear()

    async def _connection(self) -> Connection:
        """Servers close those that were idle for seconds."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await self._open()

    async def _open(self) -> Connection:
        where = urlsplit(self.origin)
        return await asyncio.open_connection(where.hostname, where.port, limit=1 << 20)

    def _request(
        self, path: str, cookies: Mapping[str, str], form: Mapping[str, str] | None, authorization: str
    ) -> bytes:
        body = b"" if form is None else urlencode(form).encode()
        lines = [f"{'GET' if form is None else 'POST'} {path.removeprefix(self.origin)} HTTP/1.1"]
        lines.append(f"Host: {urlsplit(self.origin).netloc}")
        if cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items()))
        if authorization:
            lines.append(f"Authorization: {authorization}")
        if form is not None:
            lines += [f"Content-Type: {_FORM}", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


async def _reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers, cookies = dict[str, str](), dict[str, str]()
    for line in head[1:]:
        name, _, value = line.partition(": ")
        if name.lower() == "set-cookie":
            key, _, text = value.partition(";")[0].partition("=")
            cookies[key] = text
        else:
            headers[name.lower()] = value
    return Reply(int(head[0].split()[1]), headers, cookies, await _body(reader, headers))


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)
