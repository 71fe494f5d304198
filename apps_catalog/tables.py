"""Lists that come in from outside, as CSV or XLSX: rows of trimmed text with their line numbers, within limits."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

MAX_BYTES: Final = 8 << 20
MAX_UNPACKED: Final = 64 << 20
MAX_ROWS: Final = 10_000
MAX_COLUMNS: Final = 100
MAX_CELL: Final = 4000


class TableError(ValueError):
    """The file is no table this program reads."""

    failure: ClassVar[str] = "INPUT_INVALID"


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row that is not empty. XLSX: the first sheet, formulas by their last result.

    CSV in UTF-8 or, as Chinese spreadsheet programs write it, GB 18030. Raises TableError.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as exc:
        raise TableError(f"{path.name}: {exc.strerror}") from exc
    if len(raw) > MAX_BYTES:
        raise TableError(f"{path.name} is larger than {MAX_BYTES} bytes")
    rows = []
    for number, cells in enumerate(_xlsx(raw) if raw.startswith(b"PK") else _csv(raw), start=1):
        if number > MAX_ROWS:
            raise TableError(f"line {number}: more than {MAX_ROWS} lines")
        if len(cells) > MAX_COLUMNS or any(len(cell) > MAX_CELL for cell in cells):
            raise TableError(f"line {number}: more than {MAX_COLUMNS} columns, or a cell of over {MAX_CELL} characters")
        if any(cells):
            rows.append((number, cells))
    return rows


def _csv(raw: bytes) -> Iterator[list[str]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = raw.decode("gb18030")
        except UnicodeDecodeError as exc:
            raise TableError(f"is neither UTF-8 nor GB 18030: byte {exc.start}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            yield [cell.strip() for cell in cells]
    except csv.Error as exc:
        raise TableError(f"line {reader.line_num}: {exc}") from None


def _xlsx(raw: bytes) -> Iterator[list[str]]:
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
                raise TableError(f"unpacks to more than {MAX_UNPACKED} bytes")
        book = load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
        for cells in book.worksheets[0].iter_rows(values_only=True, max_row=MAX_ROWS + 1, max_col=MAX_COLUMNS + 1):
            row = [_text(cell) for cell in cells]
            while row and not row[-1]:
                row.pop()
            yield row
    except TableError:
        raise
    except Exception as exc:  # openpyxl raises whatever its parsers raise
        raise TableError(f"is no readable XLSX workbook: {type(exc).__name__}") from exc


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        cell = cell.date()
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
