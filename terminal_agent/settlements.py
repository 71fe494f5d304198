"""Settlements of this terminal: interrupted ones are resolved at the card's next insertion, and the centre is told.

Nothing new is settled with a card while an older settlement with it is unclear. The journal survives a restart; the
centre is told of the settlements it numbered, again and again until it answers; of the others by a record
(`terminal_agent.journal`).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import ValidationError

from apdu.channel import TraceChannel
from apdu.errors import AccessDeniedError, TransportError
from apdu.readers import CardConnection
from cardlib.driver_session import Answer, DriverSession, failed
from cardlib.errors import CardBlankError, CardUnsupportedError
from cardlib.hsm_wire import DebitOutcome
from cardlib.medical import Journal, PendingTransaction
from cardlib.session import SocialSecurityCard
from cardlib.settlement_journal import Entry, Outcome, SettlementJournal, Slip, resolve
from cardlib.terminal_records import PurchaseRecord
from terminal_agent.centre import CentreRefusedError, CentreUnreachableError, SecurityModule
from terminal_agent.hub import EventHub
from terminal_agent.journal.desk import JournalDesk
from terminal_agent.journal.store import JournalFullError
from terminal_agent.problems import AgentError
from terminal_agent.registry import Reader, ReaderRegistry
from terminal_agent.settlement_schemas import SettlementsView, SettlementView
from terminal_agent.waiting import until_set

REPORT_PAUSE_S: Final = 60.0
SHOWN: Final = 200
LOG = logging.getLogger("terminal_agent.settlements")


class NoJournalError(Exception):
    """Without a journal a torn settlement could not be resolved. Driver code -13."""

    failure: ClassVar[str] = "COMMAND_REJECTED"


def no_journal(_pending: PendingTransaction) -> None:
    """The `Journal` of a terminal that has none: no settlement begins."""
    raise NoJournalError("no journal for settlements is configured")


class Settlements:
    """Coroutines belong to the event loop; what is said to run on a reader's thread may block there."""

    def __init__(
        self,
        path: Path | None,
        registry: ReaderRegistry,
        hub: EventHub,
        module: SecurityModule | None,
        timeout_s: float,
        records: JournalDesk,
    ) -> None:
        self._records = records
        self._journal = SettlementJournal(path) if path else None
        self._registry = registry
        self._hub = hub
        self._module = module
        self._timeout_s = timeout_s
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False

    def slip(self) -> Slip | None:
        return Slip(self._journal) if self._journal else None

    @staticmethod
    def journal_of(slip: Slip | None) -> Journal:
        return slip or no_journal

    async def views(self) -> SettlementsView:
        """The newest first; finished ones as far back as the journal keeps them."""
        if self._journal is None:
            return SettlementsView(settlements=[], damaged_lines=0)
        entries = [e for e in await asyncio.to_thread(self._journal.entries) if e.pending.is_settlement]
        damaged = await asyncio.to_thread(self._journal.damaged_lines)
        return SettlementsView(
            settlements=[SettlementView.of(entry) for entry in entries[: -SHOWN - 1 : -1]], damaged_lines=damaged
        )

    # -- on the reader's thread ---------------------------------------------------------------------------------

    def clear_way(self, session: DriverSession) -> Answer | None:
        """Before a settlement: what is still unclear with this card is resolved, or its refusal is the answer."""
        if self._journal is None:
            return None
        try:
            self._resolve(session.opened())
        except Exception as error:
            return failed(error)
        return None

    def close(self, slip: Slip | None, answer: Answer) -> None:
        """After a function that may have settled. A text of iDoDebit ends with the TAC; Step2's begins with MAC2."""
        if slip is None or not slip.entry_id:
            return
        if answer[0] != 0:
            slip.entry_id = ""
            return
        items = answer[1].split("|")[:-1]
        mac2 = bytes.fromhex(items[0]) if len(items) == 9 else b""
        try:
            slip.end(mac2=mac2, tac=bytes.fromhex(items[-1]))
        except OSError as error:
            # The money has moved: the program gets its answer, and the card tells again at its next insertion.
            LOG.error("a settlement could not be written down as done: %s", error)
        self._soon(self._news.set)

    def _resolve(self, card: SocialSecurityCard) -> None:
        if self._journal is None:
            return
        for entry, _ in resolve(self._journal, card):
            event = {"id": entry.id, "outcome": entry.outcome.value}
            self._soon(self._hub.publish, "settlement_resolved", event)
            self._soon(self._news.set)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    # -- on the event loop --------------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """`report` ends at its next turn."""
        self._is_over = True
        self._news.set()

    async def resolve_inserted(self, reader: Reader) -> None:
        """Ask a card that was just put in, where anything is unclear at all. Never raises for what a card does.

        Whether a transaction did not happen shows only behind the PIN: such an entry waits for the next settlement.
        """
        if self._journal is None or reader.is_psam or self._registry.is_held(reader) or not reader.has_card:
            return
        entries = await asyncio.to_thread(self._journal.entries)
        if all(entry.outcome is not Outcome.OPEN for entry in entries):
            return

        def ask(connection: CardConnection) -> None:
            card = SocialSecurityCard(TraceChannel(connection), connection.atr, protocol=connection.protocol)
            card.open()
            self._resolve(card)

        try:
            await self._registry.use(reader, ask, self._timeout_s)
        except AccessDeniedError:
            LOG.info("%s: an interrupted settlement shows only after the PIN", reader.name)
        except (CardUnsupportedError, CardBlankError):
            LOG.debug("%s: not a card of ours", reader.name)
        except (TransportError, AgentError) as error:
            LOG.info("%s: interrupted settlements not resolved: %s", reader.name, error)
        except Exception as error:
            LOG.error("%s: interrupted settlements not resolved: %s", reader.name, type(error).__name__, exc_info=error)

    async def report(self) -> None:
        """Say, as long as the agent runs, what became of settlements: of those it numbered to the centre at once, of
        the PSAM's by a record. Each goes one way."""
        while self._journal is not None and not self._is_over:
            self._news.clear()
            try:
                for entry in await asyncio.to_thread(self._journal.entries):
                    if entry.awaits_report and self._module is not None:
                        await self._tell(self._journal, self._module, entry)
                    elif entry.awaits_record and self._records.is_kept:
                        await asyncio.to_thread(self._record, self._journal, entry)
            except (CentreUnreachableError, JournalFullError, OSError) as error:
                LOG.info("settlements not reported yet: %s", error)
            await until_set(self._news, REPORT_PAUSE_S)

    def _record(self, journal: SettlementJournal, entry: Entry) -> None:
        """The record's key comes from the entry, so that it is one record also when this is cut off in between."""
        key = uuid.uuid5(uuid.NAMESPACE_OID, f"{entry.id} {entry.begun_at}").hex
        refusal = ""
        try:
            self._records.write(purchase_record(entry), key=key)
        except ValidationError as error:
            refusal = "INPUT_INVALID"
            LOG.error("settlement %s is not as a record must be: %d fields", entry.id, error.error_count())
        journal.reported(entry.id, refusal)

    @staticmethod
    async def _tell(journal: SettlementJournal, module: SecurityModule, entry: Entry) -> None:
        is_done = entry.outcome is Outcome.DONE
        outcome = DebitOutcome.model_validate(
            {
                "outcome": entry.outcome.value,
                "mac2": entry.mac2.hex().upper() if is_done else None,
                "tac": entry.tac.hex().upper() if is_done else None,
            }
        )
        refusal = ""
        try:
            await module.debit_outcome(int(str(entry.pending.fields["number"]), 16), outcome)
        except CentreRefusedError as error:
            refusal = error.failure
            LOG.error("the centre does not take settlement %s: %s (%s)", entry.id, refusal, error)
        await asyncio.to_thread(journal.reported, entry.id, refusal)


def purchase_record(entry: Entry) -> PurchaseRecord:
    """Raises ValidationError for what no PSAM of the field makes."""
    fields = entry.pending.fields
    return PurchaseRecord.model_validate(
        {name: fields[name] for name in ("terminal", "number", "time")}
        | {name + "_fen": fields[name] for name in ("account", "self_paid", "pooling")}
        | {
            "identification_code": entry.pending.identification_code,
            "card_number": entry.pending.card_number,
            "outcome": entry.outcome.value,
            "tac": entry.tac.hex().upper() or None,
        }
    )
