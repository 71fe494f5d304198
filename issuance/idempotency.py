"""Idempotency-Key: the same key with the same body gets the stored answer, with another body a conflict.

Answers are sealed (they show masked personal data) and kept for the configured hours, or shorter where what they say
does not hold so long. One given again is marked with the header `Idempotency-Replayed: true`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

from fastapi import Header, Response
from pydantic import BaseModel
from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cardlib.client_auth import IDEMPOTENCY_HEADER
from issuance.database import Base, UtcDateTime, add_unless_taken, forget
from issuance.problems import ProblemError
from issuance.unit import Unit

_KEY = Header(
    alias=IDEMPOTENCY_HEADER,
    pattern=r"^[!-~]{8,128}$",
    description="Chosen by the caller, 8 to 128 visible characters; send the same request again with the same key",
)
RequiredKey = Annotated[str, _KEY]
OptionalKey = Annotated[str | None, _KEY]
Answer = TypeVar("Answer", bound=BaseModel)
REPLAYED_HEADER = "Idempotency-Replayed"


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
    response: Response,
    scope: str,
    key: str | None,
    request: BaseModel,
    answer_type: type[Answer],
    make: Callable[[], Awaitable[Answer]],
    *,
    expires_at: datetime | None = None,
    recheck: Callable[[Answer], Awaitable[None]] | None = None,
    keep: Callable[[Answer], Answer] | None = None,
) -> Answer:
    """Run `make` the first time; afterwards, at most until `expires_at`, return what it returned.

    Without a key `make` runs every time.
    `recheck` raises when the kept answer must not be given any more. `keep` leaves out what is told only once.

    The key is claimed before `make` runs, in the same transaction: a second request either waits for the first
    to commit or finds its answer. A refusal rolls the claim back, so the request may be tried again.
    """
    if key is None:
        return await make()
    identity, digest, context = _facts(unit, scope, key, request)
    await forget(unit.session, KeptAnswerRow, KeptAnswerRow.expires_at <= unit.now)
    longest = unit.now + timedelta(hours=unit.services.settings.idempotency_ttl_h)
    row = KeptAnswerRow(
        client_id=identity[0],
        scope=scope,
        key=key,
        request_digest=digest,
        sealed_answer=None,
        expires_at=longest if expires_at is None else min(longest, expires_at),
    )
    if not await add_unless_taken(unit.session, row):
        kept = await _kept(unit, identity, digest, context, answer_type)
        if recheck is not None:
            await recheck(kept)
        response.headers[REPLAYED_HEADER] = "true"
        return kept
    answer = await make()
    kept = answer if keep is None else keep(answer)
    row.sealed_answer = unit.services.sealer.seal(kept.model_dump(mode="json"), context)
    await unit.session.flush()
    return answer


async def recall(
    unit: Unit, response: Response, scope: str, key: str, request: BaseModel, answer_type: type[Answer]
) -> Answer | None:
    """What `once` keeps for this request, None when nothing; for work that has to be done before its unit is opened."""
    identity, digest, context = _facts(unit, scope, key, request)
    if await unit.session.get(KeptAnswerRow, identity) is None:
        return None
    kept = await _kept(unit, identity, digest, context, answer_type)
    response.headers[REPLAYED_HEADER] = "true"
    return kept


def _facts(unit: Unit, scope: str, key: str, request: BaseModel) -> tuple[tuple[str, str, str], bytes, str]:
    """Whose answer it is, a digest of the request, keyed as it may hold a short password, and the seal's context."""
    who = f"{unit.caller.client_id}/{unit.caller.clerk}" if unit.caller.office else unit.caller.client_id
    identity = (who, scope, key)
    digest = unit.services.sealer.index("request", request.model_dump_json())
    return identity, digest, "kept_answers:" + "/".join(identity)


async def _kept(
    unit: Unit, identity: tuple[str, str, str], digest: bytes, context: str, answer_type: type[Answer]
) -> Answer:
    row = await unit.session.get(KeptAnswerRow, identity)
    if row is None or row.sealed_answer is None or row.expires_at <= unit.now:
        raise ProblemError(
            "IDEMPOTENCY_CONFLICT", "the first request with this key is still being answered, or long over"
        )
    if row.request_digest != digest:
        raise ProblemError("IDEMPOTENCY_CONFLICT", "this key was used for another request")
    return answer_type.model_validate(unit.services.sealer.unseal(row.sealed_answer, context))
