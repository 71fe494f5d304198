"""From the platform's code on the page to the person's word that this is who logs in.

A code belongs to one log-in, is asked about by this service alone and never by the browser; its answer counts once.
Whom the platform named is looked up in this centre's own register, and agrees to what is told on the page itself,
because the platform's app shows none of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

from sqlalchemy import delete, select, update

from cardlib.identity import mask_name
from issuance.cards.models import CardRow
from issuance.consents.repository import ConsentRepository
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.ecards.models import EcardRow
from issuance.ecards.usability import demand_usable, refusal
from issuance.login.denials import demand_not_denied
from issuance.login.ministry_models import UpstreamAnswerRow, UpstreamCodeRow
from issuance.login.national.keys import keys_of
from issuance.login.national.platform import Named, NationalPlatform, NationalUnavailableError, PlatformKeys
from issuance.login.seam import ACR_NATIONAL
from issuance.login.transactions import APPROVAL_TTL, Transaction, claims_of, end, hash_of_secret
from issuance.login.unit import login_unit
from issuance.login.ways import is_open
from issuance.persons.repository import PersonRepository
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import Unit

CODE_TTL: Final = timedelta(minutes=1)
ANSWER_TTL: Final = timedelta(minutes=2)
PAUSE: Final = timedelta(seconds=2)
"""Between two questions about one code, from however many pages."""
Way = Literal["code", "redirect"]
State = Literal["code", "agree", "unavailable", "elsewhere", "unusable", "spent"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page says: `code` to be scanned, or the masked `name` of who is to agree."""

    state: State
    code: str = field(default="", repr=False)
    name: str = ""


async def look(services: Services, login: Transaction, browser: str) -> Shown:
    """Where it stands after asking the platform, if that is due. Raises LOGIN_CLOSED, LOGIN_DENIED, LOGIN_LIMITED."""
    platform = demand_open(services, login)
    async with login_unit(services) as unit:
        await demand_not_denied(unit, login.request.client_id, login.address)
        answer = await unit.session.get(UpstreamAnswerRow, login.id)
        if answer is not None:
            return await _asking(unit, answer)
        keys = await keys_of(unit.session, services)
        code, is_due = await _code_of(unit, login.id)
    if keys is None:
        return Shown("unavailable")
    try:
        if code is None:
            services.login_limits.demand_code(hash_of_secret(browser).hex(), services.clock())
            return await _drawn(services, login.id, await platform.code(keys))
        named = await platform.holder(keys, code) if is_due else None
    except NationalUnavailableError:
        return Shown("unavailable")
    return Shown("code", code) if named is None else await answered(services, login, named, "code")


async def answered(services: Services, login: Transaction, named: Named, way: Way) -> Shown:
    """Note whom the platform named, once for a log-in."""
    async with login_unit(services) as unit:
        await unit.session.execute(delete(UpstreamCodeRow).where(UpstreamCodeRow.login_id == login.id))
        found = await _in_register(unit, named)
        state: State = "elsewhere"
        if found is not None:
            state = "unusable" if refusal(unit, *found) else "agree"
        detail = {"client": login.request.client_id, "way": way, "state": state, "answer_sm3": named.digest.hex()}
        await unit.audit("login.national", f"login:{login.id}", region=None, detail=detail)
        if found is None or state != "agree":
            return Shown(state)
        row = UpstreamAnswerRow(
            login_id=login.id,
            ecard_no=found[0].ecard_no,
            way=way,
            answer_digest=named.digest,
            claims=[],
            answered_at=unit.now,
            agreed_at=None,
            expires_at=unit.now + ANSWER_TTL,
        )
        if not await add_unless_taken(unit.session, row):
            return Shown("spent")
        return await _asking(unit, row)


async def agree(services: Services, login: Transaction) -> None:
    """The person at the page says so. Raises LOGIN_CLOSED, LOGIN_DENIED, ECARD_NOT_USABLE."""
    demand_open(services, login)
    async with login_unit(services) as unit:
        await demand_not_denied(unit, login.request.client_id, login.address)
        row = await unit.session.get(UpstreamAnswerRow, login.id, with_for_update=ROW_LOCK)
        if row is None or row.agreed_at is not None or row.expires_at <= unit.now:
            raise ProblemError("LOGIN_CLOSED", "nobody is asked to agree", subject=f"login:{login.id}")
        ecard = await unit.session.get_one(EcardRow, row.ecard_no)
        demand_usable(unit, ecard, await unit.session.get_one(CardRow, ecard.card_number))
        if not await end(unit, login.id, "approved"):
            raise ProblemError("LOGIN_CLOSED", "it is over", subject=f"login:{login.id}")
        row.claims, row.agreed_at = list(claims_of(login.request)), unit.now
        row.expires_at = unit.now + APPROVAL_TTL
        detail = {"client": login.request.client_id, "claims": row.claims}
        await unit.audit("login.agree", f"ecard:{row.ecard_no}", region=None, detail=detail)


def demand_open(services: Services, login: Transaction) -> NationalPlatform:
    """Raises LOGIN_CLOSED where this log-in has no such way, or has left it."""
    platform = services.national
    if platform is None or login.stage != "open" or not is_open(services, login.request.acr_values, ACR_NATIONAL):
        raise ProblemError("LOGIN_CLOSED", f"it is {login.stage}", subject=f"login:{login.id}")
    return platform


async def demand_keys(services: Services) -> PlatformKeys:
    """Raises LOGIN_NATIONAL_UNAVAILABLE without any."""
    async with login_unit(services, is_reading=True) as unit:
        keys = await keys_of(unit.session, services)
    if keys is None:
        raise ProblemError("LOGIN_NATIONAL_UNAVAILABLE", "no keys of the platform")
    return keys


async def _code_of(unit: Unit, login_id: str) -> tuple[str | None, bool]:
    """The code that is on the page, and whether the platform is to be asked about it now, by whoever hears so."""
    row = await unit.session.get(UpstreamCodeRow, login_id)
    if row is None or row.expires_at <= unit.now:
        return None, False
    code = str(unit.services.sealer.unseal(row.sealed_code, code_context(login_id)))
    taken = (
        update(UpstreamCodeRow)
        .where(UpstreamCodeRow.login_id == login_id, UpstreamCodeRow.asked_at <= unit.now - PAUSE)
        .values(asked_at=unit.now)
        .returning(UpstreamCodeRow.login_id)
    )
    return code, (await unit.session.execute(taken)).scalar_one_or_none() is not None


async def _drawn(services: Services, login_id: str, code: str) -> Shown:
    """The new code, or the one that another page of this log-in got meanwhile."""
    async with login_unit(services) as unit:
        is_over = (UpstreamCodeRow.login_id == login_id, UpstreamCodeRow.expires_at <= unit.now)
        await unit.session.execute(delete(UpstreamCodeRow).where(*is_over))
        row = UpstreamCodeRow(
            login_id=login_id,
            sealed_code=services.sealer.seal(code, code_context(login_id)),
            asked_at=unit.now,
            expires_at=unit.now + CODE_TTL,
        )
        if not await add_unless_taken(unit.session, row):
            code = (await _code_of(unit, login_id))[0] or code
    return Shown("code", code)


async def _in_register(unit: Unit, named: Named) -> tuple[EcardRow, CardRow] | None:
    """None for an electronic card of another centre."""
    try:
        return await ConsentRepository(unit.session).card_of(named.essc_no.lower())
    except ProblemError:
        return None


async def _asking(unit: Unit, row: UpstreamAnswerRow) -> Shown:
    if row.agreed_at is not None or row.expires_at <= unit.now:
        return Shown("spent")
    person_id = await unit.session.scalar(select(EcardRow.person_id).where(EcardRow.ecard_no == row.ecard_no))
    person = await PersonRepository(unit.session, unit.services.sealer).data(str(person_id))
    return Shown("agree", name=mask_name(person.name))


def code_context(login_id: str) -> str:
    return f"login_upstream_codes:{login_id}"
