"""What a card is given: written on the chip, printed on its face, and shown on the screen when it is done."""

from __future__ import annotations

import base64
from typing import Any

from cardlib.personalization import PersonalizationOrder
from cardlib.spec import Generation
from cardlib.wire import CardFace, PrintOrder
from issuance.applications.models import ApplicationRow, ReturnRow
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.photos.service import PhotoService
from issuance.problems import ProblemError
from issuance.sessions.models import CardSessionRow
from issuance.unit import Unit

SEED_BYTES = 16


async def personalization_order(
    unit: Unit, row: ApplicationRow, items: dict[str, dict[str, Any]], reset: bytes
) -> PersonalizationOrder:
    """Raises APPLICATION_STATE while number and dates are not reserved."""
    person = await PersonRepository(unit.session, unit.services.sealer).data(row.person_id)
    if row.card_number is None or row.issue_date is None or row.expiry_date is None:
        raise ProblemError("APPLICATION_STATE", "nothing is reserved", application_id=row.id)
    return PersonalizationOrder(
        seed=unit.services.keys.random(SEED_BYTES),
        generation=Generation(row.generation),
        region=row.region,
        reset_information=reset,
        card_number=row.card_number,
        institution=unit.services.rules.pack(row.region).institution,
        issue_date=f"{row.issue_date:%Y%m%d}",
        expiry_date=f"{row.expiry_date:%Y%m%d}",
        card_class=row.card_class,
        items=items,
        **person.card_fields(),
    )


async def print_order(
    unit: Unit, session: CardSessionRow, application: ApplicationRow, returned: ReturnRow
) -> PrintOrder:
    """For the sequence the session awaits. The same card keeps its job id: it is printed once."""
    person = await PersonRepository(unit.session, unit.services.sealer).data(application.person_id)
    photo = None
    if application.photo_id is not None:
        photo = base64.b64encode(await PhotoService(unit).jpeg(application.photo_id)).decode()
    return PrintOrder(
        session_id=session.id,
        sequence=session.sequence,
        job_id=returned.print_job,
        face=CardFace(
            name=person.name,
            social_security_number=person.social_security_number,
            card_number=returned.card_number,
            issuer=unit.services.rules.pack(application.region).issuer.name,
            issue_date=f"{application.issue_date:%Y%m%d}",
            expiry_date=f"{application.expiry_date:%Y%m%d}",
            photo_base64=photo,
        ),
        step=session.sequence,
        steps=session.sequence,
        text_zh="打印卡面",
        text_en="Printing the card",
    )


async def facts_of(unit: Unit, row: ApplicationRow, ecard_no: str) -> dict[str, str]:
    """Of an issued card, masked for the screen."""
    view = masked(await PersonRepository(unit.session, unit.services.sealer).data(row.person_id))
    return {
        "card_number": row.card_number or "",
        "ecard_no": ecard_no,
        "name": view.name,
        "social_security_number": view.social_security_number,
        "issue_date": f"{row.issue_date:%Y%m%d}",
        "expiry_date": f"{row.expiry_date:%Y%m%d}",
    }
