"""The driver functions by the security module at the centre, where the PSAM lacks what it takes (terminal.md §7).

Steps of the card run on its reader's thread; what the centre is asked runs on the event loop, so that a slow network
holds no reader's thread. The card stays powered in between and nothing else is sent to it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from apdu.serial.pinpad import Pin
from cardlib.driver_address import parse_addresses
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_session import Answer, DriverSession, EnteredPin, PinEntry
from cardlib.failures import FailureCode, describe
from cardlib.hsm_route import needs_hsm
from cardlib.hsm_wire import BasicStep, CardIdentity, CardStep, DebitOutcome
from cardlib.settlement_journal import Slip
from cardlib.spec import Structure
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError, SecurityModule
from terminal_agent.settlements import Settlements

T = TypeVar("T")
OnCard = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a call on the reader's thread."""
Ask = Callable[[str], Awaitable[str]]
LOG = logging.getLogger("terminal_agent.hsm")
SETTLEMENTS: Final = frozenset({"iDoDebit", "iDoDebit_HSM_Step1"})


class OncePin(PinEntry):
    """A new PIN is typed once for a function, though it goes on by another way; `forget` at the function's end."""

    def __init__(self, entry: PinEntry) -> None:
        self._entry = entry
        self._kept = bytearray()

    def enter(self, *, is_new: bool) -> EnteredPin:
        if not is_new:
            return self._entry.enter(is_new=False)
        if not self._kept:
            with self._entry.enter(is_new=True) as pin:
                self._kept[:] = pin.digits.encode("ascii")
        return Pin(bytearray(self._kept))

    def forget(self) -> None:
        self._kept[:] = bytes(len(self._kept))
        self._kept.clear()


class HsmWay:
    """One function on the held card. `budget_s` bounds all waiting for the centre together."""

    def __init__(
        self,
        module: SecurityModule,
        on_card: OnCard,
        session: DriverSession,
        steps: HsmSteps,
        slip: Slip | None,
        settlements: Settlements,
        *,
        budget_s: float,
    ) -> None:
        self._module = module
        self._on_card = on_card
        self._session = session
        self._steps = steps
        self._slip = slip
        self._settlements = settlements
        self._order_number: int | None = None
        self._left_s = budget_s

    async def answer(self, name: str, arguments: list[Any], by_psam: Answer) -> Answer:
        """The function's answer; `by_psam` with another text where the centre would not or could not serve."""
        ways: dict[str, Callable[..., Awaitable[Answer]]] = {
            "iReadCardBas": self._bas,
            "iReadCard": self._read,
            "iWriteCard": self._write,
            "iReloadPIN": self._reload,
            "iUnblockPIN": self._unblock,
            "iDoDebit": self._debit,
        }
        if not needs_hsm(by_psam[0]) or name not in ways:
            return by_psam
        try:
            return await ways[name](*arguments)
        except (CentreUnreachableError, CentreRefusedError, TimeoutError) as error:
            self._steps.reset()
            failure = "TIMEOUT" if isinstance(error, TimeoutError) else error.failure
            LOG.warning("%s by the security module: %s (%s)", name, failure, error)
            words = describe(FailureCode(failure))
            return by_psam[0], f"{by_psam[1]}加密机认证没有完成：{words.text_zh}。{words.remedy_zh}"

    # -- functions ----------------------------------------------------------------------------------------------

    async def _bas(self) -> Answer:
        async def ask(step: str) -> str:
            return (await self._module.basic_information(BasicStep(step=step))).pkey

        return await self._chain(self._steps.read_card_bas_step1, (ask, self._steps.read_card_bas_step2))

    async def _read(self, auth_type: int, card_info: str, file_addr: str) -> Answer:
        """Each file by the PSAM where that can, else by the security module, which serves one file at a time."""
        text = ""
        for address in _parts(file_addr):
            answer: Answer = await self._on_card(partial(self._session.read_card, auth_type, card_info, address))
            if needs_hsm(answer[0]):
                first = partial(self._steps.read_card_step1, card_info, address)
                answer = await self._chain(first, (self._authenticate, self._steps.read_card_step2))
            if answer[0] != 0:
                return answer
            text += answer[1]
        return 0, text

    async def _write(self, card_info: str, file_addr: str, data: str) -> Answer:
        """One file after the other. What the PSAM wrote before it had to stop is written again, save a cyclic file,
        which would get its record twice."""
        if await self._on_card(lambda: self._may_have_appended(file_addr)):
            raise CentreRefusedError("CONFLICT", "a cyclic file may be written already")
        for address, values in zip(_parts(file_addr), _parts(data), strict=True):
            first = partial(self._steps.write_card_step1, card_info, address)
            second = partial(self._write_second, values)
            answer = await self._chain(first, (self._authenticate, second))
            if answer[0] != 0:
                return answer
        return 0, ""

    def _write_second(self, values: str, pkey: str) -> Answer:
        return self._steps.write_card_step2(pkey, values)

    def _may_have_appended(self, file_addr: str) -> bool:
        if self._session.terminal.authenticator is None:
            return False
        spec, addresses = self._session.opened().known_spec(), parse_addresses(file_addr)
        return len(addresses) > 1 and any(spec.ef(a.path).structure is Structure.CYCLIC for a in addresses)

    async def _reload(self, card_info: str) -> Answer:
        steps = self._steps
        return await self._chain(
            partial(steps.reload_pin_step1, card_info),
            (self._authenticate, steps.reload_pin_step2),
            (self._secure, steps.reload_pin_step3),
        )

    async def _unblock(self, card_info: str) -> Answer:
        steps = self._steps
        return await self._chain(
            partial(steps.unblock_pin_step1, card_info),
            (self._authenticate, steps.unblock_pin_step2),
            (self._secure, steps.unblock_pin_step3),
        )

    async def _debit(self, card_info: str, pay_info: str) -> Answer:
        """The journal's entry bears the centre's number, so the centre is told its outcome."""
        if self._slip is not None:
            self._slip.is_centres = True
        first = partial(self._steps.do_debit_step1, card_info, pay_info)
        try:
            code, text = await self._chain(first, (self._order, self._settle))
        finally:
            if self._slip is not None:
                self._slip.is_centres = False
            if self._order_number is not None:
                await self._withdraw(self._order_number)
        return code, text.partition("|")[2] if code == 0 else text

    def _settle(self, pkey: str) -> Answer:
        answer = self._steps.do_debit_step2(pkey)
        if self._slip is not None and self._slip.entry_id:
            self._order_number = None  # the journal has it now
        self._settlements.close(self._slip, answer)
        return answer

    async def _withdraw(self, number: int) -> None:
        """An order that never reached the card; where this fails, the order stays open in the centre's list."""
        with suppress(CentreUnreachableError, CentreRefusedError, TimeoutError):
            await self._within_budget(self._module.debit_outcome(number, DebitOutcome(outcome="void")))

    # -- between card and centre --------------------------------------------------------------------------------

    async def _chain(self, first: Callable[[], Answer], *stages: tuple[Ask, Callable[[str], Answer]]) -> Answer:
        """Carry a step's text to the centre and its pKey to the next step; the first refusal is the answer."""
        answer: Answer = await self._on_card(first)
        for ask, step in stages:
            if answer[0] != 0:
                return answer
            pkey = await self._within_budget(ask(answer[1]))
            answer = await self._on_card(partial(step, pkey))
        return answer

    async def _authenticate(self, step: str) -> str:
        return (await self._module.authentication(await self._named(step))).pkey

    async def _secure(self, step: str) -> str:
        return (await self._module.pin_command(await self._named(step))).pkey

    async def _order(self, step: str) -> str:
        order = await self._module.debit(await self._named(step))
        self._order_number = order.number
        return order.pkey

    async def _named(self, step: str) -> CardStep:
        identity: CardIdentity = await self._on_card(self._identity)
        return CardStep(card=identity, step=step)

    def _identity(self) -> CardIdentity:
        card = self._session.opened()
        try:
            return CardIdentity(
                identification_code=card.identification_code,
                card_number=card.card_number,
                reset_information=card.reset_information.hex().upper(),
            )
        except ValidationError:  # its text would quote the card
            raise CentreRefusedError("CARD_DATA_INVALID", "the card's number is malformed") from None

    async def _within_budget(self, asking: Awaitable[T]) -> T:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                return await asking
        finally:
            self._left_s = max(0.0, self._left_s - (time.monotonic() - begun))


def _parts(text: str) -> list[str]:
    """A string of several files as strings of one, each with its `$`; the PSAM's way has checked its form."""
    return [part + "$" for part in text.split("$")[:-1]]
