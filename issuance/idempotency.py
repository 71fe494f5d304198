"""Idempotency-Key: the same key with the same body gets the stored answer, with another body a conflict.

Answers are sealed (they show masked personal data) and kept for the configured hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

from fastapi import Header
from pydantic import BaseModel
from sqlalchemy import LargeBinary, String, delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from issuance.database import Base, UtcDateTime
from issuance.problems import ProblemError
from issuance.unit import Unit

_KEY = Header(
    alias="Idempotency-Key",
    pattern=r"^[!-~]{8,128}$",
    description="Chosen by the caller, 8 to 128 visible characters; send the same request again with the same key",
)
RequiredKey = Annotated[str, _KEY]
OptionalKey = Annotated[str | None, _KEY]
Answer = TypeVar("Answer", bound=BaseModel)


class KeptAnswerRow(Base):
    """`sealed_answer` is null only inside the transaction that makes the answer."""

    __tablename__ = "kept_answers"

    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


async def once(
    unit: Unit,
    scope: str,
    key: str,
    request: BaseModel,
    answer_type: type[Answer],
    make: Callable[[], Awaitable[Answer]],
) -> Answer:
    """Run `make` the first time; afterwards return what it returned.

    The key is claimed before `make` runs, in the same transaction: a second request either waits for the first
    to commit or finds its answer. A refusal rolls the claim back, so the request may be tried again.
    """
    identity = (unit.caller.client_id, scope, key)
    digest = hashlib.sha256(request.model_dump_json().encode()).digest()
    context = "kept_answers:" + "/".join(identity)
    await unit.session.execute(delete(KeptAnswerRow).where(KeptAnswerRow.expires_at < unit.now))
    row = KeptAnswerRow(
        client_id=identity[0],
        scope=scope,
        key=key,
        request_digest=digest,
        sealed_answer=None,
        expires_at=unit.now + timedelta(hours=unit.services.settings.idempotency_ttl_h),
    )
    try:
        async with unit.session.begin_nested():
            unit.session.add(row)
    except IntegrityError:
        return await _kept(unit, identity, digest, context, answer_type)
    answer = await make()
    row.sealed_answer = unit.services.sealer.seal(answer.model_dump(mode="json"), context)
    await unit.session.flush()
    return answer


async def _kept(
    unit: Unit, identity: tuple[str, str, str], digest: bytes, context: str, answer_type: type[Answer]
) -> Answer:
    row = await unit.session.get(KeptAnswerRow, identity)
    if row is None or row.sealed_answer is None:
        raise ProblemError("IDEMPOTENCY_CONFLICT", "the first request with this key is still being answered")
    if row.request_digest != digest:
        raise ProblemError("IDEMPOTENCY_CONFLICT", "this key was used for another request")
    return answer_type.model_validate(unit.services.sealer.unseal(row.sealed_answer, context))
