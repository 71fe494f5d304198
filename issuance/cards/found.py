"""Found cards (拾获卡): kept for the holder, handed back, or destroyed when the time is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from sqlalchemy import select

from issuance.cards.history import History
from issuance.cards.life_cycle import LifeCycle, subject_of
from issuance.cards.machine import CardState
from issuance.cards.models import FoundCardRow
from issuance.cards.schemas import FoundCard, FoundCardView
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError
from issuance.unit import Unit


class FoundCards:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._cycle = LifeCycle(unit)
        self._history = History(unit)

    async def register(self, found: FoundCard) -> FoundCardView:
        """Take a card in and have its holder told; one that is kept already stays as it is. Raises NOT_FOUND."""
        card = await self._cycle.card(found.card_number, place="body.card_number")
        row = FoundCardRow(
            card_number=card.card_number,
            region=card.region,
            outlet=found.outlet,
            state="kept",
            found_at=self._unit.now,
            keep_until=self._unit.now + timedelta(days=self._unit.services.settings.found_card_keep_days),
            is_overdue=False,
            registered_by=self._unit.by,
        )
        if not await add_unless_taken(self._unit.session, row):
            return _view(await self._kept(card.card_number))
        await self._history.record(card, "found", "register", "", "kept", detail={"outlet": found.outlet})
        await self._unit.audit("found.register", subject_of(card), region=card.region, detail={"outlet": found.outlet})
        await self._notify("notice.card_found", row)
        return _view(row)

    async def end(self, found_id: int, how: Literal["returned", "destroyed"]) -> FoundCardView:
        """Hand back or destroy. Raises CARD_STATE when the card's state or its time does not allow that."""
        seen = await self._unit.session.get(FoundCardRow, found_id)
        if seen is None:
            raise ProblemError("NOT_FOUND", "no such found card")
        card = await self._cycle.card(seen.card_number)
        row = await self._unit.session.get_one(FoundCardRow, found_id, with_for_update=ROW_LOCK, populate_existing=True)
        if row.state == how:
            return _view(row)
        is_useless = card.state in (CardState.LOST, CardState.CANCELLED)
        if row.state != "kept":
            raise self._refused(row, f"这张卡已{_ENDS_ZH[row.state]}", f"the card was {row.state}")
        if how == "returned" and is_useless:
            raise await self._cycle.refuse_state(
                card, "挂失或注销的卡不交还，应销毁", "such a card is destroyed, not handed back"
            )
        if how == "destroyed" and not is_useless and self._unit.now < row.keep_until:
            raise self._refused(row, f"保管到 {row.keep_until.isoformat()}", f"kept until {row.keep_until.isoformat()}")
        row.state, row.ended_at, row.ended_by = how, self._unit.now, self._unit.by
        await self._history.record(card, "found", how, "kept", how)
        await self._unit.audit(f"found.{how}", subject_of(card), region=card.region)
        return _view(row)

    async def find(self, page: PageRequest, *, state: str | None, is_overdue: bool | None) -> Page[FoundCardView]:
        query = select(FoundCardRow).where(FoundCardRow.region.startswith(self._unit.caller.region_prefix))
        if state is not None:
            query = query.where(FoundCardRow.state == state)
        if is_overdue is not None:
            query = query.where(FoundCardRow.is_overdue.is_(is_overdue))
        return await page_of(self._unit.session, query, [FoundCardRow.id], page, _view)

    async def mark_overdue(self, limit: int) -> int:
        """Tell the keepers of cards that nobody fetched; each card once."""
        query = (
            select(FoundCardRow)
            .where(
                FoundCardRow.state == "kept",
                FoundCardRow.keep_until <= self._unit.now,
                FoundCardRow.is_overdue.is_(False),
            )
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = list(await self._unit.session.scalars(query))
        for row in rows:
            row.is_overdue = True
            await self._notify("notice.found_card_overdue", row)
        return len(rows)

    async def _kept(self, card_number: str) -> FoundCardRow:
        query = select(FoundCardRow).where(FoundCardRow.card_number == card_number, FoundCardRow.state == "kept")
        return (await self._unit.session.scalars(query)).one()

    async def _notify(self, topic: str, row: FoundCardRow) -> None:
        body = {"card_number": row.card_number, "outlet": row.outlet, "keep_until": row.keep_until.isoformat()}
        await self._unit.send(topic, f"notice:{row.card_number}", body, region=row.region)

    def _refused(self, row: FoundCardRow, text_zh: str, text_en: str) -> ProblemError:
        return ProblemError("CARD_STATE", f"{text_zh} / {text_en}", subject=f"card:{row.card_number}")


_ENDS_ZH = {"returned": "交还", "destroyed": "销毁"}


def _view(row: FoundCardRow) -> FoundCardView:
    return FoundCardView(
        id=row.id,
        card_number=row.card_number,
        region=row.region,
        outlet=row.outlet,
        state=row.state,  # type: ignore[arg-type]  # the table's constraint names the same words
        found_at=row.found_at,
        keep_until=row.keep_until,
        is_overdue=row.is_overdue,
        registered_by=row.registered_by,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
    )
