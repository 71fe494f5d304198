"""`onecard hsm`: making, importing, replacing, retiring and destroying keys; the log of it."""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cardlib.failures import FailureCode
from cardlib.key_set import IRK, next_version
from cardlib.spec import Generation, load
from hsm.act_log import DESTROY, LOG_KEY, Result
from hsm.api import PAIR_ALGORITHMS, Algorithm, BadInputError, KeyInfo, KeyNotFoundError, KeyRef, Purpose
from hsm.ceremony import Component, components_kcv
from hsm.officers import OFFICERS_KEY
from hsm.primitives import default_engine
from onecard_cli.desk import ask_pin
from onecard_cli.key_office import KeyOffice, OfficerOption, key_ref
from onecard_cli.output import CommandError, print_json, reports_failures

DAY_S = 86400
KeyArgument = Annotated[str, typer.Argument(help="密钥，如 IRK/SM4/v1 / key as hsm status shows it")]
NameArgument = Annotated[str, typer.Argument(help="密钥名 / key name")]
AlgorithmOption = Annotated[Algorithm, typer.Option(help="算法 / SM4, 3DES, SM2, P-256, RSA")]
PurposeOption = Annotated[Purpose, typer.Option(help="用途 / what the key may do")]
RegionOption = Annotated[str, typer.Option(help="根密钥所属地区 / region of a root, none for the nation's")]
DaysOption = Annotated[int | None, typer.Option("--days", min=1, help="有效天数 / term in days; none without it")]
ComponentsOption = Annotated[
    int, typer.Option("--components", min=0, max=9, help="分量个数，逐个输入 / typed one by one")
]
ComponentFilesOption = Annotated[
    list[Path] | None,
    typer.Option("--component-from", help="测试用：分量和校验值的文件 / for tests: a file with component and KCV"),
]
KcvOption = Annotated[str | None, typer.Option("--kcv", help="应有的校验值 / the check value it must have")]


@reports_failures
def keygen(
    name: NameArgument,
    purpose: PurposeOption,
    algorithm: AlgorithmOption = Algorithm.SM4,
    days: DaysOption = None,
) -> None:
    """在库内生成一个密钥 / make a key inside the store.

    \b
    Example: ./onecard hsm keygen CONSENT_SEAL --purpose seal
    Example: ./onecard hsm keygen tokens --algorithm SM2 --purpose sign --days 365
    """
    ref = KeyRef(name, algorithm)
    _check_not_own(ref)
    with KeyOffice.open() as office, office.act("keygen", ref) as record:
        info = _generated(office, ref, purpose, 0, 16, _expiry(days))
        record.kcv = _kcv(info)
    print(f"✓ {ref} {_kcv(info)}")


@reports_failures
def import_key(
    name: NameArgument,
    purpose: PurposeOption,
    algorithm: AlgorithmOption = Algorithm.SM4,
    version: Annotated[int, typer.Option(min=1, max=255, help="版本 / version")] = 1,
    level: Annotated[int, typer.Option(min=0, max=3, help="级别 / level of a root")] = 0,
    region: RegionOption = "",
    components: ComponentsOption = 0,
    component_from: ComponentFilesOption = None,
    kek: Annotated[str | None, typer.Option(help="保护密钥，如 KEK/SM4/v1 / transport key it arrives under")] = None,
    wrapped: Annotated[str | None, typer.Option(help="保护密钥下的密文 / the key under it, hexadecimal")] = None,
    kcv: KcvOption = None,
    days: DaysOption = None,
    officer: OfficerOption = None,
) -> None:
    """导入密钥：分量逐个输入，或在保护密钥下 / take a key in: by components, or under a transport key.

    Every component comes with its own check value, so that a typing mistake is found before the key is put together.

    \b
    Example: ./onecard hsm import RK_SSSE --version 2 --purpose authentication --level 1 --components 2
    Example: ./onecard hsm import STK --purpose message --level 3 --kek KEK/SM4/v1 --wrapped 00…FF --kcv A1B2C3
    """
    ref = KeyRef(name, algorithm, version, region)
    _check_not_own(ref)
    with KeyOffice.open() as office, office.act("import", ref, approved_by=officer or ()) as record:
        if kek is None:
            parts = _components(algorithm, components, component_from)
            info = _put_together(office, ref, purpose, parts, kcv, level, _expiry(days))
        elif wrapped is None or kcv is None or days is not None or components or component_from:
            raise CommandError(FailureCode.INPUT_INVALID, "a wrapped key needs --wrapped and --kcv, and no component")
        else:
            blob, check = bytes.fromhex(wrapped), bytes.fromhex(kcv)
            info = office.service.import_wrapped(ref, purpose, blob, kek=key_ref(kek), kcv=check, level=level)
        record.kcv = _kcv(info)
    print(f"✓ {ref} {_kcv(info)}")


@reports_failures
def rotate(
    name: Annotated[str | None, typer.Argument(help="密钥名 / key name")] = None,
    algorithm: AlgorithmOption = Algorithm.SM4,
    region: RegionOption = "",
    cards: Annotated[
        bool, typer.Option("--cards", help="一次更换该算法的全部卡密钥 / every card key of the algorithm, one new set")
    ] = False,
    store: Annotated[bool, typer.Option("--store", help="更换密钥库自身的数据密钥 / the store's own data key")] = False,
    components: ComponentsOption = 0,
    component_from: ComponentFilesOption = None,
    kcv: KcvOption = None,
    days: DaysOption = None,
    officer: OfficerOption = None,
) -> None:
    """更换密钥：生成或输入新版本，旧版本停用 / a new version; the old one serves what carries it.

    Services that have the store open go on; they see the new version at their next call. --cards makes a whole new
    set of the nation's card keys at random; new cards get a whole set at every moment.

    \b
    Example: ./onecard hsm rotate IRK --algorithm SM4 --officer 甲 --officer 乙
    Example: ./onecard hsm rotate --cards --algorithm SM4 --officer 甲 --officer 乙
    Example: ./onecard hsm rotate --store
    """
    if [name is not None, cards, store].count(True) != 1:
        raise CommandError(FailureCode.INPUT_INVALID, "name one key, or --cards, or --store")
    if name is None and (region or components or component_from or kcv or (store and days)):
        raise CommandError(FailureCode.INPUT_INVALID, "region, components and check value go with the name of one key")
    with KeyOffice.open() as office:
        if cards:
            _rotate_cards(office, algorithm, _expiry(days), officer or ())
            return
        if name is None:
            with office.act("rotate store", approved_by=officer or ()):
                office.service.table.store.renew()
            print("✓ 密钥库已用新的数据密钥重新加密 / the store is sealed under a new data key")
            return
        old = office.service.info(office.service.current(name, algorithm, region=region))
        _check_not_own(old.ref)
        ref = KeyRef(name, algorithm, _next_version(office, old.ref), region)
        with office.act("rotate", ref, approved_by=officer or ()) as record:
            if components or component_from:
                parts = _components(algorithm, components, component_from)
                info = _put_together(office, ref, old.purpose, parts, kcv, old.level, _expiry(days))
            else:
                info = _generated(office, ref, old.purpose, old.level, old.length, _expiry(days))
            office.service.retire(old.ref)
            record.kcv, record.detail = _kcv(info), f"{old.ref} retired"
        print(f"✓ {ref} {_kcv(info)} · {old.ref} 停用 / retired")


@reports_failures
def retire(key: KeyArgument, officer: OfficerOption = None) -> None:
    """停用密钥：只用于已有的卡和数据 / the key serves cards and data that carry it, nothing new.

    \b
    Example: ./onecard hsm retire IRK/SM4/v1
    """
    ref = key_ref(key)
    _check_not_own(ref)
    with KeyOffice.open() as office, office.act("retire", ref, approved_by=officer or ()) as record:
        record.kcv = _kcv(office.service.retire(ref))
    print(f"✓ {ref} 停用 / retired")


@reports_failures
def destroy(
    key: KeyArgument,
    kcv: Annotated[str, typer.Option("--kcv", help="它的校验值，防止弄错 / its check value, against a mistake")],
    officer: OfficerOption = None,
) -> None:
    """销毁密钥，不能恢复 / destroy a key for good; cards and data that carry it are lost with it.

    \b
    Example: ./onecard hsm destroy IRK/SM4/v1 --kcv D04A6C
    """
    ref = key_ref(key)
    _check_not_own(ref)
    with KeyOffice.open() as office:
        info = office.service.info(ref)
        if not hmac.compare_digest(_kcv(info).encode(), kcv.strip().upper().encode()):
            raise BadInputError(f"{ref} has another check value; nothing was destroyed")
        with office.act(DESTROY, ref, approved_by=officer or ()) as record:
            office.service.destroy(ref)
            record.kcv = _kcv(info)
    print(f"✓ {ref} 已销毁 / destroyed")


@reports_failures
def passphrase(officer: OfficerOption = None) -> None:
    """更改密钥库口令 / change the passphrase of the store; asked twice, or ONECARD_NEW_PASSPHRASE.

    \b
    Example: ./onecard hsm passphrase
    """
    with KeyOffice.open() as office, office.act("passphrase", approved_by=officer or ()):
        new = os.environ.get("ONECARD_NEW_PASSPHRASE") or ask_pin("新口令 / new passphrase", twice=True)
        office.home.expect_passphrase(new)
        office.service.table.store.change_passphrase(new)
        office.home.take_passphrase()
    if "ONECARD_PASSPHRASE" in os.environ:
        print("✓ 口令已改；把 ONECARD_PASSPHRASE 换成新的 / changed; set ONECARD_PASSPHRASE to the new one")
    else:
        print("✓ 口令已改 / changed")


@reports_failures
def log(
    verify: Annotated[bool, typer.Option("--verify", help="只核对，不列出 / verify only")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """密钥操作记录，每次都核对 / the log of acts on keys, verified every time.

    \b
    Example: ./onecard hsm log --verify
    """
    with KeyOffice.open() as office:
        acts, head = office.log.entries(), office.log.head()
    shown = () if verify else acts
    if as_json:
        facts = [
            {"number": a.number, "at": a.at, "who": list(a.who), "act": a.act, "key": a.key, "kcv": a.kcv,
             "result": a.result, "detail": a.detail} for a in shown
        ]  # fmt: skip
        print_json({"ok": True, "count": head.count, "digest": head.digest, "acts": facts})
        return
    for act in shown:
        who = "、".join(act.who)
        print(f"{act.number:>4}  {act.at}  {who}  {act.act}  {act.key} {act.kcv}  {act.result}  {act.detail}".rstrip())
    print(f"✓ {head.count} 条，没有改动 / entries, untouched · {head.digest[:8].upper()}")


def _rotate_cards(office: KeyOffice, algorithm: Algorithm, expires: int | None, officers: Sequence[str]) -> None:
    """IRK makes the set, so it comes after all others; the old keys are retired when the new set is whole.

    Interrupted anywhere, new cards get a whole set, the old or the new one. Keys without a level stay: chips on stock
    carry them.
    """
    specs = [spec for spec in map(load, Generation) if spec.algorithm == algorithm]
    names = {key.name for spec in specs for key in spec.keys if key.root_level}
    known = office.service.keys()
    held = [i for i in known if i.ref.name in names and i.ref.algorithm is algorithm and not i.ref.region]
    newest = {info.ref.name: info for info in sorted(held, key=lambda info: info.ref.version)}
    if IRK not in newest:
        raise KeyNotFoundError(f"{IRK}/{algorithm}: there are no card keys of this algorithm")
    version = max(_next_version(office, info.ref) for info in newest.values())
    with office.act("rotate cards", KeyRef(IRK, algorithm, version), approved_by=officers) as record:
        for old in sorted(newest.values(), key=lambda info: info.ref.name == IRK):
            ref = KeyRef(old.ref.name, algorithm, version)
            made = _generated(office, ref, old.purpose, old.level, old.length, expires)
        for info in held:
            office.service.retire(info.ref)
        record.kcv, record.detail = _kcv(made), f"{len(newest)} keys of version {version}"
    made_of = f"{algorithm}/v{version}：{len(newest)} 个卡密钥 / card keys · IRK {_kcv(made)}"
    print(f"✓ {made_of} · 旧的停用 / the old ones retired")


def _generated(
    office: KeyOffice, ref: KeyRef, purpose: Purpose, level: int, length: int, expires: int | None
) -> KeyInfo:
    if ref.algorithm in PAIR_ALGORITHMS:
        office.service.generate_pair(ref, purpose, expires=expires)
        return office.service.info(ref)
    return office.service.generate(ref, purpose, level=level, length=length, expires=expires)


def _put_together(
    office: KeyOffice,
    ref: KeyRef,
    purpose: Purpose,
    parts: Sequence[Component],
    kcv: str | None,
    level: int,
    expires: int | None,
) -> KeyInfo:
    found = components_kcv(default_engine(), ref.algorithm, parts)
    if kcv is not None and not hmac.compare_digest(found, bytes.fromhex(kcv)):
        raise BadInputError("the components are right, but the key has another check value than --kcv; nothing is kept")
    values = [part.value for part in parts]
    return office.service.import_components(ref, purpose, values, level=level, expires=expires)


def _components(algorithm: Algorithm, count: int, files: Sequence[Path] | None) -> list[Component]:
    found = []
    for number in range(1, (len(files) if files else count) + 1):
        if files:
            text, _, kcv = files[number - 1].read_text(encoding="utf-8").strip().rpartition(" ")
        else:
            text = ask_pin(f"分量 {number} / component {number}")
            kcv = ask_pin(f"分量 {number} 的校验值 / its check value")
        found.append(Component.parse(text, kcv, algorithm, default_engine()))
    if len(found) < 2:
        raise CommandError(FailureCode.INPUT_INVALID, "a key comes in two components or more: --components 2")
    return found


def _next_version(office: KeyOffice, old: KeyRef) -> int:
    """Above every version there was, so that a number never means two keys; a card key's above every set of cards."""
    known = office.service.keys()
    names = [str(info.ref) for info in known]
    names += [act.key for act in office.log.entries() if act.result is not Result.REFUSED]
    behind = f"@{old.region}" if old.region else ""
    pattern = re.compile(re.escape(f"{old.name}/{old.algorithm}/v") + r"(\d+)" + re.escape(behind))
    own = 1 + max(int(match[1]) for name in names if (match := pattern.fullmatch(name)))
    is_card_key = any(key.name == old.name for generation in Generation for key in load(generation).keys)
    return max(own, next_version(office.service, old.name, old.algorithm)) if is_card_key and not old.region else own


def _expiry(days: int | None) -> int | None:
    return None if days is None else int(time.time()) + days * DAY_S


def _kcv(info: KeyInfo) -> str:
    return info.kcv.hex().upper()


def _check_not_own(ref: KeyRef) -> None:
    if ref.name in (LOG_KEY, OFFICERS_KEY):
        raise BadInputError(f"{ref.name} guards the log and the officers of this store")
