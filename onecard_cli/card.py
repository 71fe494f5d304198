"""`onecard card`: one card in one reader, by name instead of by byte."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onecard_cli import card_account, card_apps, card_data, card_manage, card_script
from onecard_cli.desk import (
    AuthOption,
    Desk,
    JsonOption,
    LastTryOption,
    PinOption,
    ReaderOption,
    TraceOption,
    desk,
)
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from cardlib.script import ScriptRun
    from cardlib.session import SocialSecurityCard

card_app = typer.Typer(help="读写卡片 / read and write one card", no_args_is_help=True, add_completion=False)
card_app.add_typer(card_manage.pin_app, name="pin")
card_app.add_typer(card_manage.block_app, name="block")
card_app.add_typer(card_account.account_app, name="account")
card_data.register(card_app)
card_apps.register(card_app)
card_script.register(card_app)


@card_app.command("read")
@reports_failures
def read(
    read_all: Annotated[bool, typer.Option("--all", help="所有可读文件 / every file that may be read")] = False,
    pin: PinOption = False,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """读卡：基本信息，或全部 / read basic information, or everything, with the text of each code.

    \b
    Examples: ./onecard card read --json
              ./onecard card read --all --pin
    """
    with desk(reader, auth, trace=trace, use_last_try=use_last_try) as here:
        card = here.opened(pin=True) if pin else here.card()
        basic = card.read_basic(here.authenticator)
        data: dict[str, Any] = {"ok": True} | basic.to_json()
        names: dict[str, str] = {}
        if read_all:
            content = card.read_all(here.authenticator)
            data |= {"files": content.files, "texts": content.texts, "refused": content.refused, "raw": content.raw}
            data["account"] = _account(card)
            names = _names(card)
    if as_json:
        print_json(data)
        return
    texts = data.pop("texts", {})
    data.pop("raw", None)
    if read_all:
        for name, value in _flatten(data):
            print(f"{name}  {_label(names, name)}{value}{_text(texts, name)}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="社会保障卡 / social security card", show_header=False)
    for name, value in _flatten(data):
        table.add_row(name, value)
    Console().print(table)


def _account(card: SocialSecurityCard) -> dict[str, Any] | None:
    """Balances, None where the card has no account or wants its PIN first."""
    from apdu.errors import StatusWordError
    from cardlib.medical import MedicalAccount

    try:
        return MedicalAccount(card).balances().to_json()
    except StatusWordError:
        return None


def _names(card: SocialSecurityCard) -> dict[str, str]:
    items = [(ef, item) for df in card.known_spec().dfs for ef in df.efs for item in ef.items]
    return {f"files.{ef.path}.{item.slug}": item.name_zh for ef, item in items}


def _label(names: dict[str, str], name: str) -> str:
    """The Chinese name of an item, instance numbers left out of its dotted name."""
    found = names.get(".".join(part for part in name.split(".") if not part.isdigit()), "")
    return f"{found}: " if found else ""


def _flatten(data: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values; long ones are cut, `--json` and `card export` have them whole."""
    if isinstance(data, dict | list):
        inner = data.items() if isinstance(data, dict) else enumerate(data, start=1)
        for name, value in inner:
            yield from _flatten(value, f"{prefix}.{name}" if prefix else str(name))
        return
    shown = "" if data is None else str(data)
    yield prefix, shown if len(shown) <= 64 else f"{shown[:60]}… ({len(shown)})"


def _text(texts: dict[str, Any], name: str) -> str:
    """The text beside the value with this dotted name."""
    found: Any = texts
    for part in name.split(".")[1:]:
        if isinstance(found, list):
            found = found[int(part) - 1] if int(part) <= len(found) else {}
        else:
            found = found.get(part, {})
    return f" = {found['zh']} / {found['en']}" if isinstance(found, dict) and found.keys() == {"zh", "en"} else ""


@card_app.command("auth")
@reports_failures
def authenticate(
    key: Annotated[str | None, typer.Option(help="外部认证的密钥名 / key for external authentication, RK1DF04")] = None,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """验卡真伪；可另做外部认证 / is the card genuine? Optionally authenticate to it with one key.

    \b
    Example: ./onecard card auth --key RK_SSSE
    """
    from cardlib.failures import FailureCode

    with desk(reader, auth, trace=trace, use_last_try=use_last_try) as here:
        if here.authenticator is None:
            raise CommandError(FailureCode.PSAM_ABSENT, "no PSAM and no key store here")
        card = here.opened()
        card.check_genuine(here.authenticator)
        if key is not None:
            card.authenticate(key, here.authenticator)
    data = {"ok": True, "genuine": True, "algorithm": card.algorithm, "key": key}
    if as_json:
        print_json(data)
    else:
        print("✓ 真卡 / genuine" + (f"，{key} ✓" if key else ""))


@card_app.command("write")
@reports_failures
def write(
    item: Annotated[str, typer.Argument(help="数据项，重复的加序号 / item: telephone, degree:2, photo …")],
    value: Annotated[str, typer.Argument(help="新值、JSON 或 @文件 / new value, JSON of a group, or @file")],
    pin: PinOption = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """写一个数据项（先做密钥认证，写后读回） / write one item, authenticated and read back.

    \b
    Examples: ./onecard card write telephone 01012345678
              ./onecard card write photo @photo.jpg
    """
    with desk(reader, "keys", trace=trace, use_last_try=use_last_try) as here:
        assert here.authenticator is not None
        now = here.opened(pin=pin).files.write_and_check(item, card_data.typed_value(value), here.authenticator)
    if as_json:
        print_json({"ok": True, item: now})
    else:
        shown = str(now)
        print(f"✓ {item} = {shown if len(shown) <= 80 else f'{len(shown) // 2} bytes'}")


@card_app.command("initialize")
@reports_failures
def initialize_card(
    region: Annotated[str, typer.Option(help="发卡地区，六位 / issuing region, six digits")],
    generation: Annotated[Literal["2.0", "3.0"], typer.Option(help="2.0 或 3.0")] = "3.0",
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """初始化：把芯片做成空白卡（结构与密钥） / stage 2 at the depot: structure and keys into a chip.

    \b
    Example: ./onecard card initialize --region 110000 --generation 3.0
    """
    from cardlib.identity import reset_information
    from cardlib.initialization import InitializationOrder, algorithm_of, initialize
    from cardlib.key_set import current_set
    from cardlib.spec import Generation
    from onecard_cli.home import Home

    keys = Home.default().key_service()
    with desk(reader, "none", trace=trace) as here:
        key_version = current_set(keys, algorithm_of(Generation(generation)))
        order = InitializationOrder(
            secrets.token_bytes(16), Generation(generation), region, reset_information(here.atr), key_version
        )
        done = _run_script(initialize(order, keys), here, as_json=as_json)
    _print_run(done, as_json=as_json)


@card_app.command("personalize")
@reports_failures
def personalize_card(
    order_file: Annotated[Path, typer.Argument(help="制卡数据 JSON / order as JSON", exists=True, dir_okay=False)],
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """个人化：按制卡数据写卡并读回核对 / stage 4 from an order file, verified by reading back.

    Counters use the agent and the central service instead; this is for factories and laboratories.

    \b
    Example: ./onecard card personalize order.json
    """
    from cardlib.identity import reset_information
    from cardlib.personalization import PersonalizationOrder, personalize
    from onecard_cli.home import Home

    keys = Home.default().key_service()
    with desk(reader, "none", trace=trace) as here:
        data = json.loads(order_file.read_text(encoding="utf-8"))
        data = {"seed": secrets.token_hex(16), "reset_information": reset_information(here.atr).hex()} | data
        done = _run_script(personalize(PersonalizationOrder.from_json(data), keys), here, as_json=as_json)
    _print_run(done, as_json=as_json)


def _run_script(script: Any, here: Desk, *, as_json: bool) -> ScriptRun:
    from apdu.channel import follow_up
    from cardlib.script import run

    show = None if as_json else lambda step: print(f"  {step.text_zh} / {step.text_en}")
    return run(script, follow_up(here.channel, here.protocol), on_step=show)


def _print_run(done: ScriptRun, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "commands": done.commands, "batches": done.batches} | done.result)
    else:
        print(f"✓ {done.result['outcome']}: {done.commands} 条指令 / commands, {done.batches} 批 / batches")
