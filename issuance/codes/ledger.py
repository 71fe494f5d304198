"""What a code stands for now, and the record of its use: one reading and one writing transaction for many at once."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from issuance.audit.repository import AuditRepository
from issuance.audit.seal import AuditSeal
from issuance.bank.models import AccountRow
from issuance.cards.models import CardRow
from issuance.clients.models import ClientRow
from issuance.codes.models import EcardUseRow
from issuance.codes.text import ShownCode
from issuance.database import Database, insert_new
from issuance.ecards.models import EcardRow, FamilyRow, LinkRow
from issuance.one_time import Claim, Claiming, OneTimeStore
from issuance.persons.models import PersonRow
from issuance.scope import EVERYWHERE
from issuance.together import Together

_GROUPS: Final = 2
"""While one waits for the database's disk, the next is at work."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who shows the code of a family member, with the own card: whoever may not use that shows nobody's code."""

    ecard_state: str
    state: str
    region: str
    password_locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A card, its electronic card and the phone that showed the code, as they are now. `sealed_person` is the row's;
    `asker` is there when the phone is a family member's."""

    ecard_no: str
    ecard_state: str
    level: int
    password_locked_until: datetime | None
    person_id: str
    card_number: str
    state: str
    region: str
    account_state: str | None
    sealed_person: bytes = field(repr=False)
    link_state: str
    channel_state: str
    family_state: str
    asker: Asker | None = None

    @property
    def level_now(self) -> int:
        """签发等级 that counts: 2 only while the account of the card is active."""
        return 2 if self.level == 2 and self.account_state == "active" else 1


@dataclass(frozen=True, slots=True)
class Use:
    """An acceptance to be recorded, with its audit entry."""

    row: dict[str, Any]
    entry: dict[str, Any]

    @property
    def digest(self) -> bytes:
        digest: bytes = self.row["code_digest"]
        return digest


@dataclass(frozen=True, slots=True)
class Recorded:
    """`at` is the moment of the first acceptance; `is_ours`: it was this very request that was accepted then."""

    at: datetime
    is_new: bool
    is_ours: bool


class UseLedger:
    """A verifier honours cards from everywhere, so both transactions see every region."""

    def __init__(self, database: Database, seal: AuditSeal, store: OneTimeStore) -> None:
        self._database = database
        self._seal = seal
        self.claim: Together[Claiming, Claim] = Together(store.claim_all)
        self.standing: Together[ShownCode, Standing | None] = Together(self._stand, _GROUPS)
        self.record: Together[Use, Recorded] = Together(self._record, _GROUPS)

    async def _stand(self, codes: Sequence[ShownCode]) -> list[Standing | None]:
        async with self._database.look(scope=EVERYWHERE) as session:
            own = await _own(session, {code.sign_no for code in codes if not code.family_id})
            shown = {code.family_id for code in codes if code.family_id}
            families = await _of_members(session, shown) if shown else {}
        return [
            families.get((code.sign_no, code.family_id)) if code.family_id else own.get(code.sign_no) for code in codes
        ]

    async def _record(self, uses: Sequence[Use]) -> list[Recorded]:
        """Of two uses of one code in a group the first wins, as it would have in two transactions."""
        first: dict[bytes, Use] = {}
        for use in uses:
            first.setdefault(use.digest, use)
        async with self._database.transaction(scope=EVERYWHERE) as session:
            new = {row[0] for row in await insert_new(session, EcardUseRow, [first[key].row for key in sorted(first)])}
            await AuditRepository(session, self._seal).add_all([first[digest].entry for digest in sorted(new)])
            taken = {digest: (use.row["at"], use.row["request_digest"]) for digest, use in first.items()}
            taken |= await _accepted(session, first.keys() - new)
        return [
            Recorded(
                at=taken[use.digest][0],
                is_new=use is first[use.digest] and use.digest in new,
                is_ours=hmac.compare_digest(taken[use.digest][1] or b"", use.row["request_digest"]),
            )
            for use in uses
        ]


async def _accepted(session: AsyncSession, digests: Collection[bytes]) -> dict[bytes, tuple[datetime, bytes | None]]:
    if not digests:
        return {}
    query = select(EcardUseRow.code_digest, EcardUseRow.at, EcardUseRow.request_digest)
    rows = await session.execute(query.where(EcardUseRow.code_digest.in_(digests)))
    return {row[0]: (row[1], row[2]) for row in rows}


_COLUMNS: Final = (
    EcardRow.ecard_no,
    EcardRow.state,
    EcardRow.level,
    EcardRow.password_locked_until,
    EcardRow.person_id,
    CardRow.card_number,
    CardRow.state,
    CardRow.region,
    AccountRow.state,
    PersonRow.sealed,
    LinkRow.state,
    ClientRow.status,
)
"""In the order of `Standing`, whose last fields are the state of the family link and the asker."""
_PhoneEcard, _PhoneCard = aliased(EcardRow), aliased(CardRow)
_ASKER: Final = (_PhoneEcard.state, _PhoneCard.state, _PhoneCard.region, _PhoneEcard.password_locked_until)
"""In the order of `Asker`."""


def _with_cards(query: Any) -> Any:
    return (
        query.join(CardRow, CardRow.card_number == EcardRow.card_number)
        .join(PersonRow, PersonRow.id == EcardRow.person_id)
        .outerjoin(AccountRow, AccountRow.card_number == EcardRow.card_number)
        .join(ClientRow, ClientRow.id == LinkRow.client_id)
    )


_OWN: Final = _with_cards(
    select(LinkRow.sign_no, *_COLUMNS, literal("active")).join(EcardRow, EcardRow.ecard_no == LinkRow.ecard_no)
).where(LinkRow.sign_no.in_(bindparam("sign_nos", expanding=True)))
_OF_MEMBERS: Final = _with_cards(
    select(LinkRow.sign_no, FamilyRow.id, *_ASKER, *_COLUMNS, FamilyRow.state)
    .join(FamilyRow, FamilyRow.ecard_no == LinkRow.ecard_no)
    .join(_PhoneEcard, _PhoneEcard.ecard_no == LinkRow.ecard_no)
    .join(_PhoneCard, _PhoneCard.card_number == _PhoneEcard.card_number)
    .join(EcardRow, EcardRow.ecard_no == FamilyRow.member_no)
).where(FamilyRow.id.in_(bindparam("families", expanding=True)))


async def _own(session: AsyncSession, sign_nos: set[str]) -> dict[str, Standing]:
    """By link, of codes for the holder's own card."""
    if not sign_nos:
        return {}
    rows: Any = await session.execute(_OWN, {"sign_nos": list(sign_nos)})
    return {row[0]: Standing(*row[1:]) for row in rows}


async def _of_members(session: AsyncSession, families: set[str]) -> dict[tuple[str, str], Standing]:
    """By link and family link, of codes for a member's card."""
    rows: Any = await session.execute(_OF_MEMBERS, {"families": list(families)})
    split = 2 + len(_ASKER)
    return {(row[0], row[1]): replace(Standing(*row[split:]), asker=Asker(*row[2:split])) for row in rows}
