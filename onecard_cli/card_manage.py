"""`onecard card pin` and `onecard card block`: what changes a card's own locks."""

from __future__ import annotations

from typing import Annotated

import typer

from onecard_cli.desk import JsonOption, LastTryOption, ReaderOption, TraceOption, ask_pin, desk, keys_of_home
from onecard_cli.output import print_json, reports_failures

YesOption = Annotated[bool, typer.Option("--yes", help="不再询问 / do not ask")]

pin_app = typer.Typer(help="密码 / the holder's PIN", no_args_is_help=True)
block_app = typer.Typer(help="永久锁定 / block for good", no_args_is_help=True)


def _done(*, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True})
    else:
        print("✓")


@pin_app.command("status")
@reports_failures
def pin_status(reader: ReaderOption = None, as_json: JsonOption = False) -> None:
    """还可尝试几次 / how many tries are left.

    \b
    Example: ./onecard card pin status
    """
    with desk(reader, "none", trace=False) as here:
        tries = here.opened().pin_tries()
    data = {"ok": True, "is_set": tries is not None, "tries": tries}
    if as_json:
        print_json(data)
    else:
        print("未设密码 / no PIN set" if tries is None else f"还可尝试 {tries} 次 / {tries} tries left")


@pin_app.command("verify")
@reports_failures
def pin_verify(reader: ReaderOption = None, use_last_try: LastTryOption = False, as_json: JsonOption = False) -> None:
    """校验密码：从终端输入，不作参数 / verify the PIN, typed here and never an argument.

    \b
    Example: ./onecard card pin verify
    """
    pin = ask_pin()
    with desk(reader, "none", trace=False) as here:
        here.opened().verify_pin(pin, use_last_try=use_last_try)
    _done(as_json=as_json)


@pin_app.command("change")
@reports_failures
def pin_change(
    first: Annotated[bool, typer.Option("--first", help="卡上还没有密码 / the card has no PIN yet")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="去掉密码 / take the PIN away")] = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
) -> None:
    """修改密码：旧密码、新密码两遍 / change the PIN: the old one, the new one twice.

    \b
    Example: ./onecard card pin change
    """
    old = "" if first else ask_pin("旧密码 / old PIN")
    new = "" if remove else ask_pin("新密码 / new PIN", twice=True)
    with desk(reader, "none", trace=False) as here:
        here.opened().change_pin(old, new, use_last_try=use_last_try)
    _done(as_json=as_json)


@pin_app.command("unblock")
@reports_failures
def pin_unblock(
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """解锁密码：次数复原，密码不变；先核对身份 / all tries back, the PIN stays; check the holder's identity first.

    \b
    Example: ./onecard card pin unblock
    """
    from cardlib.management import unblock_pin

    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        unblock_pin(here.opened(), keys_of_home())
    _done(as_json=as_json)


@pin_app.command("reload")
@reports_failures
def pin_reload(
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """重装密码：换新密码并解锁；先核对持卡人身份 / a new PIN and all tries; check the holder's identity first.

    \b
    Example: ./onecard card pin reload
    """
    from cardlib.management import reload_pin

    pin = ask_pin("新密码 / new PIN", twice=True)
    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        reload_pin(here.opened(), keys_of_home(), pin)
    _done(as_json=as_json)


@block_app.command("application")
@reports_failures
def block_application(
    df: Annotated[str, typer.Argument(help="应用 / application: DF01 … DF07")],
    yes: YesOption = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """永久锁定一个应用 / block one application for good.

    \b
    Example: ./onecard card block application DF07
    """
    from cardlib.management import block_application

    _confirm(f"{df} 将永久不能用 / {df} will never work again", yes=yes)
    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        block_application(here.opened(), df, keys_of_home())
    _done(as_json=as_json)


@block_app.command("card")
@reports_failures
def block_card(
    yes: YesOption = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """永久锁定整张卡 / block the whole card for good.

    \b
    Example: ./onecard card block card
    """
    from cardlib.management import block_card

    _confirm("整张卡将永久不能用 / the whole card will never work again", yes=yes)
    with desk(reader, "none", trace=trace, use_last_try=use_last_try) as here:
        block_card(here.opened(), keys_of_home())
    _done(as_json=as_json)


def _confirm(text: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(text, abort=True)
