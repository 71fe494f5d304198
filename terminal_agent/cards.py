"""Reading a holder's basic information, for the HTTP API and for programs of the installed base."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import ClassVar, Final

from apdu.channel import CountingChannel, TraceChannel
from apdu.errors import CardAbsentError, ReaderNotFoundError, TransportError
from apdu.readers import CardConnection
from apps_catalog.block_list import Action
from cardlib.driver import error_answer, read_card_bas
from cardlib.psam import PsamError
from cardlib.session import SocialSecurityCard
from terminal_agent.catalog.blocked import BlockView
from terminal_agent.journal.desk import JournalDesk
from terminal_agent.problems import AgentError
from terminal_agent.registry import Reader, ReaderRegistry
from terminal_agent.schemas import BasicInformationView
from terminal_agent.settings import AgentSettings, Profile
from terminal_agent.terminal_psam import NO_TERMINAL_NUMBER, TerminalPsam

CONTACT: Final = 1
CONTACTLESS: Final = 2
CONTACT_FIRST: Final = 3
CONTACTLESS_FIRST: Final = 4
NO_READER: Final = -11  # reader connection error (terminal.md §11)
LOG = logging.getLogger("terminal_agent.cards")


class CardListedError(AgentError):
    """The block list has the card; its driver code is that of a card that its issuer blocked."""

    failure: ClassVar[str] = "CARD_LISTED"


class CardDesk:
    """Card reads of this terminal, authenticated by its PSAM when there is one; `look` asks the block list."""

    def __init__(
        self,
        registry: ReaderRegistry,
        settings: AgentSettings,
        look: Callable[[str], BlockView | None],
        journal: JournalDesk,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._look = look
        self._journal = journal
        self._psams: dict[int, TerminalPsam] = {}

    def psam(self) -> TerminalPsam | None:
        """The PSAM in its configured slot; a slot that came back has a new worker and so a new connection."""
        reader = self._registry.psam_reader()
        if reader is None:
            return None
        key = id(reader.worker)
        if key not in self._psams:
            self.close()
            self._psams = {key: TerminalPsam(reader.service, reader, self._settings.operation_timeout_s)}
        return self._psams[key]

    def close(self) -> None:
        for psam in self._psams.values():
            psam.close()
        self._psams = {}

    async def read_basic(self, reader_name: str, *, authenticate: bool, masked: bool) -> BasicInformationView:
        """Raises what card and reader do. A read of full numbers leaves a trace in the log, without the numbers."""
        reader = self._registry.get(reader_name)
        psam = self.psam() if authenticate else None

        def read(connection: CardConnection) -> tuple[BasicInformationView, str]:
            begun = time.perf_counter()
            counter = CountingChannel(connection)
            self._journal.admit()
            card = SocialSecurityCard(TraceChannel(counter), connection.atr, protocol=connection.protocol)
            basic = card.read_basic(psam)
            self._journal.used("read", basic.identification_code, basic.card_number)
            view = BasicInformationView.of(
                basic,
                masked=masked,
                id_digits=3 if self._settings.profile is Profile.COUNTER else 0,
                reader=reader.name,
                apdus=counter.apdus,
                size=counter.bytes_sent + counter.bytes_received,
                ms=round((time.perf_counter() - begun) * 1000, 1),
            )
            return view, basic.identification_code

        view, code = await self._registry.use(reader, read, self._settings.operation_timeout_s)
        if not masked:
            LOG.info("full basic information read: reader %s, region %s", reader.name, view.region)
        return view.model_copy(update={"block": self._look(code)})

    def demand_unlisted(self, identification_code: str) -> None:
        """Before a card is served. A person at the counter sees doubtful cases in `block`. Raises CardListedError."""
        view = self._look(identification_code)
        if view is not None and view.action is Action.REFUSE:
            raise CardListedError(view.texts[0].en)

    async def driver_read(self, i_type: int) -> tuple[int, str]:
        """iReadCardBas of terminal.md §11: (0, the 11 items) or (negative code, error text). Never raises."""
        try:
            reader = self.choose(i_type)
            psam = self.psam()

            def read(connection: CardConnection) -> tuple[int, str]:
                self._journal.admit()
                answer = read_card_bas(
                    TraceChannel(connection),
                    connection.atr,
                    authenticator=psam,
                    terminal_number=terminal_number_of(psam, self._settings.terminal_number),
                    device_number=self._settings.device_number,
                    protocol=connection.protocol,
                )
                if answer[0] == 0:
                    number, code = answer[1].split("|")[2:4]
                    self._journal.used("read", code, number)
                return answer

            code, text = await self._registry.use(reader, read, self._settings.operation_timeout_s)
        except ReaderNotFoundError as exc:
            return NO_READER, error_answer(exc)[1]
        except Exception as exc:
            if not isinstance(exc, TransportError | AgentError):
                LOG.error("unforeseen %s", type(exc).__name__, exc_info=exc)
            return error_answer(exc)
        LOG.info("iReadCardBas on %s: %d", reader.name, code)
        return code, text

    def choose(self, i_type: int) -> Reader:
        """The reader iType means: of the fitting ones with a card the first, the preferred kind before the other."""
        readers = [reader for reader in self._registry.card_readers() if not reader.is_lost]
        contact = [reader for reader in readers if not reader.is_contactless]
        contactless = [reader for reader in readers if reader.is_contactless]
        fitting = {
            CONTACT: contact,
            CONTACTLESS: contactless,
            CONTACT_FIRST: contact + contactless,
            CONTACTLESS_FIRST: contactless + contact,
        }[i_type]
        if not fitting:
            raise ReaderNotFoundError("no reader of this kind")
        chosen = next((reader for reader in fitting if reader.has_card), None)
        if chosen is None:
            raise CardAbsentError("no card in any reader of this kind")
        return chosen


def terminal_number_of(psam: TerminalPsam | None, without_psam: str = NO_TERMINAL_NUMBER) -> str:
    """A terminal whose PSAM does not answer still names itself, as one without PSAM."""
    if psam is None:
        return without_psam
    try:
        return psam.terminal_number
    except (PsamError, TransportError, AgentError) as exc:
        LOG.info("no terminal number: %s", exc)
        return without_psam
