"""The citizen's own card during a visit: kept powered from one question to the next, proved genuine first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from apdu.channel import TraceChannel
from cardlib.psam import PsamAbsentError
from cardlib.session import BasicInformation, SocialSecurityCard
from terminal_agent.registry import HeldCard, Reader

if TYPE_CHECKING:
    from terminal_agent.agent import Agent
    from terminal_agent.journal.desk import Act
    from terminal_agent.kiosk.visit import Visit

OWNER: Final = "自助机 / kiosk"
T = TypeVar("T")


class CitizenCard:
    """A card in the citizen's slot that nobody else reaches while it is held. `basic` was read at the start."""

    def __init__(self, agent: Agent, reader: Reader, held: HeldCard) -> None:
        self._agent = agent
        self._held = held
        self._card = SocialSecurityCard(
            TraceChannel(held.connection), held.connection.atr, protocol=held.connection.protocol
        )
        self.reader = reader
        self.basic: BasicInformation

    async def do(self, call: Callable[[SocialSecurityCard], T]) -> T:
        """`call` on the card's own thread. Raises as it does, and OperationTimeoutError."""
        return await self._held.worker.call(lambda: call(self._card), self._agent.settings.operation_timeout_s)

    async def read(self, *, takes_listed: bool) -> BasicInformation:
        """Raises PsamAbsentError, CardNotGenuineError, CardListedError, JournalFullError, and what a card does."""
        psam = self._agent.desk.psam()
        if psam is None:
            raise PsamAbsentError("a kiosk takes no card that it cannot prove genuine")

        def read(card: SocialSecurityCard) -> BasicInformation:
            self._agent.journal.admit()
            basic = card.read_basic(psam)
            self._agent.journal.used("read", basic.identification_code, basic.card_number)
            return basic

        self.basic = await self.do(read)
        if not takes_listed:
            self._agent.desk.demand_unlisted(self.basic.identification_code)
        return self.basic

    async def used(self, act: Act) -> None:
        """The centre is told what the card was used for."""
        basic = self.basic
        await self.do(lambda _: self._agent.journal.used(act, basic.identification_code, basic.card_number))


@asynccontextmanager
async def citizen_card(
    visit: Visit, screen: str = "insert_card", *, takes_listed: bool = False
) -> AsyncIterator[CitizenCard]:
    """Asks for the card where there is none. `takes_listed`: one that the block list has is served too, because the
    centre says itself how it stands. Raises VisitOver, ReaderBusyError, and as `CitizenCard.read`.

    The reader is free again at the end, with the card still in it.
    """
    reader = await visit.card(screen)
    async with held_card(visit.desk.agent, reader) as card:
        await card.read(takes_listed=takes_listed)
        yield card


@asynccontextmanager
async def held_card(agent: Agent, reader: Reader) -> AsyncIterator[CitizenCard]:
    """Unread. Raises ReaderBusyError, and what reader and card do."""
    registry = agent.registry
    registry.take(reader, OWNER)
    try:
        async with registry.hold(reader, agent.settings.operation_timeout_s) as held:
            yield CitizenCard(agent, reader, held)
    finally:
        registry.give_back(reader)
        reader.is_session_over = False  # the card may stay for the next step of the visit
