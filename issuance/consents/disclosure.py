"""The one place where a verifier's answer gets what is known about a holder; the key to it is a `LiveConsent`.

Outside `disclose` the session of a verifier reads no row about a person (`issuance.consents.gate`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from sqlalchemy import select

from issuance.bank.models import AccountRow
from issuance.cards.models import CardRow
from issuance.consents.catalogue import CATALOGUE, Item
from issuance.consents.gate import person_data_opened
from issuance.consents.ledger import LiveConsent
from issuance.persons.models import PersonRow
from issuance.persons.repository import person_context
from issuance.photos.models import PhotoRow
from issuance.privacy.masks import mask
from issuance.scope import unscoped
from issuance.sealing import Sealer
from issuance.unit import Unit

Values = dict[str, str | None]
"""By name of the item; None where nothing is known."""


class ShownCard(Protocol):
    @property
    def card_number(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def state(self) -> str: ...


def disclosed(
    sealer: Sealer, consent: LiveConsent, *, person: bytes | None, card: ShownCard, items: Iterable[str]
) -> Values:
    """Items of rows that were read already: `person` is `persons.sealed` of the consent's holder.

    Raises CONSENT_ITEMS, and SealedDataError for the row of anybody else; TypeError for what is no consent or for items
    of other tables.
    """
    wanted = _begun(consent, items)
    if card.card_number != consent.card_number:
        raise TypeError("the card is another holder's")
    held: dict[str, Any] = {"cards": card}
    if any(item.source == "persons.sealed" for item in wanted):
        if person is None:
            raise TypeError("the row of the holder is missing")
        held["persons.sealed"] = sealer.unseal(person, person_context(consent.person_id))
    return {item.name: _value(item, held) for item in wanted}


async def disclose(unit: Unit, consent: LiveConsent, items: Iterable[str]) -> Values:
    """As `disclosed`, with rows that are read for it, and items of every table."""
    wanted = _begun(consent, items)
    with person_data_opened(unit.session), unscoped(unit.session, why="a verifier honours cards from everywhere"):
        held = {source: await _read(unit, consent, source) for source in {_place(item) for item in wanted}}
    return {item.name: _value(item, held) for item in wanted}


def _begun(consent: LiveConsent, items: Iterable[str]) -> list[Item]:
    if type(consent) is not LiveConsent:
        raise TypeError("personal data is disclosed on a live consent only")
    names = frozenset(items)
    consent.spend(names)
    return [item for item in CATALOGUE.values() if item.name in names]


def _place(item: Item) -> str:
    """Sealed columns are read one by one, open ones with their row."""
    table, _, column = item.source.partition(".")
    return item.source if column.startswith("sealed") else table


async def _read(unit: Unit, consent: LiveConsent, place: str) -> Any:
    session, sealer = unit.session, unit.services.sealer
    if place == "cards":
        return await session.get_one(CardRow, consent.card_number)
    if place == "persons.sealed":
        sealed = await session.scalar(select(PersonRow.sealed).where(PersonRow.id == consent.person_id))
        return {} if sealed is None else sealer.unseal(sealed, person_context(consent.person_id))
    if place == "photos.sealed_jpeg":
        newest = select(PhotoRow).where(PhotoRow.person_id == consent.person_id).order_by(PhotoRow.created_at.desc())
        photo = await session.scalar(newest.limit(1))
        if photo is None:
            return None
        return sealer.unseal(photo.sealed_jpeg, f"photos:{photo.id}")  # base64 already
    account = await session.get(AccountRow, consent.card_number)
    if place == "card_accounts" or account is None or account.sealed_account is None:
        return account if place == "card_accounts" else None
    return sealer.unseal(account.sealed_account, f"card_accounts:{account.card_number}")


def _value(item: Item, held: dict[str, Any]) -> str | None:
    place = _place(item)
    if place not in held:
        raise TypeError(f"{item.name} is not of a row that was read")
    value = held[place]
    if item.field:
        value = value.get(item.field)
    elif place != item.source:
        value = None if value is None else getattr(value, item.source.partition(".")[2])
    if value is None:
        return None
    return mask(item.field, str(value)) if item.is_masked else str(value)
