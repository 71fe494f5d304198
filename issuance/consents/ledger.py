"""Live consents: the only key to what is known about a holder (`issuance.consents.disclosure`).

`LiveConsent` cannot be made elsewhere, copied or used for a second answer. It comes from a consent that the holder
signed (`demand`), or from a code that the holder just showed: one of ours (`of_code`), or one of another platform,
which said whose it is (`of_translation`).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from hsm.api import BadInputError
from hsm.primitives import decompress, default_engine
from issuance.consents.catalogue import ITEMS_OF_SCENE
from issuance.consents.models import ConsentRow, ConsentUseRow
from issuance.consents.repository import ConsentRepository
from issuance.consents.text import Terms, in_order
from issuance.ecards.usability import demand_usable
from issuance.one_time import Claim, Outcome
from issuance.problems import ProblemError
from issuance.unit import Unit

if TYPE_CHECKING:
    from issuance.recognition.platforms import Translation

_MAKER: Final = object()


class ShownEcard(Protocol):
    @property
    def ecard_no(self) -> str: ...
    @property
    def person_id(self) -> str: ...
    @property
    def card_number(self) -> str: ...


class LiveConsent:
    """For one answer to one recipient about one holder; `items` is what may be in it."""

    __slots__ = ("_is_spent", "card_number", "ecard_no", "items", "person_id")

    def __init__(self, maker: object, ecard: ShownEcard, items: Iterable[str]) -> None:
        if maker is not _MAKER:
            raise TypeError("a live consent is made by ConsentService alone")
        self.ecard_no, self.person_id, self.card_number = ecard.ecard_no, ecard.person_id, ecard.card_number
        self.items = frozenset(items)
        self._is_spent = False

    def spend(self, items: frozenset[str]) -> None:
        """Raises CONSENT_ITEMS for more than is allowed, CONSENT_REQUIRED when an answer was given already."""
        if self._is_spent:
            raise ProblemError("CONSENT_REQUIRED", "a live consent is good for one answer", subject=self._subject)
        if not items <= self.items:
            raise ProblemError("CONSENT_ITEMS", f"not allowed: {_names(items - self.items)}", subject=self._subject)
        self._is_spent = True

    @property
    def _subject(self) -> str:
        return f"ecard:{self.ecard_no}"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a live consent is neither copied nor stored")


class ConsentService:
    """For the verifier's side of the unit."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._consents = ConsentRepository(unit.session)

    async def demand(self, consent_id: str, purpose: str, items: Iterable[str]) -> tuple[LiveConsent, ConsentRow]:
        """The live consent of the caller, entered as used.

        Raises NOT_FOUND (missing or another recipient's), CONSENT_REQUIRED, CONSENT_REVOKED, CONSENT_EXPIRED,
        CONSENT_PURPOSE, CONSENT_ITEMS, ECARD_NOT_USABLE.
        """
        unit, subject = self._unit, f"consent:{consent_id}"
        row = await self._consents.get(consent_id, is_locking=True)
        if row is None or row.client_id != unit.caller.client_id:
            raise ProblemError("NOT_FOUND", "no such consent", subject=subject)
        demand_state(unit, row)
        terms = terms_of(unit, row)
        demand_signed(row, terms)
        if not hmac.compare_digest(terms.purpose.encode(), purpose.encode()):
            raise ProblemError("CONSENT_PURPOSE", "the holder consented to another purpose", subject=subject)
        wanted = frozenset(items)
        if not wanted <= frozenset(terms.items):
            names = _names(wanted - frozenset(terms.items))
            raise ProblemError("CONSENT_ITEMS", f"not allowed: {names}", subject=subject)
        ecard, card = await self._consents.card_of(row.ecard_no)
        demand_usable(unit, ecard, card)
        row.uses += 1
        ordered = list(in_order(wanted))
        unit.session.add(ConsentUseRow(consent_id=row.id, at=unit.now, items=ordered))
        await enter(unit, row, "use", items=ordered)
        return LiveConsent(_MAKER, ecard, wanted), row

    @staticmethod
    def of_code(claim: Claim, ecard: ShownEcard, scene: str, items: Iterable[str]) -> LiveConsent:
        """Of a code that was claimed just now; the record of it is the caller's. Raises CONSENT_ITEMS."""
        if claim.outcome not in (Outcome.FIRST, Outcome.AGAIN):
            raise TypeError(f"a code that is {claim.outcome} is no consent")
        return _of_scene(ecard, scene, items)

    @staticmethod
    def of_translation(answer: Translation, ecard: ShownEcard, scene: str, items: Iterable[str]) -> LiveConsent:
        """Of another platform's code, which that platform has just spent. Raises CONSENT_ITEMS."""
        if answer.essc_no is None or not hmac.compare_digest(answer.essc_no, ecard.ecard_no):
            raise TypeError("the platform did not name this holder")
        return _of_scene(ecard, scene, items)


def _of_scene(ecard: ShownEcard, scene: str, items: Iterable[str]) -> LiveConsent:
    wanted = frozenset(items)
    more = wanted - ITEMS_OF_SCENE[scene]
    if more:
        raise ProblemError(
            "CONSENT_ITEMS", f"a code for {scene} does not open {_names(more)}", subject=f"ecard:{ecard.ecard_no}"
        )
    return LiveConsent(_MAKER, ecard, wanted)


# -- what both sides need ---------------------------------------------------------------------------------------------


def demand_state(unit: Unit, row: ConsentRow) -> None:
    """Raises CONSENT_REQUIRED, CONSENT_REVOKED, CONSENT_EXPIRED."""
    subject = f"consent:{row.id}"
    if row.state in ("waiting", "refused"):
        raise ProblemError("CONSENT_REQUIRED", f"the request is {row.state}", subject=subject)
    if row.state == "revoked":
        raise ProblemError("CONSENT_REVOKED", "the holder has revoked it", subject=subject)
    if unit.now >= row.ends_at:
        raise ProblemError("CONSENT_EXPIRED", "its period is over", subject=subject)


def terms_of(unit: Unit, row: ConsentRow) -> Terms:
    """What the row says now, with the sealed words. Raises CONSENT_EXPIRED when these are forgotten."""
    if row.sealed_terms is None:
        raise ProblemError("CONSENT_EXPIRED", "its words are forgotten", subject=f"consent:{row.id}")
    words: dict[str, Any] = unit.services.sealer.unseal(row.sealed_terms, consent_context(row.id))
    return Terms(
        consent_id=row.id,
        centre=words["centre"],
        ecard_no=row.ecard_no,
        client_id=row.client_id,
        recipient=words["recipient"],
        purpose=words["purpose"],
        explanation=words["explanation"],
        items=tuple(row.items),
        begins_at=row.asked_at,
        ends_at=row.ends_at,
    )


def demand_signed(row: ConsentRow, terms: Terms) -> None:
    """The holder's signature must cover what the row says now: whoever changes a row has no consent."""
    text = terms.text().encode()
    is_same = hmac.compare_digest(default_engine().sm3(text), row.text_digest)
    if not is_same or not is_signed(row.public_key, text, row.signature):
        raise ProblemError("CONSENT_REQUIRED", "no signature of the holder covers it", subject=f"consent:{row.id}")


def is_signed(public_key: bytes | None, text: bytes, signature: bytes | None) -> bool:
    """SM2, default user id; `public_key` is a compressed point."""
    if public_key is None or signature is None or len(signature) != 64:
        return False
    try:
        return default_engine().sm2_verify(decompress(public_key), text, signature)
    except BadInputError:
        return False


async def enter(unit: Unit, row: ConsentRow, act: str, **detail: Any) -> None:
    """An audit entry with its number, so that whoever holds all of them sees when one is missing."""
    row.entries += 1
    await unit.session.flush()
    await unit.audit(f"consent.{act}", f"consent:{row.id}", region=row.region, detail={"number": row.entries} | detail)


def consent_context(consent_id: str) -> str:
    return f"consents:{consent_id}"


def _names(items: Iterable[str]) -> str:
    return ", ".join(sorted(items))
