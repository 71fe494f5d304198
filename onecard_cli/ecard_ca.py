"""`onecard ecard ca`: the root of transit codes, the issuer certificates it signs, the list of roots for gates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.output import CommandError, fail, print_json, reports_failures

if TYPE_CHECKING:
    from onecard_cli.transit_ca import Issued, TransitCa

ca_app = typer.Typer(help="乘车码的根与发卡机构证书 / root and issuer certificates", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="JSON")]
OfficersOption = Annotated[
    list[str] | None,
    typer.Option("--officer", help="管理员，两名 / officer who approves, twice; the passphrase is asked"),
]
DAY_S = 86400


@ca_app.command("init")
@reports_failures
def init(
    name: Annotated[str, typer.Option(help="名称 / name gates show")],
    not_after: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="最后一天 / last day on which it counts")],
    index: Annotated[int, typer.Option(min=1, max=255, help="根公钥索引 / index of the root")] = 1,
    officer: OfficersOption = None,
    as_json: JsonOption = False,
) -> None:
    """在库内生成根密钥 / make a root pair in the key store; a new root takes a new index.

    \b
    Example: ./onecard ecard ca init --name 测试交通根 --not-after 2036-12-31
    Example: ./onecard ecard ca init --index 2 --name 测试交通根二 --not-after 2046-12-31 --officer li --officer wang
    """
    from datetime import date

    with opened() as ca:
        root = ca.init(index, name, date.fromisoformat(not_after), tuple(officer or ()))
        kcv = ca.office.service.info(root.key).kcv.hex().upper()
    if as_json:
        print_json({"ok": True, "index": root.index, "key": str(root.key), "kcv": kcv, "not_after": not_after})
    else:
        print(f"✓ {root.index}  {root.name}  {root.key} {kcv}  → {not_after}")


@ca_app.command("issue")
@reports_failures
def issue(
    issuer: Annotated[str, typer.Option(help="发卡机构标识，8 位 / the issuer's eight digits")],
    expires: Annotated[str, typer.Option(metavar="MMYY", help="失效月 / month in which it ends")],
    root: Annotated[int | None, typer.Option(help="根公钥索引，缺省为最新 / index, default: the newest root")] = None,
    serial: Annotated[int | None, typer.Option(min=1, help="序列号，缺省为下一个 / default: the next")] = None,
    public_key: Annotated[
        str | None, typer.Option(metavar="FILE|HEX", help="别家机构的公钥 / another issuer's SM2 point")
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="换新的机构密钥 / with a new key of our own")] = False,
    use: Annotated[
        bool,
        typer.Option("--use", help="本机发卡服务从此用它 / the service of this home signs under it from now on"),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="证书写入新文件 / write the 117 bytes to a new file")] = None,
    officer: OfficersOption = None,
    as_json: JsonOption = False,
) -> None:
    """用根密钥签发发卡机构证书：本库的机构密钥，或别家的公钥 / sign an issuer certificate, for the issuer key of this
    store or for another issuer's public key.

    \b
    Example: ./onecard ecard ca issue --issuer 99010001 --expires 1228 --use
    Example: ./onecard ecard ca issue --issuer 99020001 --expires 1228 --public-key theirs.bin --out theirs.cer
    """
    from cardlib.failures import FailureCode
    from hsm.sealed_store import write_atomically
    from onecard_cli.ecard import bytes_of
    from onecard_cli.transit_ca import public_key_of

    if public_key is not None and (use or new_key):
        raise CommandError(FailureCode.INPUT_INVALID, "--use and --new-key are for keys of this store")
    if out is not None and out.exists():
        raise CommandError(FailureCode.CONFLICT, f"{out} exists")
    point = b"" if public_key is None else public_key_of(bytes_of(public_key))
    with opened() as ca:
        key = ca.issuer_key(is_new=new_key) if public_key is None else None
        found, officers = ca.root(root), tuple(officer or ())
        issued = ca.issue(found, issuer, expires, key=key, public_key=point, serial=serial, officers=officers)
        raw = issued.certificate.encode()
        if use:
            write_atomically(ca.office.home.transit_certificate, raw)
    if out is not None:
        with out.open("xb") as file:
            file.write(raw)
    if as_json:
        print_json({"ok": True, **_row(issued, time.time()), "certificate": raw.hex().upper(), "used": use})
        return
    print(f"✓ {_line(issued, time.time())}")
    print(out if out is not None else raw.hex().upper())


@ca_app.command("list")
@reports_failures
def list_all(as_json: JsonOption = False) -> None:
    """根、签出的证书、还有多少天 / roots and certificates, and how many days each has left.

    \b
    Example: ./onecard ecard ca list
    """
    now = time.time()
    with opened() as ca:
        issued, roots = ca.book.issued, ca.held()
    if as_json:
        told = [
            {
                "index": root.index,
                "name": root.name,
                "key": str(root.key),
                "state": state.value,
                "not_after": root.not_after.isoformat(),
                "days_left": days_left(anchor.ends_at, now),
            }
            for root, anchor, state in roots
        ]
        print_json({"roots": told, "certificates": [_row(each, now) for each in issued]})
        return
    for root, anchor, state in roots:
        left = _left(days_left(anchor.ends_at, now))
        print(f"根 / root {root.index}  {root.name}  {root.key}  {state.value}  → {root.not_after.isoformat()}  {left}")
    for each in issued:
        print(_line(each, now))
    if not roots:
        print("没有根 / no root: onecard ecard ca init")


@ca_app.command("anchors")
@reports_failures
def anchors(
    out: Annotated[Path, typer.Option(help="目标文件，.json / target file")],
    add: Annotated[
        list[Path] | None, typer.Option("--add", help="并入别家的名单 / put another owner's list in as well")
    ] = None,
) -> None:
    """闸机的根公钥信任名单：未到期的根 / the list of roots for gates, without those that have ended.

    \b
    Example: ./onecard ecard ca anchors --out roots.json
    """
    from cardlib.transit_code_anchors import TrustAnchors
    from hsm.sealed_store import write_atomically
    from onecard_cli.ecard import content_of

    with opened() as ca:
        own = list(ca.anchors())
    others = [anchor for file in add or () for anchor in TrustAnchors.parse(content_of(file))]
    listed = TrustAnchors([*own, *others])
    write_atomically(out, listed.encode())
    print(f"✓ {out}: {len(listed)}")
    for anchor in listed:
        print(f"  {anchor.index}  {anchor.name}  → {anchor.not_after.isoformat()}  {_fingerprint(anchor.public_key)}")


@ca_app.command("show")
@reports_failures
def show(
    certificate: Annotated[str, typer.Argument(metavar="FILE|HEX", help="证书的字节 / bytes of the certificate")],
    anchors: Annotated[
        Path | None, typer.Option(help="信任名单，缺省用本库的根 / default: roots of this store")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """逐项解释并核验一个发卡机构证书 / every part of an issuer certificate, its term and the root's signature.

    \b
    Example: ./onecard ecard ca show theirs.cer --anchors roots.json
    """
    from cardlib.transit_code import IssuerCertificate, TransitCodeError
    from cardlib.transit_code_anchors import TrustAnchors
    from cardlib.transit_code_explain import certificate_lines
    from cardlib.transit_code_verifier import TransitCodeVerifier
    from onecard_cli.ecard import bytes_of, content_of

    raw = bytes_of(certificate)
    parsed = IssuerCertificate.parse(raw)
    if anchors is not None:
        trusted = TrustAnchors.parse(content_of(anchors))
    else:
        with opened() as ca:
            trusted = TrustAnchors(anchor for _, anchor, _ in ca.held())
    refusal: TransitCodeError | None = None
    try:
        TransitCodeVerifier(trusted).verify_certificate(raw)
    except TransitCodeError as error:
        refusal = error
    lines = list(certificate_lines(parsed))
    if as_json:
        values = [{"field": line.label_zh.strip(), "field_en": line.label_en, "value": line.value} for line in lines]
        print_json({"ok": refusal is None, "failure": refusal.failure if refusal else None, "fields": values})
        if refusal:
            raise typer.Exit(1)
        return
    for line in lines:
        print(f"{line.label_zh} / {line.label_en}: {line.value}")
    if refusal:
        raise fail(refusal)
    print(f"✓ 根 / root {parsed.root_index}，{_left(days_left(parsed.ends_at, time.time()))}")


@contextmanager
def opened() -> Iterator[TransitCa]:
    from onecard_cli.key_office import KeyOffice
    from onecard_cli.transit_ca import TransitCa

    with KeyOffice.open() as office:
        yield TransitCa(office, int(time.time()))


def _row(issued: Issued, now: float) -> dict[str, Any]:
    certificate = issued.certificate
    return {
        "root": certificate.root_index,
        "issuer": certificate.issuer,
        "serial": certificate.serial.hex().upper(),
        "expires": certificate.expires,
        "days_left": days_left(certificate.ends_at, now),
        "key": issued.key,
        "issued_at": issued.issued_at,
    }


def _line(issued: Issued, now: float) -> str:
    row = _row(issued, now)
    key = row["key"] or "别处 / elsewhere"
    return (
        f"证书 / certificate {row['issuer']}  No. {row['serial']}  根 / root {row['root']}  MMYY {row['expires']}  "
        f"{_left(row['days_left'])}  {key}"
    )


def days_left(ends_at: int, now: float) -> int:
    """Whole days left, negative once it is over."""
    return int((ends_at - now) // DAY_S)


def _left(days: int) -> str:
    from cardlib.transit_code_issuer import WARN_DAYS

    if days < 0:
        return "✗ 已过期 / over"
    return f"{'! ' if days < WARN_DAYS else ''}{days} 天 / days"


def _fingerprint(public_key: bytes) -> str:
    """First 8 bytes of the SM3 of 04 || X || Y, to be compared by telephone."""
    from hsm.primitives import default_engine

    return default_engine().sm3(public_key)[:8].hex().upper()
