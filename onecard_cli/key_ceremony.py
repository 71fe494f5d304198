"""`onecard hsm init` and `restore-from-shares`: a province's keys out of shares that officers hold."""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cardlib.failures import FailureCode
from hsm import ceremony
from hsm.api import KeyInfo
from hsm.ceremony import Scheme, Share, ShareError, ShareTextError
from hsm.officers import officer_name
from hsm.primitives import default_engine
from onecard_cli.desk import ask_pin
from onecard_cli.hierarchy import Regions, make_hierarchy
from onecard_cli.home import Home
from onecard_cli.key_forms import Ceremony, share_text, write_record, write_share_forms
from onecard_cli.key_office import officer_passphrase, tell, user
from onecard_cli.output import CommandError, reports_failures

TRIES = 3
RegionOption = Annotated[str | None, typer.Option("--region", help="省级区划代码 / division code of the province")]
CityOption = Annotated[
    list[str] | None, typer.Option("--city", help="市级区划代码 / division code of a city, repeatable")
]
NewOfficerOption = Annotated[list[str] | None, typer.Option("--officer", help="管理员 / key officer, one option each")]
SharesOption = Annotated[
    list[Path] | None,
    typer.Option("--shares-from", help="测试用：每份分量一个文件，代替输入 / for tests: a file per share, not typed"),
]
SimulatorOption = Annotated[
    bool,
    typer.Option(
        "--simulator/--no-simulator",
        help="模拟卡也用这些根密钥，明文存放 / simulated cards share the roots, in the clear",
    ),
]


@reports_failures
def init(
    region: RegionOption = None,
    city: CityOption = None,
    officer: NewOfficerOption = None,
    threshold: Annotated[int, typer.Option(help="恢复所需的份数 / how many shares restore")] = 2,
    xor: Annotated[bool, typer.Option("--xor", help="全部分量都要 / XOR components, all are needed")] = False,
    forms: Annotated[Path | None, typer.Option(help="保管单的文件夹 / folder for the printed forms")] = None,
    shares_from: SharesOption = None,
    simulator: SimulatorOption = True,
) -> None:
    """建立密钥库 / make the key store.

    Without options: the development default, with the roots of a simulated ministry and no officers. With --region:
    a ceremony. The officers' forms are written to --forms for printing, every officer types his share back, and only
    then the roots of nation, province and cities are made.

    \b
    Example: ./onecard hsm init
    Example: ./onecard hsm init --region 990100 --city 990101 --officer 甲 --officer 乙 --officer 丙 --forms forms
    """
    if region is None:
        if city or officer or xor or forms or shares_from:
            raise CommandError(FailureCode.INPUT_INVALID, "a ceremony needs --region, --officer and --forms")
        _development()
        return
    names = [officer_name(name) for name in officer or []]
    if len(set(names)) != len(names) or len(names) < 2 or forms is None:
        raise CommandError(FailureCode.INPUT_INVALID, "a ceremony needs two officers or more, and --forms")
    secret = ceremony.new_secret()
    scheme = Scheme.XOR if xor else Scheme.SHAMIR
    shares = ceremony.split(default_engine(), secret, len(names), len(names) if xor else threshold, scheme)
    _hold(
        Home.default(),
        Ceremony.of(secret, shares, Regions(region, tuple(city or ())), names),
        secret,
        shares,
        forms,
        shares_from or [],
        with_simulator=simulator,
    )


def _hold(
    home: Home,
    held: Ceremony,
    secret: bytes,
    shares: Sequence[Share],
    folder: Path,
    files: Sequence[Path],
    *,
    with_simulator: bool,
) -> None:
    """A ceremony that fails leaves no form behind, and no key."""
    _check_free(home)
    if (folder / "record.html").exists():
        raise CommandError(FailureCode.CONFLICT, f"{folder} holds the record of another ceremony")
    written: list[Path] = []
    try:
        for path in write_share_forms(folder, held, shares):
            written.append(path)
        print(f"✓ {len(written)} 份保管单已写入 / forms written: {folder}", file=sys.stderr)
        source = _source(files, held.officers)
        for share, name in zip(shares, held.officers, strict=True):
            typed = source(name)
            if not hmac.compare_digest(_bytes(typed), _bytes(share)):
                raise ShareError(f"{name} typed another share than number {share.number} of this ceremony")
            print(f"✓ {name}: {share.number} / {share.total} · {share.check(default_engine())}", file=sys.stderr)
        detail = f"ceremony {held.number}, {held.threshold} of {len(shares)}, {held.scheme.name}"
        passphrases = _passphrases(held.officers)
        keys = make_hierarchy(home, secret, held.regions, passphrases, detail=detail, with_simulator=with_simulator)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    write_record(folder, held, shares, keys)
    _tell(keys, held.number, held.kcv)
    print(
        f"→ 打印 {folder} 中的保管单和记录，随后删除保管单文件 / print the forms and the record, then delete the forms"
    )


@reports_failures
def restore_from_shares(
    region: Annotated[str, typer.Option("--region", help="省级区划代码 / division code of the province")],
    city: CityOption = None,
    officer: NewOfficerOption = None,
    shares_from: SharesOption = None,
    simulator: SimulatorOption = True,
) -> None:
    """用管理员保管的分量重建密钥库 / make the store again from the officers' shares.

    The same roots come back, and officers are registered anew. Keys that did not follow from the ceremony (those that
    seal personal data among them) come back from a backup only: `hsm restore`.

    \b
    Example: ./onecard hsm restore-from-shares --region 990100 --city 990101 --officer 甲 --officer 乙
    """
    home, regions = Home.default(), Regions(region, tuple(city or ()))
    _check_free(home)
    names = [officer_name(name) for name in officer or []]
    if len(names) < 2:
        raise CommandError(FailureCode.INPUT_INVALID, "name the officers to be registered, two or more")
    source = _source(shares_from or [], ())
    shares = [source("1")]
    while len(shares) < (len(shares_from) if shares_from else shares[0].threshold):
        shares.append(source(str(len(shares) + 1)))
    secret = ceremony.combine(default_engine(), shares)
    number = shares[0].ceremony.hex().upper()
    detail = f"from shares {', '.join(str(share.number) for share in shares)} of ceremony {number}, by {user()}"
    keys = make_hierarchy(home, secret, regions, _passphrases(names), detail=detail, with_simulator=simulator)
    _tell(keys, number, ceremony.secret_kcv(default_engine(), secret).hex().upper())


def _development() -> None:
    from hsm.act_log import Result
    from onecard_cli.key_office import KeyOffice

    is_new = not Home.default().key_store.exists()
    with KeyOffice.open() as office:
        if is_new:
            tell(office.log.append((user(),), "init", Result.DONE, detail="development, no officers"))
        print(f"✓ {len(office.service.keys())} 个密钥 / keys")


def _check_free(home: Home) -> None:
    """Before people begin, not after."""
    with home.making():
        pass


def _source(files: Sequence[Path], names: Sequence[str]) -> Callable[[str], Share]:
    """Where shares come from: the files in their order, or each officer at the keyboard."""
    if not files:
        return _typed
    if names and len(files) != len(names):
        raise CommandError(FailureCode.INPUT_INVALID, "--shares-from once for each officer")
    waiting = list(files)
    return lambda _: Share.parse(share_text(waiting.pop(0).read_text(encoding="utf-8")), default_engine())


def _typed(name: str) -> Share:
    """A share from the terminal, without echo; a mistake is told by its group and may be corrected."""
    tries = TRIES if sys.stdin.isatty() else 1
    while True:
        tries -= 1
        text = ask_pin(f"{name}：输入自己的分量 / type the share (10 groups)")
        try:
            return Share.parse(text, default_engine())
        except ShareTextError as error:
            if not tries:
                raise
            print(f"  ✗ {error}", file=sys.stderr)


def _passphrases(names: Sequence[str]) -> Mapping[str, str]:
    return {name: officer_passphrase(n, name, is_new=True) for n, name in enumerate(names, 1)}


def _bytes(share: Share) -> bytes:
    return " ".join(share.text(default_engine())).encode("ascii")


def _tell(keys: Sequence[KeyInfo], number: str, kcv: str) -> None:
    print(f"✓ {len(keys)} 个密钥 / keys · 仪式 / ceremony {number} · KCV {kcv}")
