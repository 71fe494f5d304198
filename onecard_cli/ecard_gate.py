"""`onecard ecard gate`: a gate without a network that opens for transit codes, from a scanner's lines or pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from onecard_cli.output import CommandError, reports_failures

if TYPE_CHECKING:
    from cardlib.transit_code_anchors import TrustAnchors
    from cardlib.transit_code_verifier import TransitCodeVerifier

MAX_LINE = 4096
MAX_PIXELS = 20_000_000


@reports_failures
def gate(
    anchors: Annotated[Path | None, typer.Option(help="根公钥信任名单 / file of trusted roots")] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PICTURE]...", help="码的图片；没有则逐行读十六进制 / else hex lines"),
    ] = None,
    held: Annotated[
        Path | None, typer.Option(help="名单从这里取：catalog fetch 的文件夹 / take them from what was fetched there")
    ] = None,
    used: Annotated[
        Path | None, typer.Option(help="记住用过的码的文件，重启也不忘 / file that remembers used codes")
    ] = None,
    amount: Annotated[int, typer.Option(min=0, help="车费（分） / fare in fen")] = 0,
    profile: Annotated[Literal["a_c", "b"], typer.Option(help="布局的读法 / reading of the layout")] = "a_c",
    as_json: Annotated[bool, typer.Option("--json", help="每码一行 JSON / a JSON line for each code")] = False,
) -> None:
    """断网的闸机：每个码放行或拒绝，说明原因 / a gate without a network: opens or refuses, and says why.

    \b
    Example: ./onecard wallet code --scene transit | tail -1 | ./onecard ecard gate --anchors roots.json --used used.db
    Example: ./onecard ecard gate --anchors roots.json --amount 300 code.png
    Example: ./onecard ecard gate --held held --used used.db
    """
    from cardlib.spec.transit_code import code_profile
    from cardlib.transit_code_uses import FileUses, MemoryUses
    from cardlib.transit_code_verifier import TransitCodeVerifier

    store = MemoryUses() if used is None else FileUses(used)
    verifier = TransitCodeVerifier(_roots(anchors, held), code_profile(profile), used=store)
    refused = 0
    try:
        for scanned in _from_pictures(pictures) if pictures else _from_lines():
            refused += not _opens(verifier, scanned, amount, as_json=as_json)
    finally:
        if isinstance(store, FileUses):
            store.close()
    if refused:
        raise typer.Exit(1)


def _roots(anchors: Path | None, held: Path | None) -> TrustAnchors:
    """From one of both; a set is verified anew, signatures and terms. Raises CommandError, DistributionError."""
    from cardlib.failures import FailureCode
    from cardlib.transit_code_anchors import TrustAnchors
    from onecard_cli.ecard import content_of

    if (anchors is None) == (held is None):
        raise CommandError(FailureCode.INPUT_INVALID, "--anchors 或 / or --held")
    if anchors is not None:
        return TrustAnchors.parse(content_of(anchors))
    assert held is not None
    from apps_catalog.distribution.client import verify
    from terminal_agent.catalog.contents import ANCHORS

    return TrustAnchors.parse(content_of(verify(held).files / ANCHORS))


def _opens(verifier: TransitCodeVerifier, scanned: bytes, amount_fen: int, *, as_json: bool) -> bool:
    from cardlib.failures import describe
    from cardlib.transit_code import TransitCodeError

    failure = None
    try:
        fields = verifier.verify(scanned, amount_fen).authorisation.fields
        said = f"✓ 放行 / open  {fields.issuer}  {amount_fen} fen"
    except TransitCodeError as refusal:
        failure = describe(refusal.failure)
        detail = f"  {refusal}" if str(refusal) else ""
        said = f"✗ 不放行 / refused  {failure.text_zh} / {failure.text_en}  [{failure.code}]{detail}"
    if as_json:
        told = {"open": failure is None, "failure": failure and failure.code}
        words = {"text": failure.text_zh, "text_en": failure.text_en} if failure else {}
        said = json.dumps(told | words, ensure_ascii=False)
    print(said, flush=True)
    return failure is None


def _from_lines() -> Iterator[bytes]:
    """A line is a code in hex; one that is not, or has no end, is an unreadable scan."""
    while line := sys.stdin.readline(MAX_LINE):
        text = line.strip()
        if not text:
            continue
        try:
            yield bytes.fromhex(text)
        except ValueError:
            yield b""


def _from_pictures(files: list[Path]) -> Iterator[bytes]:
    """The first QR code of each picture; one without is an unreadable scan."""
    from PIL import Image

    from cardlib.failures import FailureCode
    from onecard_ui.code_picture import codes_in

    for file in files:
        try:
            with Image.open(file) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise CommandError(FailureCode.INPUT_INVALID, f"{file}: more than {MAX_PIXELS} pixels")
                codes = codes_in(opened.convert("L"))
        except (OSError, Image.DecompressionBombError) as error:
            why = getattr(error, "strerror", None) or "没有能读的图片 / no picture that can be read"
            raise CommandError(FailureCode.INPUT_INVALID, f"{file}: {why}") from None
        yield codes[0].bytes if codes else b""
