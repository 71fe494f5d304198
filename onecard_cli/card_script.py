"""`onecard card run` and `onecard card record`: APDU scripts (docs/scripts.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecard_cli.card_data import private_file
from onecard_cli.desk import Desk, JsonOption, LastTryOption, ReaderOption, TraceOption, ask_pin, desk, recording_to
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    from apdu.readers import ReaderService
    from apdu.scripts.language import Script
    from apdu.scripts.runner import CardAccess, LineResult

_MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}
_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def register(app: typer.Typer) -> None:
    """`record` runs any other command of `app`."""

    @app.command("record", context_settings=_PASS_ON)
    @reports_failures
    def record(
        file: Annotated[Path, typer.Argument(help="新文件，仅本人可读 / new file, readable by you only")],
        words: Annotated[list[str], typer.Argument(help="card 的其他命令 / another command of card")],
    ) -> None:
        """执行一条 card 命令，同时录下指令与应答（不含密码、密钥） / record what a command exchanges, without secrets.

        Files of the card stay readable in it: a recording of a real card is personal data.

        \b
        Examples: ./onecard card record session.apdu read --all
                  ./onecard card record session.apdu pin verify
        """
        raise typer.Exit(_record(app, file, words))

    app.command("run")(run_script)


def _record(app: typer.Typer, file: Path, words: list[str]) -> int:
    """Exit status of the command recorded. A file without a line is taken away again."""
    with private_file(file) as stream:
        token = recording_to.set(stream)
        try:
            typer.main.get_command(app).main(words, prog_name="onecard card")
        except SystemExit as done:
            status = done.code if isinstance(done.code, int) else int(done.code is not None)
        finally:
            recording_to.reset(token)
    if not file.stat().st_size:
        file.unlink()
    else:
        print(f"✓ 录制 / recorded → {file}", file=sys.stderr)
    return status


@reports_failures
def run_script(
    file: Annotated[Path, typer.Argument(help="脚本或录制 / script or recording", exists=True, dir_okay=False)],
    keep_going: Annotated[bool, typer.Option("--keep-going", help="失败后继续 / go on behind a failure")] = False,
    no_pcsc: Annotated[
        bool, typer.Option("--no-pcsc", help="对内置读卡器中的模拟卡执行 / on a simulated card, no pcscd")
    ] = False,
    persona: Annotated[str, typer.Option(help="模拟卡名称，见 sim list / see sim list")] = "adult-3.0",
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="不遮盖个人信息 / show whole bodies, never secrets")
    ] = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """对卡执行 APDU 脚本或回放录制，逐行核对应答 / run an APDU script or replay a recording, every response checked.

    Secrets the script names are asked for here. It writes what it says to the card; nothing asks first.

    \b
    Examples: ./onecard card run script.apdu
              ./onecard card run session.apdu --no-pcsc --persona adult-2.0
    """
    from apdu.scripts.parser import parse
    from apdu.scripts.runner import Outcome, run

    script = parse(file.read_text(encoding="utf-8"))
    secrets = _secrets(script)
    with (
        _readers(persona if no_pcsc else None) as readers,
        desk(reader, "none", trace=trace, use_last_try=use_last_try, readers=readers) as here,
    ):
        report = run(
            script,
            _access(here),
            secrets=secrets,
            on_result=None if as_json else _show,
            keeps_going=keep_going,
            shows_personal=show_personal,
        )
    counts = {outcome.value: report.count(outcome) for outcome in Outcome}
    if as_json:
        lines = [result.to_json() for result in report.results]
        print_json({"ok": report.is_ok, "complete": report.is_complete} | counts | {"lines": lines})
    else:
        print(
            f"{'✓' if report.is_ok else '✗'} {counts['passed']} 通过 / passed，{counts['failed']} 失败 / failed，"
            f"{counts['skipped']} 跳过 / skipped"
        )
    if not report.is_ok:
        raise typer.Exit(1)


@contextmanager
def _readers(persona: str | None) -> Iterator[ReaderService | None]:
    """A built-in reader with the card of `persona` in it; None, which means PC/SC, where no name is given."""
    if persona is None:
        yield None
        return
    from apdu.inprocess import DEFAULT_READERS, InProcessReaders
    from onecard_cli.home import Home
    from onecard_cli.personas import persona_card

    home = Home.default()
    home.key_service()
    with ExitStack() as stack:
        chip = persona_card(home, persona)
        stack.enter_context(chip.lock)
        readers = InProcessReaders(DEFAULT_READERS[:1])
        stack.callback(readers.close)
        readers.insert(DEFAULT_READERS[0], chip.card)
        yield readers


def _secrets(script: Script) -> dict[str, bytes]:
    """What was typed for each name: hex digits, and F behind an odd number of them, as cards keep PINs."""
    from cardlib.failures import FailureCode

    found = {}
    for name in script.secrets:
        digits = ask_pin(name)
        try:
            found[name] = bytes.fromhex(digits + "F" * (len(digits) % 2))
        except ValueError:
            raise CommandError(FailureCode.INPUT_INVALID, f"{name}: digits or hex digits were expected") from None
    return found


def _access(here: Desk) -> CardAccess:
    from apdu.channel import follow_up
    from apdu.scripts.runner import CardAccess

    return CardAccess(
        here.channel,
        follow_up(here.channel, here.protocol),
        here.reset,
        lambda command: _guard(here, command),
    )


def _guard(here: Desk, command: bytes) -> None:
    """The tries of a PIN are read before it is sent. Raises LastTryError."""
    from apdu.sw import SW, Ins
    from cardlib.errors import LastTryError
    from cardlib.guard import TRIES_KEPT

    if command[1] not in (Ins.VERIFY, Ins.CHANGE_PIN):
        return
    # The holder's PIN is asked for as 00 00, whatever P1 of CHANGE PIN says; a PIN of its own has its number in P2.
    number = bytes((0x01, command[3])) if command[3] else bytes(2)
    sw = int.from_bytes(here.channel.transmit(bytes((0x00, Ins.VERIFY)) + number)[-2:], "big")
    tries = 0 if sw == SW.METHOD_BLOCKED else sw & 0x0F if sw & 0xFFF0 == 0x63C0 else None
    if tries is not None and (tries == 0 or (tries <= TRIES_KEPT and not here.use_last_try)):
        raise LastTryError(tries)


def _show(result: LineResult) -> None:
    from apdu.sw import meaning
    from cardlib.failures import FailureCode, describe

    print(f"{_MARKS[result.outcome]} {result.line:>4}  {result.name}  {result.command}".rstrip())
    if result.response:
        said = f"  {result.text_zh} / {result.text_en}" if result.text_zh else ""
        print(f"        → {result.response}{said}  {result.duration_ms:.1f} ms")
    if result.note_zh:
        print(f"        {result.note_zh} / {result.note_en}")
    failure = meaning(result.sw).failure if result.outcome == "failed" and result.sw is not None else None
    if failure is not None:
        words = describe(FailureCode(failure))
        print(f"        原因 {words.cause_zh} / {words.cause_en}")
        print(f"        办法 {words.remedy_zh} / {words.remedy_en}")
