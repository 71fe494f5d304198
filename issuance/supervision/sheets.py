"""Tables that leave the service, as CSV or XLSX. No cell can become a formula in the program that opens it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from issuance.clock import CHINA

Cell = str | int | float | date | None
CSV_TYPE: Final = "text/csv; charset=utf-8"
XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_BOM: Final = "\ufeff"
"""Without it spreadsheet programs take UTF-8 for the system's own character set."""
_STARTS_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NOT_IN_TITLE: Final = re.compile(r"[\[\]:*?/\\]")
_NOT_IN_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Sheet:
    title: str
    headings: tuple[str, ...]
    rows: tuple[Sequence[Cell], ...]


def to_csv(sheets: Iterable[Sheet]) -> bytes:
    """One table under the other, RFC 4180. A text that a program might take for a formula gets an apostrophe before it
    (OWASP, CSV injection)."""
    target = io.StringIO()
    writer = csv.writer(target)
    for number, sheet in enumerate(sheets):
        if number:
            writer.writerow([])
        writer.writerow([_plain(sheet.title)])
        writer.writerow([_plain(heading) for heading in sheet.headings])
        writer.writerows([_plain(cell) for cell in row] for row in sheet.rows)
    return (_BOM + target.getvalue()).encode()


def to_xlsx(sheets: Iterable[Sheet]) -> bytes:
    """One worksheet each. Texts are stored as texts, which no program evaluates."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    book = Workbook(write_only=True)
    for sheet in sheets:
        page = book.create_sheet(_NOT_IN_TITLE.sub(" ", sheet.title)[:31])
        page.freeze_panes = "A2"
        for row in (sheet.headings, *sheet.rows):
            cells = []
            for value in row:
                cell = WriteOnlyCell(page, value=_stored(value))
                if isinstance(value, str):
                    cell.data_type = "s"
                if row is sheet.headings:
                    cell.font = Font(bold=True)
                cells.append(cell)
            page.append(cells)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def _plain(cell: Cell) -> Cell:
    if isinstance(cell, datetime):
        return cell.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_STARTS_FORMULA):
        return f"'{cell}"
    return cell


def _stored(cell: Cell) -> Cell:
    """XLSX keeps no zone, and not every control character."""
    if isinstance(cell, datetime):
        return cell.astimezone(CHINA).replace(tzinfo=None)
    return _NOT_IN_XML.sub("", cell) if isinstance(cell, str) else cell
