"""The holder's own requests: a channel's client that is a wallet, and behind it the holder's phone (`proof.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Request, Response
from pydantic import BaseModel

from issuance.cards.models import CardRow
from issuance.clients.auth import act_of, authenticate, target_of
from issuance.clients.schemas import Role
from issuance.ecards.busi_seq import Purpose, spend
from issuance.ecards.models import EcardRow, LinkRow
from issuance.ecards.proof import CLOCK_SKEW_S, HEADER, LIFETIME_S, DeviceProof, DeviceProofError, parse_proof
from issuance.ecards.repository import EcardRepository, LinkRepository
from issuance.idempotency import once, recall
from issuance.problems import ProblemError
from issuance.services import Services
from issuance.unit import SAFE_METHODS, Desk, Unit, services_of

EcardNo = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Answer = TypeVar("Answer", bound=BaseModel)
_ProofHeader = Annotated[
    str | None,
    Header(alias=HEADER, description="Signed by the holder's phone for this request, see docs/ecard.md"),
]


@dataclass(slots=True)
class HolderCall:
    """The holder of `ecard` asks over `link`, in one unit of work. Rows are as read; lock before changing them."""

    unit: Unit
    ecard: EcardRow
    link: LinkRow
    card: CardRow

    @property
    def subject(self) -> str:
        return f"ecard:{self.ecard.ecard_no}"

    async def lock(self) -> EcardRow:
        """The electronic card's row as it is now, locked."""
        row = await EcardRepository(self.unit.session).get(self.ecard.ecard_no, is_locking=True)
        if row is None:
            raise ProblemError("NOT_FOUND", "no such electronic card")
        return row

    async def once(
        self,
        response: Response,
        act: str,
        key: str,
        request: BaseModel,
        answer_type: type[Answer],
        make: Callable[[], Awaitable[Answer]],
    ) -> Answer:
        """As `idempotency.once`; keys of one phone are its own."""
        return await once(self.unit, response, self._scope(act), key, request, answer_type, make)

    async def recall(
        self, response: Response, act: str, key: str, request: BaseModel, answer_type: type[Answer]
    ) -> Answer | None:
        """What `once` kept, for requests that do much before it; None when this is the first."""
        return await recall(self.unit, response, self._scope(act), key, request, answer_type)

    async def spend(self, busi_seq: str, purpose: Purpose, claimant: str) -> None:
        """The holder has just given the password for this. `claimant`, such as the idempotency key, may come again.

        Raises BUSI_SEQ_INVALID for one that is unknown, over, spent, or of another phone, purpose or password.
        """
        await spend(self.unit, busi_seq, purpose, self.link.sign_no, self.ecard, claimant)

    async def audit(self, act: str, *, subject: str = "", **detail: object) -> None:
        known = {"sign_no": self.link.sign_no} | detail
        await self.unit.audit(act, subject or self.subject, region=self.card.region, detail=known)

    def _scope(self, act: str) -> str:
        return f"{act}:{self.link.sign_no}"


@dataclass(frozen=True, slots=True)
class HolderDesk:
    """A proved phone before any transaction, for what asks other systems or takes long."""

    desk: Desk
    ecard_no: str
    sign_no: str

    @property
    def services(self) -> Services:
        return self.desk.services

    def ahead(self) -> AbstractAsyncContextManager[None]:
        """Refusals in this block are recorded."""
        return self.desk.ahead()

    @asynccontextmanager
    async def call(self, *, is_reading: bool = False) -> AsyncIterator[HolderCall]:
        """Raises ECARD_UNLINKED, and NOT_FOUND for an electronic card that is not this phone's."""
        async with self.desk.unit(is_reading=is_reading) as unit:
            yield await _called(unit, self.ecard_no, self.sign_no)


async def _called(unit: Unit, ecard_no: str, sign_no: str) -> HolderCall:
    link, ecard, card = await LinkRepository(unit.session).with_card(sign_no)
    if link is None or link.state != "active":
        raise ProblemError("ECARD_UNLINKED", "this phone is no longer linked")
    if ecard is None or card is None or ecard.ecard_no != ecard_no:
        raise ProblemError("NOT_FOUND", "no such electronic card")
    unit.holder_of = card.card_number
    return HolderCall(unit, ecard, link, card)


async def wallet_desk(request: Request, _proof: _ProofHeader = None) -> Desk:
    """A wallet's client; its phone is proved by `prove`."""
    services = services_of(request)
    desk = Desk(services, await authenticate(request, services), act_of(request), (Role.WALLET,))
    async with desk.ahead():
        return desk


async def holder_desk(request: Request, ecard_no: EcardNo, desk: Annotated[Desk, Depends(wallet_desk)]) -> HolderDesk:
    async with desk.ahead():
        proof = await prove(request, desk, None)
    return HolderDesk(desk, ecard_no, proof.sign_no)


async def holder_unit(request: Request, desk: Annotated[HolderDesk, Depends(holder_desk)]) -> AsyncIterator[HolderCall]:
    async with desk.call(is_reading=request.method in SAFE_METHODS) as call:
        yield call


async def prove(request: Request, desk: Desk, public_key: bytes | None) -> DeviceProof:
    """Verify the proof of a request and spend it. Without a `public_key` it must be that of the link it names.

    Raises DEVICE_PROOF_INVALID, DEVICE_PROOF_EXPIRED, DEVICE_PROOF_REPLAYED, ECARD_UNLINKED.
    """
    subject = ""
    try:
        proof = parse_proof(request.headers.get(HEADER, ""))
        link = None
        if public_key is None:
            link = await _link(desk, proof)
            subject, public_key = f"ecard:{link.ecard_no}", link.public_key
        elif proof.sign_no:
            raise DeviceProofError("a first proof names no sign_no")
        proof.demand_signed(public_key)
        body = await request.body()
        proof.demand_made_for(request.method, target_of(request), body, desk.caller.client_id)
        proof.demand_in_time(desk.services.clock().timestamp())
    except DeviceProofError as error:
        raise ProblemError(error.failure, str(error), subject=subject) from None
    if link is not None and link.client_id != desk.caller.client_id:
        raise ProblemError("DEVICE_PROOF_INVALID", "this link is of another channel", subject=subject)
    if link is not None and link.state != "active":
        raise ProblemError("ECARD_UNLINKED", "this phone is no longer linked", subject=subject)
    await _spend(desk, proof, subject)
    return proof


async def _link(desk: Desk, proof: DeviceProof) -> LinkRow:
    link = await desk.services.phones.find(proof.sign_no)
    if link is None:
        raise DeviceProofError("no such link")
    return link


async def _spend(desk: Desk, proof: DeviceProof, subject: str) -> None:
    """Kept until a minute after the proof has expired: what was in time when it came may have waited. One that is older
    than the store might have been used before its restart."""
    ends = datetime.fromtimestamp(proof.at + LIFETIME_S + CLOCK_SKEW_S, UTC)
    left = (ends - desk.services.clock()).total_seconds() + LIFETIME_S
    if not await desk.services.one_time.put(proof.key, b"", left, since=proof.at):
        raise ProblemError("DEVICE_PROOF_REPLAYED", "this proof has been used", subject=subject)


HolderUnit = Annotated[HolderCall, Depends(holder_unit, scope="function")]
Holder = Annotated[HolderDesk, Depends(holder_desk)]
Wallet = Annotated[Desk, Depends(wallet_desk)]
