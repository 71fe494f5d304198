"""One card as the person at a kiosk sees it: what it is in plain words, and what may be done now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cardlib.identity import mask_card_number
from issuance.bank.repository import AccountRepository
from issuance.cards.commands import CardCommands
from issuance.cards.guards import Objection
from issuance.cards.life_cycle import LifeCycle
from issuance.cards.machine import CITIZEN_STATE_NAMES, STATE_NAMES_EN, CardState, machines
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.ecards.models import EcardRow, LinkRow
from issuance.ecards.repository import EcardRepository, LinkRepository
from issuance.ecards.usability import refusal
from issuance.self_service.evidence import Kind, KioskAct, act_rules, missing, with_card
from issuance.self_service.schemas import KioskCard, KioskEcard, PossibleAct, Words
from issuance.self_service.visits import KioskVisit, handle_of
from issuance.self_service.words import Pair, words
from issuance.unit import Unit

TRANSITIONS: Final = (
    KioskAct.ENABLE,
    KioskAct.LOSE_TEMPORARILY,
    KioskAct.LOSE,
    KioskAct.RELEASE,
    KioskAct.LIFT,
)
CAUSES: Final = {KioskAct.REPLACE_LOST: "lost", KioskAct.REPLACE_DAMAGED: "damaged", KioskAct.RENEW: "renewal"}
_OF_NO_CARD: Final = (KioskAct.LOOK, KioskAct.APPLY)
_ON_CHIP: Final = (KioskAct.PIN_RESET, KioskAct.PIN_UNBLOCK, KioskAct.REWRITE)


class CardViews:
    """For one visit; `open_application`: an application of this person is being handled somewhere."""

    def __init__(self, unit: Unit, visit: KioskVisit, *, open_application: bool) -> None:
        self._unit = unit
        self._visit = visit
        self._open = open_application
        self._cards = CardRepository(unit.session)

    async def of(self, row: CardRow) -> KioskCard:
        state = CardState(row.state)
        plain_zh, plain_en = words("card", state.value)
        account = await AccountRepository(self._unit.session).get(row.card_number)
        ecard = await EcardRepository(self._unit.session).of_card(row.card_number)
        links = [] if ecard is None else await LinkRepository(self._unit.session).of(ecard.ecard_no)
        rewrite = await self._cards.has_rewrite(row.card_number)
        return KioskCard(
            card=handle_of(self._unit, row.card_number),
            application_id=row.application_id,
            number=mask_card_number(row.card_number),
            is_presented=Kind.CARD in with_card(self._visit.shown_for(row.card_number)),
            state=state,
            state_zh=CITIZEN_STATE_NAMES[state],
            state_en=STATE_NAMES_EN[state],
            plain_zh=plain_zh,
            plain_en=plain_en,
            since=row.state_since,
            temporary_until=row.temporary_until,
            issue_date=row.issue_date,
            expiry_date=row.expiry_date,
            region=row.region,
            account=None if account is None else _words_of(account.state, words("account", account.state)),
            ecard=None if ecard is None else self._ecard(ecard, row, links),
            rewrite_pending=rewrite,
            acts=[await self._act(act, row, ecard, links, rewrite) for act in KioskAct if act not in _OF_NO_CARD],
        )

    async def _act(
        self, act: KioskAct, row: CardRow, ecard: EcardRow | None, links: Sequence[object], rewrite: bool
    ) -> PossibleAct:
        if act in TRANSITIONS:
            no = await self._no_transition(act, row)
        elif act in CAUSES:
            no = self._no_succession(act, row)
        elif act in _ON_CHIP:
            no = _no_chip_work(act, row, rewrite)
        else:
            no = self._no_code(row, ecard, links)
        needs = [] if no is not None else missing(act, self._visit.shown_for(row.card_number))
        rule = act_rules()[act]
        text_zh, text_en = (rule.text_zh, rule.text_en) if no is None else no
        return PossibleAct(
            act=act,
            possible=no is None and not needs,
            needs=needs,
            text_zh=text_zh,
            text_en=text_en,
            fee_fen=CardCommands(self._unit).fee_fen(row, CAUSES[act]) if act in CAUSES else 0,
        )

    async def _no_transition(self, act: KioskAct, row: CardRow) -> Pair | None:
        transition = machines().transition("social", act.value)
        if row.state not in transition.sources:
            return _wrong_state(row)
        if act is KioskAct.LIFT and self._open:
            return words("no", "application_open")
        return _said(await LifeCycle(self._unit).objection(row, transition))

    def _no_succession(self, act: KioskAct, row: CardRow) -> Pair | None:
        if self._open:
            return words("no", "application_open")
        return _said(CardCommands(self._unit).succession_objection(row, CAUSES[act]))

    def _no_code(self, row: CardRow, ecard: EcardRow | None, links: Sequence[object]) -> Pair | None:
        reason = self._ecard_refusal(ecard, row, bool(links))
        return words("ecard", reason) if reason else None

    def _ecard_refusal(self, ecard: EcardRow | None, row: CardRow, is_on_phone: bool) -> str:
        if ecard is None:
            return "none"
        if ecard.password_locked_until is not None and self._unit.now < ecard.password_locked_until:
            return "password_locked"
        return refusal(self._unit, ecard, row) or ("" if is_on_phone else "no_phone")

    def _ecard(self, ecard: EcardRow, row: CardRow, links: Sequence[tuple[LinkRow, str, str | None]]) -> KioskEcard:
        reason = self._ecard_refusal(ecard, row, bool(links))
        text_zh, text_en = words("ecard", reason or "usable")
        return KioskEcard(
            state=ecard.state,
            text_zh=text_zh,
            text_en=text_en,
            is_on_phone=bool(links),
            channels=[name for _, name, _ in links],
            usable=not reason,
        )


def _said(objection: Objection | None) -> Pair | None:
    return None if objection is None else (objection.text_zh, objection.text_en)


def _no_chip_work(act: KioskAct, row: CardRow, rewrite: bool) -> Pair | None:
    if row.state != CardState.NORMAL:
        return _wrong_state(row)
    return words("no", "nothing_to_write") if act is KioskAct.REWRITE and not rewrite else None


def _wrong_state(row: CardRow) -> Pair:
    zh, en = words("no", "state")
    state = CardState(row.state)
    return zh.format(state=CITIZEN_STATE_NAMES[state]), en.format(state=STATE_NAMES_EN[state])


def _words_of(state: str, text: Pair) -> Words:
    return Words(state=state, text_zh=text[0], text_en=text[1])
