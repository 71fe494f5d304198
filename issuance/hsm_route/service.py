"""The centre's side of the security-module route: what a terminal may ask, and the orders it settles under.

Any terminal may read a card from anywhere and settle with it, as its PSAM could; what writes to a card or touches its
PIN belongs to the terminals of the card's region. A card of ours must be the one in the books and in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, cast

from cardlib.hsm_route import HsmRoute, card_of, factors_of
from cardlib.hsm_wire import BasicStep, CardIdentity, CardStep, DebitAnswer, DebitOutcome, DebitView, StepAnswer
from cardlib.medical import PendingTransaction
from hsm.api import Algorithm, CardFactors, KeyRef
from hsm.transactions import Purchase
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import CardState
from issuance.clients.schemas import Role
from issuance.hsm_route.models import DebitOrderRow
from issuance.hsm_route.repository import DebitOrderRepository
from issuance.problems import ProblemError
from issuance.unit import Unit

MAX_USES_A_MINUTE: Final = 240
NUMBERS_FROM: Final = 0x80000000
"""Transaction numbers of the centre; those below are counted by the PSAMs."""
_NUMBERS: Final = 0x80000000
_EVERYWHERE: Final = "RK"
_KEY_INDEX: Final = 1
"""Key group on the card that a settlement by steps is under (`cardlib.driver_card.SteppedPurchase`)."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A settlement as it was ordered; `key_version` is the card's set of roots, `key` the one of its MACs."""

    card: CardIdentity
    purchase: Purchase
    key: KeyRef
    key_version: int


class HsmRouteService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._orders = DebitOrderRepository(unit.session)

    # -- authentications ----------------------------------------------------------------------------------------

    async def basic_information(self, request: BasicStep) -> StepAnswer:
        code, reset = card_of(request.step)
        route = self._route(await self._admit(code, reset))
        pkey = await asyncio.to_thread(route.card_bas, request.step)
        await self._use("hsm.basic", reset, code[:6], {})
        return StepAnswer(pkey=pkey)

    async def authentication(self, request: CardStep) -> StepAnswer:
        return await self._step("hsm.authentication", request, HsmRoute.authentication)

    async def pin_command(self, request: CardStep) -> StepAnswer:
        return await self._step("hsm.pin_command", request, HsmRoute.pin_command)

    async def _step(
        self, act: str, request: CardStep, answer: Callable[[HsmRoute, str, CardFactors], str]
    ) -> StepAnswer:
        card = request.card
        route = self._route(await self._admit(card.identification_code, card.reset_information))
        key = route.key_of(request.step).name
        if not key.startswith(_EVERYWHERE):
            self._unit.caller.demand_region(card.region, subject=_subject(card.reset_information))
        pkey = await asyncio.to_thread(answer, route, request.step, _factors(card))
        await self._use(act, card.reset_information, card.region, {"key": key})
        return StepAnswer(pkey=pkey)

    # -- settlement ---------------------------------------------------------------------------------------------

    async def debit(self, request: CardStep) -> DebitAnswer:
        """A numbered order and its MAC1; the same request finds the same order again, as long as it is open."""
        card, client_id = request.card, self._unit.caller.client_id
        key_version = await self._admit(card.identification_code, card.reset_information)
        text = f"{client_id}/{card.model_dump_json()}/{request.step}"
        index = self._unit.services.sealer.index("debit-request", text)
        row = DebitOrderRow(
            client_id=client_id,
            request_index=index,
            region=card.region,
            state="open",
            asked_at=self._unit.now,
        )
        if not await self._orders.add(row):
            return await self._again(index, request, key_version)
        if row.id >= _NUMBERS:
            raise ProblemError("NUMBER_POOL_EMPTY", "no transaction number is left")
        number = NUMBERS_FROM + row.id
        route = self._route(key_version, lambda: number)
        order = await asyncio.to_thread(route.debit, request.step, _factors(card))
        pending = PendingTransaction.of(order.purchase, card.identification_code, card.card_number, _KEY_INDEX)
        key = [order.key.name, order.key.algorithm.value, order.key.version]
        sealed = {"chip": card.reset_information, "key": key, "key_version": order.key_version}
        sealed["pending"] = pending.to_json()
        row.sealed_order = self._unit.services.sealer.seal(sealed, _context(row))
        await self._unit.session.flush()
        await self._use("debit.order", card.reset_information, card.region, {"number": number})
        return DebitAnswer(number=number, pkey=order.pkey)

    async def end(self, number: int, outcome: DebitOutcome) -> DebitView:
        """Only MAC2 and TAC of the card prove it done. Raises NOT_FOUND, CONFLICT, SECURE_MESSAGING_FAILED.

        A proof outranks what was said before; nothing outranks a proof.
        """
        row = await self._orders.locked(number - NUMBERS_FROM, self._unit.caller.client_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such order of this terminal")
        order = self._opened(row)
        card = order.card
        if outcome.outcome == row.state:
            return self._view(row)
        if outcome.outcome != "done" and row.state != "open":
            raise ProblemError(
                "CONFLICT", f"this order has ended: {row.state}", subject=_subject(card.reset_information)
            )
        if outcome.mac2 is not None and outcome.tac is not None:
            codes = bytes.fromhex(outcome.mac2), bytes.fromhex(outcome.tac)
            route = self._route(order.key_version)
            await asyncio.to_thread(route.check_receipt, *codes, order.purchase, order.key, _factors(card))
        row.state, row.tac, row.ended_at = outcome.outcome, outcome.tac, self._unit.now
        await self._unit.session.flush()
        detail = {"number": number, "outcome": outcome.outcome}
        await self._unit.audit("debit.end", _subject(card.reset_information), region=card.region, detail=detail)
        return self._view(row)

    async def list(self, state: str | None, before: int | None, limit: int) -> list[DebitView]:
        """A terminal's own orders; an operator's: all of the cards of its region."""
        caller = self._unit.caller
        rows = await self._orders.find(
            state=state,
            client_id=None if Role.OPERATOR in caller.roles else caller.client_id,
            before=None if before is None else before - NUMBERS_FROM,
            limit=limit,
        )
        await self._unit.audit("debit.list", "debits", region=caller.region, detail={"count": len(rows)})
        return [self._view(row) for row in rows]

    async def _again(self, index: bytes, request: CardStep, key_version: int) -> DebitAnswer:
        row = await self._orders.of_request(self._unit.caller.client_id, index)
        if row is None or row.sealed_order is None or row.state != "open":
            raise ProblemError("CONFLICT", "this request was answered, and its settlement has ended")
        number = NUMBERS_FROM + row.id
        route = self._route(key_version, lambda: number)
        order = await asyncio.to_thread(route.debit, request.step, _factors(request.card))
        await self._use("debit.repeat", request.card.reset_information, request.card.region, {"number": number})
        return DebitAnswer(number=number, pkey=order.pkey)

    # -- helpers ------------------------------------------------------------------------------------------------

    def _route(self, key_version: int, next_number: Callable[[], int] | None = None) -> HsmRoute:
        services = self._unit.services
        addresses = services.settings.hsm_addresses
        return HsmRoute(services.keys, services.transactions, next_number or _no_number, addresses, key_version)

    async def _admit(self, identification_code: str, reset_information: str) -> int:
        """The card's set of roots, 0 for another issuer's.

        Raises REQUEST_LIMIT; CARD_MISMATCH and CARD_STATE for a card of ours that is another one or not in use.
        """
        subject = _subject(reset_information)
        if not self._unit.services.hsm_uses.allows(self._unit.caller.client_id, self._unit.now):
            raise ProblemError("REQUEST_LIMIT", f"at most {MAX_USES_A_MINUTE} requests a minute", subject=subject)
        row = await CardRepository(self._unit.session).of_chip(reset_information)
        if row is None:
            if await CardRepository(self._unit.session).is_retired(reset_information):
                raise ProblemError("CARD_STATE", "the number of this chip has gone on to another one", subject=subject)
            return 0  # of another issuer: the factors are the card's own, and the card proves itself to the terminal
        if row.identification_code != identification_code:
            raise ProblemError("CARD_MISMATCH", "this chip carries another identification code", subject=subject)
        if row.state != CardState.NORMAL:
            raise ProblemError("CARD_STATE", f"the card's state is {row.state}", subject=subject)
        return row.key_version

    async def _use(self, act: str, reset_information: str, region: str, detail: dict[str, Any]) -> None:
        await self._unit.audit(act, _subject(reset_information), region=region, detail=detail)

    def _opened(self, row: DebitOrderRow) -> _Order:
        data = self._unit.services.sealer.unseal(row.sealed_order or b"", _context(row))
        pending = PendingTransaction.from_json(data["pending"])
        card = CardIdentity(
            identification_code=pending.identification_code,
            card_number=pending.card_number,
            reset_information=data["chip"],
        )
        name, algorithm, version = data["key"]
        key = KeyRef(name, Algorithm(algorithm), version)
        return _Order(card, cast(Purchase, pending.transaction), key, data["key_version"])

    def _view(self, row: DebitOrderRow) -> DebitView:
        order = self._opened(row)
        purchase = order.purchase
        return DebitView(
            number=NUMBERS_FROM + row.id,
            client_id=row.client_id,
            card=order.card,
            self_paid=purchase.self_paid,
            pooling=purchase.pooling,
            terminal=purchase.terminal.hex(),
            time=purchase.time.hex(),
            state=row.state,  # type: ignore[arg-type]  # the table's constraint names the same words
            tac=row.tac,
            asked_at=row.asked_at,
            ended_at=row.ended_at,
        )


def _no_number() -> NoReturn:
    raise AssertionError("only a settlement is numbered")


def _factors(card: CardIdentity) -> CardFactors:
    return factors_of(card.region, card.reset_information)


def _context(row: DebitOrderRow) -> str:
    return f"debit_orders:{row.id}"


def _subject(reset_information: str) -> str:
    return f"chip:{reset_information}"
