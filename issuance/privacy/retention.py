"""What is forgotten, when (`retention.toml`), once a day: sealed values go, the row that counts something stays.

An erased person is a row that opens, holds nothing and is found by nobody; cards and applications keep pointing at it.
"""

from __future__ import annotations

import asyncio
import secrets
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, tuple_, update

from issuance.applications.models import ApplicationRow
from issuance.applications.service import items_context
from issuance.cards.models import CardRow, PersonEndRow
from issuance.clock import CHINA, china_date
from issuance.consents.ledger import enter
from issuance.consents.models import ConsentRow
from issuance.consents.repository import ConsentRepository
from issuance.journeys.models import TransitRefusalRow, TransitRideRow, TransitTapRow
from issuance.persons.models import PersonRow
from issuance.persons.repository import person_context
from issuance.persons.schemas import PersonData
from issuance.photos.models import PhotoRow
from issuance.privacy.models import PrivacyJobRow
from issuance.problems import ProblemError
from issuance.production.models import BatchRow, FileRow, PartRow
from issuance.scope import region_prefix
from issuance.terminals.models import CardUseRow, TerminalRecordRow
from issuance.unit import Unit, system_unit

if TYPE_CHECKING:
    from issuance.services import Services

_FILE: Final = Path(__file__).with_name("retention.toml")
JOB: Final = "retention"
HOUR: Final = 3
"""China time."""
CHUNK: Final = 200
ENDED: Final = ("rejected", "written_off")
CLOSED: Final = ("enabled", *ENDED)
CANCELLED: Final = "9"
ERASED: Final = PersonData(
    social_security_number="0" * 18,
    name="*",
    sex="9",
    ethnic_group="99",
    birthplace="000000",
    birth_date="00000000",
)


class Retention(BaseModel):
    """Days, see `retention.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    unused_photo: int = Field(ge=1)
    ended_application: int = Field(ge=1)
    production_file: int = Field(ge=1)
    ended_consent: int = Field(ge=1)
    terminal_record: int = Field(ge=1)
    card_use: int = Field(ge=1)
    journey: int = Field(ge=1)
    ended_person: int = Field(ge=1)


@cache
def retention(region: str) -> Retention:
    """Rules of the region, else of its province, else everywhere's."""
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    local = given.get(f"{region[:2]}0000", {}) | given.get(region, {})
    return Retention.model_validate(given["default"] | local)


async def forget_due(services: Services) -> int:
    """Once a day from `HOUR` on; returns how many things were forgotten."""
    now = services.clock()
    today = china_date(now).isoformat()
    if now.astimezone(CHINA).hour < HOUR:
        return 0
    async with services.database.look() as session:
        row = await session.scalar(select(PrivacyJobRow.state).where(PrivacyJobRow.name == JOB))
    if row is not None and row["day"] == today:
        return 0
    done = await forget(services)
    async with services.database.transaction() as session:
        await session.merge(PrivacyJobRow(name=JOB, state={"day": today, "count": sum(done.values())}, updated_at=now))
    return sum(done.values())


async def forget(services: Services) -> dict[str, int]:
    """Everything that is due, chunk by chunk in transactions of their own; counts by kind."""
    done = {}
    for kind, step in STEPS.items():
        done[kind] = 0
        while True:
            async with system_unit(services) as unit:
                count = await step(unit)
            done[kind] += count
            if not count:
                break
            await asyncio.sleep(0)
    return done


async def erase_person(unit: Unit, person_id: str, *, region: str | None, reason: str) -> None:
    """Forget who it was. Raises CONFLICT while the person has a card that is not cancelled or an open application."""
    await unit.session.get_one(PersonRow, person_id, with_for_update=True)
    in_use = or_(
        exists().where(CardRow.person_id == person_id, CardRow.state != CANCELLED),
        exists().where(ApplicationRow.person_id == person_id, ApplicationRow.state.not_in(CLOSED)),
    )
    if await unit.session.scalar(select(in_use)):
        raise ProblemError("CONFLICT", "the person has a card or an open application", subject=f"person:{person_id}")
    sealer = unit.services.sealer
    of_person = ApplicationRow.person_id == person_id
    for application_id in list(await unit.session.scalars(select(ApplicationRow.id).where(of_person))):
        await _empty_application(unit, application_id)
    await unit.session.execute(update(ApplicationRow).where(of_person).values(photo_id=None))
    await unit.session.execute(delete(PhotoRow).where(PhotoRow.person_id == person_id))
    await ConsentRepository(unit.session).empty(person_id)
    values = {
        "sealed": sealer.seal(ERASED.model_dump(), person_context(person_id)),
        "number_index": secrets.token_bytes(32),
        "name_index": secrets.token_bytes(32),
        "erased_at": unit.now,
        "updated_at": unit.now,
    }
    await unit.session.execute(update(PersonRow).where(PersonRow.id == person_id).values(**values))
    await unit.audit("person.erase", f"person:{person_id}", region=region, reason=reason)


async def _empty_application(unit: Unit, application_id: str) -> None:
    sealed = unit.services.sealer.seal({}, items_context(application_id))
    await unit.session.execute(
        update(ApplicationRow)
        .where(ApplicationRow.id == application_id)
        .values(sealed_parties=None, sealed_items=sealed)
    )


async def _photos(unit: Unit) -> int:
    query = select(PhotoRow.id, PhotoRow.region).where(PhotoRow.person_id.is_(None))
    due = await _due(unit, query, PhotoRow.region, PhotoRow.created_at, "unused_photo")
    for photo_id, region in due:
        await unit.session.execute(delete(PhotoRow).where(PhotoRow.id == photo_id))
        await unit.audit("photo.forget", f"photo:{photo_id}", region=region)
    return len(due)


async def _applications(unit: Unit) -> int:
    query = select(ApplicationRow.id, ApplicationRow.region).where(
        ApplicationRow.state.in_(ENDED), ApplicationRow.sealed_parties.is_not(None)
    )
    due = await _due(unit, query, ApplicationRow.region, ApplicationRow.updated_at, "ended_application")
    for application_id, region in due:
        await _empty_application(unit, application_id)
        await unit.audit(
            "application.forget", f"application:{application_id}", region=region, application_id=application_id
        )
    return len(due)


async def _files(unit: Unit) -> int:
    query = (
        select(FileRow.id, BatchRow.region)
        .join(BatchRow, BatchRow.id == FileRow.batch_id)
        .where(BatchRow.state == "handed_out", exists().where(PartRow.file_id == FileRow.id))
    )
    due = await _due(unit, query, BatchRow.region, BatchRow.updated_at, "production_file")
    for file_id, region in due:
        await unit.session.execute(delete(PartRow).where(PartRow.file_id == file_id))
        await unit.audit("production.forget", f"file:{file_id}", region=region)
    return len(due)


async def _consents(unit: Unit) -> int:
    query = select(ConsentRow.id, ConsentRow.region).where(ConsentRow.sealed_terms.is_not(None))
    due = await _due(unit, query, ConsentRow.region, ConsentRow.ends_at, "ended_consent")
    for consent_id, _ in due:
        row = await unit.session.get_one(ConsentRow, consent_id)
        row.sealed_terms = None
        await enter(unit, row, "forget")
    return len(due)


async def _terminal_records(unit: Unit) -> int:
    query = select(TerminalRecordRow.journal_id, TerminalRecordRow.sequence).where(TerminalRecordRow.body.is_not(None))
    region = func.coalesce(TerminalRecordRow.region, "")
    due = await _due(unit, query, region, TerminalRecordRow.received_at, "terminal_record")
    key = tuple_(TerminalRecordRow.journal_id, TerminalRecordRow.sequence)
    await unit.session.execute(update(TerminalRecordRow).where(key.in_(due)).values(body=None))
    return await _forgotten(unit, "terminal.forget_records", len(due))


async def _card_uses(unit: Unit) -> int:
    query = select(CardUseRow.journal_id, CardUseRow.sequence)
    due = await _due(unit, query, CardUseRow.region, CardUseRow.at, "card_use")
    await unit.session.execute(delete(CardUseRow).where(tuple_(CardUseRow.journal_id, CardUseRow.sequence).in_(due)))
    return await _forgotten(unit, "terminal.forget_uses", len(due))


async def _journeys(unit: Unit) -> int:
    done = 0
    for row in (TransitTapRow, TransitRideRow, TransitRefusalRow):
        region = func.coalesce(row.region, "")
        due = await _due(unit, select(row.journal_id, row.sequence), region, row.at, "journey")
        await unit.session.execute(delete(row).where(tuple_(row.journal_id, row.sequence).in_(due)))
        done += len(due)
    return await _forgotten(unit, "terminal.forget_journeys", done)


async def _forgotten(unit: Unit, act: str, count: int) -> int:
    """One entry for many rows."""
    if count:
        await unit.audit(act, "terminals", region=None, detail={"count": count})
    return count


async def _persons(unit: Unit) -> int:
    live = exists().where(CardRow.person_id == PersonEndRow.person_id, CardRow.state != CANCELLED)
    open_ = exists().where(ApplicationRow.person_id == PersonEndRow.person_id, ApplicationRow.state.not_in(CLOSED))
    known = exists().where(PersonRow.id == PersonEndRow.person_id, PersonRow.erased_at.is_(None))
    latest = (
        select(ApplicationRow.region)
        .where(ApplicationRow.person_id == PersonEndRow.person_id)
        .order_by(ApplicationRow.created_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    region = func.coalesce(latest, "")
    query = select(PersonEndRow.person_id, region).where(~live, ~open_, known)
    due = await _due(unit, query, region, PersonEndRow.at, "ended_person")
    for person_id, place in due:
        await erase_person(unit, person_id, region=place or None, reason="retention")
    return len(due)


async def _due(unit: Unit, query: Any, region: Any, since: Any, kind: str) -> list[tuple[str, Any]]:
    """Rows (id and what else is asked for) older than their region's rule."""
    places = ("", *_regions())
    late = [and_(_governed(region, place), since < _limit(unit.now, place, kind)) for place in places]
    found = await unit.session.execute(query.where(or_(*late)).limit(CHUNK))
    return [(row[0], row[1]) for row in found]


def _governed(region: Any, place: str) -> ColumnElement[bool]:
    """Rows whose nearest table is that of `place`; empty is everywhere's."""
    prefix = region_prefix(place)
    nearer = [one for one in map(region_prefix, _regions()) if one != prefix and one.startswith(prefix)]
    return and_(region.startswith(prefix), *(~region.startswith(one) for one in nearer))


def _limit(now: datetime, region: str, kind: str) -> datetime:
    return now - timedelta(days=getattr(retention(region), kind))


@cache
def _regions() -> tuple[str, ...]:
    given = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(name for name in given if name != "default")


STEPS: Final[Mapping[str, Callable[[Unit], Awaitable[int]]]] = {
    "unused_photo": _photos,
    "ended_application": _applications,
    "production_file": _files,
    "ended_consent": _consents,
    "terminal_record": _terminal_records,
    "card_use": _card_uses,
    "journey": _journeys,
    "ended_person": _persons,
}
