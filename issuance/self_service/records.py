"""A person's own records at a kiosk: where the cards were used, who looked, what was done; no clerk is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from issuance.audit.models import AuditRow
from issuance.clients.models import ClientRow
from issuance.clock import china_date
from issuance.console.words import words as page_words
from issuance.offices.models import OfficeRow
from issuance.person_file.repository import FileRepository
from issuance.person_file.service import words_of
from issuance.scope import unscoped
from issuance.self_service.desk import KioskDesk
from issuance.self_service.evidence import KioskAct, demand
from issuance.self_service.schemas import RecordsPage, RecordsQuestion, RecordView
from issuance.self_service.words import Pair, words
from issuance.unit import Unit

PAGE: Final = 10
LOOKS: Final = frozenset(
    {
        "application.read",
        "card.history",
        "card.read",
        "person.file",
        "person.reveal",
        "photo.read",
        "self_service.look",
    }
)
"""Acts of the audit trail that show somebody a person's data."""


class _Found(NamedTuple):
    """`by`: id of the client; `place`: path of the office, where it is known."""

    at: datetime
    words: Pair
    by: str
    place: str = ""
    outcome: str = "ok"
    times: int = 1


def _by_day(found: Iterable[_Found]) -> list[_Found]:
    """One for what the same one did at the same place on one day, with the time of the last: a kiosk looks often."""
    days: dict[tuple[Any, ...], _Found] = {}
    for one in found:
        key = china_date(one.at), one.words, one.by, one.place
        known = days.get(key)
        days[key] = one if known is None else one._replace(at=max(one.at, known.at), times=known.times + 1)
    return list(days.values())


class Records:
    def __init__(self, unit: Unit, desk: KioskDesk) -> None:
        self._unit = unit
        self._visit = desk.visit
        self._rows = FileRepository(unit.session, unit.caller.region_prefix)

    async def page(self, question: RecordsQuestion) -> RecordsPage:
        """Raises EVIDENCE_MISSING."""
        subject = f"person:{self._visit.person_id}" if self._visit.person_id else ""
        demand(KioskAct.LOOK, self._visit.evidence, subject=subject)
        cards = await self._rows.cards(self._visit.person_id) if self._visit.person_id else []
        find: dict[str, Callable[[Sequence[Any]], Any]] = {
            "uses": self._uses,
            "looks": self._looks,
            "events": self._events,
        }
        found: list[_Found] = await find[question.kind](cards)
        await self._unit.audit(
            "self_service.records", subject, region=self._unit.caller.region, detail={"kind": question.kind}
        )
        found.sort(key=lambda one: one.at, reverse=True)
        shown, after = found[question.after : question.after + PAGE], question.after + PAGE
        names = await self._names({one.by for one in shown}, {one.place for one in shown})
        return RecordsPage(
            items=[
                RecordView(
                    at=one.at,
                    text_zh=one.words[0],
                    text_en=one.words[1],
                    where=names.get(one.place) or names.get(one.by, ""),
                    outcome=one.outcome,
                    count=one.times,
                )
                for one in shown
            ],
            next=after if len(found) > after else None,
        )

    async def _uses(self, cards: Sequence[Any]) -> list[_Found]:
        numbers = [row[0].card_number for row in cards]
        codes = await self._rows.used_codes([row[2].ecard_no for row in cards if row[2] is not None])
        routes = await self._rows.route_uses([row[0].reset_information for row in cards])
        terminal = await self._rows.terminal_uses(numbers)
        return [
            *(_Found(row.at, words("use", row.scene), row.client_id) for row in codes),
            *(_Found(row.at, words("use", "hsm"), row.actor, outcome=row.outcome) for row in routes),
            *(_Found(row.at, words("use", row.act), row.client_id) for row in terminal),
        ]

    async def _looks(self, cards: Sequence[Any]) -> list[_Found]:
        applications = [row[0].id for row in await self._rows.applications(self._visit.person_id)]
        subjects = [f"person:{self._visit.person_id}", *(f"card:{row[0].card_number}" for row in cards)]
        subjects += [f"application:{one}" for one in applications]
        rows: list[AuditRow] = await self._rows.audit(subjects, applications)
        names = page_words("zh")["acts"], page_words("en")["acts"]
        return _by_day(
            _Found(row.at, (names[0].get(row.act, row.act), names[1].get(row.act, row.act)), row.actor, row.place)
            for row in rows
            if row.act in LOOKS and row.outcome == "ok"
        )

    async def _events(self, cards: Sequence[Any]) -> list[_Found]:
        rows = await self._rows.events([row[0].card_number for row in cards])
        return [_Found(row.at, words_of(row), row.client_id) for row in rows]

    async def _names(self, clients: set[str], offices: set[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        with unscoped(self._unit.session, why="a holder sees whoever had to do with the own data, wherever that is"):
            for key, name, wanted in (
                (ClientRow.id, ClientRow.name, clients - {""}),
                (OfficeRow.office, OfficeRow.name_zh, offices - {""}),
            ):
                if wanted:
                    rows = await self._unit.session.execute(select(key, name).where(key.in_(wanted)))
                    found |= {row[0]: row[1] for row in rows}
        return found
