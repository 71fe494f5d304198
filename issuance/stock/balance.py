"""The daily balance: what the ledger says must lie at a place against what lies there, and which card differs (R2.7).

The ledger and the places of the cards (`BlankRow.place_id`) are two accounts of the same thing, written by the same
movements. Their difference is zero unless a card was moved past the ledger, or people counted another number.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta

from issuance.clock import china_date
from issuance.input_rules import field_error
from issuance.problems import bad_input
from issuance.scope import unscoped
from issuance.stock.ledger import Act, kind_of
from issuance.stock.models import BlankRow, LedgerRow
from issuance.stock.movement_repository import Key, MovementRepository
from issuance.stock.movement_schemas import BalanceLine, BalanceView, Difference
from issuance.unit import Unit

EXPLAINED = 100
_PROBLEM_ZH = {"not_here": "账上在此，卡的记录不在此", "not_posted": "卡的记录在此，没有记账"}


@dataclass(frozen=True, slots=True)
class Standing:
    """Cards by place and kind, whether the ledger says the same, cards on their way."""

    lying: dict[Key, int]
    is_zero: bool
    in_transit: int


class BalanceService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = MovementRepository(unit.session)

    async def report(self, day: date, *, place_id: str | None = None, region: str | None = None) -> BalanceView:
        """Of the places this caller serves. Raises INPUT_INVALID for a day to come."""
        return await self.of(await self._rows.place_ids(self._unit.caller.region_prefix, place_id, region), day)

    async def of(self, places: list[str], day: date) -> BalanceView:
        """Of these places, all of which the caller serves. Raises INPUT_INVALID for a day to come."""
        if day > china_date(self._unit.now):
            raise bad_input(field_error("query.day", "stock_future_day"))
        opening = await self._rows.posted_before(places, day)
        acts: defaultdict[Key, list[tuple[str, int]]] = defaultdict(list)
        for key, act, quantity in await self._rows.posted_on(places, day):
            acts[key].append((act, quantity))
        closing = await self._closing(places, day)
        keys = sorted({*opening, *acts, *closing})
        lines = [await self._line(key, opening.get(key, 0), acts[key], closing.get(key)) for key in keys]
        return BalanceView(
            day=day,
            is_zero=not any(line.difference for line in lines),
            in_transit=await self._rows.in_transit(places),
            lines=lines,
        )

    async def standing(self, places: list[str]) -> Standing:
        """Of these places now, all of which the caller serves; nothing is explained."""
        today = china_date(self._unit.now)
        posted = await self._rows.posted_before(places, today + timedelta(days=1))
        closing = {key: counted for key, (counted, _) in (await self._closing(places, today)).items()}
        is_zero = all(posted.get(key, 0) == closing.get(key, 0) for key in {*posted, *closing})
        return Standing(closing, is_zero, await self._rows.in_transit(places))

    async def close(self, day: date) -> int:
        """Keep the day's counts by the books; days closed before stay as they are. Returns how many counts are new."""
        if day >= china_date(self._unit.now):
            raise bad_input(field_error("path.day", "stock_day_not_over"))
        places = await self._rows.place_ids(self._unit.caller.region_prefix, None, None)
        books = await self._books(places, day)
        common = {"day": day, "source": "closing", "actor": self._unit.by, "at": self._unit.now}
        rows = [common | {"place_id": p, "kind": k, "counted": count} for (p, k), count in sorted(books.items())]
        added = await self._rows.keep_counts(rows)
        await self._unit.audit("stock.close_day", f"day:{day}", region=self._unit.caller.region, detail={"new": added})
        return added

    async def _line(
        self, key: Key, opening: int, acts: list[tuple[str, int]], closing: tuple[int, str] | None
    ) -> BalanceLine:
        incoming = sum(quantity for _, quantity in acts if quantity > 0)
        outgoing = -sum(quantity for _, quantity in acts if quantity < 0)
        by_act: defaultdict[str, int] = defaultdict(int)
        for act, quantity in acts:
            by_act[act] += quantity
        counted, source = closing or (0, "books")
        difference = opening + incoming - outgoing - counted
        return BalanceLine.model_validate(
            {
                "place_id": key[0],
                "kind": key[1],
                "opening": opening,
                "incoming": incoming,
                "outgoing": outgoing,
                "closing": counted,
                "closing_source": source,
                "difference": difference,
                "acts": dict(by_act),
                "explanation": await self.explain(*key) if difference else [],
            }
        )

    async def explain(self, place_id: str, kind: str) -> list[Difference]:
        """Cards on one side only, at most 100 of each kind, each with the movement posted last."""
        with unscoped(self._unit.session, why="a card posted at a place of this caller may lie elsewhere by now"):
            gone, new = await self._rows.disagreeing(place_id, kind, EXPLAINED)
            rows = await self._rows.recorded([*gone, *new])
            last = await self._rows.last_movements([*gone, *new])
        found = [*((card, "not_here") for card in gone), *((card, "not_posted") for card in new)]
        return [_difference(rows[card], problem, last.get(card)) for card, problem in found]

    async def _books(self, places: list[str], day: date) -> dict[Key, int]:
        """What lay there at the end of `day` by the records of the cards: what lies there now less what moved since."""
        now, since = await self._rows.lying_now(places), await self._rows.posted_after(places, day)
        return {key: now.get(key, 0) - since.get(key, 0) for key in {*now, *since}}

    async def _closing(self, places: list[str], day: date) -> dict[Key, tuple[int, str]]:
        """A count of people before one kept at the day's end before the books."""
        found = {key: (count, "books") for key, count in (await self._books(places, day)).items()}
        for row in await self._rows.counts(places, day):
            found[row.place_id, row.kind] = (row.counted, row.source)
        return found


def _difference(row: BlankRow, problem: str, last: LedgerRow | None) -> Difference:
    return Difference.model_validate(
        {
            "card": row.reset_information,
            "problem": problem,
            "problem_zh": _PROBLEM_ZH[problem],
            "recorded_at": row.place_id,
            "recorded_as": f"{kind_of(row)} {row.state}",
            "last_movement": None if last is None else last.id,
            "last_act": None if last is None else Act(last.act),
        }
    )
