"""The panel of simulated hands, and the line that they cut."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from cardlib.identity import citizen_number
from simulators.cut import CutLine
from simulators.kiosk_hands import PEOPLE, PEOPLE_WORDS, SCENE_WORDS, SCENES, Drawer, holder_of
from simulators.panel import Act, Both, Choice, Fact, Section, create_panel
from tests.e2e.test_torn_issuance import blank

OWN = "http://127.0.0.1"


class Hands:
    title = Both("模拟的手", "Simulated hands")
    screen_url = "http://127.0.0.1:1/kiosk"

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def sections(self) -> list[Section]:
        acts = (Act("put", Both("放上", "put"), (Choice("<a>", Both("<甲>", "<A>")),)),)
        return [Section("card", Both("卡", "Card"), (Fact(Both(f"{len(self.done)} 次", "times"), "ok"),), acts)]

    def do(self, act: str, value: str) -> None:
        if act != "put":
            raise ValueError("no such act")
        self.done.append((act, value))


@pytest.fixture
async def panel() -> AsyncIterator[tuple[Hands, httpx.AsyncClient]]:
    hands = Hands()
    transport = httpx.ASGITransport(create_panel(hands))
    async with httpx.AsyncClient(transport=transport, base_url=OWN, headers={"Origin": OWN}) as http:
        yield hands, http


async def test_a_button_is_a_hand_and_the_page_follows(panel: tuple[Hands, httpx.AsyncClient]) -> None:
    hands, http = panel
    page, before = await http.get("/"), (await http.get("/version")).json()
    assert "&lt;甲&gt;" in page.text
    assert "<甲>" not in page.text
    assert (await http.post("/act", data={"act": "put", "value": "<a>"})).headers["location"] == "/"
    assert hands.done == [("put", "<a>")]
    assert (await http.get("/version")).json() != before
    assert (await http.post("/act", data={"act": "other"})).headers["location"] == "/?said=stale"


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
async def test_strangers_get_nowhere(panel: tuple[Hands, httpx.AsyncClient], headers: dict[str, str]) -> None:
    hands, http = panel
    assert (await http.post("/act", data={"act": "put"}, headers=headers)).status_code == 403
    assert hands.done == []


def test_a_cut_line_breaks_off_and_comes_back() -> None:
    with (
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as far,
        CutLine(("127.0.0.1", far.server_address[1])) as line,
    ):
        far.daemon_threads = True
        threading.Thread(target=far.serve_forever, args=(0.05,), daemon=True).start()
        near = ("127.0.0.1", int(httpx.URL(line.url).port or 0))
        with socket.create_connection(near, timeout=30) as end:
            end.sendall(b"ping")
            assert end.recv(4) == b"ping"
            line.cut()
            assert _is_over(end)
        with suppress(ConnectionError), socket.create_connection(near, timeout=30) as end:
            assert _is_over(end)
        line.mend()
        with socket.create_connection(near, timeout=30) as end:
            end.sendall(b"pong")
            assert end.recv(4) == b"pong"
        far.shutdown()


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(99):
            self.request.sendall(data)


def _is_over(end: socket.socket) -> bool:
    try:
        return end.recv(1) == b""
    except ConnectionError:
        return True


def test_every_person_and_scene_has_words_and_cards_have_names() -> None:
    assert PEOPLE.keys() == PEOPLE_WORDS.keys()
    assert SCENES.keys() == SCENE_WORDS.keys()
    for person in PEOPLE.values():
        stated = (str(2 - int(person.number[16]) % 2), person.number[6:14])
        assert citizen_number(person.number[:17]) == person.number
        assert stated == (person.sex, person.birth)
    drawer, card = Drawer(), blank(1)
    assert holder_of(card.state) == ""
    assert [drawer.add(card), drawer.add(card)] == ["空白卡", "空白卡 2"]
