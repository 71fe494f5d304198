"""Receipts and pictures: what reaches the paper, what every fault is called, and that the next receipt is printed."""

from __future__ import annotations

import base64
import io
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from apdu.inprocess import InProcessReaders
from simulators.portrait import Portrait
from simulators.receipt_printer import SimReceiptPrinter
from terminal_agent import counter_devices, receipts
from terminal_agent.camera import judged
from terminal_agent.receipts import Line, Receipt, ReceiptPrinter, ReceiptPrinterLostError
from tests.terminal_agent.stand import agent_with, until

TEXT: dict[str, Any] = {
    "lines": [{"text": "已支付 38.60 元", "large": True, "align": "centre"}],
    "qr": "https://a.example/1",
}


@pytest.fixture
def printer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimReceiptPrinter]:
    monkeypatch.setattr(counter_devices, "LOOK_S", 0.05)
    with SimReceiptPrinter(tmp_path / "receipts") as found:
        yield found


async def printed(client: httpx.AsyncClient) -> str:
    answer = (await client.post("/v1/receipts", json=TEXT)).json()
    return str(answer.get("state") or answer["code"])


async def test_every_fault_is_named_and_the_next_receipt_printed(
    printer: SimReceiptPrinter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agent_with(InProcessReaders(()), receipt_printer=printer.address) as client:

        async def state() -> tuple[str, str | None]:
            (device,) = (await client.get("/v1/devices")).json()
            return device["state"], device["failure"]

        assert await printed(client) == "printed"
        assert printer.printed == ["已支付 38.60 元\n[QR https://a.example/1]\n"]
        printer.paper = 0
        assert await printed(client) == "RECEIPT_PAPER_OUT"
        assert await state() == ("attention", "RECEIPT_PAPER_OUT")
        printer.paper, printer.is_cover_open = 1, True
        assert await printed(client) == "RECEIPT_PRINTER_FAULT"
        printer.is_cover_open = False
        assert await printed(client) == "RECEIPT_PAPER_OUT", "the roll ended with this receipt"
        printer.paper, printer.is_silent = None, True
        with monkeypatch.context() as impatient:
            impatient.setattr(receipts, "ANSWER_S", 0.3)
            assert await printed(client) == "RECEIPT_PRINTER_LOST"
        printer.is_silent = False

        async def is_well() -> bool:
            return await state() == ("ready", None)

        await until(is_well)
        assert await printed(client) == "printed"
        (device,) = (await client.get("/v1/devices")).json()
        assert device["health"]["failures"] >= 4
        sly = {"lines": [{"text": "a\x1d(k"}]}
        assert (await client.post("/v1/receipts", json=sly)).status_code == 422
    assert printer.unknown == []


def test_what_is_no_printer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for reply in (b"H", b""):
                link, _ = server.accept()
                with link:
                    link.recv(8)
                    link.sendall(reply)

        threading.Thread(target=answer, daemon=True).start()
        stranger = ReceiptPrinter(f"127.0.0.1:{server.getsockname()[1]}", baud=9600)
        for _ in range(2):
            with pytest.raises(ReceiptPrinterLostError):
                stranger.check()
    for nowhere in ("127.0.0.1:9", "127.0.0.1:99999", f"{'a' * 80}.example:9100", "/dev/no-such-port"):
        with pytest.raises(ReceiptPrinterLostError):
            ReceiptPrinter(nowhere, baud=9600).check()


@hypothesis_settings(max_examples=60)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_no_text_becomes_a_command(texts: list[str]) -> None:
    """Whatever a line holds, between the commands of its head and the line feed stands only what can be printed."""
    raw = Receipt(tuple(map(Line, texts))).encode()
    bodies = raw.split(b"\x1bE\x00")[1:]
    assert len(bodies) == len(texts)
    for text, body in zip(texts, bodies, strict=True):
        shown = body.split(b"\n")[0].decode("gbk")
        assert len(shown) == len(text)
        assert all(char.isprintable() for char in shown)


async def test_pictures_are_judged_by_their_form(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(Portrait().jpeg())
    (tmp_path / "2.jpg").write_bytes(b"\xff\xd8" + bytes(9000))
    wide = io.BytesIO()
    Image.effect_noise((441, 358), 8).save(wide, "JPEG", dpi=(96, 96))
    (tmp_path / "3.JPG").write_bytes(wide.getvalue())
    (tmp_path / "0.jpg").mkdir()
    os.mkfifo(tmp_path / "1.jpeg")
    async with agent_with(InProcessReaders(()), camera=f"file:{tmp_path}") as client:
        taken = [(await client.post("/v1/camera/picture")).json() for _ in range(4)]
        assert [picture["reasons"] for picture in taken] == [
            [], ["photo_not_jpeg"], ["photo_size", "photo_dpi", "photo_colour"], [],
        ]  # fmt: skip
        assert base64.b64decode(taken[0]["jpeg_base64"]) == (tmp_path / "1.jpg").read_bytes()
        shutil.rmtree(tmp_path)
        assert (await client.post("/v1/camera/picture")).json()["code"] == "CAMERA_UNAVAILABLE"
        (device,) = (await client.get("/v1/devices")).json()
        assert (device["kind"], device["state"], device["failure"]) == ("camera", "lost", "CAMERA_UNAVAILABLE")


@hypothesis_settings(max_examples=60)
@given(cut=st.integers(0, 20000), flip=st.integers(0, 20000), value=st.integers(0, 255))
def test_any_bytes_are_judged(cut: int, flip: int, value: int) -> None:
    jpeg = bytearray(PORTRAIT[:cut] if cut % 2 else PORTRAIT)
    if jpeg:
        jpeg[flip % len(jpeg)] = value
    assert isinstance(judged(bytes(jpeg)).reasons, tuple)


PORTRAIT = Portrait().jpeg()
