"""Remote card sessions: the script's next batch for the card's last answers, stored before it is sent.

Sending the answers to the latest answered sequence again returns the stored reply, so a terminal may repeat any
request whose answer it did not see. A newer session of the same application or card supersedes an older one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from apdu.errors import DecodingError
from apdu.response import ResponseApdu
from cardlib.identity import reset_information
from cardlib.initialization import InitializationOrder, algorithm_of
from cardlib.key_set import current_set
from cardlib.script import ScriptStep
from cardlib.spec import Generation
from cardlib.wire import BatchResponses, CommandBatch, PrintReport, SessionOutcome, SessionReply, SessionStart
from issuance.applications.models import ApplicationRow, ReturnRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.saga import IssuanceSaga
from issuance.applications.schemas import ApplicationState, Step
from issuance.applications.service import ApplicationService
from issuance.cards.models import CardRow
from issuance.ecards.repository import EcardRepository
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.self_service.applicants import demand_in_hands
from issuance.sessions.models import CardSessionRow, ExchangeRow
from issuance.sessions.orders import SEED_BYTES, facts_of, personalization_order, print_order
from issuance.sessions.repository import SessionRepository
from issuance.sessions.runner import Progress, ScriptDone, ScriptFailed, ScriptRunner, known
from issuance.sessions.visits import VISITS, CardVisits
from issuance.stock.repository import BlankRepository
from issuance.stock.service import StockService
from issuance.unit import Unit, demand_staff

_BEGIN_TRIES = 50
"""Each that fails is another session of the same card that began meanwhile: more than a hall has readers."""
_START = 0
"""Pseudo-sequence of the exchange that began the session: no responses, the first reply."""


class CardSessionService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._sessions = SessionRepository(unit.session)
        self._applications = ApplicationService(unit)
        self._saga = IssuanceSaga(unit)
        self._stock = StockService(unit)

    async def start(self, request: SessionStart) -> SessionReply:
        reset = reset_information(bytes.fromhex(request.atr))
        if request.kind == "initialization":
            return await self._start_initialization(request, reset)
        if request.kind in VISITS:
            return await self._start_visit(request, reset)
        return await self._start_personalization(request, reset)

    async def answer(self, session_id: str, message: BatchResponses) -> SessionReply:
        row, application, kept = await self._heard(session_id, message, message.responses)
        if kept is not None:
            return kept
        if application is not None and application.state == ApplicationState.VERIFIED:
            raise self._conflict(row, "the card is written, the printer's report is awaited")
        runner = await self._runner(row)
        responses = _decode(message.responses, runner.step)
        progress = await asyncio.to_thread(runner.send, responses)
        return await self._store(row, runner, message.sequence, message.responses, progress, application)

    async def report_print(self, session_id: str, report: PrintReport) -> SessionReply:
        """The card was printed, now or before, or could not be."""
        said = [report.job_id, report.status, report.failure or ""]
        row, application, kept = await self._heard(session_id, report, said)
        if kept is not None:
            return kept
        if application is None:
            raise self._conflict(row, "nothing is to be printed")
        returned = await self._saga.returned(application)
        if returned.print_job != report.job_id:
            raise self._conflict(row, "another print job is awaited")
        row.updated_at = self._unit.now
        if report.status == "failed":
            failure = known(report.failure or "PRINT_FAILED")
            await self._saga.stick(application, Step.PRINT, failure, "the printer reports a failure")
            reply = await self._ended(row, failure, "the card was not printed")
        else:
            await self._saga.printed(application, returned, report.status)
            reply = await self._hand_over(row, application, returned)
        return await self._keep(row, report.sequence, said, reply)

    async def _heard(
        self, session_id: str, message: BatchResponses | PrintReport, said: Sequence[str]
    ) -> tuple[CardSessionRow, ApplicationRow | None, SessionReply | None]:
        """The session and its application, and the stored reply when this message was answered before."""
        row, application = await self._locked(session_id)
        if row.client_id != self._unit.caller.client_id:
            raise ProblemError("CLIENT_FORBIDDEN", "another terminal's card session", subject=f"session:{session_id}")
        if message.session_id != session_id:
            raise bad_input(field_error("body.session_id", "path_differs"), subject=f"session:{session_id}")
        if row.state == "superseded":
            raise self._conflict(row, "a newer session has taken over, or the card was written off")
        if message.sequence == row.sequence - (row.state == "running"):
            kept = await self._sessions.exchange(row.id, message.sequence)
            if kept is not None:
                return row, application, self._resend(kept, said)
        if row.state != "running" or message.sequence != row.sequence:
            raise self._conflict(row, f"sequence {row.sequence} is awaited, the session is {row.state}")
        return row, application, None

    async def _locked(self, session_id: str) -> tuple[CardSessionRow, ApplicationRow | None]:
        """The session, locked after its application and its blank: the order in which a beginning session locks."""
        application = None
        subject = await self._sessions.subject(session_id)
        if subject is not None:
            application_id, reset, card_number = subject
            await CardVisits(self._unit).lock(card_number)
            if application_id is not None:
                application = await ApplicationRepository(self._unit.session).get(application_id)
            await BlankRepository(self._unit.session).get(reset)
        row = await self._sessions.get(session_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such card session", subject=f"session:{session_id}")
        return row, application

    # -- beginning ----------------------------------------------------------------------------------------------

    async def _start_initialization(self, request: SessionStart, reset: bytes) -> SessionReply:
        await demand_staff(self._unit)
        if request.region is None:
            raise bad_input(field_error("body.region", "needed_here"))
        if request.application_id is not None:
            raise bad_input(field_error("body.application_id", "not_needed_here"))
        self._unit.services.rules.pack(request.region)
        self._unit.caller.demand_region(request.region)
        await self._stock.check_initializable(reset.hex().upper())
        generation = Generation(request.generation)
        order = InitializationOrder(
            seed=self._unit.services.keys.random(SEED_BYTES),
            generation=generation,
            region=request.region,
            reset_information=reset,
            key_version=current_set(self._unit.services.keys, algorithm_of(generation)),
        )
        return await self._begin("initialization", order.to_json(), order.region, request.generation, reset, None)

    async def _start_personalization(self, request: SessionStart, reset: bytes) -> SessionReply:
        if request.application_id is None:
            raise bad_input(field_error("body.application_id", "needed_here"))
        await demand_in_hands(self._unit, request.application_id)
        row = await self._applications.row(request.application_id)
        if row.state == ApplicationState.ENABLED:
            return await self._outcome_of_issued(row, reset)
        if row.state == ApplicationState.VERIFIED:
            return await self._resume(request, row, reset)
        await self._saga.reserve(row, reset.hex().upper())
        order = await personalization_order(self._unit, row, self._applications.items(row), reset)
        await self._saga.start_personalizing(row)
        return await self._begin(
            "personalization", order.to_json(), row.region, row.generation, reset, row, can_print=request.can_print
        )

    async def _resume(self, request: SessionStart, row: ApplicationRow, reset: bytes) -> SessionReply:
        """The card is written and read back: what is left needs no command on it."""
        await self._saga.reserve(row, reset.hex().upper())
        returned = await self._saga.returned(row)
        session = self._row("personalization", {}, row.region, row.generation, reset, row, can_print=request.can_print)
        await self._open(session)
        if returned.print_state == "ordered" and request.can_print:
            reply = await self._order_print(session, row, returned, _START)
        else:
            await self._saga.printed(row, returned, "terminal without printer", is_skipped=True)
            reply = await self._hand_over(session, row, returned)
        return await self._keep(session, _START, (), reply)

    async def _start_visit(self, request: SessionStart, reset: bytes) -> SessionReply:
        card, order = await CardVisits(self._unit).admit(request, reset.hex().upper())
        memory = {"pin": order.pin} if order.pin else {}
        return await self._begin(
            request.kind, order.to_json(), card.region, card.generation, reset, None, card=card, memory=memory
        )

    async def _outcome_of_issued(self, row: ApplicationRow, reset: bytes) -> SessionReply:
        """The card is issued and the terminal never heard: tell it again, for the same card only."""
        if row.reset_information != reset.hex().upper():
            raise ProblemError("ALREADY_ISSUED", "this application has its card", application_id=row.id)
        done = await self._sessions.last_done(row.id)
        kept = None if done is None else await self._sessions.exchange(done.id, done.sequence)
        if kept is not None:
            return self._unseal_reply(kept)
        ecard = await EcardRepository(self._unit.session).of_card(row.card_number or "")
        facts = await facts_of(self._unit, row, "" if ecard is None else ecard.ecard_no)
        outcome = {"outcome": "issued"} | facts
        return SessionReply(outcome=SessionOutcome(session_id=row.id, status="done", result=outcome))

    async def _begin(
        self,
        kind: str,
        order: dict[str, Any],
        region: str,
        generation: str,
        reset: bytes,
        application: ApplicationRow | None,
        *,
        card: CardRow | None = None,
        memory: Mapping[str, str] = MappingProxyType({}),
        can_print: bool = False,
    ) -> SessionReply:
        """`memory` is part of the order as long as this process lives, and stored nowhere."""
        row = self._row(kind, order, region, generation, reset, application, card=card, can_print=can_print)
        await self._open(row)
        runner = ScriptRunner(kind, order | dict(memory), self._unit.services.keys)
        progress = await asyncio.to_thread(runner.start)
        return await self._store(row, runner, _START, (), progress, application)

    def _row(
        self,
        kind: str,
        order: dict[str, Any],
        region: str,
        generation: str,
        reset: bytes,
        application: ApplicationRow | None,
        *,
        card: CardRow | None = None,
        can_print: bool,
    ) -> CardSessionRow:
        session_id = uuid.uuid4().hex
        return CardSessionRow(
            id=session_id,
            kind=kind,
            state="running",
            client_id=self._unit.caller.client_id,
            application_id=None if application is None else application.id,
            card_number=None if card is None else card.card_number,
            reset_information=reset.hex().upper(),
            region=region,
            generation=generation,
            sealed_order=self._unit.services.sealer.seal(order, _order_context(session_id)),
            sequence=_START,
            can_print=can_print,
            started_at=self._unit.now,
            updated_at=self._unit.now,
        )

    async def _open(self, row: CardSessionRow) -> None:
        superseded = await self._supersede(row)
        await self._unit.audit(
            f"session.{row.kind}",
            f"blank:{row.reset_information}",
            application_id=row.application_id,
            region=row.region,
            outcome="started",
            detail={"session": row.id, "superseded": superseded},
        )

    async def _supersede(self, row: CardSessionRow) -> list[str]:
        """Put the new session in the place of those of its application and card; returns the ids of those.

        A card not in stock has no row to lock, so another session of it may begin between the two statements; it is
        older then, and superseded as well.
        """
        superseded: list[str] = []
        for _ in range(_BEGIN_TRIES):
            superseded += await self._sessions.supersede(
                self._unit.now, application_id=row.application_id, reset_information=row.reset_information
            )
            if await self._sessions.add(row):
                self._unit.services.runners.drop(superseded)
                return superseded
        raise ProblemError("CONFLICT", "many sessions of this card begin at once", application_id=row.application_id)

    # -- going on -----------------------------------------------------------------------------------------------

    async def _runner(self, row: CardSessionRow) -> ScriptRunner:
        """The runner waiting for this sequence: from memory, else rebuilt from order and stored responses."""
        cached = self._unit.services.runners.take(row.id, row.sequence)
        if cached is not None:
            return cached
        if row.kind == "pin_reset":
            raise self._conflict(row, "the PIN is kept nowhere: type it again and begin anew")
        sealer = self._unit.services.sealer
        runner = ScriptRunner(
            row.kind, sealer.unseal(row.sealed_order, _order_context(row.id)), self._unit.services.keys
        )
        answered = [
            [ResponseApdu.from_bytes(bytes.fromhex(text)) for text in sealer.unseal(e.sealed_responses, _context(e))]
            for e in await self._sessions.exchanges(row.id)
            if e.sequence != _START
        ]
        await asyncio.to_thread(runner.replay, answered)
        return runner

    async def _store(
        self,
        row: CardSessionRow,
        runner: ScriptRunner,
        answered: int,
        responses: Sequence[str],
        progress: Progress,
        application: ApplicationRow | None,
    ) -> SessionReply:
        row.updated_at = self._unit.now
        if isinstance(progress, ScriptStep):
            row.sequence = answered + 1
            reply = SessionReply(batch=_batch(row, progress))
            self._unit.after_commit.append(lambda: self._unit.services.runners.put(row.id, row.sequence, runner))
        else:
            row.sequence = answered
            runner.close()
            reply = await self._end(row, progress, application)
        return await self._keep(row, answered, responses, reply)

    async def _keep(
        self, row: CardSessionRow, answered: int, responses: Sequence[str], reply: SessionReply
    ) -> SessionReply:
        exchange = ExchangeRow(session_id=row.id, sequence=answered, at=self._unit.now)
        sealer = self._unit.services.sealer
        exchange.sealed_responses = sealer.seal(list(responses), _context(exchange))
        exchange.sealed_reply = sealer.seal(reply.model_dump(mode="json"), _context(exchange))
        await self._sessions.add_exchange(exchange)
        return reply

    async def _end(
        self, row: CardSessionRow, progress: ScriptDone | ScriptFailed, application: ApplicationRow | None
    ) -> SessionReply:
        if isinstance(progress, ScriptFailed):
            if application is not None:
                await self._saga.stick(application, Step.PERSONALIZE, progress.failure, progress.detail)
            return await self._ended(row, progress.failure, progress.detail)
        if application is None:
            return await self._done(row, progress.result | await self._facts(row, progress))
        found = progress.result
        returned = await self._saga.written(
            application, found["identification_code"], int(found["key_version"]), can_print=row.can_print
        )
        if row.can_print:
            return await self._order_print(row, application, returned, row.sequence)
        return await self._hand_over(row, application, returned, found)

    async def _order_print(
        self, row: CardSessionRow, application: ApplicationRow, returned: ReturnRow, answered: int
    ) -> SessionReply:
        """The session goes on: its next message is the printer's report."""
        row.sequence = answered + 1
        return SessionReply(print_order=await print_order(self._unit, row, application, returned))

    async def _hand_over(
        self,
        row: CardSessionRow,
        application: ApplicationRow,
        returned: ReturnRow,
        found: Mapping[str, str] = MappingProxyType({"outcome": "issued"}),
    ) -> SessionReply:
        ecard_no = await self._saga.hand_over(application, returned)
        if isinstance(ecard_no, ProblemError):
            return await self._ended(row, ecard_no.failure, ecard_no.detail)
        facts = {"identification_code": returned.identification_code, "key_version": str(returned.key_version)}
        return await self._done(row, facts | dict(found) | await facts_of(self._unit, application, ecard_no))

    async def _ended(self, row: CardSessionRow, failure: str, detail: str) -> SessionReply:
        row.state, row.failure = "failed", failure
        await self._note_end(row)
        return SessionReply(outcome=SessionOutcome(session_id=row.id, status="failed", failure=failure, detail=detail))

    async def _done(self, row: CardSessionRow, result: dict[str, str]) -> SessionReply:
        row.state = "done"
        await self._note_end(row)
        return SessionReply(outcome=SessionOutcome(session_id=row.id, status="done", result=result))

    async def _note_end(self, row: CardSessionRow) -> None:
        await self._unit.audit(
            f"session.{row.kind}",
            f"blank:{row.reset_information}",
            application_id=row.application_id,
            region=row.region,
            outcome=row.failure or "done",
            detail={"session": row.id, "sequence": row.sequence},
        )
        metric = self._unit.services.metrics.card_sessions.labels(row.kind, row.failure or "done")
        self._unit.after_commit.append(metric.inc)

    async def _facts(self, row: CardSessionRow, progress: ScriptDone) -> dict[str, str]:
        """What became of a session without application, as the screen shows it."""
        if row.kind in VISITS:
            order = self._unit.services.sealer.unseal(row.sealed_order, _order_context(row.id))
            await self._sessions.forget_exchanges(row.id, row.sequence)
            return await CardVisits(self._unit).finish(row, order, progress.result)
        return await self._initialized(row)

    async def _initialized(self, row: CardSessionRow) -> dict[str, str]:
        await self._stock.register_initialized(row.reset_information, row.region, row.generation)
        return {"region": row.region, "generation": row.generation}

    def _resend(self, kept: ExchangeRow, responses: Sequence[str]) -> SessionReply:
        if self._unit.services.sealer.unseal(kept.sealed_responses, _context(kept)) != list(responses):
            raise ProblemError(
                "CONFLICT", "this sequence was answered differently before", subject=f"session:{kept.session_id}"
            )
        return self._unseal_reply(kept)

    def _unseal_reply(self, kept: ExchangeRow) -> SessionReply:
        return SessionReply.model_validate(self._unit.services.sealer.unseal(kept.sealed_reply, _context(kept)))

    def _conflict(self, row: CardSessionRow, detail: str) -> ProblemError:
        return ProblemError("CONFLICT", detail, subject=f"session:{row.id}", application_id=row.application_id)


def _batch(row: CardSessionRow, step: ScriptStep) -> CommandBatch:
    return CommandBatch(
        session_id=row.id,
        sequence=row.sequence,
        commands=step.commands,
        step=row.sequence,
        steps=step.steps,
        text_zh=step.text_zh,
        text_en=step.text_en,
    )


def _decode(responses: Sequence[str], step: ScriptStep | None) -> list[ResponseApdu]:
    if step is None or len(responses) > len(step.commands):
        raise bad_input(field_error("body.responses", "too_many_responses"))
    try:
        return [ResponseApdu.from_bytes(bytes.fromhex(text)) for text in responses]
    except DecodingError:
        raise bad_input(field_error("body.responses", "response_short")) from None


def _order_context(session_id: str) -> str:
    return f"card_sessions.order:{session_id}"


def _context(row: ExchangeRow) -> str:
    return f"card_session_exchanges:{row.session_id}:{row.sequence}"
