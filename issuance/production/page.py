"""docs/production-files.md, printed from the profiles: `python -m issuance.production.page`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from issuance.production.files import PART_BYTES
from issuance.production.profiles import MAX_LINE, Column, Profile, load_profiles
from issuance.production.states import BATCH_CODES, LINE_CODES, PRODUCTION_CODES

_HEAD = f"""# Files of batch production (批量制卡文件)

Printed by `python -m issuance.production.page` from `issuance/production/formats/*.toml`. A partner with other columns
gets a file of its own there, or in the folder `ONECARD_ISSUANCE_FORMATS_PATH` names; nothing else changes. How the
files are used: [issuance.md](issuance.md#batch-production-批量制卡).

* A file is lines of the encoding and delimiter told below, ended by CR LF (LF alone is taken too). The first line
  repeats the titles. Values stand without quotes, so none may hold the delimiter or a control character. A line has at
  most {MAX_LINE} bytes.
* Files come in and go out in parts of {PART_BYTES} bytes, the last one shorter; they rest sealed.
* A partner may have more columns, or fewer; those that a stage cannot do without are checked when profiles are loaded.
* A refused line is told with its number in the file (titles are line 1), the column, the rule
  ([input-rules.md](input-rules.md), names beginning with `file_`) and what to do. All other lines are taken.
* Where they come from: the factory's return has the columns seen in the field; the bank's file name follows the audit
  export of a citizen card system; the formats for CA and key check are ours, because no published one was found.
"""


def page() -> str:
    return "\n".join([_HEAD, *_profiles(), *_states()]) + "\n"


def _profiles() -> Iterator[str]:
    for profile in load_profiles().values():
        yield f"## `{profile.id}`: {profile.name_zh} · {profile.name_en}"
        yield ""
        yield from _layouts(profile)


def _layouts(profile: Profile) -> Iterator[str]:
    for words, layout in (("我方发出 · sent", profile.outgoing), ("对方发来 · received", profile.incoming)):
        if layout is None:
            continue
        name = f", `{layout.file_name}`" if layout.file_name else ""
        yield f"### `{profile.id}`, {words}"
        yield ""
        yield f"{layout.encoding.upper()}, delimiter `{layout.delimiter}`{name}"
        yield ""
        yield "| 列 column | key | 类型 type | 必填 required | |"
        yield "|---|---|---|---|---|"
        yield from (_row(column) for column in layout.columns)
        yield ""


def _row(column: Column) -> str:
    required = "✓" if column.required else ""
    return f"| {column.title} | `{column.key}` | {_type(column)} | {required} | {column.title_en} |"


def _type(column: Column) -> str:
    if column.type == "text":
        return f"text, at most {column.max_bytes} bytes"
    if column.type == "digits":
        least, most = column.min_length, column.max_length
        return f"{least} digits" if least == most else f"{least} to {most} digits"
    if column.type == "hex":
        return f"{2 * column.bytes} hex digits"
    if column.type == "code":
        return "code: " + ", ".join(code if code == text else f"{code} {text}" for code, text in column.codes)
    return _TYPES[column.type]


_TYPES = {
    "sequence": "1 to 999999999",
    "date8": "YYYYMMDD",
    "card_number": "9 characters with check character",
    "person_number": "18 characters with check digit",
    "bank_card": "15 to 19 digits with check digit",
}


def _states() -> Iterator[str]:
    yield "## States and their codes (状态与代码)"
    yield ""
    yield "| 批次 batch | 代码 code | |"
    yield "|---|---|---|"
    yield from (f"| `{state}` | {code} | {zh} · {en} |" for state, (code, zh, en) in BATCH_CODES.items())
    yield ""
    yield "| 批次明细 line | 明细代码 code | 制卡状态 production status | |"
    yield "|---|---|---|---|"
    for state, (code, zh, en) in LINE_CODES.items():
        yield f"| `{state}` | {code} | {PRODUCTION_CODES[state]} | {zh} · {en} |"


if __name__ == "__main__":
    sys.stdout.write(page())
