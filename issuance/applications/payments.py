"""The fee of a card (工本费): registered before the card is begun, given back when there will be none.

Where a fee system is connected it is told through the outbox, under keys that stay the same however often it is told:
"already done" is done. Without one the office's own till takes the money, and the books here are all there is.
"""

from __future__ import annotations

from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from issuance.applications.journal import Journal
from issuance.applications.models import ApplicationRow, PaymentRow
from issuance.applications.repository import ApplicationRepository
from issuance.applications.schemas import Step, StepStatus
from issuance.outbox.delivery import Envelope, NotDeliveredError
from issuance.problems import ProblemError
from issuance.unit import Unit

TIMEOUT_S = 10.0
TOPIC = "payment"
_STEPS = {"registering": Step.PAYMENT, "cancelling": Step.CANCEL_PAYMENT}
_ACTS = {"registering": "register", "cancelling": "cancel"}
_ENDS = {"registering": ("registered", StepStatus.DONE), "cancelling": ("cancelled", StepStatus.UNDONE)}


class Payments:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._journal = Journal(unit)

    async def ask(self, row: ApplicationRow, amount_fen: int) -> None:
        """Register the fee of an application once; nothing where there is none."""
        if amount_fen == 0 or await self._unit.session.get(PaymentRow, row.id) is not None:
            return
        payment = PaymentRow(
            application_id=row.id,
            amount_fen=amount_fen,
            state="registering",
            reason="",
            updated_by=self._unit.by,
            updated_at=self._unit.now,
        )
        self._unit.session.add(payment)
        await self._tell(row, payment)

    async def demand(self, row: ApplicationRow) -> None:
        """Raises PAYMENT_PENDING and PAYMENT_REFUSED while the fee is not registered."""
        payment = await self._unit.session.get(PaymentRow, row.id)
        if payment is None or payment.state == "registered":
            return
        failure = "PAYMENT_REFUSED" if payment.reason else "PAYMENT_PENDING"
        raise ProblemError(failure, f"the fee is {payment.state} {payment.reason}".rstrip(), application_id=row.id)

    async def cancel(self, row: ApplicationRow) -> None:
        """There will be no card: the fee goes back. It is tried until it is done or a person says it was."""
        payment = await self._unit.session.get(PaymentRow, row.id)
        if payment is None or payment.state in ("cancelling", "cancelled"):
            return
        payment.state = "cancelling"
        await self._tell(row, payment)

    async def retry(self, row: ApplicationRow) -> None:
        """Tell the fee system again. Raises APPLICATION_STATE when it has nothing to be told."""
        await self._tell(row, await self._waiting(row))

    async def settle_by_hand(self, row: ApplicationRow) -> None:
        """A person has seen to it in the fee system. Raises APPLICATION_STATE as `retry` does."""
        await self._end(row, await self._waiting(row), detail="by hand")

    async def heard(self, row: ApplicationRow, act: str, reason: str | None) -> None:
        """The fee system's word; one about something that is over changes nothing."""
        payment = await self._unit.session.get(PaymentRow, row.id)
        if payment is None or _ACTS.get(payment.state) != act:
            return
        if reason is None:
            await self._end(row, payment)
            return
        payment.reason = reason
        await self._journal.step(row, _STEPS[payment.state], StepStatus.STUCK, detail=reason, reason="PAYMENT_REFUSED")

    async def _waiting(self, row: ApplicationRow) -> PaymentRow:
        payment = await self._unit.session.get(PaymentRow, row.id)
        if payment is None or payment.state not in _ACTS:
            raise ProblemError("APPLICATION_STATE", "no fee is waiting", application_id=row.id)
        return payment

    async def _tell(self, row: ApplicationRow, payment: PaymentRow) -> None:
        payment.reason = ""
        if TOPIC not in self._unit.services.receivers:
            await self._end(row, payment, detail="till")
            return
        await self._journal.step(row, _STEPS[payment.state], StepStatus.STARTED, detail=f"{payment.amount_fen} fen")
        act = _ACTS[payment.state]
        body = {"key": f"{row.id}:{act}", "application_id": row.id, "amount_fen": payment.amount_fen}
        await self._unit.send(f"{TOPIC}.{act}", f"{TOPIC}:{row.id}", body, region=row.region)

    async def _end(self, row: ApplicationRow, payment: PaymentRow, *, detail: str = "") -> None:
        step = _STEPS[payment.state]
        payment.state, status = _ENDS[payment.state]
        payment.reason = ""
        payment.updated_by, payment.updated_at = self._unit.by, self._unit.now
        await self._journal.step(row, step, status, detail=f"{payment.amount_fen} fen {detail}".rstrip())
        await self._unit.audit(
            f"payment.{payment.state}",
            f"application:{row.id}",
            application_id=row.id,
            region=row.region,
            detail={"amount_fen": payment.amount_fen},
        )


class FeeReply(BaseModel):
    """`already` is success too; `reason` is the fee system's code of a refusal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    result: Literal["done", "already", "refused"]
    reason: str = Field(default="", max_length=32, pattern=r"^[A-Za-z0-9_.-]*$")


class FeeSystem:
    """Receiver of `payment.*`: `POST {url}/v1/payments/{register|cancel}` with key, application_id and amount_fen."""

    def __init__(
        self, url: str, *, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._transport = transport

    async def deliver(self, envelope: Envelope) -> FeeReply:
        act = envelope.topic.partition(".")[2]
        try:
            async with httpx.AsyncClient(
                headers=self._headers, transport=self._transport, timeout=TIMEOUT_S, trust_env=False
            ) as http:
                answer = await http.post(f"{self._url}/v1/payments/{act}", json=envelope.body)
            answer.raise_for_status()
            return FeeReply.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise NotDeliveredError(f"fee_system_{type(error).__name__}") from None

    async def settle(self, unit: Unit, envelope: Envelope, answer: Any) -> str | None:
        row = await ApplicationRepository(unit.session).get(envelope.body["application_id"])
        if row is None:
            return "application_unknown"
        refusal = (answer.reason or "refused") if answer.result == "refused" else None
        await Payments(unit).heard(row, envelope.topic.partition(".")[2], refusal)
        return None
