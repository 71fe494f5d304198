"""`onecard card`: one card in one reader, by name instead of by byte."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from apdu.channel import Channel
    from cardlib.script import ScriptRun
    from cardlib.session import SocialSecurityCard
    from hsm.api import CardAuthenticator, KeyService

card_app = typer.Typer(help="读写卡片 / read and write one card", no_args_is_help=True, add_completion=False)

ReaderOption = Annotated[str | None, typer.Option("--reader", help="读卡器名称的一部分 / part of a reader's name")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON")]
TraceOption = Annotated[bool, typer.Option("--trace", help="显示指令（已遮盖） / show commands, redacted")]
AuthOption = Annotated[
    Literal["auto", "psam", "keys", "none"], typer.Option("--auth", help="由谁认证 / who authenticates")
]


@dataclass(slots=True)
class Desk:
    """What a command works with: the powered card and who can authenticate to it."""

    channel: Channel
    atr: bytes
    protocol: str
    authenticator: CardAuthenticator | None

    def card(self) -> SocialSecurityCard:
        from cardlib.session import SocialSecurityCard

        return SocialSecurityCard(self.channel, self.atr, protocol=self.protocol)


def _pick(names: list[str], wanted: str | None, *, psam: str | None) -> str:
    from cardlib.failures import FailureCode

    candidates = [n for n in names if n != psam and (wanted is None or wanted.lower() in n.lower())]
    if not candidates:
        raise CommandError(FailureCode.READER_NOT_FOUND, f"readers here: {', '.join(names) or 'none'}")
    return candidates[0]


@contextmanager
def desk(reader: str | None, auth: str, *, trace: bool) -> Iterator[Desk]:
    """Connect to the reader (and the PSAM's, named by ONECARD_PSAM_READER), in one transaction."""
    from apdu.channel import TraceChannel
    from apdu.pcsc import PcscReaders
    from cardlib.psam import PsamAuthenticator

    readers = PcscReaders()
    names = readers.readers()
    psam_name = os.environ.get("ONECARD_PSAM_READER")
    psam_name = next((n for n in names if psam_name and psam_name in n), None)
    with readers.connect(_pick(names, reader, psam=psam_name)) as connection, connection.transaction():
        channel: Channel = TraceChannel(connection, sink=print if trace else None)
        psam = readers.connect(psam_name) if psam_name and auth in ("auto", "psam") else None
        try:
            authenticator: CardAuthenticator | None = None
            if psam is not None:
                authenticator = PsamAuthenticator(psam, protocol=psam.protocol)
            elif auth in ("auto", "keys"):
                authenticator = _keys_if_any(required=auth == "keys")
            yield Desk(channel, connection.atr, connection.protocol, authenticator)
        finally:
            if psam is not None:
                psam.close()


def _keys_if_any(*, required: bool) -> KeyService | None:
    from onecard_cli.home import Home

    home = Home.default()
    return home.key_service() if required or home.key_store.exists() else None


@card_app.command("read")
@reports_failures
def read(
    read_all: Annotated[bool, typer.Option("--all", help="所有可读文件 / every file that may be read")] = False,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """读卡：基本信息，或全部 / read basic information, or everything.

    \b
    Examples: ./onecard card read --json
              ./onecard card read --all --auth psam
    """
    with desk(reader, auth, trace=trace) as here:
        card = here.card()
        basic = card.read_basic(here.authenticator)
        data: dict[str, Any] = {"ok": True} | basic.to_json()
        if read_all:
            data["files"] = card.read_all(here.authenticator)
    if as_json:
        print_json(data)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="社会保障卡 / social security card", show_header=False)
    for name, value in _flatten(data):
        table.add_row(name, value)
    Console().print(table)


def _flatten(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "" if value is None else str(value)


@card_app.command("auth")
@reports_failures
def authenticate(
    key: Annotated[str | None, typer.Option(help="外部认证的密钥名 / key for external authentication, RK1DF04")] = None,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """验卡真伪；可另做外部认证 / is the card genuine? Optionally authenticate to it with one key.

    \b
    Example: ./onecard card auth --key RK_SSSE
    """
    from cardlib.failures import FailureCode

    with desk(reader, auth, trace=trace) as here:
        if here.authenticator is None:
            raise CommandError(FailureCode.PSAM_ABSENT, "no PSAM and no key store here")
        card = here.card()
        card.open()
        card.check_genuine(here.authenticator)
        if key is not None:
            card.authenticate(key, here.authenticator)
    data = {"ok": True, "genuine": True, "algorithm": card.algorithm, "key": key}
    if as_json:
        print_json(data)
    else:
        print("✓ 真卡 / genuine" + (f"，{key} ✓" if key else ""))


pin_app = typer.Typer(help="密码 / the holder's PIN", no_args_is_help=True)
card_app.add_typer(pin_app, name="pin")


@pin_app.command("status")
@reports_failures
def pin_status(reader: ReaderOption = None, as_json: JsonOption = False) -> None:
    """还可尝试几次 / how many tries are left.

    \b
    Example: ./onecard card pin status
    """
    with desk(reader, "none", trace=False) as here:
        card = here.card()
        card.open()
        tries = card.pin_tries()
    data = {"ok": True, "is_set": tries is not None, "tries": tries}
    if as_json:
        print_json(data)
    else:
        print("未设密码 / no PIN set" if tries is None else f"还可尝试 {tries} 次 / {tries} tries left")


@pin_app.command("verify")
@reports_failures
def pin_verify(
    reader: ReaderOption = None,
    use_last_try: Annotated[bool, typer.Option(help="允许用掉最后一次 / spend the last try")] = False,
    as_json: JsonOption = False,
) -> None:
    """校验密码：从终端输入，不作参数 / verify the PIN, typed here and never an argument.

    \b
    Example: ./onecard card pin verify
    """
    pin = _typed_pin()
    with desk(reader, "none", trace=False) as here:
        card = here.card()
        card.open()
        card.verify_pin(pin, use_last_try=use_last_try)
    if as_json:
        print_json({"ok": True})
    else:
        print("✓")


def _typed_pin() -> str:
    """From the terminal without echo; from a pipe, its first line. The prompt never mixes with the output."""
    if sys.stdin.isatty():
        return str(typer.prompt("密码 / PIN", hide_input=True, err=True))
    return sys.stdin.readline().strip()


@card_app.command("write")
@reports_failures
def write(
    item: Annotated[str, typer.Argument(help="数据项 / item: telephone, issue_date …")],
    value: Annotated[str, typer.Argument(help="新值 / new value")],
    reader: ReaderOption = None,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """写一个数据项（先做密钥认证，写后读回） / write one item, authenticated and read back.

    \b
    Example: ./onecard card write telephone 01012345678
    """
    from cardlib.failures import FailureCode

    with desk(reader, "keys", trace=trace) as here:
        assert here.authenticator is not None
        card = here.card()
        card.open()
        card.write_item(item, value, here.authenticator)
        now = card.read_item(item, here.authenticator)
    if str(now) != value:
        raise CommandError(FailureCode.CARD_DATA_INVALID, f"the card now says {now!r}")
    if as_json:
        print_json({"ok": True, item: now})
    else:
        print(f"✓ {item} = {now}")


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
    from cardlib.initialization import InitializationOrder, initialize
    from cardlib.spec import Generation
    from onecard_cli.home import Home

    keys = Home.default().key_service()
    with desk(reader, "none", trace=trace) as here:
        order = InitializationOrder(
            secrets.token_bytes(16), Generation(generation), region, reset_information(here.atr)
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
