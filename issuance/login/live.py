"""Grants as they are at this moment, each with the state of all that decides about its use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from issuance.cards.models import CardRow
from issuance.ecards.models import EcardRow
from issuance.login.models import GrantRow, RelyingPartyRow
from issuance.persons.models import PersonRow
from issuance.unit import Unit


@dataclass(frozen=True, slots=True)
class LiveGrant:
    """`GrantRow` with states: `ecard_state` is None where `ecard_no` is; `status` is that of the relying party."""

    id: str
    client_id: str
    card_number: str
    ecard_no: str | None
    scope: str
    claims: list[str]
    acr: str
    amr: list[str]
    nonce: str
    auth_time: datetime
    ends_at: datetime
    revoked_at: datetime | None
    status: str
    sector: str
    party_scopes: list[str]
    person_id: str
    card_state: str
    card_expires: date
    region: str
    ecard_state: str | None

    def is_of(self, client_id: str, now: datetime) -> bool:
        """Whether it counts for this client, its relying party aside: neither revoked nor over."""
        return self.client_id == client_id and self.revoked_at is None and self.ends_at > now


_OWN: Final = [getattr(GrantRow, one.name) for one in fields(LiveGrant)[:12]]
_ALL: Final[Select[*tuple[Any, ...]]] = (
    select(
        *_OWN,
        *(RelyingPartyRow.status, RelyingPartyRow.sector, RelyingPartyRow.scopes),
        *(CardRow.person_id, CardRow.state, CardRow.expiry_date, CardRow.region),
        EcardRow.state,
    )
    .join(RelyingPartyRow, RelyingPartyRow.id == GrantRow.client_id)
    .join(CardRow, CardRow.card_number == GrantRow.card_number)
    .outerjoin(EcardRow, EcardRow.ecard_no == GrantRow.ecard_no)
)
_ONE: Final = _ALL.where(GrantRow.id == bindparam("grant_id"))
_SOME: Final = _ALL.where(GrantRow.id.in_(bindparam("grant_ids", expanding=True)))
_WITH_PERSONS: Final = _SOME.add_columns(PersonRow.sealed).join(PersonRow, PersonRow.id == CardRow.person_id)


def live_grant(session: Session, grant_id: str, client_id: str, unit: Unit) -> LiveGrant | None:
    """Of this client, neither revoked nor over."""
    row = session.execute(_ONE, {"grant_id": grant_id}).one_or_none()
    grant = None if row is None else LiveGrant(*row)
    return grant if grant is not None and grant.is_of(client_id, unit.now) else None


def live_grants(session: Session, grant_ids: Sequence[str]) -> dict[str, LiveGrant]:
    """Whatever their state, by their ids."""
    rows = session.execute(_SOME, {"grant_ids": sorted(set(grant_ids))})
    return {row.id: LiveGrant(*row) for row in rows}


async def grants_with_persons(unit: Unit, grant_ids: Sequence[str]) -> dict[str, tuple[LiveGrant, bytes]]:
    """Whatever their state, each with the sealed data of its holder, as `grant:` and its id."""
    rows = await unit.session.execute(_WITH_PERSONS, {"grant_ids": sorted(set(grant_ids))})
    return {f"grant:{own[0]}": (LiveGrant(*own), sealed) for *own, sealed in rows}
