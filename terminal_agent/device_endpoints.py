"""Routes of receipt printer and camera; and of trying the PIN pad, for installers: no web page may ask for that."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Literal

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints

from terminal_agent.caller import PROGRAM
from terminal_agent.endpoints import _agent, _problems
from terminal_agent.problems import AgentError
from terminal_agent.receipts import MAX_LINES, MAX_QR, MAX_TEXT, Line, Receipt
from terminal_agent.schemas import Body, _example

router = APIRouter(responses=_problems("default"), tags=["devices"])
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"


class ForInstallersError(AgentError):
    """A web page of others asked for what only an installer may do."""

    failure: ClassVar[str] = "ORIGIN_FORBIDDEN"


class PinPadTest(Body):
    """How many keys were pressed; which, nobody learns."""

    model_config = _example(digits=4)

    digits: int = Field(ge=4, le=12)


class ReceiptLineView(Body):
    """A longer line than the paper is broken by the printer: 32 narrow or 16 wide characters fit 58 mm paper."""

    model_config = _example(text="社保卡启用成功", align="centre", large=True, bold=False)

    text: Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=_PLAIN)] = Field(repr=False)
    align: Literal["left", "centre", "right"] = "left"
    large: bool = False
    bold: bool = False


class ReceiptRequest(Body):
    """Lines from the top, and a QR code below them. No control characters: a page cannot send the printer commands."""

    model_config = _example(lines=[{"text": "社保卡启用成功", "align": "centre", "large": True}], qr="")

    lines: list[ReceiptLineView] = Field(min_length=1, max_length=MAX_LINES)
    qr: Annotated[str, StringConstraints(max_length=MAX_QR, pattern=_PLAIN)] = ""

    def receipt(self) -> Receipt:
        lines = tuple(Line(line.text, line.align, line.large, line.bold) for line in self.lines)
        return Receipt(lines, self.qr)


class ReceiptDone(Body):
    """The printer has worked through it."""

    model_config = _example(state="printed")

    state: Literal["printed"] = "printed"


class PictureView(Body):
    """`reasons` say why it will not do as a card's photo (docs/input-rules.md); the centre judges the face."""

    model_config = _example(jpeg_base64="/9j/4AAQ…", width=358, height=441, dpi=350, kb=21.4, reasons=[])

    jpeg_base64: str = Field(repr=False)
    width: int
    height: int
    dpi: int
    kb: float
    reasons: list[str]


@router.post("/v1/receipts", summary="Print a receipt and cut it", responses=_problems(404, 409, 422, 502))
async def print_receipt(request: Request, body: ReceiptRequest) -> ReceiptDone:
    await _agent(request).counter.print(body.receipt())
    return ReceiptDone()


@router.post("/v1/camera/picture", summary="Take a picture and judge its form", responses=_problems(404, 502))
async def picture(request: Request) -> PictureView:
    taken = await _agent(request).counter.take_picture()
    return PictureView(
        jpeg_base64=base64.b64encode(taken.jpeg).decode("ascii"),
        width=taken.width,
        height=taken.height,
        dpi=taken.dpi,
        kb=round(len(taken.jpeg) / 1024, 1),
        reasons=list(taken.reasons),
    )


@router.post(
    "/v1/pin-pad/test",
    summary="Ask for any four to twelve keys at the PIN pad and say how many came",
    responses=_problems(403, 404, 409, 502, 504),
)
async def pin_pad_test(request: Request) -> PinPadTest:
    """No card is asked, and the keys are wiped at once."""
    _expect_installer()
    return PinPadTest(digits=await _agent(request).driver.try_pad())


def _expect_installer() -> None:
    """Raises ForInstallersError. The guard has judged who calls: here a page of others is one that it let in."""
    if PROGRAM.get():
        raise ForInstallersError("only a program of this computer may try devices out")
