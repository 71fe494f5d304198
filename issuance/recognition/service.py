"""Recognising a code: by its form, then, where its platform can be asked, by whose it is.

Our own codes are told apart and left alone: they are spent where they are validated. What another platform translates
is a code that the holder showed and that was spent there, so it counts as consent to what its scene shows.
"""

from __future__ import annotations

import secrets
from typing import Final

from cardlib.city_code import CityCode
from hsm.primitives import default_engine
from issuance.cards.models import CardRow
from issuance.cards.schemas import CardState
from issuance.codes.models import EcardUseRow
from issuance.codes.schemas import Scene
from issuance.consents.catalogue import SHOWN_IN_SCENE
from issuance.consents.disclosure import disclose
from issuance.consents.ledger import ConsentService
from issuance.consents.repository import ConsentRepository
from issuance.database import insert_new
from issuance.ecards.models import EcardRow
from issuance.ecards.usability import demand_usable
from issuance.problems import ProblemError
from issuance.recognition.families import Family, family_of
from issuance.recognition.platforms import Outcome, Translation
from issuance.recognition.schemas import RecognisedCode, RecognisedHolder, RecognitionRequest, Result
from issuance.unit import Desk, Unit

_UNKNOWN: Final = RecognisedCode(
    kind="unknown",
    family=None,
    name_zh="不认识的码",
    name_en="unknown code",
    owner_zh="不知道",
    owner_en="Not known",
    works_zh="不知道",
    works_en="Not known",
    advice_zh="请持卡人出示电子社保卡，或出示实体卡",
    advice_en="Ask for the electronic card, or for the card itself",
    result="unknown",
)


async def recognise(desk: Desk, request: RecognitionRequest) -> RecognisedCode:
    """Raises CLIENT_FORBIDDEN, and ECARD_NOT_USABLE for the holder of a card that cannot be used."""
    async with desk.ahead():
        _demand_scene(desk, request.scene)
        family = family_of(request.code)
        if family is None:
            return _UNKNOWN
        if family.is_ours:
            return _told(family, "not_asked")
        result = _known_before(desk, family, request.code)
        if result is not None:
            return _told(family, result)
        platform = desk.services.code_platforms.get(family.name)
        if platform is None:
            return _told(family, "not_asked")
        answer = await platform.ask(family, request.code, request.scene)
    async with desk.unit() as unit:
        return await _answered(unit, family, answer, request)


def _demand_scene(desk: Desk, scene: Scene) -> None:
    allowed = desk.caller.scenes
    if allowed is not None and scene.value not in allowed:
        raise ProblemError("CLIENT_FORBIDDEN", f"this client is not registered for codes of {scene}")


def _known_before(desk: Desk, family: Family, code: str) -> Result | None:
    """What the code itself tells, so that nobody has to be asked."""
    if family.parser != "city_code":
        return None
    city = CityCode.parse(code)
    if not city.is_valid_at(desk.services.clock()):
        return "expired"
    return None if city.kind is None or city.kind.name == "person" else "not_a_person"


async def _answered(unit: Unit, family: Family, answer: Translation, request: RecognitionRequest) -> RecognisedCode:
    result: Result = answer.outcome.value
    holder, subject, region = None, "", unit.caller.region
    found = await _named(unit, answer)
    if answer.outcome is Outcome.HOLDER and found is None:
        result = "elsewhere"
    elif found is not None and not await _is_first_use(unit, found[0], request):
        result = "used"
    elif found is not None:
        ecard, card = found
        demand_usable(unit, ecard, card)
        holder = await _shown(unit, answer, ecard, request.scene)
        subject, region = f"ecard:{ecard.ecard_no}", card.region
    detail = {"family": family.name, "scene": request.scene.value, "result": result}
    await unit.audit("code.recognise", subject, region=region, detail=detail)
    return _told(family, result, holder)


async def _named(unit: Unit, answer: Translation) -> tuple[EcardRow, CardRow] | None:
    """The holder that the platform named, where the electronic card is of this centre."""
    if answer.essc_no is None:
        return None
    try:
        return await ConsentRepository(unit.session).card_of(answer.essc_no)
    except ProblemError:
        return None


async def _is_first_use(unit: Unit, ecard: EcardRow, request: RecognitionRequest) -> bool:
    """Into the holder's record of uses, which takes a code once whatever its platform says."""
    row = {
        "code_digest": default_engine().sm3(request.code.encode()),
        "use_id": secrets.token_hex(16),
        "ecard_no": ecard.ecard_no,
        "sign_no": None,
        "scene": request.scene.value,
        "act": "recognise",
        "client_id": unit.caller.client_id,
        "amount_fen": None,
        "at": unit.now,
        "request_digest": None,
    }
    return bool(await insert_new(unit.session, EcardUseRow, [row]))


async def _shown(unit: Unit, answer: Translation, ecard: EcardRow, scene: Scene) -> RecognisedHolder:
    items = SHOWN_IN_SCENE[scene]
    consent = ConsentService.of_translation(answer, ecard, scene, items)
    values = await disclose(unit, consent, items)
    state = values.get("card_state")
    return RecognisedHolder(
        ecard_no=ecard.ecard_no,
        name=values.get("name_masked"),
        region=values.get("region"),
        card_state=None if state is None else CardState(state),
    )


def _told(family: Family, result: Result, holder: RecognisedHolder | None = None) -> RecognisedCode:
    return RecognisedCode(
        kind="own" if family.is_ours else "foreign",
        family=family.name,
        name_zh=family.zh,
        name_en=family.en,
        owner_zh=family.owner_zh,
        owner_en=family.owner_en,
        works_zh=family.works_zh,
        works_en=family.works_en,
        advice_zh=family.advice_zh,
        advice_en=family.advice_en,
        result=result,
        holder=holder,
    )
