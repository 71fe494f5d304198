"""The electronic card's own six digits: weak ones, how they are kept, and how many wrong ones a day has.

Six digits are tried in a moment by whoever has a copy of the database, so Argon2 runs over a keyed SM3 whose key the
key service holds. A try is counted and committed before it is looked at: neither a crash nor many channels at once win
any.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Final

from cardlib.guessable import about, guess
from issuance.clerks.passwords import fits, hash_keyed
from issuance.ecards.models import EcardRow
from issuance.ecards.repository import EcardRepository
from issuance.ecards.usability import CANCELLED
from issuance.input_rules import field_error
from issuance.persons.schemas import PersonData
from issuance.problems import ProblemError, bad_input
from issuance.sealing import Sealer
from issuance.unit import Desk

DIGITS: Final = 6
_WINDOW: Final = timedelta(hours=24)


def demand_strong(password: str, person: PersonData, place: str = "body.password") -> None:
    """Raises INPUT_INVALID for digits that somebody who knows the holder, or nobody in particular, tries first."""
    if is_weak(password, person):
        raise bad_input(field_error(place, "ecard_password_weak"))


def is_weak(password: str, person: PersonData) -> bool:
    known = [*about(person.social_security_number, person.birth_date), person.telephone or ""]
    return guess(password, known) is not None


async def hashed(sealer: Sealer, person_id: str, password: str) -> str:
    return await hash_keyed(_keyed(sealer, person_id, password))


def set_password(row: EcardRow, password_hash: str) -> None:
    """On a locked row; every busi_seq that is out ends, and so does a lock."""
    row.password_hash = password_hash
    row.password_epoch += 1
    row.wrong_at, row.password_locked_until = [], None


async def check(desk: Desk, ecard_no: str, password: str, region: str) -> int:
    """Whether it is the password; returns its epoch. In transactions of its own, so a refusal is stored too.

    Raises ECARD_PASSWORD_WRONG with the tries that are left, ECARD_PASSWORD_LOCKED with the moment it ends, and
    NOT_FOUND.
    """
    person_id, stored, left = await _take_try(desk, ecard_no, region)
    is_right = await fits(_keyed(desk.services.sealer, person_id, password), stored)
    async with desk.services.database.transaction(scope=desk.caller.scope) as session:
        row = await _row(EcardRepository(session), ecard_no)
        is_same = hmac.compare_digest((row.password_hash or "").encode(), (stored or "").encode())
        if is_right and is_same:
            row.wrong_at, row.password_locked_until = [], None
            return row.password_epoch
        until = row.password_locked_until
    subject = f"ecard:{ecard_no}"
    if until is not None:
        raise _locked(f"locked until {until.isoformat()}", subject)
    raise ProblemError("ECARD_PASSWORD_WRONG", f"tries left: {left}", subject=subject)


async def _take_try(desk: Desk, ecard_no: str, region: str) -> tuple[str, str | None, int]:
    """Count a try as a wrong one; the last one locks. Returns person, stored hash and the tries left after this one."""
    rules, now = desk.rules(region), desk.services.clock()
    async with desk.services.database.transaction(scope=desk.caller.scope) as session:
        row = await _row(EcardRepository(session), ecard_no)
        if row.password_hash is None:
            raise ProblemError("ECARD_NOT_USABLE", CANCELLED, subject=f"ecard:{ecard_no}")
        until = row.password_locked_until
        if until is not None and now < until:
            raise _locked(f"locked until {until.isoformat()}", f"ecard:{ecard_no}")
        since = (now - _WINDOW).timestamp()
        earlier = [] if until is not None else [at for at in row.wrong_at if at > since]
        row.wrong_at = [*earlier, int(now.timestamp())]
        left = rules.ecard_password_tries - len(row.wrong_at)
        row.password_locked_until = now + timedelta(hours=rules.ecard_password_lock_hours) if left <= 0 else None
        return row.person_id, row.password_hash, left


async def _row(ecards: EcardRepository, ecard_no: str) -> EcardRow:
    row = await ecards.get(ecard_no, is_locking=True)
    if row is None:
        raise ProblemError("NOT_FOUND", "no such electronic card")
    return row


def _locked(detail: str, subject: str) -> ProblemError:
    return ProblemError("ECARD_PASSWORD_LOCKED", detail, subject=subject)


def _keyed(sealer: Sealer, person_id: str, password: str) -> str:
    return sealer.index("ecard_password", f"{person_id}:{password}").hex()
