"""一卡一人一档: what the service knows about one holder, put together; every reading is recorded with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from issuance.applications.models import ApplicationRow
from issuance.audit.models import AuditRow
from issuance.bank.accounts import Accounts
from issuance.bank.models import AccountRow
from issuance.cards.machine import STATE_NAMES, CardState, Transition, machines
from issuance.cards.models import CardEventRow
from issuance.cards.repository import CardRepository
from issuance.codes.models import EcardUseRow
from issuance.ecards.models import EcardRow, LinkRow
from issuance.ecards.repository import LinkRepository
from issuance.person_file.repository import LIMITS, FileRepository
from issuance.person_file.schemas import (
    FileAccount,
    FileApplication,
    FileCard,
    FileDocument,
    FileEcard,
    FileEntry,
    FileEvent,
    FileFound,
    FileLink,
    FileLoss,
    FileOrder,
    FileUse,
    PersonFile,
)
from issuance.persons.repository import PersonRepository
from issuance.persons.schemas import PersonData
from issuance.persons.service import masked
from issuance.photos.models import PhotoRow
from issuance.privacy.masks import mask
from issuance.problems import ProblemError
from issuance.terminals.models import CardUseRow
from issuance.unit import Unit

_LOSSES: Final = frozenset({"lose", "lose_temporarily"})
_OTHER_WORDS: Final = {
    ("social", "issue"): ("发卡", "issue"),
    ("social", "replacement"): ("申请补换卡", "ask for a replacement"),
    ("social", "renewal"): ("申请到期换卡", "ask for a renewal"),
    ("financial", "adopt"): ("银行更新了账户状态", "the bank changed the account's state"),
    ("financial", "reopen"): ("重新申请开户", "ask for the account again"),
    ("chip", "change"): ("变更信息", "change the holder's data"),
    ("chip", "rewrite"): ("把变更写进卡里", "write the changes into the card"),
    ("chip", "pin_reset"): ("重设密码", "set a new PIN"),
    ("chip", "pin_unblock"): ("解开被锁的密码", "unblock the PIN"),
    ("ecard", "suspend"): ("电子社保卡停用", "suspend the electronic card"),
    ("ecard", "restore"): ("电子社保卡恢复", "restore the electronic card"),
    ("ecard", "cancel"): ("电子社保卡注销", "cancel the electronic card"),
    ("ecard", "move"): ("电子社保卡转到新卡", "move the electronic card to the new card"),
    ("ecard", "authorise"): ("同意挂失期间继续用电子社保卡", "go on with the electronic card after a loss"),
    ("found", "register"): ("拾获登记", "handed in"),
    ("found", "returned"): ("拾获卡交还", "handed back"),
    ("found", "destroyed"): ("拾获卡销毁", "destroyed"),
}
Item = TypeVar("Item")


class PersonFileService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._rows = FileRepository(unit.session, unit.caller.region_prefix)
        self._cut: list[str] = []

    async def read(self, order: FileOrder) -> PersonFile:
        """Raises NOT_FOUND for whom the caller's regions know neither card nor application."""
        person_id = await self._rows.owner(*order.subject.split(":", 1))
        cards = [] if person_id is None else self._kept("cards", await self._rows.cards(person_id))
        applications = [] if person_id is None else self._kept("applications", await self._rows.applications(person_id))
        if person_id is None or not (cards or applications):
            raise ProblemError("NOT_FOUND", "nobody is known by that", subject=order.subject)
        region = cards[0][0].region if cards else applications[0][0].region
        await self._unit.audit("person.file", f"person:{person_id}", region=region, reason=order.reason)
        return await self._file(person_id, cards, applications)

    async def _file(self, person_id: str, cards: list[Any], applications: list[Any]) -> PersonFile:
        unit = self._unit
        person = await PersonRepository(unit.session, unit.services.sealer).data(person_id)
        numbers = [row[0].card_number for row in cards]
        events = self._kept("events", await self._rows.events(numbers))
        end = await CardRepository(unit.session).person_end(person_id)
        return PersonFile(
            person_id=person_id,
            holder=masked(person),
            telephone=None if person.telephone is None else mask("telephone", person.telephone),
            ended=None if end is None else end.reason,
            made_at=unit.now,
            made_by=unit.by,
            cards=await self._cards(cards),
            applications=[_application(row) for row in applications],
            losses=losses_of(events),
            events=[_event(row) for row in events],
            found=await self._found(numbers),
            uses=await self._uses(cards),
            documents=await self._documents(person_id, person),
            audit=await self._audit(person_id, numbers, [row[0] for row in applications]),
            is_cut=self._cut,
        )

    async def _found(self, numbers: Sequence[str]) -> list[FileFound]:
        return [
            FileFound(
                card_number=row.card_number,
                outlet=row.outlet,
                state=row.state,
                found_at=row.found_at,
                ended_at=row.ended_at,
            )
            for row in self._kept("found", await self._rows.found(numbers))
        ]

    async def _uses(self, cards: Sequence[Any]) -> list[FileUse]:
        by_ecard = {row[2].ecard_no: row[0].card_number for row in cards if row[2] is not None}
        by_chip = {row[0].reset_information: row[0].card_number for row in cards}
        codes = await self._rows.used_codes(list(by_ecard))
        uses = [_code_use(row, by_ecard[row.ecard_no]) for row in codes]
        routes = await self._rows.route_uses(list(by_chip))
        uses += [_route_use(row, by_chip[row.subject.partition(":")[2]]) for row in routes]
        uses += [_terminal_use(row) for row in await self._rows.terminal_uses(list(by_chip.values()))]
        return self._kept("uses", sorted(uses, key=lambda use: use.at, reverse=True))

    async def _documents(self, person_id: str, person: PersonData) -> list[FileDocument]:
        photos = self._kept("documents", await self._rows.photos(person_id))
        shown = [_photo(row) for row in photos]
        if person.document is not None:
            number = mask("document_number", person.document.number)
            shown.append(FileDocument(kind=person.document.kind.value, id="", text=number, day=None, by=""))
        return shown

    async def _audit(
        self, person_id: str, numbers: Sequence[str], applications: Sequence[ApplicationRow]
    ) -> list[FileEntry]:
        ids = [row.id for row in applications]
        subjects = [f"person:{person_id}", *(f"card:{n}" for n in numbers), *(f"application:{i}" for i in ids)]
        return [_entry(row) for row in self._kept("audit", await self._rows.audit(subjects, ids))]

    async def _cards(self, cards: Sequence[Any]) -> list[FileCard]:
        ecards = [row[2].ecard_no for row in cards if row[2] is not None]
        links = await LinkRepository(self._unit.session).of(*ecards, is_live=False)
        by_ecard: dict[str, list[FileLink]] = {ecard_no: [] for ecard_no in ecards}
        for link, name, number in links:
            by_ecard[link.ecard_no].append(_link(link, name, number))
        return [self._card(row, [] if row[2] is None else by_ecard[row[2].ecard_no]) for row in cards]

    def _card(self, found: Any, links: list[FileLink]) -> FileCard:
        row, account, ecard, rewrite, retired = found
        return FileCard(
            card_number=row.card_number,
            state=row.state,
            state_name=STATE_NAMES[CardState(row.state)],
            state_since=row.state_since,
            temporary_until=row.temporary_until,
            region=row.region,
            generation=row.generation,
            issue_date=row.issue_date,
            expiry_date=row.expiry_date,
            account=None if account is None else self._account(account),
            ecard=None if ecard is None else _ecard(ecard, links),
            rewrite_pending=rewrite is not None,
            retired_chips=retired,
        )

    def _account(self, row: AccountRow) -> FileAccount:
        return FileAccount(state=row.state, number=Accounts(self._unit).masked_number(row), since=row.since)

    def _kept(self, name: str, rows: Sequence[Item]) -> list[Item]:
        """As many as are shown; a list that was cut says so."""
        if len(rows) > LIMITS[name]:
            self._cut.append(name)
        return list(rows[: LIMITS[name]])


def _ecard(row: EcardRow, links: list[FileLink]) -> FileEcard:
    return FileEcard(ecard_no=row.ecard_no, level=row.level, state=row.state, created_at=row.created_at, links=links)


def _link(row: LinkRow, channel: str, channel_no: str | None) -> FileLink:
    return FileLink(
        channel=channel,
        channel_no=channel_no,
        state=row.state,
        signed_at=row.signed_at,
        ended_at=row.ended_at,
    )


def losses_of(events: Sequence[CardEventRow]) -> list[FileLoss]:
    """Losses of the social security side, from events in the order of the newest first."""
    found: list[FileLoss] = []
    ends: dict[str, CardEventRow] = {}
    for event in events:
        if event.side != "social":
            continue
        if event.act in _LOSSES:
            found.append(_loss(event, ends.get(event.card_number)))
        if event.old_state != event.new_state:
            ends[event.card_number] = event
    return found


def _loss(event: CardEventRow, end: CardEventRow | None) -> FileLoss:
    text_zh, text_en = words_of(event)
    end_zh, end_en = ("", "") if end is None else words_of(end)
    return FileLoss(
        card_number=event.card_number,
        kind=event.act,
        text_zh=text_zh,
        text_en=text_en,
        reported_at=event.at,
        reported_by=event.by,
        ended_at=None if end is None else end.at,
        ended_by=None if end is None else end.by,
        end_zh=end_zh,
        end_en=end_en,
    )


def words_of(event: CardEventRow) -> tuple[str, str]:
    """What was done, in both languages."""
    table: Sequence[Transition] = (*machines().social, *machines().financial)
    if event.side in ("social", "financial"):
        table = machines().of(event.side)  # type: ignore[arg-type]  # just looked at
    known = next((one for one in table if one.act == event.act and event.side in ("social", "financial")), None)
    if known is not None:
        return known.text_zh, known.text_en
    return _OTHER_WORDS.get((event.side, event.act), (event.act, event.act))


def _event(row: CardEventRow) -> FileEvent:
    text_zh, text_en = words_of(row)
    return FileEvent(
        card_number=row.card_number,
        side=row.side,
        act=row.act,
        text_zh=text_zh,
        text_en=text_en,
        from_state=row.old_state,
        to_state=row.new_state,
        at=row.at,
        by=row.by,
        reason=row.reason,
    )


def _application(found: Any) -> FileApplication:
    row, follows, batch = found
    return FileApplication(
        id=row.id,
        receipt_number=row.receipt_number,
        kind=row.kind,
        channel=row.channel,
        state=row.state,
        region=row.region,
        accepted_region=row.accepted_region or row.region,
        office=row.office or "",
        delivery=row.delivery,
        card_number=row.card_number,
        follows=follows,
        batch=batch,
        stuck=row.case_reason,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _code_use(row: EcardUseRow, card_number: str) -> FileUse:
    return FileUse(
        way="code",
        act=row.scene,
        by=row.client_id,
        at=row.at,
        card_number=card_number,
        outcome="ok",
    )


def _route_use(row: AuditRow, card_number: str) -> FileUse:
    return FileUse(way="hsm", act=row.act, by=row.actor, at=row.at, card_number=card_number, outcome=row.outcome)


def _terminal_use(row: CardUseRow) -> FileUse:
    return FileUse(way="terminal", act=row.act, by=row.client_id, at=row.at, card_number=row.card_number, outcome="ok")


def _photo(row: PhotoRow) -> FileDocument:
    return FileDocument(
        kind="photo", id=row.id, text=row.region, day=row.taken_on, by=row.confirmed_by or row.created_by
    )


def _entry(row: AuditRow) -> FileEntry:
    return FileEntry(
        id=row.id,
        at=row.at,
        act=row.act,
        subject=row.subject,
        by=row.clerk or row.actor,
        place=row.place,
        outcome=row.outcome,
        reason=row.reason,
    )
