"""Any web server of static files will do, and python-tuf's own client takes the repository as it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tuf.ngclient import Updater

from apps_catalog.distribution import keys
from apps_catalog.distribution.errors import DamagedError, NotAdmittedError, UnreachableError
from apps_catalog.distribution.held import held
from tests.apps_catalog.distribution.conftest import Publisher, Terminal


class Server(ThreadingHTTPServer):
    """`cut`: the next file under `/targets/` breaks off in the middle; `endless`: it never ends;
    `knows_nobody`: they are given to nobody."""

    folder: Path
    cut = False
    endless = False
    knows_ranges = True
    knows_nobody = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ranges: list[str] = []
        self.sent = 0
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.server.requests += 1
        try:
            data = (self.server.folder / self.path.lstrip("/")).read_bytes()
        except OSError:
            self.send_error(404)
            return
        if self.server.knows_nobody and "/targets/" in self.path:
            self.send_error(401)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.server.knows_ranges else 0
        self.server.ranges += [self.headers["Range"]] if "Range" in self.headers else []
        if start > len(data):
            self.send_error(416)
            return
        is_target = "/targets/" in self.path
        self.send_response(206 if start else 200)
        if not (is_target and self.server.endless):
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if is_target and self.server.endless:
            with suppress(OSError):
                while True:
                    self.wfile.write(data)
            return
        body = data[start:]
        if is_target and self.server.cut:
            self.server.cut = False
            body = body[: len(body) // 2]
        self.server.sent += len(body)  # first: who has the last byte goes on
        self.wfile.write(body)


@pytest.fixture
def server(publisher: Publisher) -> Iterator[Server]:
    with Server() as running:
        running.folder = publisher.path
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _publish(publisher: Publisher) -> bytes:
    content = bytes(range(256)) * 2000
    publisher.all.publish("blocklist", {"full-2.bin": content})
    publisher.all.refresh()
    return content


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_broken_download_is_taken_up_again(
    knows_ranges: bool, server: Server, publisher: Publisher, terminal: Terminal
) -> None:
    content = _publish(publisher)
    server.cut, server.knows_ranges = True, knows_ranges
    with pytest.raises(UnreachableError):
        terminal.fetch(server.url)
    assert held(terminal.into).number == 2
    server.sent = 0
    assert (terminal.fetch(server.url).files / "blocklist" / "full-2.bin").read_bytes() == content
    assert len(server.ranges) == 1
    assert (server.sent < len(content)) == knows_ranges
    assert not (terminal.into / "partial").exists()


def test_a_refused_rest_is_asked_for_whole(server: Server, publisher: Publisher, terminal: Terminal) -> None:
    content = _publish(publisher)
    (file,) = (publisher.path / "targets" / "blocklist").glob("*.full-2.bin")
    server.cut = True
    with pytest.raises(UnreachableError):
        terminal.fetch(server.url)
    file.write_bytes(content[:10])
    with pytest.raises(UnreachableError):
        terminal.fetch(server.url)
    file.write_bytes(content)
    terminal.fetch(server.url)
    assert len(server.ranges) == 1


def test_endless_data(server: Server, publisher: Publisher, terminal: Terminal) -> None:
    _publish(publisher)
    server.endless = True
    with pytest.raises(DamagedError):
        terminal.fetch(server.url)
    server.endless = False
    terminal.fetch(server.url)


def test_a_file_for_registered_clients_only(server: Server, publisher: Publisher, terminal: Terminal) -> None:
    _publish(publisher)
    server.knows_nobody = True
    with pytest.raises(NotAdmittedError):
        terminal.fetch(server.url)


def test_nothing_changed_costs_three_requests_and_ten_kilobytes(server: Server, terminal: Terminal) -> None:
    terminal.fetch(server.url)
    assert server.requests <= 3
    assert server.sent <= 10_000


def test_nobody_there(terminal: Terminal) -> None:
    with pytest.raises(UnreachableError):
        terminal.fetch("http://127.0.0.1:9")


def test_ngclient_accepts_it(server: Server, publisher: Publisher, tmp_path: Path) -> None:
    keys.register()
    metadata, files = tmp_path / "ngclient", tmp_path / "files"
    metadata.mkdir()
    updater = Updater(
        str(metadata),
        f"{server.url}/metadata/",
        str(files),
        f"{server.url}/targets/",
        bootstrap=publisher.root,
    )
    info = updater.get_targetinfo("catalog/110000/110000.toml")
    assert info is not None
    assert b'owner = "110000"' in Path(updater.download_target(info)).read_bytes()
