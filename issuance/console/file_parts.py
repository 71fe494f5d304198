"""The lists of a person file as tables in one language, for the page and the print: card numbers masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from issuance.console.audit import act_in_words, outcome_in_words
from issuance.console.holders import shown_card
from issuance.console.subjects import masked_subject
from issuance.console.times import china, day
from issuance.console.words import words
from issuance.person_file.schemas import PersonFile
from issuance.progress.receipts import grouped

if TYPE_CHECKING:
    from issuance.console.page import Page


@dataclass(frozen=True, slots=True)
class Part:
    """`widths` are shares of the line, one a column; `is_cut`: there is more than these rows."""

    name: str
    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[int]
    is_cut: bool


def parts_of(page: Page, file: PersonFile) -> list[Part]:
    """Every list, empty ones too, in the order in which they are read."""
    known = words(page.language)["file"]
    return [
        Part(
            name,
            known[f"part_{name}"],
            known[f"columns_{name}"].split("|"),
            [row(page, item) for item in getattr(file, name)],
            widths,
            name in file.is_cut,
        )
        for name, (widths, row) in _PARTS.items()
    ]


def _say(page: Page, item: Any, field: str) -> str:
    return str(getattr(item, f"{field}_{page.language}"))


def _card(page: Page, c: Any) -> list[str]:
    account = "" if c.account is None else f"{page.term('account', c.account.state)} {c.account.number or ''}".strip()
    ecard = page.term("ecard", "none" if c.ecard is None else c.ecard.state)
    dates = [china(c.state_since), day(c.issue_date), day(c.expiry_date)]
    return [shown_card(c.card_number), page.term("card", c.state), *dates, account, ecard]


def _application(page: Page, a: Any) -> list[str]:
    words_ = [page.term("kind", a.kind), page.term("channel", a.channel), page.term("application", a.state)]
    return [grouped(a.receipt_number), *words_, shown_card(a.card_number), china(a.created_at), china(a.ended_at)]


def _loss(page: Page, one: Any) -> list[str]:
    end = page.term("event", _say(page, one, "end"))
    ended = f"{end} {china(one.ended_at)}" if one.ended_at else words(page.language)["file"]["lasts"]
    return [shown_card(one.card_number), _say(page, one, "text"), china(one.reported_at), one.reported_by, ended]


def _event(page: Page, e: Any) -> list[str]:
    what = f"{page.term('side', e.side)} · {page.term('event', e.act)}"
    return [china(e.at), what, shown_card(e.card_number), e.by, e.reason]


def _found(page: Page, f: Any) -> list[str]:
    state = words(page.language)["found"][f"state_{f.state}"]
    return [shown_card(f.card_number), f.outlet, state, china(f.found_at), china(f.ended_at)]


def _use(page: Page, u: Any) -> list[str]:
    known = words(page.language)["file"]
    what = known.get(f"scene_{u.act}") or act_in_words(u.act, page)
    return [
        china(u.at),
        known[f"way_{u.way}"],
        what,
        u.by,
        shown_card(u.card_number),
        outcome_in_words(u.outcome, page),
    ]


def _document(page: Page, d: Any) -> list[str]:
    return [words(page.language)["file"].get(f"document_{d.kind}", d.kind), d.text, day(d.day), d.by]


def _entry(page: Page, e: Any) -> list[str]:
    what = act_in_words(e.act, page)
    return [china(e.at), what, masked_subject(e.subject), e.by, outcome_in_words(e.outcome, page), e.reason]


_PARTS: dict[str, tuple[tuple[int, ...], Callable[[Page, Any], list[str]]]] = {
    "cards": ((11, 13, 17, 12, 12, 20, 15), _card),
    "applications": ((22, 12, 10, 13, 11, 16, 16), _application),
    "losses": ((12, 16, 18, 16, 38), _loss),
    "events": ((19, 32, 13, 16, 20), _event),
    "uses": ((19, 13, 24, 18, 13, 13), _use),
    "documents": ((22, 38, 20, 20), _document),
    "found": ((14, 26, 18, 21, 21), _found),
    "audit": ((19, 20, 15, 13, 13, 20), _entry),
}
