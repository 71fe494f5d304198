"""Stock: deliveries in, reservations for applications, and no card or number unaccounted for (R2.7)."""

from __future__ import annotations

from collections import defaultdict

from cardlib.identity import card_number
from issuance.problems import ProblemError
from issuance.stock.models import BlankRow
from issuance.stock.repository import BlankRepository, CardNumberRepository
from issuance.stock.schemas import (
    BlankCounts,
    BlankDelivery,
    NumberCounts,
    NumberRange,
    Registered,
    StockView,
)
from issuance.unit import Unit

INITIALIZED_HERE = "initialization"
"""Delivery name of blanks that an initialization session of this service made."""


class StockService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._blanks = BlankRepository(unit.session)
        self._numbers = CardNumberRepository(unit.session)

    async def deliver(self, delivery: BlankDelivery) -> Registered:
        """Blanks already known are left as they are, so a delivery may be registered again."""
        self._check_region(delivery.region)
        wanted = set(delivery.reset_information)
        added = await self._blanks.add(wanted, delivery.region, delivery.generation, delivery.delivery, self._unit.now)
        known = len(wanted) - added
        await self._unit.audit(
            "stock.deliver",
            f"delivery:{delivery.delivery}",
            region=delivery.region,
            detail={"added": added, "known": known, "region": delivery.region},
        )
        return Registered(added=added, known=known)

    async def add_numbers(self, numbers: NumberRange) -> Registered:
        self._check_region(numbers.region)
        pack = self._unit.services.rules.pack(numbers.region)
        if numbers.body_from[0] not in pack.number_prefixes:
            raise ProblemError(
                "INPUT_INVALID", f"card numbers of {pack.region} begin with {', '.join(pack.number_prefixes)}"
            )
        wanted = [card_number(body) for body in _bodies(numbers.body_from, numbers.count)]
        added = await self._numbers.add(wanted, numbers.region, self._unit.now)
        known = len(wanted) - added
        await self._unit.audit(
            "stock.add_numbers",
            f"numbers:{numbers.body_from}",
            region=numbers.region,
            detail={"added": added, "known": known, "region": numbers.region},
        )
        return Registered(added=added, known=known)

    async def check_initializable(self, reset_information: str) -> None:
        """A card in use is never initialised again, one in stock only by who serves its region."""
        await self._initializable(reset_information)

    async def _initializable(self, reset_information: str) -> BlankRow | None:
        row = await self._blanks.get(reset_information)
        if row is not None and row.state != "in_stock":
            failure = "ALREADY_ISSUED" if row.state == "used" else "CONFLICT"
            raise ProblemError(failure, f"this card is {row.state}", subject=f"blank:{reset_information}")
        if row is not None:
            self._unit.caller.demand_region(row.region, subject=f"blank:{reset_information}")
        return row

    async def register_initialized(self, reset_information: str, region: str, generation: str) -> None:
        if await self._blanks.add([reset_information], region, generation, INITIALIZED_HERE, self._unit.now):
            return
        row = await self._initializable(reset_information)
        if row is not None:
            row.region, row.generation, row.updated_at = region, generation, self._unit.now

    async def reserve(self, application_id: str, region: str, generation: str, reset_information: str) -> str:
        """Bind a blank and a free number to the application; returns the number.

        Raises BLANK_UNKNOWN, CARD_MISMATCH, CARD_STATE, NUMBER_POOL_EMPTY; then nothing is bound.
        """
        subject = f"blank:{reset_information}"
        blank = await self._blanks.get(reset_information)
        if blank is None:
            raise ProblemError("BLANK_UNKNOWN", "no such blank in stock", subject=subject)
        if (blank.region, blank.generation) != (region, generation):
            raise ProblemError(
                "CARD_MISMATCH", f"the blank is a {blank.generation} one for {blank.region}", subject=subject
            )
        if blank.state == "reserved":
            raise ProblemError("CARD_MISMATCH", "this blank is reserved for another application", subject=subject)
        now = self._unit.now
        if not await self._blanks.move(reset_information, "in_stock", "reserved", now, application_id=application_id):
            raise ProblemError("CARD_STATE", f"this blank is {blank.state}", subject=subject)
        pools = dict.fromkeys((region, self._unit.services.rules.pack(region).region))
        for pool in pools:
            number = await self._numbers.take(pool, application_id, now)
            if number is not None:
                return number
        raise ProblemError("NUMBER_POOL_EMPTY", f"no free card number for {' or '.join(pools)}", subject=subject)

    async def use(self, application_id: str, reset_information: str, number: str) -> None:
        """The card is issued."""
        now = self._unit.now
        is_blank_moved = await self._blanks.move(
            reset_information, "reserved", "used", now, application_id=application_id
        )
        is_number_moved = await self._numbers.move(number, "reserved", "used", now, application_id=application_id)
        if not (is_blank_moved and is_number_moved):
            raise ProblemError("CONFLICT", "blank or number is not reserved", application_id=application_id)

    async def write_off(self, reset_information: str, number: str, reason: str) -> None:
        """The card is spoiled; its number is void, because the number may be on the chip."""
        now = self._unit.now
        is_blank_moved = await self._blanks.move(reset_information, "reserved", "spoiled", now, reason=reason)
        is_number_moved = await self._numbers.move(number, "reserved", "void", now, reason=reason)
        if not (is_blank_moved and is_number_moved):
            raise ProblemError("CONFLICT", "blank or number is not reserved", subject=f"blank:{reset_information}")

    async def view(self) -> StockView:
        """Of the regions this caller serves."""
        prefix = self._unit.caller.region_prefix
        blanks: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for region, generation, state, count in await self._blanks.counts(prefix):
            blanks[region, generation][state] = count
        numbers: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for region, state, count in await self._numbers.counts(prefix):
            numbers[region][state] = count
        return StockView(
            blanks=[BlankCounts(region=r, generation=g, **counts) for (r, g), counts in blanks.items()],
            card_numbers=[NumberCounts(region=r, **counts) for r, counts in numbers.items()],
        )

    def _check_region(self, region: str) -> None:
        self._unit.services.rules.pack(region)
        self._unit.caller.demand_region(region)


def _bodies(first: str, count: int) -> list[str]:
    """`count` bodies from `first`, counting in its trailing digits."""
    prefix = first.rstrip("0123456789")
    width = len(first) - len(prefix)
    start = int(first[-width:])
    if start + count > 10**width:
        raise ProblemError("INPUT_INVALID", f"{count} numbers do not fit behind {first}")
    return [f"{prefix}{value:0{width}}" for value in range(start, start + count)]
