"""`onecard ecard`: the electronic card's codes, looked at from outside."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from onecard_cli.ecard_ca import ca_app
from onecard_cli.ecard_gate import gate
from onecard_cli.output import CommandError, fail, print_json, reports_failures

ecard_app = typer.Typer(help="电子社保卡 / the electronic card", no_args_is_help=True, add_completion=False)
code_app = typer.Typer(help="脱机乘车码 / offline transit codes", no_args_is_help=True, add_completion=False)
ecard_app.add_typer(code_app, name="code")
ecard_app.add_typer(ca_app, name="ca")
ecard_app.command("gate")(gate)

_MAX_FILE = 1 << 16


@code_app.command("verify")
@reports_failures
def verify(
    code: Annotated[str, typer.Argument(metavar="FILE|HEX", help="码的字节：文件或十六进制 / bytes of the code")],
    anchors: Annotated[Path, typer.Option(help="根公钥信任名单 / file of trusted roots")],
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="闸机的时间，缺省为现在 / the gate's clock, default now")
    ] = None,
    profile: Annotated[Literal["a_c", "b"], typer.Option(help="布局的读法 / reading of the layout")] = "a_c",
    amount: Annotated[int, typer.Option(min=0, help="车费（分） / fare in fen")] = 0,
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="不遮盖账户 / do not mask the accounts")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """逐项解释并核验一个乘车码，不联网 / every field and every check of a transit code, without a network.

    \b
    Example: ./onecard ecard code verify code.bin --anchors roots.json --at 2026-11-20T08:00:00+08:00
    """
    import time

    from cardlib.spec.transit_code import code_profile
    from cardlib.transit_code import TransitCode, TransitCodeError
    from cardlib.transit_code_anchors import TrustAnchors
    from cardlib.transit_code_explain import lines
    from cardlib.transit_code_verifier import TransitCodeVerifier

    raw, reading = bytes_of(code), code_profile(profile)
    now = _moment(at) if at else int(time.time())
    verifier = TransitCodeVerifier(TrustAnchors.parse(content_of(anchors)), reading, clock=lambda: now)
    findings = list(verifier.findings(raw, amount))
    refusal = next((finding.error for finding in findings if finding.error), None)
    try:
        fields = list(lines(TransitCode.parse(raw, reading), reading, show_personal=show_personal))
    except TransitCodeError:
        fields = []
    if as_json:
        checks = [
            {
                "check": finding.name_zh,
                "check_en": finding.name_en,
                "result": finding.mark,
                "failure": finding.error.failure if finding.error else None,
                "detail": str(finding.error) if finding.error else "",
            }
            for finding in findings
        ]
        values = [{"field": line.label_zh.strip(), "field_en": line.label_en, "value": line.value} for line in fields]
        print_json(
            {"ok": refusal is None, "failure": refusal.failure if refusal else None, "fields": values, "checks": checks}
        )
        if refusal:
            raise typer.Exit(1)
        return
    for line in fields:
        print(f"{line.label_zh} / {line.label_en}: {line.value}")
    for finding in findings:
        mark = {"passed": "✓", "failed": "✗"}.get(finding.mark, "–")
        detail = f"  {finding.error.failure} {finding.error}" if finding.error else ""
        print(f"{mark} {finding.name_zh} / {finding.name_en}{detail}")
    if refusal:
        raise fail(refusal)


def bytes_of(text: str) -> bytes:
    """A file's bytes, or those its hex digits stand for; else the hex digits typed."""
    from cardlib.failures import FailureCode

    try:
        is_file = Path(text).is_file()
    except OSError:  # hex digits make a name too long for any folder
        is_file = False
    if not is_file:
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise CommandError(FailureCode.INPUT_INVALID, f"{text[:40]}: no such file and not hex") from None
    content = content_of(Path(text))
    try:
        return bytes.fromhex(content.decode("ascii"))
    except ValueError:
        return content


def content_of(file: Path) -> bytes:
    """A small file. Raises CommandError INPUT_INVALID."""
    from cardlib.failures import FailureCode

    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_FILE + 1)
    except OSError as error:
        raise CommandError(FailureCode.INPUT_INVALID, f"{file}: {error.strerror}") from None


def _moment(text: str) -> int:
    """Unix seconds of an ISO time; without an offset it is China's."""
    from cardlib.transit_code import CHINA

    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=CHINA)).timestamp())
