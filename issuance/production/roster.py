"""Taking a roster in: a line is a person with an application; what is wrong with it is told for that line alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from issuance.applications.checks import card_class_for, check_request
from issuance.applications.models import ApplicationRow
from issuance.applications.schemas import ApplicationKind, ApplicationRequest, ApplicationState, Channel
from issuance.applications.service import items_context, parties_context
from issuance.clock import china_date
from issuance.identity.adapters import IdentityOutcome
from issuance.input_rules import FieldError, shape_error
from issuance.persons.models import PersonRow
from issuance.persons.repository import name_index, person_context
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError
from issuance.production.enrolment import Applicant, enrol
from issuance.production.files import RawLine
from issuance.production.profiles import Layout, LineError, Parsed
from issuance.production.repository import ProductionRepository
from issuance.production.work import Chunk, Task, keep_rejects, read_chunk, refusal
from issuance.progress.receipts import new_receipt_number
from issuance.unit import Unit

_GUARDIAN = {
    "guardian_name": "name",
    "guardian_number": "social_security_number",
    "guardian_relation": "relation",
    "guardian_telephone": "telephone",
}
QUESTIONS = 32
"""Asked of the population register at the same time."""
_IDENTITY_RULES = {
    IdentityOutcome.MISMATCH: "file_identity_mismatch",
    IdentityOutcome.UNKNOWN: "file_identity_unknown",
    IdentityOutcome.DECEASED: "file_identity_deceased",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that reads well: its person as it will be stored, sealed and found by `index`."""

    number: int
    parsed: Parsed
    person: PersonData
    person_id: str
    application_id: str
    card_class: str
    index: bytes
    name_index: bytes
    sealed_person: bytes
    sealed_items: bytes
    sealed_parties: bytes
    known_as: str | None = None

    @property
    def owner(self) -> str:
        return self.known_as or self.person_id


class RosterWork:
    async def prepare(self, task: Task) -> Chunk:
        lines, cursor = await read_chunk(task)
        candidates, refused = await asyncio.to_thread(self._read, task, lines)
        good, more = await self._ask(task, candidates)
        return Chunk(len(lines), cursor.to_json(), cursor.part >= task.file.parts, good, refused + more)

    async def apply(self, unit: Unit, task: Task, chunk: Chunk) -> None:
        """Raises NUMBER_POOL_EMPTY."""
        repository = ProductionRepository(unit.session)
        title = task.profile.incoming.title("social_security_number")
        good, refused = await self._sort_out(repository, chunk.content, title)
        moment = {"created_at": unit.now, "updated_at": unit.now}
        new = [c for c in good if c.known_as is None]
        await repository.add_all(
            PersonRow,
            [
                moment
                | {"id": c.person_id, "number_index": c.index, "name_index": c.name_index, "sealed": c.sealed_person}
                for c in new
            ],
        )
        seal = unit.services.sealer.seal
        again = [(c.known_as, c.person.model_dump(), c.name_index) for c in good if c.known_as is not None]
        await repository.change_all(
            PersonRow,
            ["id"],
            [
                {"id": i, "sealed": seal(data, person_context(i)), "name_index": index, "updated_at": unit.now}
                for i, data, index in again
            ],
        )
        await repository.add_all(ApplicationRow, [_application_row(unit, task, c) for c in good])
        steps = [(c.application_id, step, "done") for c in good for step in ("apply", "identity", "check")]
        await repository.add_steps(steps, unit.now, task.batch.id)
        await enrol(unit, task.batch, [Applicant(c.application_id, c.owner, c.person) for c in good])
        await keep_rejects(unit, task.file, [*chunk.refused, *refused])
        task.file.accepted += len(good)

    async def finish(self, unit: Unit, task: Task) -> None:
        task.file.state = "done"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _read(self, task: Task, lines: Sequence[RawLine]) -> tuple[list[Candidate], list[tuple[int, Parsed]]]:
        good, refused = [], []
        for line in lines:
            parsed = task.profile.incoming.parse(line.data)
            found = None if parsed.errors else self._candidate(task, line.number, parsed)
            if isinstance(found, Candidate):
                good.append(found)
            else:
                refused.append((line.number, found or parsed))
        return good, refused

    def _candidate(self, task: Task, number: int, parsed: Parsed) -> Candidate | Parsed:
        batch, services, layout = task.batch, task.services, task.profile.incoming
        today = china_date(services.clock())
        rules = services.rules.pack(batch.region).on(today)
        try:
            request = ApplicationRequest.model_validate(
                _fields(parsed) | {"region": batch.region, "generation": batch.generation}
            )
        except ValidationError as error:
            found = [
                shape_error(".".join(map(str, e["loc"])), str(e["type"]), e.get("ctx") or {}) for e in error.errors()
            ]
            return refusal(parsed, *(_line_error(layout, field) for field in found))
        person, errors = check_request(request, rules, today)
        if errors:
            return refusal(parsed, *(_line_error(layout, field) for field in errors))
        person_id, application_id = uuid.uuid4().hex, uuid.uuid4().hex
        parties = request.model_dump(mode="json", include={"guardian", "agent", "delivery"})
        sealer = services.sealer
        return Candidate(
            number=number,
            parsed=parsed,
            person=person,
            person_id=person_id,
            application_id=application_id,
            card_class=card_class_for(request, rules, today),
            index=sealer.index("social_security_number", person.social_security_number),
            name_index=name_index(sealer, person.name),
            sealed_person=sealer.seal(person.model_dump(), person_context(person_id)),
            sealed_items=sealer.seal({}, items_context(application_id)),
            sealed_parties=sealer.seal(parties, parties_context(application_id)),
        )

    async def _ask(self, task: Task, candidates: list[Candidate]) -> tuple[list[Candidate], list[tuple[int, Parsed]]]:
        """Whom the population register knows. Raises ProblemError IDENTITY_UNAVAILABLE: the chunk waits for it."""
        turn = asyncio.Semaphore(QUESTIONS)

        async def ask(candidate: Candidate) -> IdentityOutcome:
            async with turn:
                return (await task.services.identity.ask(candidate.person)).outcome

        good, refused = [], []
        outcomes = await asyncio.gather(*(ask(candidate) for candidate in candidates))
        for candidate, outcome in zip(candidates, outcomes, strict=True):
            if outcome is IdentityOutcome.UNAVAILABLE:
                raise ProblemError("IDENTITY_UNAVAILABLE", f"no answer about line {candidate.number}")
            if outcome is IdentityOutcome.MATCHES:
                good.append(candidate)
            else:
                title = task.profile.incoming.title("social_security_number")
                error = LineError(title, _IDENTITY_RULES[outcome])
                refused.append((candidate.number, refusal(candidate.parsed, error)))
        return good, refused

    async def _sort_out(
        self, repository: ProductionRepository, candidates: Sequence[Candidate], title: str
    ) -> tuple[list[Candidate], list[tuple[int, Parsed]]]:
        """Who may apply; of persons that are known the known id."""
        known = await repository.persons_of([candidate.index for candidate in candidates])
        ids = sorted(known.values())
        applying, holding = await repository.with_open_application(ids), await repository.with_live_card(ids)
        dead = await repository.dead(ids)
        good: dict[bytes, Candidate] = {}
        refused: list[tuple[int, Parsed]] = []
        for candidate in candidates:
            person = known.get(candidate.index)
            rule = ""
            if candidate.index in good:
                rule = "file_repeated_person"
            elif person in dead:
                rule = _IDENTITY_RULES[IdentityOutcome.DECEASED]
            elif person in applying:
                rule = "file_open_application"
            elif person in holding:
                rule = "file_live_card"
            if rule:
                refused.append((candidate.number, refusal(candidate.parsed, LineError(title, rule))))
            else:
                good[candidate.index] = candidate if person is None else replace(candidate, known_as=person)
        return list(good.values()), refused


def _fields(parsed: Parsed) -> dict[str, Any]:
    values = parsed.values
    person = {name: values[name] for name in PersonData.model_fields if name in values}
    guardian = {field: values[column] for column, field in _GUARDIAN.items() if column in values}
    return {"person": person} | ({"guardian": guardian} if guardian else {})


def _line_error(layout: Layout, error: FieldError) -> LineError:
    """The column of a field; the words of a rule that quotes limits come without them."""
    name = error.location.rpartition(".")[2]
    if "guardian" in error.location:
        name = next((column for column, field in _GUARDIAN.items() if field == name), "guardian_name")
    return LineError(layout.title(name), error.reason)


def _application_row(unit: Unit, task: Task, candidate: Candidate) -> dict[str, Any]:
    return {
        "id": candidate.application_id,
        "person_id": candidate.owner,
        "region": task.batch.region,
        "receipt_number": new_receipt_number(unit.now),
        "generation": task.batch.generation,
        "card_class": candidate.card_class,
        "state": ApplicationState.CHECKED.value,
        "sealed_items": candidate.sealed_items,
        "kind": ApplicationKind.NEW.value,
        "channel": Channel.COUNTER.value,
        "delivery": "counter",
        "with_ecard": True,
        "sealed_parties": candidate.sealed_parties,
        "created_by": task.job.actor,
        "created_at": unit.now,
        "updated_at": unit.now,
    }
