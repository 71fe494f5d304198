"""`onecard card`: explain bytes; export, compare and import a card's content; add to its cyclic files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, cast

import typer

from onecard_cli.desk import AuthOption, JsonOption, LastTryOption, PinOption, ReaderOption, TraceOption, desk
from onecard_cli.output import CommandError, print_json, reports_failures

Kind = Literal["command", "response", "sw", "fci", "atr", "record", "recording"]


def register(app: typer.Typer) -> None:
    app.command("explain")(explain_bytes)
    app.command("export")(export)
    app.command("import")(import_document)
    app.command("diff")(diff)
    app.command("append")(append)


def typed_value(text: str) -> Any:
    """What was typed for an item: the bytes of `@file`, the object of a JSON group, else the text itself."""
    if text.startswith("@"):
        return Path(text[1:]).read_bytes()
    return json.loads(text) if text.startswith("{") else text


def private_file(file: Path) -> TextIO:
    """A new file that only its owner may read. Raises CommandError CONFLICT for one that exists."""
    from cardlib.failures import FailureCode

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(FailureCode.CONFLICT, f"{file} exists and is not overwritten") from None
    return os.fdopen(descriptor, "w", encoding="utf-8")


@reports_failures
def explain_bytes(
    words: Annotated[
        list[str],
        typer.Argument(metavar="TEXT", help="十六进制，或 - 逐行读标准输入 / hex, or - for lines of standard input"),
    ],
    kind: Annotated[Kind | None, typer.Option("--as", help="不猜，按此种解释 / take it as this, do not guess")] = None,
    ins: Annotated[str | None, typer.Option(help="应答所对的指令 INS / instruction it answers, two hex digits")] = None,
    file: Annotated[str | None, typer.Option(help="记录所在文件，如 SSSEEF05 / file the records are of")] = None,
    generation: Annotated[Literal["1.0", "2.0", "3.0"], typer.Option(help="1.0, 2.0, 3.0")] = "3.0",
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="不遮盖个人信息 / do not mask personal data")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """用文字解释指令、应答、状态字、FCI、ATR、记录或录制行 / explain bytes in words; secrets are never shown.

    \b
    Examples: ./onecard card explain 6983 --ins 20
              ./onecard card explain 00B207280B
    """
    from cardlib.codec import CodecError
    from cardlib.explain import Explanation, explain
    from cardlib.spec import Generation

    number = int(ins, 16) if ins is not None else None

    def explained(line: str) -> Explanation:
        card = Generation(generation)
        return explain(line, kind=kind, ins=number, path=file, generation=card, show_personal=show_personal)

    text, left_out = " ".join(words), 0
    if text != "-":
        found = [explained(text)]
    else:
        found = []
        for at, line in enumerate(sys.stdin.read().splitlines(), start=1):
            # Whole recordings come this way: of their other lines only the answer to reset says something.
            said = line.partition("#")[0].strip().removeprefix("reset =>")
            try:
                found += [explained(said)] if said not in ("", "raw") else []
            except CodecError as error:
                left_out += 1
                print(f"✗ 第 {at} 行 / line {at}: {error}", file=sys.stderr)
    if as_json:
        print_json([each.to_json() for each in found] if text == "-" else found[0].to_json())
    for each in () if as_json else found:
        print(f"{each.title_zh} / {each.title_en}")
        for fact in each.lines:
            print(f"  {fact.label_zh} / {fact.label_en}: {fact.value}".rstrip(": "))
    raise typer.Exit(1 if left_out else 0)


@reports_failures
def export(
    file: Annotated[Path, typer.Argument(help="新文件，仅本人可读 / new file, readable by you only")],
    pin: PinOption = False,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """把可读内容存成 JSON（明文个人信息） / save what is readable as JSON; personal data in clear.

    \b
    Example: ./onecard card export card.json --pin
    """
    from cardlib.exchange import export_card

    with desk(reader, auth, trace=trace, use_last_try=use_last_try) as here:
        document = export_card(here.opened(pin=pin), here.authenticator)
    with private_file(file) as out:
        json.dump(document, out, ensure_ascii=False, indent=1)
    if as_json:
        print_json({"ok": True, "files": len(document["files"]), "refused": document["refused"]})
        return
    print(f"✓ {len(document['files'])} 个文件 / files → {file}")
    for path, reason in document["refused"].items():
        print(f"  {path}: {reason}")


@reports_failures
def import_document(
    file: Annotated[
        Path, typer.Argument(help="card export 的文件 / a file of card export", exists=True, dir_okay=False)
    ],
    pin: PinOption = False,
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """只写与文件不同的数据项，写后读回；须是同一张卡 / write only what differs, read back; the same card only.

    \b
    Example: ./onecard card import card.json --pin
    """
    from cardlib.exchange import import_card

    document = _document(file)
    with desk(reader, "keys", trace=trace, use_last_try=use_last_try) as here:
        assert here.authenticator is not None
        done = import_card(document, here.opened(pin=pin), here.authenticator)
    if as_json:
        print_json({"ok": True, "written": done.written, "skipped": done.skipped})
        return
    print(f"✓ 写入 / written: {', '.join(done.written) or '-'}")
    if done.skipped:
        print(f"  未写 / not written: {', '.join(done.skipped)}")


@reports_failures
def diff(
    left: Annotated[
        Path, typer.Argument(help="card export 的文件 / a file of card export", exists=True, dir_okay=False)
    ],
    right: Annotated[str, typer.Argument(help="另一个文件，或 card 表示读卡器中的卡 / other file, or card")] = "card",
    pin: PinOption = False,
    reader: ReaderOption = None,
    auth: AuthOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """比较两份内容，或一份与卡；不同时退出码为 1 / compare two exports, or one with the card; status 1 when different.

    \b
    Examples: ./onecard card diff card.json
              ./onecard card diff before.json after.json
    """
    from cardlib.exchange import compare, export_card

    first = _document(left)
    if right == "card":
        with desk(reader, auth, trace=False) as here:
            second = export_card(here.opened(pin=pin), here.authenticator)
    else:
        second = _document(Path(right))
    differences = compare(first, second)
    if as_json:
        print_json({"ok": True, "same": not differences, "differences": [each.to_json() for each in differences]})
    else:
        for each in differences:
            name = f"{each.path}.{each.item}" if each.item else each.path
            print(f"{name}: {_short(each.left)} → {_short(each.right)}")
        if not differences:
            print("✓ 相同 / the same")
    if differences:
        raise typer.Exit(1)


@reports_failures
def append(
    file: Annotated[str, typer.Argument(help="循环文件 / cyclic file: DF02EF07, DF02EF16, DF04EF15")],
    fields: Annotated[str, typer.Argument(help="一条记录的 JSON / one record as JSON")],
    reader: ReaderOption = None,
    use_last_try: LastTryOption = False,
    as_json: JsonOption = False,
    trace: TraceOption = False,
) -> None:
    """在循环文件里加一条记录，最旧的一条退出 / add a record to a cyclic file; the oldest falls out.

    \b
    Example: ./onecard card append DF02EF16 '{"policy": "010", "approval_date": "20260301"}'
    """
    from cardlib.failures import FailureCode

    values = json.loads(fields)
    if not isinstance(values, dict):
        raise CommandError(FailureCode.INPUT_INVALID, "a JSON object was expected")
    with desk(reader, "keys", trace=trace, use_last_try=use_last_try) as here:
        assert here.authenticator is not None
        card = here.opened()
        try:
            card.files.append(file, values, here.authenticator)
        except KeyError as error:
            raise CommandError(FailureCode.INPUT_INVALID, str(error.args[0])) from None
        newest = card.read_file(file, here.authenticator)[0]
    if as_json:
        print_json({"ok": True, "newest": newest})
    else:
        print(f"✓ {newest}")


def _document(file: Path) -> dict[str, Any]:
    from cardlib.exchange import check_document

    return check_document(cast(Any, json.loads(file.read_text(encoding="utf-8"))))


def _short(value: Any) -> str:
    text = "-" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:56]}…"
