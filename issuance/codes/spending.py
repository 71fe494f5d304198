"""Accepting a code: claimed in the one-time store, judged as its card stands now, recorded before it is answered."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hsm.primitives import default_engine
from issuance.cards.schemas import CardState
from issuance.clients.auth import Caller
from issuance.clock import china_date
from issuance.codes.ledger import Asker, Recorded, Standing, Use
from issuance.codes.schemas import Scene, ValidatedCode
from issuance.codes.text import ShownCode, digest_of, key_of
from issuance.consents.catalogue import ITEMS_OF_SCENE, SHOWN_IN_SCENE
from issuance.consents.disclosure import Values, disclosed
from issuance.consents.ledger import ConsentService
from issuance.ecards.usability import judge
from issuance.one_time import Claim, Claiming, Outcome
from issuance.problems import ProblemError
from issuance.rules import Rules
from issuance.services import Services

_REFUSALS: Final = {
    Outcome.UNKNOWN: ("CODE_UNKNOWN", "no such code"),
    Outcome.OTHER_LABEL: ("CODE_SCENE", "this code is for another scene"),
    Outcome.TAKEN: ("CODE_USED", "this caller had it accepted for another request, or before its time was over"),
    Outcome.EXPIRED: ("CODE_EXPIRED", "its time is over, or a newer code has replaced it"),
}
_ELSEWHERE: Final = ("CODE_USED_ELSEWHERE", "another caller had this code accepted")


@dataclass(frozen=True, slots=True)
class Presented:
    """A code as a caller presents it. `act`: the interface it came by, at most 16 characters. `request_id` names the
    request; without one no other request is the same."""

    code: str
    scene: Scene
    act: str = "validate"
    amount_fen: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """An accepted code. `standing` is whose it is; `is_again`: the same request had it accepted before."""

    claim: Claim
    standing: Standing
    used_at: datetime
    limit_fen: int | None
    is_again: bool


class CodeSpending:
    """For one request of a proved caller. Has no transaction of its own: many share one (`UseLedger`)."""

    def __init__(self, services: Services, caller: Caller, now: datetime) -> None:
        self._services = services
        self._caller = caller
        self._now = now

    async def spend(self, presented: Presented) -> Spent:
        """Raises CLIENT_FORBIDDEN, CODE_UNKNOWN, CODE_SCENE, CODE_USED, CODE_USED_ELSEWHERE, CODE_EXPIRED,
        ECARD_UNLINKED, ECARD_NOT_USABLE, ECARD_PASSWORD_LOCKED, ECARD_LEVEL, CODE_AMOUNT, ONE_TIME_UNAVAILABLE.

        Whatever is refused after the claim has spent the code: the holder shows a new one.
        """
        try:
            spent = await self._spend(presented)
        except ProblemError as refusal:
            self._count(presented.scene, refusal.failure)
            raise
        self._count(presented.scene, "again" if spent.is_again else "accepted")
        return spent

    async def _spend(self, presented: Presented) -> Spent:
        self._demand_scene(presented.scene)
        digest = digest_of(presented.code)
        if digest is None:
            raise ProblemError(*_REFUSALS[Outcome.UNKNOWN])
        request = self._request_digest(presented)
        claim = await self._services.code_uses.claim(
            Claiming(key_of(digest), f"{self._own}{request.hex()}", presented.scene)
        )
        shown = ShownCode.unsealed(self._services.sealer, claim.value, digest) if claim.value else None
        if claim.outcome in _REFUSALS or shown is None:
            refusal = _REFUSALS.get(claim.outcome, _REFUSALS[Outcome.UNKNOWN])
            if claim.outcome is Outcome.TAKEN and not claim.holder.startswith(self._own):
                refusal = _ELSEWHERE
            raise ProblemError(*refusal, subject="" if shown is None else shown.subject)
        standing = await self._services.code_uses.standing(shown)
        if standing is None or standing.ecard_no != shown.ecard_no:
            raise ProblemError(*_REFUSALS[Outcome.UNKNOWN], subject=shown.subject)
        limit_fen = self._judged(shown, standing, presented)
        recorded = await self._record(presented, shown, standing, digest, request)
        return Spent(claim, standing, recorded.at, limit_fen, not recorded.is_new)

    @property
    def _own(self) -> str:
        """What every claim of this caller begins with; a client id holds no colon."""
        return f"{self._caller.client_id}:"

    def _demand_scene(self, scene: Scene) -> None:
        allowed = self._caller.scenes
        if allowed is not None and scene.value not in allowed:
            raise ProblemError("CLIENT_FORBIDDEN", f"this client is not registered for codes of {scene}")

    def _request_digest(self, presented: Presented) -> bytes:
        """Names caller and request: whoever has another one is another claimant."""
        named = presented.request_id or secrets.token_hex(16)
        facts = [self._caller.client_id, named, presented.scene, presented.act, presented.amount_fen]
        return default_engine().sm3(json.dumps(facts).encode())

    def _judged(self, shown: ShownCode, standing: Standing, presented: Presented) -> int | None:
        """As it stands now, not as it stood when the code was made. Returns the limit of a payment code."""
        if self._now >= shown.expires_at:
            raise ProblemError(*_REFUSALS[Outcome.EXPIRED], subject=shown.subject)
        if standing.link_state != "active" or standing.channel_state != "active":
            raise ProblemError("ECARD_UNLINKED", "the phone that showed it is no longer linked", subject=shown.subject)
        if standing.family_state != "active":
            raise ProblemError("ECARD_UNLINKED", "the family link has ended", subject=shown.subject)
        self._demand_usable(standing, shown.subject)
        if standing.asker is not None:
            self._demand_usable(standing.asker, shown.subject)
        if presented.scene is not Scene.PAYMENT:
            return None
        if standing.level_now < 2:
            raise ProblemError("ECARD_LEVEL", "payment needs level 2", subject=shown.subject)
        limit = self._rules(standing).ecard_payment_limit_fen
        if presented.amount_fen is not None and presented.amount_fen > limit:
            raise ProblemError("CODE_AMOUNT", f"at most {limit} fen", subject=shown.subject)
        return limit

    def _demand_usable(self, shower: Standing | Asker, subject: str) -> None:
        reason = judge(shower.ecard_state, shower.state, lambda: self._rules(shower))
        if reason:
            raise ProblemError("ECARD_NOT_USABLE", reason, subject=subject)
        if shower.password_locked_until is not None and self._now < shower.password_locked_until:
            raise ProblemError("ECARD_PASSWORD_LOCKED", "too many wrong passwords", subject=subject)

    def _rules(self, standing: Standing | Asker) -> Rules:
        return self._services.rules.pack(standing.region).on(china_date(self._now))

    async def _record(
        self, presented: Presented, shown: ShownCode, standing: Standing, digest: bytes, request: bytes
    ) -> Recorded:
        row = {
            "code_digest": digest,
            "use_id": secrets.token_hex(16),
            "ecard_no": shown.ecard_no,
            "sign_no": shown.sign_no,
            "scene": presented.scene.value,
            "act": presented.act,
            "client_id": self._caller.client_id,
            "amount_fen": presented.amount_fen,
            "at": self._now,
            "request_digest": request,
        }
        amount = {} if presented.amount_fen is None else {"amount_fen": presented.amount_fen}
        entry = {
            "at": self._now,
            "actor": self._caller.client_id,
            "clerk": self._caller.clerk,
            "act": f"code.{presented.act}",
            "subject": shown.subject,
            "application_id": None,
            "region": standing.region,
            "place": "",
            "outcome": "ok",
            "reason": "",
            "detail": {"scene": presented.scene.value} | amount,
        }
        recorded = await self._services.code_uses.record(Use(row, entry))
        if not recorded.is_ours:  # the store has forgotten, the table has not
            raise ProblemError(*_REFUSALS[Outcome.TAKEN], subject=shown.subject)
        return recorded

    def _count(self, scene: Scene, outcome: str) -> None:
        self._services.metrics.codes.labels(scene.value, outcome).inc()

    # -- the answer ---------------------------------------------------------------------------------------------------

    def values(self, spent: Spent, scene: Scene) -> Values:
        """What the scene shows to everybody, and of the rest of it what the caller is registered for."""
        items = SHOWN_IN_SCENE[scene] | (ITEMS_OF_SCENE[scene] & self._caller.items)
        standing = spent.standing
        consent = ConsentService.of_code(spent.claim, standing, scene, items)
        return disclosed(self._services.sealer, consent, person=standing.sealed_person, card=standing, items=items)

    def answer(self, spent: Spent, scene: Scene) -> ValidatedCode:
        values = self.values(spent, scene)
        state = values.get("card_state")
        return ValidatedCode(
            scene=scene,
            ecard_no=spent.standing.ecard_no,
            used_at=spent.used_at,
            name=values.get("name") or values.get("name_masked"),
            social_security_number=values.get("social_security_number"),
            region=values.get("region"),
            card_state=None if state is None else CardState(state),
            limit_fen=spent.limit_fen,
        )
