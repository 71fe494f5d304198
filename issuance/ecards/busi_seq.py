"""操作验证串 busi_seq: the holder has just given the password, for one purpose, on one phone; five minutes, once.

It lives in the one-time store, sealed. A new password ends all that are out. Whoever presents one has spent it, also
for the wrong purpose.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

from hsm.primitives import default_engine
from issuance.ecards.models import EcardRow
from issuance.one_time import Outcome
from issuance.problems import ProblemError
from issuance.sealing import SealedDataError
from issuance.services import Services
from issuance.unit import Unit

TTL = timedelta(minutes=5)
_BYTES = 24


class Purpose(StrEnum):
    """What the password was given for."""

    PAYMENT = "payment"
    UNLINK = "unlink"
    FAMILY = "family"
    LOSS = "loss"
    LEVEL = "level"
    AUTHORISE = "authorise"
    CONSENT = "consent"
    LOGIN = "login"


async def issue(services: Services, purpose: Purpose, sign_no: str, epoch: int, now: datetime) -> str:
    """`epoch`: of the password that was given. Raises ONE_TIME_UNAVAILABLE."""
    made = secrets.token_urlsafe(_BYTES)
    key = _key(made)
    facts = [sign_no, purpose.value, epoch, (now + TTL).timestamp()]
    await services.one_time.put(key, services.sealer.seal(facts, key), TTL.total_seconds())
    return made


async def spend(unit: Unit, busi_seq: str, purpose: Purpose, sign_no: str, ecard: EcardRow, claimant: str) -> None:
    """Raises BUSI_SEQ_INVALID, ONE_TIME_UNAVAILABLE."""
    key = _key(busi_seq)
    claim = await unit.services.one_time.claim(key, f"{sign_no}:{claimant}")
    if claim.outcome not in (Outcome.FIRST, Outcome.AGAIN):
        raise _refused(f"it is {claim.outcome}", ecard)
    try:
        facts = unit.services.sealer.unseal(claim.value, key)
    except SealedDataError:
        raise _refused("it is not ours", ecard) from None
    if facts[:3] != [sign_no, purpose.value, ecard.password_epoch] or facts[3] <= unit.now.timestamp():
        raise _refused("it was given for something else, or is over", ecard)


def _refused(why: str, ecard: EcardRow) -> ProblemError:
    return ProblemError("BUSI_SEQ_INVALID", why, subject=f"ecard:{ecard.ecard_no}")


def _key(busi_seq: str) -> str:
    return f"busi:{default_engine().sm3(busi_seq.encode()).hex()}"
