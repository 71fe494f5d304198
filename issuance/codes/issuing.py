"""Making codes on the holder's phone."""

from __future__ import annotations

import asyncio
import base64
import secrets
from datetime import timedelta
from typing import Final

from hsm.primitives import default_engine
from issuance.codes.schemas import CodeRequest, IssuedCode, Scene
from issuance.codes.text import ShownCode, digest_of, key_of, new_code
from issuance.ecards.access import HolderCall
from issuance.ecards.busi_seq import Purpose
from issuance.ecards.family import member_of
from issuance.ecards.models import EcardRow
from issuance.ecards.usability import demand_payable, demand_usable
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from onecard_ui.code_picture import picture_of

_MODULE_PX: Final = 8


async def issue_code(call: HolderCall, request: CodeRequest) -> IssuedCode:
    """Raises ECARD_NOT_USABLE, ECARD_PASSWORD_LOCKED, ECARD_LEVEL, BUSI_SEQ_INVALID, NOT_FOUND for no such family
    member, ONE_TIME_UNAVAILABLE."""
    unit, settings = call.unit, call.unit.services.settings
    ecard = await _shown(call, request)
    code = new_code()
    digest = digest_of(code)
    if digest is None:
        raise ValueError("a new code has not the form of one")
    shown = ShownCode(
        ecard_no=ecard.ecard_no,
        sign_no=call.link.sign_no,
        family_id=request.member or "",
        expires_at=unit.now + timedelta(seconds=settings.code_ttl_s),
    )
    is_kept = await unit.services.one_time.put(
        key_of(digest),
        shown.sealed(unit.services.sealer, digest),
        settings.code_ttl_s,
        label=request.scene,
        slot=default_engine().sm3(f"{shown.sign_no}:{shown.ecard_no}:{request.scene}".encode()).hex(),
    )
    if not is_kept:
        raise ProblemError("CONFLICT", "this code is there already")
    await call.audit("code.issue", subject=shown.subject, scene=request.scene.value)
    unit.after_commit.append(unit.services.metrics.codes.labels(request.scene.value, "issued").inc)
    png_base64, svg = await asyncio.to_thread(_draw, code)
    return IssuedCode(
        code=code,
        scene=request.scene,
        expires_at=shown.expires_at,
        ttl_s=settings.code_ttl_s,
        png_base64=png_base64,
        svg=svg,
    )


async def _shown(call: HolderCall, request: CodeRequest) -> EcardRow:
    """Whose code it is to be: the holder's, or for identity a family member's; the holder's own must be usable for
    either."""
    unit, ecard = call.unit, call.ecard
    if request.member is not None and request.scene is not Scene.IDENTITY:
        raise bad_input(field_error("body.member", "value"))
    demand_usable(unit, ecard, call.card)
    if ecard.password_locked_until is not None and unit.now < ecard.password_locked_until:
        raise ProblemError("ECARD_PASSWORD_LOCKED", "too many wrong passwords", subject=call.subject)
    if request.member is not None:
        ecard, _ = await member_of(call, request.member)
        return ecard
    if request.scene is Scene.PAYMENT:
        await demand_payable(unit, ecard, call.card)
        if request.busi_seq is None:
            raise bad_input(field_error("body.busi_seq", "missing"))
        await call.spend(request.busi_seq, Purpose.PAYMENT, secrets.token_hex(16))
    return ecard


def _draw(code: str) -> tuple[str, str]:
    """PNG in base64, and SVG."""
    picture = picture_of(code.encode())
    return base64.b64encode(picture.png(picture.size * _MODULE_PX)).decode(), picture.svg()
