"""`onecard doctor`: every finding with its remedy, never stopping at the first."""

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
    findings = [finding for check in CHECKS for finding in _safely(check)]
    if as_json:
        print_json({"ok": all(f.ok for f in findings), "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            print(f"{'✓' if finding.ok else '✗'} {finding.subject}: {finding.detail}")
            if finding.remedy:
                print(f"    → {finding.remedy}")
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


def _safely(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:
        from cardlib.failures import describe, failure_of

        failure = describe(failure_of(error))
        yield Finding(
            check.__name__.strip("_"), False, f"{failure.text_zh} / {failure.text_en}: {error}", failure.remedy_zh
        )


def _python() -> Iterator[Finding]:
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0])


def _engine() -> Iterator[Finding]:
    from hsm.primitives import default_engine

    engine = default_engine()
    is_fast = engine.name == "fast"
    yield Finding(
        "密码引擎 / crypto engine",
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


def _pcsc() -> Iterator[Finding]:
    from apdu.pcsc import PcscReaders
    from apdu.pcsc import is_available as client_available
    from simulators.pcscd import is_available as daemon_available

    remedy = "apt-get install -y --no-install-recommends pcscd libpcsclite-dev vsmartcard-vpcd，然后删除 .venv 重来"
    for subject, (ok, reason) in (
        ("PC/SC 客户端 / client", client_available(needs_service=False)),
        ("PC/SC 模拟 / simulation (pcscd, vpcd)", daemon_available()),
    ):
        yield Finding(subject, ok, reason or "ok", "" if ok else remedy)
    is_running, reason = client_available()
    found = (
        "、".join(PcscReaders().readers()) or "无 / none" if is_running else f"系统服务未运行 / not running: {reason}"
    )
    yield Finding("系统读卡器 / readers", True, found)


def _home() -> Iterator[Finding]:
    from onecard_cli.home import Home

    home = Home.default()
    is_private = home.path.stat().st_mode & 0o077 == 0
    yield Finding(
        "数据目录 / home", is_private, home.path.name, "" if is_private else "chmod 700：他人可读 / others may read it"
    )
    if home.key_store.exists():
        yield Finding("密钥库 / key store", True, f"{len(home.key_service().keys())} keys")
    else:
        yield Finding("密钥库 / key store", True, "首次使用时建立 / made at first use")
    free_gb = shutil.disk_usage(home.path).free / 1e9
    yield Finding("磁盘 / disk", free_gb > 1, f"{free_gb:.1f} GB", "" if free_gb > 1 else "清理磁盘 / free some space")


def _catalog() -> Iterator[Finding]:
    from apps_catalog import load

    catalog = load()
    yield Finding("应用目录 / catalog", True, f"{catalog.version}, {len(catalog.items)} items")


def _devices() -> Iterator[Finding]:
    """Serial devices of the agent's settings, each opened and asked. Where the agent runs it holds their ports."""
    from onecard_cli.doctor_devices import device_findings

    yield from device_findings()


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _engine, _pcsc, _home, _catalog, _devices)
