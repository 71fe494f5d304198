"""What a holder's log-ins told to whom: kept for the holder, who sees them among the uses of the card."""

from __future__ import annotations

import uuid

from issuance.login.provider_models import LoginUseRow
from issuance.login.seam import Subject
from issuance.login.unit import LoginUnit


def record_use(unit: LoginUnit, client_id: str, subject: Subject) -> None:
    """In the unit that gives the log-in to the relying party."""
    unit.later(
        LoginUseRow,
        use_id=uuid.uuid4().hex,
        card_number=subject.card_number,
        sign_no=subject.sign_no or None,
        client_id=client_id,
        items=sorted(subject.claims),
        acr=subject.acr,
        at=unit.now,
    )
