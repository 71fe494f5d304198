"""Lines of a batch: every application gets its number and its place in the batch, in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from issuance.applications.models import ApplicationRow
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError
from issuance.production.models import BatchRow, LineRow
from issuance.production.repository import ProductionRepository
from issuance.production.states import LineState
from issuance.sealing import Sealer
from issuance.stock.models import CardNumberRow
from issuance.unit import Unit


@dataclass(frozen=True, slots=True)
class Applicant:
    """An application in state `checked` and its person."""

    application_id: str
    person_id: str
    person: PersonData


def match_of(sealer: Sealer, batch_id: str, line: int, card_number: str, person_number: str, name: str) -> bytes:
    """What a return line must repeat, as 32 bytes that say nothing."""
    return sealer.index("production_line", f"{batch_id}|{line}|{card_number}|{person_number}|{name}")


async def enrol(unit: Unit, batch: BatchRow, applicants: Sequence[Applicant]) -> None:
    """Bind numbers and lines to applications; they are `reserved` from then on, so that no counter takes them up.

    Raises NUMBER_POOL_EMPTY; then nothing is bound.
    """
    if not applicants:
        return
    repository = ProductionRepository(unit.session)
    numbers = await _numbers(unit, repository, batch.region, len(applicants))
    lines: list[dict[str, Any]] = []
    for line, (applicant, number) in enumerate(zip(applicants, numbers, strict=True), start=batch.lines + 1):
        person = applicant.person
        match = match_of(unit.services.sealer, batch.id, line, number, person.social_security_number, person.name)
        lines.append(
            {
                "batch_id": batch.id,
                "line": line,
                "application_id": applicant.application_id,
                "person_id": applicant.person_id,
                "card_number": number,
                "state": LineState.CREATED.value,
                "match": match,
            }
        )
    bound = [(line["application_id"], line["card_number"]) for line in lines]
    await repository.change_all(
        CardNumberRow,
        ["number"],
        [{"number": n, "state": "reserved", "application_id": a, "updated_at": unit.now} for a, n in bound],
    )
    await repository.change_all(
        ApplicationRow,
        ["id"],
        [{"id": a, "state": "reserved", "card_number": n, "updated_at": unit.now} for a, n in bound],
    )
    await repository.add_all(LineRow, lines)
    await repository.add_steps([(a, "reserve", "done") for a, _ in bound], unit.now, batch.id)
    batch.lines += len(lines)


async def _numbers(unit: Unit, repository: ProductionRepository, region: str, count: int) -> list[str]:
    """From the region's own pool, then from its province's."""
    found: list[str] = []
    pools = dict.fromkeys((region, unit.services.rules.pack(region).region))
    for pool in pools:
        found += await repository.free_numbers(pool, count - len(found))
        if len(found) == count:
            return found
    raise ProblemError("NUMBER_POOL_EMPTY", f"{count - len(found)} card numbers are lacking for {' or '.join(pools)}")
