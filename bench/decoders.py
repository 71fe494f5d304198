"""Three readers of QR pictures that share no code: zxing-cpp, zbar and jsQR. Each gives the bytes of the one code."""

from __future__ import annotations

import base64
import io
import json
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import zxingcpp
from PIL import Image

from bench.npm import npm_package

JSQR_VERSION: Final = "1.4.0"
_SCRIPT = Path(__file__).with_name("jsqr.cjs")
# `binary` hands the bytes on as they are; without it zbar guesses a character set and converts.
_ZBAR = ("--nodbus", "--quiet", "--raw", "--oneshot", "-Sdisable", "-Sqrcode.enable", "-Sbinary")

Decoder = Callable[[Sequence[Image.Image]], list[bytes]]


def zxing(frames: Sequence[Image.Image]) -> list[bytes]:
    """Of each grey frame the bytes of its code, b"" where not exactly one is found."""
    found = (zxingcpp.read_barcodes(frame, zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)) for frame in frames)
    return [bytes(codes[0].bytes) if len(codes) == 1 else b"" for codes in found]


def zbar(frames: Sequence[Image.Image]) -> list[bytes]:
    return [_zbar(frame) for frame in frames]


def _zbar(frame: Image.Image) -> bytes:
    file = io.BytesIO()
    frame.save(file, "PNG", compress_level=1)
    return subprocess.run(["zbarimg", *_ZBAR, "-"], input=file.getvalue(), capture_output=True, check=False).stdout


def jsqr(frames: Sequence[Image.Image]) -> list[bytes]:
    folder = npm_package("jsqr", JSQR_VERSION)
    with tempfile.NamedTemporaryFile() as file:
        for frame in frames:
            file.write(struct.pack("<II", *frame.size) + frame.tobytes())
        file.flush()
        order = ["node", str(_SCRIPT), str(folder), file.name]
        said = subprocess.run(order, capture_output=True, check=True).stdout
    return [base64.b64decode(code) for code in json.loads(said)]


def missing(name: str) -> str:
    """Why a decoder cannot run here, empty when it can."""
    if name == "zbar" and shutil.which("zbarimg") is None:
        return "zbarimg is missing (Debian package zbar-tools)"
    if name == "jsqr" and shutil.which("node") is None:
        return "node is missing (Debian package nodejs)"
    if name == "jsqr" and npm_package("jsqr", JSQR_VERSION) is None:
        return f"jsqr {JSQR_VERSION} could not be had from npm"
    return ""


DECODERS: Final[dict[str, Decoder]] = {"zxing": zxing, "zbar": zbar, "jsqr": jsqr}
