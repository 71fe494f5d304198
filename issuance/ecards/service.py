"""Electronic cards and their codes: sixty seconds, once only, bound to a scene (ecard_and_business §1.3)."""

from __future__ import annotations

import asyncio
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta

from hsm.primitives import default_engine
from issuance.cards.models import CardRow
from issuance.cards.repository import CardRepository
from issuance.cards.schemas import CardState
from issuance.ecards.models import EcardCodeRow, EcardRow
from issuance.ecards.picture import draw
from issuance.ecards.repository import CodeRepository, EcardRepository
from issuance.ecards.schemas import CodeValidation, EcardView, IssuedCode, Scene, ValidatedCode
from issuance.persons.repository import PersonRepository
from issuance.persons.service import masked
from issuance.problems import ProblemError
from issuance.scope import unscoped
from issuance.unit import Unit

CODE_PREFIX = "OC1."
_CODE_BYTES = 32
_KEEP_UNUSED = timedelta(hours=1)


class EcardService:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._ecards = EcardRepository(unit.session)
        self._codes = CodeRepository(unit.session)

    async def create(self, card: CardRow) -> str:
        """The electronic card of a card just enabled, level 1, or the one it took over; returns its number."""
        moved = await self._ecards.of_card(card.card_number)
        if moved is not None:
            return moved.ecard_no
        row = EcardRow(
            ecard_no=secrets.token_hex(16),
            card_number=card.card_number,
            person_id=card.person_id,
            level=1,
            state="active",
            created_at=self._unit.now,
            updated_at=self._unit.now,
        )
        if not await self._ecards.add(row):
            raise ProblemError("CONFLICT", "this card has an electronic card", application_id=card.application_id)
        await self._unit.audit(
            "ecard.create", f"ecard:{row.ecard_no}", region=card.region, application_id=card.application_id
        )
        return row.ecard_no

    async def view(self, ecard_no: str) -> EcardView:
        row, card = await self._served(ecard_no)
        return EcardView(
            ecard_no=row.ecard_no,
            level=row.level,
            state=row.state,
            region=card.region,
            card_state=CardState(card.state),
        )

    async def issue_code(self, ecard_no: str, scene: Scene) -> IssuedCode:
        """Raises NOT_FOUND, and CARD_STATE when card or electronic card cannot be used."""
        row, card = await self._served(ecard_no, is_locking=True)
        self._demand_usable(row, card)
        code = CODE_PREFIX + urlsafe_b64encode(secrets.token_bytes(_CODE_BYTES)).rstrip(b"=").decode()
        png_base64, svg = await asyncio.to_thread(draw, code)
        now, ttl_s = self._unit.now, self._unit.services.settings.code_ttl_s
        await self._codes.forget_unused(now - _KEEP_UNUSED)
        await self._codes.cancel_live(ecard_no, scene)
        expires_at = now + timedelta(seconds=ttl_s)
        await self._codes.add(
            EcardCodeRow(
                digest=_digest(code),
                ecard_no=ecard_no,
                scene=scene.value,
                state="live",
                issued_at=now,
                expires_at=expires_at,
            )
        )
        await self._unit.audit("code.issue", f"ecard:{ecard_no}", region=card.region, detail={"scene": scene.value})
        self._count(scene, "issued")
        return IssuedCode(code=code, scene=scene, expires_at=expires_at, ttl_s=ttl_s, png_base64=png_base64, svg=svg)

    async def validate(self, request: CodeValidation) -> ValidatedCode:
        """Spend a code. Raises CODE_UNKNOWN, CODE_SCENE, CODE_USED, CODE_EXPIRED, CARD_STATE."""
        now, digest = self._unit.now, _digest(request.code)
        ecard_no = await self._codes.use(digest, request.scene, self._unit.caller.client_id, now)
        if ecard_no is None:
            raise await self._refusal(digest, request.scene)
        with unscoped(self._unit.session, why="a verifier honours cards from everywhere"):
            row, card = await self._get(ecard_no)
        self._demand_usable(row, card)
        await self._unit.audit(
            "code.validate", f"ecard:{ecard_no}", region=card.region, detail={"scene": request.scene.value}
        )
        self._count(request.scene, "accepted")
        is_named = request.scene is not Scene.PAYMENT
        is_detailed = request.scene is not Scene.LOGIN
        return ValidatedCode(
            scene=request.scene,
            ecard_no=ecard_no,
            used_at=now,
            name=await self._masked_name(row.person_id) if is_named else None,
            region=card.region if is_detailed else None,
            card_state=CardState(card.state) if is_detailed else None,
        )

    async def expiry_of(self, code: str) -> datetime | None:
        return await self._codes.expiry_of(_digest(code))

    async def check_usable(self, ecard_no: str) -> None:
        """Raises CARD_STATE when card or electronic card cannot be used."""
        with unscoped(self._unit.session, why="a verifier honours cards from everywhere"):
            row, card = await self._get(ecard_no)
        self._demand_usable(row, card)

    async def _refusal(self, digest: bytes, scene: Scene) -> ProblemError:
        row = await self._codes.get(digest)
        if row is None:
            failure, detail = "CODE_UNKNOWN", "no such code"
        elif row.scene != scene:
            failure, detail = "CODE_SCENE", f"this code is for {row.scene}"
        elif row.state == "used":
            failure, detail = "CODE_USED", "this code has been used"
        else:
            failure, detail = "CODE_EXPIRED", "its time is over, or a newer code has replaced it"
        self._unit.services.metrics.codes.labels(scene.value, failure).inc()
        return ProblemError(failure, detail, subject="" if row is None else f"ecard:{row.ecard_no}")

    async def _get(self, ecard_no: str, *, is_locking: bool = False) -> tuple[EcardRow, CardRow]:
        row = await self._ecards.get(ecard_no, is_locking=is_locking)
        card = None if row is None else await CardRepository(self._unit.session).get(row.card_number)
        if row is None or card is None:
            raise ProblemError("NOT_FOUND", "no such electronic card")
        return row, card

    async def _served(self, ecard_no: str, *, is_locking: bool = False) -> tuple[EcardRow, CardRow]:
        """For a wallet, which serves its region only; a verifier honours cards from everywhere."""
        return await self._get(ecard_no, is_locking=is_locking)

    def _demand_usable(self, row: EcardRow, card: CardRow) -> None:
        if row.state != "active" or card.state != CardState.NORMAL:
            raise ProblemError(
                "CARD_STATE",
                f"the electronic card is {row.state}, the card's state is {card.state}",
                subject=f"ecard:{row.ecard_no}",
            )

    async def _masked_name(self, person_id: str) -> str:
        return masked(await PersonRepository(self._unit.session, self._unit.services.sealer).data(person_id)).name

    def _count(self, scene: Scene, outcome: str) -> None:
        self._unit.after_commit.append(self._unit.services.metrics.codes.labels(scene.value, outcome).inc)


def _digest(code: str) -> bytes:
    return default_engine().sm3(code.encode())
