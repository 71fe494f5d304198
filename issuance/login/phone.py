"""The phone's part of a log-in: take it by the code on the screen, see who asks, approve or refuse."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Literal

from sqlalchemy import exists, select

from hsm.primitives import default_engine
from issuance.clock import CHINA
from issuance.consents.ledger import is_signed
from issuance.consents.schemas import ConsentItem
from issuance.database import ROW_LOCK, add_unless_taken
from issuance.ecards.access import HolderCall
from issuance.ecards.busi_seq import Purpose
from issuance.ecards.usability import demand_usable
from issuance.login.answers import answer_counter
from issuance.login.denials import demand_not_denied
from issuance.login.items import items_of
from issuance.login.origin import agent_of, network_of
from issuance.login.phone_schemas import AskedLogin, LoginAnswer, WaitingLogin
from issuance.login.provider_models import BackchannelRow
from issuance.login.transaction_models import LoginApprovalRow, LoginClaimRow, LoginRow
from issuance.login.transactions import (
    APPROVAL_TTL,
    CLAIM_TTL,
    Transaction,
    claims_of,
    end,
    link_key,
    stage_of,
    transaction_of,
)
from issuance.one_time import Outcome
from issuance.problems import ProblemError
from issuance.unit import Unit

_CHOICES = 3


class HolderLogins:
    def __init__(self, call: HolderCall) -> None:
        self._call = call
        self._unit = call.unit

    async def claim(self, code: str) -> AskedLogin:
        """The first phone has it, and may ask again. Raises LOGIN_LINK_INVALID, LOGIN_LINK_TAKEN, LOGIN_CLOSED,
        LOGIN_DENIED, ECARD_NOT_USABLE, ONE_TIME_UNAVAILABLE."""
        call, unit = self._call, self._unit
        demand_usable(unit, call.ecard, call.card)
        claim = await unit.services.one_time.claim(link_key(code), call.link.sign_no)
        if claim.outcome is Outcome.TAKEN:
            raise ProblemError("LOGIN_LINK_TAKEN", "another phone scanned it", subject=call.subject)
        if claim.outcome not in (Outcome.FIRST, Outcome.AGAIN):
            raise ProblemError("LOGIN_LINK_INVALID", f"it is {claim.outcome}", subject=call.subject)
        return await self._take(claim.value.decode())

    async def waiting(self) -> list[WaitingLogin]:
        """What relying parties ask this holder by name, newest first, until a phone has taken it."""
        is_claimed = exists().where(LoginClaimRow.login_id == LoginRow.id)
        query = (
            select(LoginRow)
            .join(BackchannelRow, BackchannelRow.login_id == LoginRow.id)
            .where(
                BackchannelRow.ecard_no == self._call.ecard.ecard_no,
                LoginRow.expires_at > self._unit.now,
                LoginRow.ended_as.is_(None),
                ~is_claimed,
            )
            .order_by(LoginRow.created_at.desc())
        )
        rows = await self._unit.session.scalars(query)
        return [_waiting(transaction_of(self._unit.services, row, "open")) for row in rows]

    async def claim_waiting(self, login_id: str) -> AskedLogin:
        """One that `waiting` shows; the first phone has it. Raises NOT_FOUND, and what `claim` raises."""
        call, unit = self._call, self._unit
        demand_usable(unit, call.ecard, call.card)
        is_mine = exists().where(BackchannelRow.login_id == login_id, BackchannelRow.ecard_no == call.ecard.ecard_no)
        if not await unit.session.scalar(select(is_mine)):
            raise ProblemError("NOT_FOUND", "nobody asks this holder", subject=f"login:{login_id}")
        return await self._take(login_id)

    async def _take(self, login_id: str) -> AskedLogin:
        call, unit = self._call, self._unit
        row = await _locked(unit, login_id)
        if row.ended_as is not None or row.expires_at <= unit.now:
            raise ProblemError("LOGIN_CLOSED", "it is over", subject=f"login:{row.id}")
        transaction = transaction_of(unit.services, row, "claimed")
        await demand_not_denied(unit, row.client_id, transaction.address)
        made = self._claim_row(transaction)
        if not await add_unless_taken(unit.session, made):
            return await self._again(row.id, transaction)
        await call.audit("login.claim", subject=f"login:{row.id}", client=row.client_id)
        return self._asked(transaction, made)

    async def asked(self, login_id: str) -> AskedLogin:
        """What `claim` gave, again. Raises NOT_FOUND, LOGIN_CLOSED."""
        row, claim = await self._mine(login_id, is_reading=True)
        return self._asked(transaction_of(self._unit.services, row, "claimed"), claim)

    async def approve(self, login_id: str, number: int, signature: bytes, busi_seq: str, claimant: str) -> LoginAnswer:
        """A wrong number is an answer, not a refusal, because it ends the log-in.

        Raises NOT_FOUND, LOGIN_CLOSED, LOGIN_DENIED, SIGNATURE_INVALID, BUSI_SEQ_INVALID, ECARD_NOT_USABLE.
        """
        call, unit, link = self._call, self._unit, self._call.link
        row, claim = await self._mine(login_id)
        transaction = transaction_of(unit.services, row, "claimed")
        await demand_not_denied(unit, row.client_id, transaction.address)
        demand_usable(unit, call.ecard, call.card)
        signed = f"{self._text(claim)}{number}".encode()
        if not is_signed(link.public_key, signed, signature):
            raise ProblemError("SIGNATURE_INVALID", "not this phone's signature over it", subject=f"login:{row.id}")
        await call.spend(busi_seq, Purpose.LOGIN, claimant)
        state: Literal["approved", "wrong_number"] = "approved" if number == row.number else "wrong_number"
        if not await end(unit, row.id, state):
            raise ProblemError("LOGIN_CLOSED", "it is over", subject=f"login:{row.id}")
        text_digest = default_engine().sm3(signed)
        detail = {"client": row.client_id, "state": state, "text_sm3": text_digest.hex()}
        await call.audit("login.approve", subject=f"login:{row.id}", **detail)
        answer = LoginAnswer(id=row.id, name=transaction.name, state=state)
        if state == "wrong_number":
            await answer_counter(unit, row, transaction.request)
            return answer
        approval = LoginApprovalRow(
            login_id=row.id,
            ecard_no=call.ecard.ecard_no,
            sign_no=link.sign_no,
            public_key=link.public_key,
            signature=signature,
            text_digest=text_digest,
            claims=list(claims_of(transaction.request)),
            approved_at=unit.now,
            expires_at=unit.now + APPROVAL_TTL,
        )
        unit.session.add(approval)
        await unit.session.flush()
        await answer_counter(unit, row, transaction.request)
        return answer

    async def refuse(self, login_id: str) -> LoginAnswer:
        """Not the holder, or not wanted. Raises NOT_FOUND, LOGIN_CLOSED."""
        row, _ = await self._mine(login_id)
        await end(self._unit, row.id, "refused")
        transaction = transaction_of(self._unit.services, row, "refused")
        detail = {"client": row.client_id, "network": network_of(transaction.address)}
        await self._call.audit("login.refuse", subject=f"login:{row.id}", **detail)
        await answer_counter(self._unit, row, transaction.request)
        return LoginAnswer(id=row.id, name=transaction.name, state="refused")

    async def _mine(self, login_id: str, *, is_reading: bool = False) -> tuple[LoginRow, LoginClaimRow]:
        """What this phone has claimed and not answered yet, locked unless it is only read."""
        claim = await self._unit.session.get(LoginClaimRow, login_id)
        if claim is None or claim.sign_no != self._call.link.sign_no:
            raise ProblemError("NOT_FOUND", "no such log-in on this phone", subject=f"login:{login_id[:32]}")
        row, now = await _locked(self._unit, login_id, is_reading=is_reading), self._unit.now
        stage = stage_of(
            row.ended_as, has_claim=claim.expires_at > now, was_claimed=True, is_over=row.expires_at <= now
        )
        if stage != "claimed":
            raise ProblemError("LOGIN_CLOSED", f"it is {stage}", subject=f"login:{row.id}")
        return row, claim

    async def _again(self, login_id: str, transaction: Transaction) -> AskedLogin:
        claim = await self._unit.session.get(LoginClaimRow, login_id)
        if claim is None or claim.sign_no != self._call.link.sign_no:
            raise ProblemError("LOGIN_LINK_TAKEN", "another phone has it", subject=f"login:{login_id}")
        return self._asked(transaction, claim)

    def _claim_row(self, transaction: Transaction) -> LoginClaimRow:
        unit, link = self._unit, self._call.link
        text = _text_of(transaction, unit.services.settings.centre_id, self._call.ecard.ecard_no, unit.now)
        return LoginClaimRow(
            login_id=transaction.id,
            ecard_no=link.ecard_no,
            sign_no=link.sign_no,
            choices=_choices(transaction.number),
            sealed_text=unit.services.sealer.seal(text, text_context(transaction.id)),
            claimed_at=unit.now,
            expires_at=min(unit.now + CLAIM_TTL, transaction.expires_at),
        )

    def _text(self, claim: LoginClaimRow) -> str:
        return str(self._unit.services.sealer.unseal(claim.sealed_text, text_context(claim.login_id)))

    def _asked(self, transaction: Transaction, claim: LoginClaimRow) -> AskedLogin:
        items, is_at_counter = items_of(transaction.request), bool(transaction.request.backchannel_hash)
        return AskedLogin(
            id=transaction.id,
            client_id=transaction.request.client_id,
            name=transaction.name,
            host=transaction.host,
            network="" if is_at_counter else network_of(transaction.address),
            agent=agent_of(transaction.agent),
            at_counter=is_at_counter,
            message=transaction.request.binding_message,
            items=[ConsentItem(name=item.name, zh=item.zh, en=item.en) for item in items],
            choices=list(claim.choices),
            text=self._text(claim),
            asked_at=transaction.created_at,
            answer_by=claim.expires_at,
        )


async def _locked(unit: Unit, login_id: str, *, is_reading: bool = False) -> LoginRow:
    row = await unit.session.get(LoginRow, login_id, with_for_update=None if is_reading else ROW_LOCK)
    if row is None:
        raise ProblemError("LOGIN_CLOSED", "it is forgotten", subject=f"login:{login_id[:32]}")
    return row


def _choices(number: int) -> list[int]:
    """The number and others, of which none is one digit away: a thumb beside it does not end a log-in."""
    found = [number]
    while len(found) < _CHOICES:
        other = 10 + secrets.randbelow(90)
        if all(other // 10 != known // 10 and other % 10 != known % 10 for known in found):
            found.append(other)
    return sorted(found)


def _text_of(transaction: Transaction, centre: str, ecard_no: str, now: datetime) -> str:
    """What the phone signs, but for the number; everything that decides is in it."""
    request = transaction.request
    items = items_of(request)
    lines = [
        "登录确认书 / Log-in",
        f"编号 / Number: {transaction.id}",
        f"服务中心 / Centre: {centre}",
        f"登录人 / Holder: 电子社保卡 / electronic card {ecard_no}",
        f"登录到 / Log in to: {transaction.name} ({request.client_id})",
        f"网址 / Address: {transaction.host or '无 / none'}",
        _origin_of(transaction),
        "信息项 / Data:",
        *(f"- {item.zh} / {item.en} ({item.name})" for item in items),
        *(() if items else ("- 无 / none",)),
        f"时间 / Time: {now.astimezone(CHINA):%Y-%m-%d %H:%M:%S} 北京时间 (UTC+8)",
        "核对数字 / Number on the screen: ",
    ]
    return "\n".join(lines)


def _origin_of(transaction: Transaction) -> str:
    """A counter has no browser; what it says about the matter is on one line of its own."""
    if transaction.request.backchannel_hash:
        return f"窗口说明 / Counter: {transaction.request.binding_message or '无 / none'}"
    return f"浏览器 / Browser: {network_of(transaction.address)} {agent_of(transaction.agent)}".rstrip()


def _waiting(transaction: Transaction) -> WaitingLogin:
    return WaitingLogin(
        id=transaction.id,
        client_id=transaction.request.client_id,
        name=transaction.name,
        message=transaction.request.binding_message,
        asked_at=transaction.created_at,
        answer_by=transaction.expires_at,
    )


def text_context(login_id: str) -> str:
    return f"login_claims:{login_id}"
