"""Journeys and takings: a day of the gates with its differences explained, one gate's day, where a purse travelled."""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from cardlib.transit_gate_result import Reason
from cardlib.transit_gate_result import words as gate_words
from issuance.clerks.acts import Act
from issuance.clock import china_date
from issuance.console.forms import Form
from issuance.console.lists import Tab, address
from issuance.console.page import Page, page_for
from issuance.console.refusals import Refusal
from issuance.console.words import Language, words
from issuance.input_rules import field_error
from issuance.journeys.days import DayService
from issuance.journeys.purses import PurseService
from issuance.journeys.schemas import DayReconciliation, TerminalDay
from issuance.problems import ProblemError, bad_input
from issuance.supervision.sheets import CSV_TYPE, Cell, Sheet, to_csv

router = APIRouter(prefix="/journeys")
Reading = Annotated[Page, page_for(Act.JOURNEY_READ)]
Exporting = Annotated[Page, page_for(Act.JOURNEY_EXPORT)]
Tracing = Annotated[Page, page_for(Act.JOURNEY_PURSE)]
_FACE_NUMBER = re.compile("[0-9]{19}")


@router.get("")
async def show(page: Reading, day: str = "", terminal: str = "") -> Response:
    """Today where no day is named. `terminal`: one alone, with the records that its lines are about."""
    terminal, today = terminal[:64], china_date(page.desk.services.clock())
    shown, refusal, report = today, None, None
    try:
        shown = _day(day) or today
        async with page.desk.unit(is_reading=True) as unit:
            report = await DayService(unit).of(shown, terminal=terminal or None, has_exits=bool(terminal))
    except ProblemError as error:
        refusal = page.refusal(error)
    return page.show(
        "journeys_terminal.html" if terminal else "journeys.html",
        report=report,
        one=next(iter(report.terminals), None) if report else None,
        terminal=terminal,
        shown=shown,
        refusal=refusal,
        before=_beside(shown, -1, terminal),
        after=_beside(shown, 1, terminal) if shown < today else "",
        sections=_sections(page, "day"),
        gate_word=partial(_gate_word, page.language),
    )


def _beside(shown: date, days: int, terminal: str) -> str:
    try:
        return address("/journeys", day=(shown + timedelta(days=days)).isoformat(), terminal=terminal)
    except OverflowError:
        return ""


def _gate_word(language: Language, reason: str) -> str:
    """What the gate showed; a reason this centre does not know stands for itself."""
    if reason not in Reason.__members__:
        return reason
    known = gate_words()[Reason(reason)]
    return known.zh if language == "zh" else known.en


@router.post("/export")
async def export(page: Exporting) -> Response:
    form = await Form.of(page.request)
    shown = _day(form.get("day")) or china_date(page.desk.services.clock())
    async with page.desk.unit() as unit:
        report = await DayService(unit).of(shown, has_exits=False)
        await unit.audit("journeys.export", f"journeys:{shown.isoformat()}", region=unit.caller.region)
    name = f'attachment; filename="journeys-{shown.isoformat()}.csv"'
    made = to_csv(sheets(report, page.language))
    return Response(made, media_type=CSV_TYPE, headers={"Content-Disposition": name})


@router.get("/purse")
async def ask(page: Tracing) -> Response:
    return _purse(page)


@router.post("/purse")
async def trace(page: Tracing) -> Response:
    form = await Form.of(page.request)
    try:
        face_number = form.values.get("face_number", "").replace(" ", "")
        if not _FACE_NUMBER.fullmatch(face_number):
            raise bad_input(field_error("face_number", "face_number"))
        async with page.desk.unit() as unit:
            found = await PurseService(unit).of_face(face_number)
    except ProblemError as error:
        return _purse(page, form=form, refusal=page.refusal(error))
    return _purse(page, form=form, found=found)


def _purse(page: Page, *, found: Any = None, refusal: Refusal | None = None, **context: Any) -> Response:
    sections = _sections(page, "purse")
    return page.show("journeys_purse.html", found=found, refusal=refusal, sections=sections, **context)


def _sections(page: Page, current: str) -> list[Tab]:
    known = words(page.language)["journeys"]
    tabs = [Tab(known["by_day"], address("/journeys"), current == "day")]
    if page.viewer.may(Act.JOURNEY_PURSE):
        tabs.append(Tab(known["by_purse"], address("/journeys/purse"), current == "purse"))
    return tabs


def _day(typed: str) -> date | None:
    """Raises INPUT_INVALID for what is no day."""
    try:
        return date.fromisoformat(typed) if typed else None
    except ValueError:
        raise bad_input(field_error("query.day", "date_unreal")) from None


def sheets(report: DayReconciliation, language: Language) -> list[Sheet]:
    """Terminals, why they differ, products. Amounts in yuan."""
    known = words(language)["journeys"]
    day = report.day.isoformat()
    terminals = tuple(_terminal_cells(one, known) for one in report.terminals)
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (one.terminal, line.text_zh if language == "zh" else line.text_en, line.count, line.fen / 100)
        for one in report.terminals
        for line in one.lines
    )
    products: tuple[tuple[Cell, ...], ...] = tuple(
        (one.product, one.catalog_item, one.count, one.fen / 100, (one.fare_fen - one.fen) / 100)
        for one in report.products
    )
    headings = (known["terminal"], known["name"], known["said"], known["booked"], known["difference"], known["state"])
    return [
        Sheet(f"{known['title']} {day}", headings, terminals),
        Sheet(known["lines"], (known["terminal"], known["why"], known["count"], known["amount"]), lines),
        Sheet(
            known["products"],
            (known["product"], known["item"], known["count"], known["amount"], known["forgone"]),
            products,
        ),
    ]


def _terminal_cells(one: TerminalDay, known: dict[str, str]) -> tuple[Cell, ...]:
    state = known["explained"] if one.is_explained else known["unexplained"]
    said = None if one.said is None else one.said.fen / 100
    return one.terminal, one.name, said, one.takings_fen / 100, one.difference_fen / 100, state
