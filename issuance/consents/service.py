"""Consents from the request to the end: what recipients ask, and what holders answer on their phones."""

from __future__ import annotations

import uuid
from datetime import timedelta

from hsm.primitives import decompress, default_engine
from issuance.audit.report import prove_entry
from issuance.audit.schemas import EntryProof
from issuance.consents.catalogue import CATALOGUE
from issuance.consents.disclosure import disclose
from issuance.consents.evidence import PAGE
from issuance.consents.ledger import (
    ConsentService,
    consent_context,
    demand_state,
    enter,
    is_signed,
    terms_of,
)
from issuance.consents.models import ConsentRow, ConsentUseRow
from issuance.consents.repository import ConsentRepository, granted, uses_of
from issuance.consents.schemas import (
    ConsentItem,
    ConsentProof,
    ConsentRequest,
    ConsentState,
    ConsentStatus,
    ConsentUse,
    ConsentView,
    DataAnswer,
    DataRequest,
    WaitingConsent,
)
from issuance.consents.text import Terms, plain
from issuance.ecards.access import HolderCall
from issuance.ecards.busi_seq import Purpose
from issuance.ecards.usability import demand_usable
from issuance.paging import Page, PageRequest, page_of
from issuance.problems import ProblemError
from issuance.scope import unscoped
from issuance.unit import Unit


class ConsentDesk:
    """A recipient's side."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._consents = ConsentRepository(unit.session)

    async def ask(self, request: ConsentRequest, ecard_no: str) -> ConsentStatus:
        """Put a request before the holder. `ecard_no` is that of the code that was claimed, or the request's own.

        Raises NOT_FOUND, ECARD_NOT_USABLE, CONSENT_LIMITED.
        """
        unit, subject, settings = self._unit, f"ecard:{ecard_no}", self._unit.services.settings
        client_id = unit.caller.client_id
        if request.code is None and not await self._consents.has_live(client_id, ecard_no, unit.now):
            raise ProblemError("NOT_FOUND", "no holder who has a consent for this client", subject=subject)
        ecard, card = await self._consents.card_of(ecard_no)
        demand_usable(unit, ecard, card)
        waiting, own = await self._consents.open_counts(ecard_no, client_id, unit.now)
        if waiting >= settings.consent_open_max:
            raise ProblemError("CONSENT_LIMITED", "too many requests wait for this holder", subject=subject)
        if own and request.code is None:
            raise ProblemError("CONSENT_LIMITED", "the holder has still to answer your last request", subject=subject)
        terms = Terms(
            consent_id=uuid.uuid4().hex,
            centre=settings.centre_id,
            ecard_no=ecard_no,
            client_id=client_id,
            recipient=plain(await self._consents.recipient(client_id)),
            purpose=request.purpose,
            explanation=request.explanation,
            items=request.items,
            begins_at=unit.now,
            ends_at=unit.now + timedelta(days=request.days),
        )
        row = _row(unit, terms, card.region)
        await self._consents.add(row)
        await enter(unit, row, "request", items=list(row.items), days=request.days)
        return _status(unit, row, terms)

    async def status(self, consent_id: str) -> ConsentStatus:
        """Raises NOT_FOUND, also for another recipient's."""
        row = await self._consents.get(consent_id)
        if row is None or row.client_id != self._unit.caller.client_id:
            raise ProblemError("NOT_FOUND", "no such request", subject=f"consent:{consent_id}")
        return _status(self._unit, row, terms_of(self._unit, row))

    async def data(self, consent_id: str, request: DataRequest) -> DataAnswer:
        """Raises what `ConsentService.demand` does."""
        consent, row = await ConsentService(self._unit).demand(consent_id, request.purpose, request.items)
        values = await disclose(self._unit, consent, request.items)
        return DataAnswer(consent_id=row.id, at=self._unit.now, ends_at=row.ends_at, values=values)


class HolderConsents:
    """A holder's side."""

    def __init__(self, call: HolderCall) -> None:
        self._call = call
        self._unit = call.unit
        self._consents = ConsentRepository(call.unit.session)

    async def waiting(self) -> list[WaitingConsent]:
        rows = await self._consents.waiting(self._call.ecard.ecard_no, self._unit.now)
        return [_waiting(row, terms_of(self._unit, row)) for row in rows]

    async def approve(self, consent_id: str, signature: bytes, busi_seq: str, claimant: str) -> ConsentView:
        """Raises NOT_FOUND, CONSENT_CLOSED, SIGNATURE_INVALID, BUSI_SEQ_INVALID."""
        row, terms = await self._open(consent_id)
        link = self._call.link
        if not is_signed(link.public_key, terms.text().encode(), signature):
            raise ProblemError(
                "SIGNATURE_INVALID", "not this phone's signature over the text", subject=f"consent:{row.id}"
            )
        await self._call.spend(busi_seq, Purpose.CONSENT, claimant)
        row.state, row.answered_at = "live", self._unit.now
        row.sign_no, row.public_key, row.signature = link.sign_no, link.public_key, signature
        await enter(
            self._unit,
            row,
            "approve",
            text_sm3=row.text_digest.hex(),
            key=decompress(link.public_key).hex(),
            sign_no=link.sign_no,
        )
        return _view(self._unit, row, terms)

    async def refuse(self, consent_id: str) -> ConsentView:
        """Raises NOT_FOUND, CONSENT_CLOSED."""
        row, terms = await self._open(consent_id)
        row.state, row.answered_at, row.sign_no = "refused", self._unit.now, self._call.link.sign_no
        await enter(self._unit, row, "refuse", sign_no=row.sign_no)
        return _view(self._unit, row, terms)

    async def revoke(self, consent_id: str) -> ConsentView:
        """Raises NOT_FOUND, CONSENT_REQUIRED, CONSENT_REVOKED, CONSENT_EXPIRED."""
        row = await self._mine(consent_id, is_locking=True)
        demand_state(self._unit, row)
        row.state, row.revoked_at = "revoked", self._unit.now
        await enter(self._unit, row, "revoke", sign_no=self._call.link.sign_no)
        return _view(self._unit, row, terms_of(self._unit, row))

    async def granted(self, page: PageRequest) -> Page[ConsentView]:
        with unscoped(self._unit.session, why="a holder's own consents"):
            return await page_of(
                self._unit.session,
                granted(self._call.ecard.ecard_no),
                (ConsentRow.asked_at, ConsentRow.id),
                page,
                lambda row: _view(self._unit, row, terms_of(self._unit, row)),
                is_descending=True,
            )

    async def uses(self, consent_id: str, page: PageRequest) -> Page[ConsentUse]:
        row = await self._mine(consent_id)
        return await page_of(
            self._unit.session,
            uses_of(row.id),
            (ConsentUseRow.id,),
            page,
            lambda use: ConsentUse(at=use.at, items=_items(tuple(use.items))),
            is_descending=True,
        )

    async def proof(self, consent_id: str, first: int) -> ConsentProof:
        row = await self._mine(consent_id)
        found = await self._consents.entry_ids(row.id, first, PAGE)
        entries = []
        for entry_id in found:
            try:
                entries.append(await prove_entry(self._unit.services, self._unit.session, entry_id))
            except ProblemError:  # it has no place in the tree yet, and neither have those after it
                break
        return ConsentProof(
            id=row.id,
            text=terms_of(self._unit, row).text(),
            public_key=None if row.public_key is None else decompress(row.public_key).hex(),
            signature=None if row.signature is None else row.signature.hex(),
            first=first,
            of=row.entries,
            waiting=len(found) - len(entries),
            entries=[EntryProof.model_validate(entry) for entry in entries],
        )

    async def _open(self, consent_id: str) -> tuple[ConsentRow, Terms]:
        """A request that waits for this holder, locked."""
        row = await self._mine(consent_id, is_locking=True)
        if row.state != "waiting" or self._unit.now >= row.answer_by:
            state = _state(self._unit, row)
            raise ProblemError("CONSENT_CLOSED", f"the request is {state}", subject=f"consent:{row.id}")
        return row, terms_of(self._unit, row)

    async def _mine(self, consent_id: str, *, is_locking: bool = False) -> ConsentRow:
        row = await self._consents.get(consent_id, is_locking=is_locking)
        if row is None or row.ecard_no != self._call.ecard.ecard_no:
            raise ProblemError("NOT_FOUND", "no such consent", subject=f"consent:{consent_id}")
        return row


def _row(unit: Unit, terms: Terms, region: str) -> ConsentRow:
    text = terms.text()
    words = {"centre": terms.centre, "recipient": terms.recipient, "purpose": terms.purpose}
    words |= {"explanation": terms.explanation}
    return ConsentRow(
        id=terms.consent_id,
        ecard_no=terms.ecard_no,
        region=region,
        client_id=terms.client_id,
        state="waiting",
        items=list(terms.items),
        asked_at=terms.begins_at,
        answer_by=unit.now + timedelta(minutes=unit.services.settings.consent_wait_min),
        ends_at=terms.ends_at,
        sealed_terms=unit.services.sealer.seal(words, consent_context(terms.consent_id)),
        text_digest=default_engine().sm3(text.encode()),
        entries=0,
        uses=0,
    )


def _state(unit: Unit, row: ConsentRow) -> ConsentState:
    """The row's state, and what time has made of it."""
    if row.state == "waiting" and unit.now >= row.answer_by:
        return "unanswered"
    if row.state == "live" and unit.now >= row.ends_at:
        return "expired"
    states: dict[str, ConsentState] = {
        "waiting": "waiting",
        "refused": "refused",
        "live": "live",
        "revoked": "revoked",
    }
    return states[row.state]


def _items(names: tuple[str, ...]) -> list[ConsentItem]:
    return [ConsentItem(name=name, zh=CATALOGUE[name].zh, en=CATALOGUE[name].en) for name in names]


def _status(unit: Unit, row: ConsentRow, terms: Terms) -> ConsentStatus:
    return ConsentStatus(
        id=row.id,
        ecard_no=row.ecard_no,
        state=_state(unit, row),
        purpose=terms.purpose,
        items=terms.items,
        answer_by=row.answer_by,
        ends_at=row.ends_at,
    )


def _waiting(row: ConsentRow, terms: Terms) -> WaitingConsent:
    return WaitingConsent(
        id=row.id,
        recipient=terms.recipient,
        recipient_id=terms.client_id,
        purpose=terms.purpose,
        explanation=terms.explanation,
        items=_items(terms.items),
        text=terms.text(),
        asked_at=row.asked_at,
        answer_by=row.answer_by,
        ends_at=row.ends_at,
    )


def _view(unit: Unit, row: ConsentRow, terms: Terms) -> ConsentView:
    return ConsentView(
        id=row.id,
        recipient=terms.recipient,
        recipient_id=terms.client_id,
        purpose=terms.purpose,
        explanation=terms.explanation,
        items=_items(terms.items),
        state=_state(unit, row),
        asked_at=row.asked_at,
        granted_at=None if row.state == "refused" else row.answered_at,
        ends_at=row.ends_at,
        revoked_at=row.revoked_at,
        uses=row.uses,
    )
