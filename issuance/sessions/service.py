"""Remote card sessions: the script's next batch for the card's last answers, stored before it is sent.

Sending the answers to the latest answered sequence again returns the stored reply, so a terminal may repeat any
request whose answer it did not see. A newer session of the same application or card supersedes an older one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from apdu.errors import DecodingError
from apdu.response import ResponseApdu
from cardlib.identity import reset_information
from cardlib.initialization import InitializationOrder
from cardlib.personalization import PersonalizationOrder
from cardlib.script import ScriptStep
from cardlib.spec import Generation
from cardlib.wire import BatchResponses, CommandBatch, SessionOutcome, SessionReply, SessionStart
from issuance.applications.models import ApplicationRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.saga import IssuanceSaga
from issuance.applications.schemas import ApplicationState
from issuance.applications.service import ApplicationService
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.problems import ProblemError
from issuance.sessions.models import CardSessionRow, ExchangeRow
from issuance.sessions.repository import SessionRepository
from issuance.sessions.runner import Progress, ScriptDone, ScriptFailed, ScriptRunner
from issuance.stock.repository import BlankRepository
from issuance.stock.service import StockService
from issuance.unit import Unit

_SEED_BYTES = 16
_BEGIN_TRIES = 5
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
        return await self._start_personalization(request, reset)

    async def answer(self, session_id: str, message: BatchResponses) -> SessionReply:
        row = await self._locked(session_id)
        if row.client_id != self._unit.caller.client_id:
            raise ProblemError("CLIENT_FORBIDDEN", "another terminal's card session", subject=f"session:{session_id}")
        if message.session_id != session_id:
            raise ProblemError("INPUT_INVALID", "session_id differs from the path", subject=f"session:{session_id}")
        if row.state == "superseded":
            raise self._conflict(row, "a newer session has taken over, or the card was written off")
        if message.sequence == row.sequence - (row.state == "running"):
            kept = await self._sessions.exchange(row.id, message.sequence)
            if kept is not None:
                return self._resend(kept, message.responses)
        if row.state != "running" or message.sequence != row.sequence:
            raise self._conflict(row, f"sequence {row.sequence} is awaited, the session is {row.state}")
        runner = await self._runner(row)
        responses = _decode(message.responses, runner.step)
        progress = await asyncio.to_thread(runner.send, responses)
        return await self._store(row, runner, message.sequence, message.responses, progress)

    async def _locked(self, session_id: str) -> CardSessionRow:
        """The session, locked after its application and its blank: the order in which a beginning session locks."""
        subject = await self._sessions.subject(session_id)
        if subject is not None:
            application_id, reset = subject
            if application_id is not None:
                await ApplicationRepository(self._unit.session).get(application_id)
            await BlankRepository(self._unit.session).get(reset)
        row = await self._sessions.get(session_id)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such card session", subject=f"session:{session_id}")
        return row

    # -- beginning ----------------------------------------------------------------------------------------------

    async def _start_initialization(self, request: SessionStart, reset: bytes) -> SessionReply:
        if request.region is None or request.application_id is not None:
            raise ProblemError("INPUT_INVALID", "an initialization needs region and no application_id")
        self._unit.services.rules.pack(request.region)
        self._unit.caller.demand_region(request.region)
        await self._stock.check_initializable(reset.hex().upper())
        order = InitializationOrder(
            seed=self._unit.services.keys.random(_SEED_BYTES),
            generation=Generation(request.generation),
            region=request.region,
            reset_information=reset,
        )
        return await self._begin("initialization", order.to_json(), order.region, request.generation, reset, None)

    async def _start_personalization(self, request: SessionStart, reset: bytes) -> SessionReply:
        if request.application_id is None:
            raise ProblemError("INPUT_INVALID", "a personalization needs application_id")
        row = await self._applications.row(request.application_id)
        if row.state == ApplicationState.ENABLED:
            return await self._outcome_of_issued(row, reset)
        await self._saga.reserve(row, reset.hex().upper())
        order = await self._order(row, reset)
        await self._saga.start_personalizing(row)
        return await self._begin("personalization", order.to_json(), row.region, row.generation, reset, row)

    async def _outcome_of_issued(self, row: ApplicationRow, reset: bytes) -> SessionReply:
        """The card is issued and the terminal never heard: tell it again, for the same card only."""
        done = await self._sessions.last_done(row.id)
        kept = None if done is None else await self._sessions.exchange(done.id, done.sequence)
        if kept is None or row.reset_information != reset.hex().upper():
            raise ProblemError("ALREADY_ISSUED", "this application has its card", application_id=row.id)
        return self._unseal_reply(kept)

    async def _order(self, row: ApplicationRow, reset: bytes) -> PersonalizationOrder:
        person = await PersonRepository(self._unit.session, self._unit.services.sealer).data(row.person_id)
        if row.card_number is None or row.issue_date is None or row.expiry_date is None:
            raise ProblemError("APPLICATION_STATE", "nothing is reserved", application_id=row.id)
        return PersonalizationOrder(
            seed=self._unit.services.keys.random(_SEED_BYTES),
            generation=Generation(row.generation),
            region=row.region,
            reset_information=reset,
            card_number=row.card_number,
            institution=self._unit.services.rules.pack(row.region).institution,
            issue_date=f"{row.issue_date:%Y%m%d}",
            expiry_date=f"{row.expiry_date:%Y%m%d}",
            card_class=row.card_class,
            items=self._applications.items(row),
            **person.model_dump(),
        )

    async def _begin(
        self,
        kind: str,
        order: dict[str, Any],
        region: str,
        generation: str,
        reset: bytes,
        application: ApplicationRow | None,
    ) -> SessionReply:
        application_id = None if application is None else application.id
        session_id = uuid.uuid4().hex
        row = CardSessionRow(
            id=session_id,
            kind=kind,
            state="running",
            client_id=self._unit.caller.client_id,
            application_id=application_id,
            reset_information=reset.hex().upper(),
            region=region,
            generation=generation,
            sealed_order=self._unit.services.sealer.seal(order, _order_context(session_id)),
            sequence=_START,
            started_at=self._unit.now,
            updated_at=self._unit.now,
        )
        superseded = await self._supersede(row)
        await self._unit.audit(
            f"session.{kind}",
            f"blank:{row.reset_information}",
            application_id=application_id,
            region=region,
            outcome="started",
            detail={"session": session_id, "superseded": superseded},
        )
        runner = ScriptRunner(kind, order, self._unit.services.keys)
        progress = await asyncio.to_thread(runner.start)
        return await self._store(row, runner, _START, (), progress)

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
    ) -> SessionReply:
        row.updated_at = self._unit.now
        if isinstance(progress, ScriptStep):
            row.sequence = answered + 1
            reply = SessionReply(batch=_batch(row, progress))
            self._unit.after_commit.append(lambda: self._unit.services.runners.put(row.id, row.sequence, runner))
        else:
            row.sequence = answered
            runner.close()
            reply = SessionReply(outcome=await self._end(row, progress))
        exchange = ExchangeRow(session_id=row.id, sequence=answered, at=self._unit.now)
        sealer = self._unit.services.sealer
        exchange.sealed_responses = sealer.seal(list(responses), _context(exchange))
        exchange.sealed_reply = sealer.seal(reply.model_dump(mode="json"), _context(exchange))
        await self._sessions.add_exchange(exchange)
        return reply

    async def _end(self, row: CardSessionRow, progress: ScriptDone | ScriptFailed) -> SessionOutcome:
        application = None if row.application_id is None else await self._applications.row(row.application_id)
        if isinstance(progress, ScriptFailed):
            row.state, row.failure = "failed", progress.failure
            if application is not None:
                await self._saga.stick(application, progress.failure, progress.detail)
            outcome = SessionOutcome(
                session_id=row.id, status="failed", failure=progress.failure, detail=progress.detail
            )
        else:
            row.state = "done"
            facts = await (self._initialized(row) if application is None else self._issued(application, progress))
            outcome = SessionOutcome(session_id=row.id, status="done", result=progress.result | facts)
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
        return outcome

    async def _initialized(self, row: CardSessionRow) -> dict[str, str]:
        await self._stock.register_initialized(row.reset_information, row.region, row.generation)
        return {"region": row.region, "generation": row.generation}

    async def _issued(self, row: ApplicationRow, progress: ScriptDone) -> dict[str, str]:
        ecard_no = await self._saga.enable(row, progress.result.get("identification_code", ""))
        person = await PersonRepository(self._unit.session, self._unit.services.sealer).data(row.person_id)
        view = masked(person)
        return {
            "card_number": row.card_number or "",
            "ecard_no": ecard_no,
            "name": view.name,
            "social_security_number": view.social_security_number,
            "issue_date": f"{row.issue_date:%Y%m%d}",
            "expiry_date": f"{row.expiry_date:%Y%m%d}",
        }

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
        raise ProblemError("INPUT_INVALID", "more responses than commands")
    try:
        return [ResponseApdu.from_bytes(bytes.fromhex(text)) for text in responses]
    except DecodingError:
        raise ProblemError("INPUT_INVALID", "a response has at least the two bytes of its status word") from None


def _order_context(session_id: str) -> str:
    return f"card_sessions.order:{session_id}"


def _context(row: ExchangeRow) -> str:
    return f"card_session_exchanges:{row.session_id}:{row.sequence}"
