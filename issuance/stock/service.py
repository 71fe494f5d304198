"""Stock: deliveries in, reservations for applications, and no card or number unaccounted for (R2.7)."""

from __future__ import annotations

from collections import defaultdict

from cardlib.identity import card_number
from issuance.input_rules import field_error
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError, bad_input
from issuance.scope import unscoped
from issuance.stock.ledger import Act, StockLedger
from issuance.stock.models import BlankRow, CardNumberRow
from issuance.stock.repository import BlankRepository, CardNumberRepository
from issuance.stock.schemas import (
    BlankCounts,
    BlankDelivery,
    NumberChange,
    NumberChanged,
    NumberCounts,
    NumberRange,
    NumberView,
    Registered,
    StockView,
)
from issuance.unit import Unit

INITIALIZED_HERE = "initialization"
"""Delivery name of blanks that an initialization session of this service made."""
LOW_COUNT, LOW_SHARE = 50, 0.05
"""A pool runs low under so many free numbers, or under this share of all it was ever given."""
NUMBER_CODES = {"free": "00", "reserved": "01", "used": "02", "locked": "03", "void": ""}
"""卡号池状态 (ecard_and_business §4.1); void numbers have none."""
_NUMBER_ACTS = {
    "lock": (("free",), "locked"),
    "unlock": (("locked",), "free"),
    "void": (("free", "locked"), "void"),
}


class StockService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._blanks = BlankRepository(unit.session)
        self._numbers = CardNumberRepository(unit.session)
        self._ledger = StockLedger(unit)

    async def deliver(self, delivery: BlankDelivery) -> Registered:
        """Blanks already known are left as they are, so a delivery may be registered again."""
        self._check_region(delivery.region)
        wanted = set(delivery.reset_information)
        place = await self._ledger.place(delivery.place_id, delivery.region)
        arrived = await self._blanks.add(
            wanted,
            delivery.region,
            delivery.generation,
            delivery.delivery,
            place.id,
            self._unit.now,
            kind=delivery.kind,
        )
        await self._ledger.post(place.id, delivery.kind, Act.RECEIVE, arrived, +1, reference=delivery.delivery)
        added, known = len(arrived), len(wanted) - len(arrived)
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
            raise bad_input(field_error("body.body_from", "number_prefix", expected=", ".join(pack.number_prefixes)))
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
        with unscoped(self._unit.session, why="another region's chip is no unknown one: it must not be written anew"):
            row = await self._blanks.get(reset_information)
        if row is not None and row.state != "in_stock":
            failure = "ALREADY_ISSUED" if row.state == "used" else "CONFLICT"
            raise ProblemError(failure, f"this card is {row.state}", subject=f"blank:{reset_information}")
        if row is not None:
            self._unit.caller.demand_region(row.region, subject=f"blank:{reset_information}")
        return row

    async def register_initialized(self, reset_information: str, region: str, generation: str) -> None:
        place = await self._ledger.place(None, region)
        made = await self._blanks.add(
            [reset_information], region, generation, INITIALIZED_HERE, place.id, self._unit.now
        )
        if made:
            await self._ledger.post(place.id, "blank", Act.MAKE, made, +1, reference=INITIALIZED_HERE)
            return
        row = await self._initializable(reset_information)
        if row is not None:
            row.region, row.generation, row.updated_at = region, generation, self._unit.now

    async def reserve(
        self, application_id: str, region: str, generation: str, reset_information: str, *, number: str | None = None
    ) -> str:
        """Bind a blank and a free number to the application; returns the number.

        With `number`, which a live card bears, only the blank is bound. Raises BLANK_UNKNOWN, CARD_MISMATCH,
        CARD_STATE, NUMBER_POOL_EMPTY; then nothing is bound.
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
        if blank.state == "in_stock" and blank.place_id is None:
            raise ProblemError("CARD_STATE", "this blank is on its way to another place", subject=subject)
        now = self._unit.now
        if not await self._blanks.move(reset_information, "in_stock", "reserved", now, application_id=application_id):
            raise ProblemError("CARD_STATE", f"this blank is {blank.state}", subject=subject)
        if number is not None:
            return number
        pools = dict.fromkeys((region, self._unit.services.rules.pack(region).region))
        for pool in pools:
            taken = await self._numbers.take(pool, application_id, now)
            if taken is not None:
                return taken
        raise ProblemError("NUMBER_POOL_EMPTY", f"no free card number for {' or '.join(pools)}", subject=subject)

    async def use(
        self, application_id: str, reset_information: str, number: str, *, is_number_kept: bool = False
    ) -> None:
        """The card is issued: it leaves the place it was made at. A kept number is used already."""
        now = self._unit.now
        await self._leave(reset_information, Act.ISSUE, reference=application_id)
        is_blank_moved = await self._blanks.move(
            reset_information, "reserved", "used", now, application_id=application_id
        )
        is_number_moved = is_number_kept or await self._numbers.move(
            number, "reserved", "used", now, application_id=application_id
        )
        if not (is_blank_moved and is_number_moved):
            raise ProblemError("CONFLICT", "blank or number is not reserved", application_id=application_id)

    async def write_off(
        self, reset_information: str, number: str, reason: str, *, is_number_kept: bool = False
    ) -> None:
        """The card is spoiled; its number is void, because it may be on the chip. A kept number stays with its card."""
        now = self._unit.now
        blank = await self._blanks.get(reset_information)
        if blank is not None and blank.place_id is not None:
            await self._ledger.post(blank.place_id, blank.kind, Act.SPOIL, [reset_information], -1, reason=reason)
            await self._ledger.post(blank.place_id, "spoiled", Act.SPOIL, [reset_information], +1, reason=reason)
        is_blank_moved = await self._blanks.move(reset_information, "reserved", "spoiled", now, reason=reason)
        is_number_moved = is_number_kept or await self._numbers.move(number, "reserved", "void", now, reason=reason)
        if not (is_blank_moved and is_number_moved):
            raise ProblemError("CONFLICT", "blank or number is not reserved", subject=f"blank:{reset_information}")

    async def release(self, reset_information: str, number: str, *, is_number_kept: bool = False) -> None:
        """Undo the reservation of a card that nothing was written to."""
        now = self._unit.now
        is_blank_moved = await self._blanks.move(reset_information, "reserved", "in_stock", now)
        is_number_moved = is_number_kept or await self._numbers.move(number, "reserved", "free", now)
        if not (is_blank_moved and is_number_moved):
            raise ProblemError("CONFLICT", "blank or number is not reserved", subject=f"blank:{reset_information}")

    async def change_numbers(self, change: NumberChange) -> NumberChanged:
        """Lock, unlock or void numbers, all or none. Raises NOT_FOUND, CONFLICT when one is taken."""
        wanted = sorted(set(change.numbers))
        old, new = _NUMBER_ACTS[change.act]
        known = await self._numbers.rows(wanted)
        for number in wanted:
            row = known.get(number)
            if row is None:
                raise ProblemError("NOT_FOUND", f"number {number} is not in the pool")
            if row.state not in (*old, new):
                raise ProblemError("CONFLICT", f"number {number} is {row.state}", subject=f"number:{number}")
        reason = None if new == "free" else change.reason
        changed = await self._numbers.change(wanted, old, new, self._unit.now, reason=reason)
        await self._unit.audit(
            f"stock.{change.act}_numbers",
            f"numbers:{wanted[0]}",
            region=known[wanted[0]].region,
            detail={"numbers": wanted[:100], "changed": changed, "reason": change.reason},
        )
        return NumberChanged(changed=changed, unchanged=len(wanted) - changed)

    async def numbers(self, region: str | None, state: str | None, page: PageRequest) -> Page[NumberView]:
        query = self._numbers.listed(self._unit.caller.region_prefix, region, state)
        return await page_of(self._unit.session, query, [CardNumberRow.number], page, _number_view)

    async def view(self) -> StockView:
        """Of the regions this caller serves."""
        blanks: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for region, generation, state, count in await self._blanks.counts(self._unit.caller.region_prefix):
            blanks[region, generation][state] = count
        return StockView(
            blanks=[BlankCounts(region=r, generation=g, **counts) for (r, g), counts in blanks.items()],
            card_numbers=await self.pools(),
        )

    async def pools(self) -> list[NumberCounts]:
        """Card numbers of the regions this caller serves."""
        numbers = await self._numbers.counts(self._unit.caller.region_prefix)
        return [NumberCounts(region=r, is_low=_is_low(counts), **counts) for r, counts in numbers.items()]

    async def _leave(self, reset_information: str, act: Act, *, reference: str) -> None:
        blank = await self._blanks.get(reset_information)
        if blank is not None and blank.place_id is not None:
            await self._ledger.post(blank.place_id, blank.kind, act, [reset_information], -1, reference=reference)
            blank.place_id = None
            await self._unit.session.flush()

    def _check_region(self, region: str) -> None:
        self._unit.services.rules.pack(region)
        self._unit.caller.demand_region(region)


def _is_low(counts: dict[str, int]) -> bool:
    return counts.get("free", 0) < max(LOW_COUNT, sum(counts.values()) * LOW_SHARE)


def _number_view(row: CardNumberRow) -> NumberView:
    names = set(NumberView.model_fields) - {"code"}
    return NumberView(code=NUMBER_CODES[row.state], **{name: getattr(row, name) for name in names})


def _bodies(first: str, count: int) -> list[str]:
    """`count` bodies from `first`, counting in its trailing digits."""
    prefix = first.rstrip("0123456789")
    width = len(first) - len(prefix)
    start = int(first[-width:])
    if start + count > 10**width:
        raise bad_input(field_error("body.count", "number_range"))
    return [f"{prefix}{value:0{width}}" for value in range(start, start + count)]
