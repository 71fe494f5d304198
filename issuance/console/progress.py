"""办理进度 for citizens: no log-in, a page of its own outside the console, and nothing on it says who it is about."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from issuance.clerks.login import shortened
from issuance.console.forms import Form, parse
from issuance.console.page import Look
from issuance.progress.receipts import grouped
from issuance.progress.schemas import ProgressQuestion
from issuance.progress.service import ProgressService
from issuance.unit import services_of

ROOT: Final = "/progress"
router = APIRouter()


@router.get("/")
async def ask(request: Request) -> Response:
    return _show(Look.of(request))


def _show(look: Look, **context: Any) -> Response:
    other = "en" if look.language == "zh" else "zh"
    return look.draw("progress.html", language_path=f"{ROOT}/?lang={other}", **{"progress": None} | context)


@router.post("/")
async def answer(request: Request) -> Response:
    """The numbers come in the body: no address and no log ever holds them."""
    look, form = Look.of(request), await Form.of(request)
    address = request.client.host if request.client is not None else ""
    kept = Form({"receipt_number": form.get("receipt_number")[:32]})
    try:
        question = parse(ProgressQuestion, form.nested("receipt_number", "check"))
        progress = await ProgressService(services_of(request)).ask(question, shortened(address))
    except Exception as error:
        return _show(look, form=kept, refusal=look.refusal(error))
    return _show(look, progress=progress, number=grouped(progress.receipt_number))
