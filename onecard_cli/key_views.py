"""`onecard hsm status` and `derive`: what the key service holds, and how a card's key comes about."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cardlib.failures import FailureCode
from hsm.act_log import ActLogError
from hsm.api import Algorithm, CardFactors, KeyInfo, KeyRef, KeyState
from hsm.derivation import Explanation, Fits, explain, fits_cryptogram, fits_kcv
from hsm.primitives import default_engine
from onecard_cli.key_acts import DAY_S, AlgorithmOption, KcvOption, NameArgument
from onecard_cli.key_office import KeyOffice
from onecard_cli.output import CommandError, print_json, reports_failures

WARN_DAYS = 30
JsonOption = Annotated[bool, typer.Option("--json", help="JSON")]
HexOption = Annotated[str | None, typer.Option(help="十六进制 / hexadecimal, with --cryptogram")]


@reports_failures
def status(as_json: JsonOption = False) -> None:
    """密钥清单：用途、级别、地区、状态、校验值、次数、期限 / keys with check values, uses, ages, terms; officers; log.

    \b
    Example: ./onecard hsm status
    """
    with KeyOffice.open() as office:
        infos = office.service.keys()
        officers = office.officers.names()
        log = _log(office)
        device = office.service.device.name
    rows = [_row(info, time.time()) for info in infos]
    if as_json:
        print_json({"engine": default_engine().name, "device": device, "officers": officers, "log": log, "keys": rows})
        return
    _print_table(rows, device)
    if officers:
        print(f"管理员 / officers: {'、'.join(officers)}；重要操作需要两名 / two of them for what cannot be undone")
    else:
        print("没有管理员：一人即可操作，只用于开发和演示 / no officers: one person may do all; for development only")
    print(f"记录 / log: {log}")
    for row in rows:
        if row["warning"]:
            print(f"! {row['key']} {row['warning']}")


def _row(info: KeyInfo, now: float) -> dict[str, Any]:
    return {
        "key": str(info.ref),
        "purpose": info.purpose.value,
        "level": info.level,
        "region": info.ref.region,
        "state": info.state.value,
        "length": info.length,
        "kcv": info.kcv.hex().upper(),
        "uses": info.uses,
        "age_days": int((now - info.created) // DAY_S),
        "expires": None if info.expires is None else time.strftime("%Y-%m-%d", time.localtime(info.expires)),
        "warning": _warning(info, now),
    }


def _warning(info: KeyInfo, now: float) -> str:
    if info.expires is None or info.state is KeyState.RETIRED:
        return ""
    left = info.expires - now
    if left <= 0:
        return "已到期，应当更换 / past its term, rotate it"
    return f"还有 {left // DAY_S:.0f} 天到期 / days left" if left < WARN_DAYS * DAY_S else ""


def _log(office: KeyOffice) -> str:
    try:
        head = office.log.head()
    except ActLogError as error:
        return f"✗ {error}"
    return f"{head.count} 条，没有改动 / entries, untouched" if head.count else "还没有 / none yet"


def _print_table(rows: list[dict[str, Any]], device: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(rows)} 个密钥 / keys · {device} · {default_engine().name}", box=box.SIMPLE_HEAD)
    for heading in (
        "密钥\nkey",
        "用途\npurpose",
        "级\nlevel",
        "状态\nstate",
        "校验值\nKCV",
        "次数\nuses",
        "天数\ndays",
    ):
        table.add_column(heading, no_wrap=heading.endswith(("key", "KCV")))
    for row in rows:
        state = f"→ {row['expires']}" if row["expires"] and row["state"] == KeyState.ACTIVE else row["state"]
        cells = (row["key"], row["purpose"], row["level"], state, row["kcv"], row["uses"], row["age_days"])
        table.add_row(*map(str, cells))
    Console().print(table)


@reports_failures
def derive(
    name: NameArgument,
    region: Annotated[str, typer.Option(help="卡上的应用城市代码 / six-digit code on the card")],
    card: Annotated[str, typer.Option(help="复位信息第 6-13 字节 / historical bytes 6 to 13, 16 hexadecimal digits")],
    algorithm: AlgorithmOption = Algorithm.SM4,
    version: Annotated[int, typer.Option(help="根密钥版本 / version of the root")] = 1,
    root_region: Annotated[str, typer.Option(help="根密钥所属地区 / region of the root, none for the nation's")] = "",
    kcv: KcvOption = None,
    cryptogram: Annotated[str | None, typer.Option(help="卡的鉴别数据 / the card's 8-byte cryptogram")] = None,
    challenge: HexOption = None,
    original: HexOption = None,
    as_json: JsonOption = False,
) -> None:
    """试算卡密钥：每一步的分散因子和校验值；对不上时找出错在哪里 / a dry run to a card's key, step by step.

    With --kcv, or a --cryptogram the card gave for --challenge and --original: which factor is wrong.

    \b
    Example: ./onecard hsm derive IRK --region 990100 --card 0086FE1100000009
    Example: ./onecard hsm derive IRK --region 990100 --card 0086FE1100000009 --kcv A1B2C3
    """
    key, factors = KeyRef(name, algorithm, version, root_region), CardFactors(region, bytes.fromhex(card))
    fits = _fits(kcv, cryptogram, challenge, original)
    with KeyOffice.open() as office:
        steps = office.service.diversification(key, factors)
        found = explain(office.service, key, factors, fits) if fits else None
    verdict = _verdict(found) if fits else ""
    if as_json:
        facts = [{"step": s.name, "factor": s.factor.hex().upper(), "kcv": s.kcv.hex().upper()} for s in steps]
        print_json({"key": str(key), "steps": facts, "verdict": verdict, "is_right": bool(found and found.is_right)})
    else:
        print(key)
        for step in steps:
            print(f"  {step.name:<10} {step.factor.hex().upper():<18} {step.kcv.hex().upper()}")
        if verdict:
            print(f"→ {verdict}")
    if fits and not (found and found.is_right):
        raise typer.Exit(1)


def _fits(kcv: str | None, cryptogram: str | None, challenge: str | None, original: str | None) -> Fits | None:
    if kcv is not None:
        return fits_kcv(bytes.fromhex(kcv))
    if cryptogram is None:
        return None
    if challenge is None or original is None:
        raise CommandError(FailureCode.INPUT_INVALID, "--cryptogram needs --challenge and --original")
    return fits_cryptogram(bytes.fromhex(challenge), bytes.fromhex(original), bytes.fromhex(cryptogram))


def _verdict(found: Explanation | None) -> str:
    if found is None:
        return "不是已知的差错；核对区划、卡号因子、根密钥 / no known mistake; check region, card factor and root"
    way = " → ".join(found.factors) or "不分散 / not diversified"
    return f"{'相符 / right' if found.is_right else '不符，卡上是 / wrong, the card has'}: {found.root} {way}"
