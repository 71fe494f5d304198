"""A list or an item file brought into a draft: whole, or not at all with every line's fault."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from apps_catalog.errors import CatalogError, Problem
from apps_catalog.fault_words import known_words
from apps_catalog.importer import Report, field_under
from apps_catalog.tables import TableError
from issuance.catalog.authority import Authority
from issuance.catalog.drafts import Drafts
from issuance.catalog.repository import CatalogRepository
from issuance.console.acting import Done, attempt
from issuance.console.catalog import Editing, VersionId, province_namer
from issuance.console.forms import Form, parse
from issuance.console.page import Page
from issuance.console.refusals import Refusal
from issuance.console.words import words
from issuance.problems import ProblemError
from issuance.unit import Unit

router = APIRouter(prefix="/catalog/{version_id}/import")


class ImportOrder(BaseModel):
    """`digest` is SHA-256 of the files: other files are another order."""

    seen: int = Field(ge=0)
    owner: str = Field(max_length=6)
    name: str = Field(min_length=1, max_length=256)
    size: int = Field(ge=1)
    digest: str
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report; `place` is the line's number, or file, line and column."""

    place: str
    item: str
    column: str
    fault: str
    remedy: str


class _NotTakenError(ProblemError):
    """Nothing was stored; the report says why."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__("CATALOG_INVALID", "see the report", status=400)
        self.rows = rows


@router.get("")
async def ask(version_id: VersionId, page: Editing) -> Response:
    return await _ask(page, version_id)


async def _ask(page: Page, version_id: str, **context: Any) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        row = await CatalogRepository(unit.session).row(version_id)
    name = province_namer(page, await page.desk.services.catalogs.current())
    owners = [(owner, name(owner)) for owner in Authority.of(page.desk.who).owners()]
    return page.show("catalog_import.html", row=row, owners=owners, **({"rows": []} | context))


@router.post("")
async def bring(version_id: VersionId, page: Editing) -> Response:
    form = await Form.of(page.request)
    data, rows = form.files.get("file", b""), []

    def read() -> ImportOrder:
        sent = form.nested("seen", "owner", "replace")
        digest = hashlib.sha256(data + b"\0" + form.files.get("defaults", b"")).hexdigest()
        told = {"name": form.file_names.get("file", ""), "size": len(data), "digest": digest}
        return parse(ImportOrder, sent | told)

    async def run(unit: Unit, order: ImportOrder) -> Done:
        report: Report | CatalogError | TableError
        try:
            report = await Drafts(unit, page.desk.who).bring(
                version_id,
                order.name,
                data,
                owner=order.owner,
                defaults=form.files.get("defaults", b""),
                replace=order.replace,
                seen=order.seen,
            )
        except (CatalogError, TableError) as error:
            report = error
        rows.extend(_rows(page, report))
        if isinstance(report, Exception) or report.faults:
            raise _NotTakenError(rows)
        return Done()

    done = await attempt(page, form, f"catalog.import:{version_id}", read, Done, run)
    if isinstance(done, Refusal):
        return await _ask(page, version_id, form=form, refusal=done, rows=rows)
    return page.go(f"/catalog/{version_id}", said="catalog.said_import")


def _rows(page: Page, report: Report | CatalogError | TableError) -> list[Row]:
    if isinstance(report, CatalogError):
        return [_row(page, problem) for problem in report.problems]
    if isinstance(report, TableError):
        return [Row("", "", "", _said(page, str(report)), words(page.language)["catalog"]["import_how"])]
    return [
        Row(
            str(line.number or ""),
            line.item,
            line.column,
            _said(page, line.fault),
            _help(page, field_under(line.column), line.remedy),
        )
        for line in report.lines
    ]


def _row(page: Page, problem: Problem) -> Row:
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    field = problem.field.partition(".")[0]
    return Row(place, problem.item, problem.field, _said(page, problem.text), _help(page, field, problem.remedy))


def _said(page: Page, fault: str) -> str:
    known = known_words(fault)
    return fault if known is None else str(getattr(known, page.language))


def _help(page: Page, field: str, remedy: str) -> str:
    """How the field is filled in; English is the catalog's own."""
    known = words(page.language)["catalog"]
    return known.get(f"help_{field}", known["import_how"]) if remedy and page.language == "zh" else remedy
