"""The field's scan log-in (扫码登录) for systems that are integrated in the ministry's shape: create a code, poll, get
esscNo.

It runs over the same log-ins as everything else here: a channel is a relying party, a phone claims and approves, an
outcome is handed out once. What the field's interface lacks is added: a secret (`binding`) that the system keeps in
its browser's session and polls with, and the number that its page shows beside the code.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeVar

from fastapi import Request
from pydantic import Field, IPvAnyAddress
from sqlalchemy import select

from issuance.audit.refusals import record_refusal
from issuance.cards.models import CardRow
from issuance.clients.auth import act_of
from issuance.codes.bus_call import FAILED, OK, BusCall, EnvelopeAnswer, Wire, unproved, unsealed_keys
from issuance.codes.envelope import BusKeys
from issuance.ecards.models import EcardRow
from issuance.ecards.usability import demand_usable
from issuance.login.ministry_models import LoginChannelRow
from issuance.login.models import RelyingPartyRow
from issuance.login.seam import ACR_SCAN, AuthorizationRequest, Subject
from issuance.login.transactions import (
    ESSC_SCOPE,
    LINK_TTL_S,
    Browser,
    Transaction,
    finished,
    is_code_over,
    link_address,
    link_code,
    link_code_of_turn,
    look_up,
    open_transaction,
)
from issuance.login.unit import LoginUnit, login_unit
from issuance.login.uses import record_use
from issuance.persons.repository import PersonRepository
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import Unit

CREATE: Final = "qrcode_channel_encrypt"
QUERY: Final = "qrcode_channel_query_encrypt"
SERVICES: Final = frozenset({CREATE, QUERY})
WINDOW_S: Final = 60
"""Shorter than for codes: every poll is kept that long as one that came."""
_NUMBER: Final = r"^[0-9]{10}$"
_MARK: Final = "channel."
"""In front of a browser's secret: no cookie is as long, so no browser can be taken to the page of such a log-in."""
_PENDING: Final = {"open": "等待扫码", "claimed": "已扫码，等待确认"}


class _Asked(Wire):
    channelNo: str = Field(pattern=_NUMBER)  # noqa: N815
    accessNo: str = Field(pattern=_NUMBER)  # noqa: N815


class CreateCode(_Asked):
    """`systemName` is shown to nobody: the phone shows the registered name. `clientIp` and `userAgent` are of the
    person's browser, where the system hands them on; the phone shows where that is.
    """

    systemName: str = Field(default="", max_length=128)  # noqa: N815
    clientIp: IPvAnyAddress | Literal[""] = ""  # noqa: N815
    userAgent: str = ""  # noqa: N815


class QueryCode(_Asked):
    qrCode: str = Field(min_length=1, max_length=512)  # noqa: N815
    binding: str = Field(pattern=r"^[0-9a-f]{32}\.[A-Za-z0-9_-]{43}$", repr=False)


AskedT = TypeVar("AskedT", bound=_Asked)


class _Told(NamedTuple):
    code: str
    text: str
    result: dict[str, str]


@dataclass(frozen=True, slots=True)
class Channel:
    client_id: str
    channel_no: str
    access_no: str
    scopes: tuple[str, ...]
    region: str | None
    keys: BusKeys = field(repr=False)

    def opened(self, call: BusCall, model: type[AskedT]) -> AskedT:
        """Raises INPUT_INVALID, and CLIENT_FORBIDDEN for the numbers of another channel than the keys are of."""
        asked = call.opened(self.keys, model)
        if (asked.channelNo, asked.accessNo) != (self.channel_no, self.access_no):
            raise ProblemError("CLIENT_FORBIDDEN", "the keys are of another channel")
        return asked


async def answer(services: Services, request: Request, call: BusCall) -> EnvelopeAnswer:
    """Raises CLIENT_UNKNOWN, REQUEST_EXPIRED, REQUEST_REPLAYED, INPUT_INVALID, CLIENT_FORBIDDEN, LOGIN_DENIED,
    LOGIN_LIMITED, ONE_TIME_UNAVAILABLE, and NOT_FOUND for a poll with another binding, code or channel.
    """
    channel = await _proved(services, request, call)
    async with _recorded(services, request, channel):
        await call.demand_fresh(services, channel.client_id, served=SERVICES, window_s=WINDOW_S)
        if call.service == CREATE:
            told = await _create(services, channel, channel.opened(call, CreateCode))
        else:
            told = await _poll(services, channel, channel.opened(call, QueryCode))
    return EnvelopeAnswer(msgCode=told.code, msg=told.text, result={"encrypt": channel.keys.encrypted(told.result)})


async def _create(services: Services, channel: Channel, asked: CreateCode) -> _Told:
    wanted = AuthorizationRequest(channel.client_id, "", (*channel.scopes, ESSC_SCOPE), acr_values=(ACR_SCAN,))
    secret = secrets.token_urlsafe(32)
    browser = Browser(_MARK + secret, str(asked.clientIp), asked.userAgent)
    async with login_unit(services) as unit:
        made = await open_transaction(unit, wanted, browser)
    link = await link_code(services, made, browser.secret)
    return _Told(
        OK,
        "成功",
        {
            "qrCode": link_address(services, link.code),
            "binding": f"{made.id}.{secret}",
            "checkNumber": str(made.number),
            "expiresIn": str(LINK_TTL_S),
        },
    )


async def _poll(services: Services, channel: Channel, asked: QueryCode) -> _Told:
    async with login_unit(services, is_reading=True) as unit:
        login = await _own_log_in(unit, channel, asked)
        if login.stage in _PENDING and not is_code_over(login, unit.now):
            return _Told(FAILED, _PENDING[login.stage], {"status": login.stage})
    async with login_unit(services) as unit:
        outcome = await finished(unit, login.id, login.browser)
        if isinstance(outcome, Subject):
            return _Told(OK, "成功", await _told(unit, channel, outcome))
    status = "over" if login.stage in _PENDING or login.stage == "approved" else login.stage
    return _Told(FAILED, "登录未完成，请重新获取二维码", {"status": status, "code": "LOGIN_CLOSED"})


async def _own_log_in(unit: Unit, channel: Channel, asked: QueryCode) -> Transaction:
    login_id, _, secret = asked.binding.partition(".")
    browser = _MARK + secret
    login = await look_up(unit, login_id, browser)
    code = link_address(unit.services, link_code_of_turn(login.id, browser, 0))
    is_own = hmac.compare_digest(code.encode(), asked.qrCode.encode())
    if login.request.client_id != channel.client_id or not is_own:
        raise ProblemError("NOT_FOUND", "no such log-in of this channel", subject=f"login:{login.id}")
    return replace(login, browser=browser)


async def _told(unit: LoginUnit, channel: Channel, subject: Subject) -> dict[str, str]:
    """Under the field's names. Raises ECARD_NOT_USABLE."""
    ecard = await unit.session.get_one(EcardRow, subject.ecard_no)
    demand_usable(unit, ecard, await unit.session.get_one(CardRow, subject.card_number))
    record_use(unit, channel.client_id, subject)
    told = {"esscNo": ecard.ecard_no}
    if not subject.claims.isdisjoint({"name", "social_security_number"}):
        person = await PersonRepository(unit.session, unit.services.sealer).data(ecard.person_id)
        known = {"aac003": ("name", person.name), "aac002": ("social_security_number", person.social_security_number)}
        told |= {name: value for name, (claim, value) in known.items() if claim in subject.claims}
    detail = {"client": channel.client_id, "claims": sorted(told)}
    await unit.audit("login.channel", f"ecard:{ecard.ecard_no}", region=channel.region, detail=detail)
    return told


# -- who asks ---------------------------------------------------------------------------------------------------------


async def _proved(services: Services, request: Request, call: BusCall) -> Channel:
    query = (
        select(LoginChannelRow, RelyingPartyRow)
        .join(RelyingPartyRow, RelyingPartyRow.id == LoginChannelRow.client_id)
        .where(LoginChannelRow.access_key == call.access_key)
    )
    async with login_unit(services, is_reading=True) as unit:
        found = (await unit.session.execute(query)).one_or_none()
    row, party = found if found is not None else (None, None)
    if row is None or party is None:
        raise await unproved(services, request, "", None)
    keys = unsealed_keys(services.sealer, row.cipher, row.sealed_keys, context_of(row.client_id))
    if party.status != "active" or not call.is_signed_by(keys):
        raise await unproved(services, request, party.id, party.region)
    request.state.client_id = party.id
    return Channel(row.client_id, row.channel_no, row.access_no, tuple(party.scopes), party.region, keys)


@asynccontextmanager
async def _recorded(services: Services, request: Request, channel: Channel) -> AsyncIterator[None]:
    try:
        yield
    except ProblemError as error:
        now, actor, act = services.clock(), channel.client_id, act_of(request)
        await record_refusal(services, error, at=now, actor=actor, clerk="", act=act, region=channel.region)
        raise


def context_of(client_id: str) -> str:
    """Of the sealed keys."""
    return f"login_channels:{client_id}"
