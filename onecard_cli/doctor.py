"""`onecard doctor`: every finding with its remedy, never stopping at the first.

Each check looks at one thing: where it fails in an unforeseen way that is a finding, and no other is lost with it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from onecard_cli.output import print_json, reports_failures


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `remedy` is empty when all is well."""

    subject: str
    ok: bool
    detail: str
    remedy: str = ""


@reports_failures
def doctor(as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False) -> None:
    """看看这台机器缺什么 / what this machine has, lacks, and what to do about it.

    \b
    Example: ./onecard doctor --json
    """
    findings = all_findings()
    if as_json:
        print_json({"ok": all(f.ok for f in findings), "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            print(f"{'✓' if finding.ok else '✗'} {finding.subject}: {finding.detail}")
            if finding.remedy:
                print(f"    → {finding.remedy}")
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


def all_findings() -> list[Finding]:
    return [finding for subject, check in CHECKS for finding in _safely(subject, check)]


def _safely(subject: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check(subject)
    except Exception as error:
        yield failed(subject, error)


def failed(subject: str, error: Exception, remedy: str | None = None) -> Finding:
    """The finding that `error` is, with the remedy of its failure unless another is known."""
    from cardlib.failures import describe, failure_of

    failure = describe(failure_of(error))
    detail = f"{failure.text_zh} / {failure.text_en}: {error}"
    return Finding(subject, False, detail, remedy or f"{failure.remedy_zh} / {failure.remedy_en}")


def _python(subject: str) -> Iterator[Finding]:
    yield Finding(subject, sys.version_info >= (3, 11), sys.version.split()[0])


def _engine(subject: str) -> Iterator[Finding]:
    from hsm.primitives import default_engine

    engine = default_engine()
    is_fast = engine.name == "fast"
    yield Finding(
        subject,
        True,
        engine.name,
        "" if is_fast else "安装 OpenSSL 3 可快几十倍 / OpenSSL 3 is far faster",
    )
    yield Finding(
        "SM2 恒定时间 / constant time",
        True,
        "是 / yes" if engine.is_constant_time else "否 / no",
        "" if engine.is_constant_time else "生产签名用密码机（docs/keys.md）/ sign with a key device in production",
    )


def _pcsc(subject: str) -> Iterator[Finding]:
    from apdu.pcsc import is_available

    yield _installed(subject, *is_available(needs_service=False))


def _simulation(subject: str) -> Iterator[Finding]:
    from simulators.pcscd import is_available

    yield _installed(subject, *is_available())


def _installed(subject: str, ok: bool, reason: str) -> Finding:
    remedy = "apt-get install -y --no-install-recommends pcscd libpcsclite-dev vsmartcard-vpcd，然后删除 .venv 重来"
    return Finding(subject, ok, reason or "ok", "" if ok else f"{remedy} / then delete .venv and start again")


def _readers(subject: str) -> Iterator[Finding]:
    from apdu.pcsc import PcscReaders, is_available

    is_running, reason = is_available()
    found = (
        "、".join(PcscReaders().readers()) or "无 / none" if is_running else f"系统服务未运行 / not running: {reason}"
    )
    yield Finding(subject, True, found)


def _home(subject: str) -> Iterator[Finding]:
    from onecard_cli.home import Home

    home = Home.default()
    is_private = home.path.stat().st_mode & 0o077 == 0
    yield Finding(subject, is_private, home.path.name, "" if is_private else "chmod 700：他人可读 / others may read it")


def _key_store(subject: str) -> Iterator[Finding]:
    from hsm.configuration import Backend, KeyConfiguration
    from onecard_cli.home import Home

    home = Home.default()
    if KeyConfiguration.load(home.path).backend is not Backend.REMOTE and not home.key_store.exists():
        yield Finding(subject, True, "首次使用时建立 / made at first use")
        return
    with home.keys_in_use() as keys:
        yield Finding(subject, True, f"{len(keys.keys())} keys")


def _transit(subject: str) -> Iterator[Finding]:
    """The certificate of this home's issuance service, or of the one that the settings name."""
    import os
    import time
    from pathlib import Path

    from cardlib.transit_code import IssuerCertificate
    from cardlib.transit_code_issuer import WARN_DAYS
    from onecard_cli.ecard_ca import days_left
    from onecard_cli.home import Home

    given = os.environ.get("ONECARD_ISSUANCE_TRANSIT_CERTIFICATE_PATH")
    path = Path(given) if given else Home.default().transit_certificate
    if not given and not path.exists():
        yield Finding(subject, True, "没有，不签发乘车授权 / none, no phone is authorised")
        return
    certificate = IssuerCertificate.parse(path.read_bytes())
    days = days_left(certificate.ends_at, time.time())
    remedy = "" if days >= WARN_DAYS else "onecard ecard ca issue --use（docs/transit-code.md）"
    yield Finding(subject, days >= 0, f"{certificate.issuer}, MMYY {certificate.expires}, {days} 天 / days", remedy)


def _disk(subject: str) -> Iterator[Finding]:
    from onecard_cli.home import Home

    free_gb = shutil.disk_usage(Home.default().path).free / 1e9
    yield Finding(subject, free_gb > 1, f"{free_gb:.1f} GB", "" if free_gb > 1 else "清理磁盘 / free some space")


def _catalog(subject: str) -> Iterator[Finding]:
    from apps_catalog import load

    catalog = load()
    yield Finding(subject, True, f"{catalog.version}, {len(catalog.items)} items")


def _devices(_: str) -> Iterator[Finding]:
    """Serial devices of the agent's settings, each opened and asked. Where the agent runs it holds their ports."""
    from onecard_cli.doctor_devices import device_findings

    yield from device_findings()


def _ports(subject: str) -> Iterator[Finding]:
    from onecard_cli.doctor_agent import port_findings

    yield from port_findings(subject)


def _card_users(subject: str) -> Iterator[Finding]:
    from onecard_cli.doctor_agent import card_findings

    yield from card_findings(subject)


Check = Callable[[str], Iterator[Finding]]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("Python", _python),
    ("密码引擎 / crypto engine", _engine),
    ("PC/SC 客户端 / client", _pcsc),
    ("PC/SC 模拟 / simulation (pcscd, vpcd)", _simulation),
    ("系统读卡器 / readers", _readers),
    ("用卡的程序 / programs using cards", _card_users),
    ("终端服务端口 / the agent's ports", _ports),
    ("数据目录 / home", _home),
    ("密钥库 / key store", _key_store),
    ("乘车码证书 / transit certificate", _transit),
    ("磁盘 / disk", _disk),
    ("应用目录 / catalog", _catalog),
    ("串口设备与打印机 / serial devices and printer", _devices),
)
