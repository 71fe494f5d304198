"""`onecard card pki` and `bank`: applications beside the social security part; `transit` is in card_transit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onecard_cli.card_transit import transit_app
from onecard_cli.desk import JsonOption, LastTryOption, ReaderOption, TraceOption, ask_pin, desk
from onecard_cli.output import print_json, reports_failures

pki_app = typer.Typer(help="数字证书应用 / the certificate application", no_args_is_help=True)


def register(group: typer.Typer) -> None:
    """Add the commands of this module to `onecard card`."""
    group.add_typer(transit_app, name="transit")
    group.add_typer(pki_app, name="pki")
    group.command("bank")(bank)


# -- certificates -----------------------------------------------------------------------------------------------------


@pki_app.command("info")
@reports_failures
def pki_info(reader: ReaderOption = None, as_json: JsonOption = False, trace: TraceOption = False) -> None:
    """公钥、证书、PIN 剩余次数 / public keys, certificates, tries left.

    \b
    Example: ./onecard card pki info --json
    """
    from cardlib.pki import PkiSession

    with desk(reader, "none", trace=trace) as here:
        session = PkiSession(here.channel, protocol=here.protocol)
        session.open()
        info = session.info()
    if as_json:
        certificates = {
            "signing_certificate": info.signing_certificate.hex().upper(),
            "encryption_certificate": info.encryption_certificate.hex().upper(),
        }
        print_json({"ok": True} | info.to_json() | certificates)
        return
    for name, value in info.to_json().items():
        print(f"{name}: {'-' if value is None else value}")


@pki_app.command("sign")
@reports_failures
def pki_sign(
    file: Annotated[Path, typer.Argument(help="要签名的文件 / file to sign", exists=True, dir_okay=False)],
    out: Annotated[Path | None, typer.Option("--out", help="签名存入文件 / write the signature here")] = None,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """用卡内私钥做 SM2 签名；PIN 从终端输入 / sign with the card's SM2 key; the PIN is typed here.

    \b
    Example: ./onecard card pki sign letter.pdf --out letter.sig
    """
    from cardlib.pki import PkiSession

    message = file.read_bytes()
    with desk(reader, "none", trace=trace) as here:
        session = PkiSession(here.channel, protocol=here.protocol)
        session.open()
        session.verify(ask_pin("证书 PIN / certificate PIN"), use_last_try=use_last_try)
        signature, public = session.sign(message), session.public_key()
    if out is not None:
        out.write_text(signature.hex().upper() + "\n", encoding="ascii")
    if as_json:
        print_json({"ok": True, "signature": signature.hex().upper(), "public_key": public.hex().upper()})
    elif out is not None:
        print(f"✓ {out}")
    else:
        print(signature.hex().upper())


@pki_app.command("verify")
@reports_failures
def pki_verify(
    file: Annotated[Path, typer.Argument(help="被签名的文件 / the signed file", exists=True, dir_okay=False)],
    signature_file: Annotated[Path, typer.Argument(help="签名文件 / signature file", exists=True, dir_okay=False)],
    key: Annotated[str | None, typer.Option("--key", help="公钥，不给则读卡 / public key, else the card's")] = None,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """验证 SM2 签名；给出公钥就不需要卡 / verify an SM2 signature; with a public key no card is needed.

    The exit status is 1 when the signature does not fit.

    \b
    Example: ./onecard card pki verify letter.pdf letter.sig
    """
    from cardlib.pki import PkiSession
    from hsm.primitives import default_engine

    signature = bytes.fromhex(signature_file.read_text(encoding="ascii"))
    if key is not None:
        public = bytes.fromhex(key)
    else:
        with desk(reader, "none", trace=trace) as here:
            session = PkiSession(here.channel, protocol=here.protocol)
            session.open()
            public = session.public_key()
    is_valid = default_engine().sm2_verify(public, file.read_bytes(), signature)
    if as_json:
        print_json({"ok": True, "is_valid": is_valid, "public_key": public.hex().upper()})
    else:
        print("✓ 签名有效 / the signature is valid" if is_valid else "✗ 签名与文件或公钥不符 / it does not fit")
    if not is_valid:
        raise typer.Exit(1)


# -- bank -------------------------------------------------------------------------------------------------------------


@reports_failures
def bank(
    full: Annotated[bool, typer.Option("--full", help="显示完整卡号 / show the whole number")] = False,
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """读银行卡号（遮盖显示），不做支付 / the bank card number, masked; nothing is paid.

    \b
    Example: ./onecard card bank --full
    """
    from cardlib.bank import read_bank_card

    with desk(reader, "none", trace=trace) as here:
        card = read_bank_card(here.channel, protocol=here.protocol)
    data = card.to_json(shows_number=full)
    if as_json:
        print_json({"ok": True} | data)
    else:
        print(f"{data['number']}  {card.expiry}")
