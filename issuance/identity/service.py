"""Identity checks of applications: asked outside every transaction, recorded inside one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from issuance.applications.checks import checked
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import ApplicationRequest, ApplicationState, ApplicationView
from issuance.applications.service import ApplicationService
from issuance.identity.adapters import UNAVAILABLE, IdentityAnswer, IdentityOutcome
from issuance.persons.repository import PersonRepository
from issuance.problems import ProblemError
from issuance.rules import RuleError
from issuance.scope import EVERYWHERE
from issuance.unit import Desk, Unit, system_unit

if TYPE_CHECKING:
    from issuance.services import Services

BATCH = 200


async def ask_register(desk: Desk, request: ApplicationRequest) -> IdentityAnswer:
    """What the population register says about the applicant, before any transaction: the register may be slow.

    Nobody is asked about a request that `ApplicationService.apply` will refuse.
    """
    try:
        desk.caller.demand_region(request.accepted_region or request.region)
        person = checked(request, desk.rules(request.region), desk.today)
    except (ProblemError, RuleError):
        return UNAVAILABLE
    return await desk.services.identity.ask(person)


async def check_again(desk: Desk, application_id: str) -> IdentityAnswer | None:
    """Ask about the person of a waiting application; None when it does not wait (any more).

    Raises NOT_FOUND and CLIENT_FORBIDDEN.
    """
    async with desk.unit(is_reading=True) as unit:
        row = await ApplicationService(unit).row(application_id, is_locking=False)
        if row.state != ApplicationState.SUBMITTED:
            return None
        person = await PersonRepository(unit.session, unit.services.sealer).data(row.person_id)
    return await desk.services.identity.ask(person)


async def record_answer(unit: Unit, application_id: str, answer: IdentityAnswer | None) -> ApplicationView:
    """Let the application go on, end it, or wait on."""
    service = ApplicationService(unit)
    if answer is not None:
        await service.hear_register(application_id, answer)
    return await service.view(application_id)


async def recheck_waiting(services: Services) -> int:
    """Ask about applications that have waited for `identity_pause_s`; returns how many got an answer.

    A register that is silent once is left alone until the next round.
    """
    before = services.clock() - timedelta(seconds=services.settings.identity_pause_s)
    async with services.database.transaction(is_reading=True, scope=EVERYWHERE) as session:
        waiting = await ApplicationRepository(session).waiting_for_identity(before, BATCH)
        persons = PersonRepository(session, services.sealer)
        people = [(application_id, await persons.data(person_id)) for application_id, person_id in waiting]
    answered = 0
    for application_id, person in people:
        answer = await services.identity.ask(person)
        async with system_unit(services) as unit:
            is_answered = await ApplicationService(unit).hear_register(application_id, answer)
        answered += is_answered
        if answer.outcome is IdentityOutcome.UNAVAILABLE:
            break
    return answered
