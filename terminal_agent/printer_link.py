"""The card printer as the agent sees it, and the line protocol of printer bridges (docs/agent.md).

A bridge is a small program beside a maker's driver. It takes one JSON object a line over TCP and answers with one:

    {"act": "status"}                            -> {"state": "ready"}
    {"act": "job", "job_id": "…"}                -> {"state": "jam", "job": "printing"}
    {"act": "print", "job_id": "…", "face": {…}} -> {"state": "ready", "job": "queued"}

For one `job_id` it prints one card, however often it is asked. What it adds to an answer is let pass.

The bridge of a card machine also moves cards between hopper, encoder, print head, tray and reject bin:

    {"act": "load", "card_id": "…"}              -> {"state": "ready", "place": "encoder", "inside": "…", "hopper": 48}

`machine`, `eject` and `reject` are asked and answered alike. A bridge that moves no cards answers without `place`.
"""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardlib.failures import FailureCode
from cardlib.wire import CardFace

ANSWER_S: Final = 5.0
MAX_LINE: Final = 64 * 1024


class PrinterState(StrEnum):
    """`ribbon_low` still prints."""

    READY = "ready"
    RIBBON_LOW = "ribbon_low"
    RIBBON_EMPTY = "ribbon_empty"
    HOPPER_EMPTY = "hopper_empty"
    JAM = "jam"
    PAUSED = "paused"
    COVER_OPEN = "cover_open"

    @property
    def can_print(self) -> bool:
        return self in (PrinterState.READY, PrinterState.RIBBON_LOW)


class PrintJob(StrEnum):
    """`printing` outlasts a fault: the printer goes on when the fault is cleared. `failed` is final for this job."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    PRINTING = "printing"
    PRINTED = "printed"
    FAILED = "failed"


class CardPlace(StrEnum):
    """Where the card of a `card_id` is; `none`: there is no such card. `taken` and `bin` are final."""

    NONE = "none"
    MOVING = "moving"
    ENCODER = "encoder"
    PRINTER = "printer"
    TRAY = "tray"
    TAKEN = "taken"
    BIN = "bin"

    @property
    def is_inside(self) -> bool:
        return self in (CardPlace.MOVING, CardPlace.ENCODER, CardPlace.PRINTER)


Pieces = Annotated[int, Field(ge=0, le=1_000_000)]


FAILURES: Final = {
    PrinterState.RIBBON_LOW: FailureCode.PRINTER_RIBBON_LOW,
    PrinterState.RIBBON_EMPTY: FailureCode.PRINTER_RIBBON_EMPTY,
    PrinterState.HOPPER_EMPTY: FailureCode.PRINTER_HOPPER_EMPTY,
    PrinterState.JAM: FailureCode.PRINTER_JAM,
    PrinterState.PAUSED: FailureCode.PRINTER_PAUSED,
    PrinterState.COVER_OPEN: FailureCode.PRINTER_COVER_OPEN,
}


class PrinterLostError(Exception):
    """No answer, or none that can be read; whether a job was taken is not known until it is asked about."""

    failure: ClassVar[str] = "PRINTER_UNAVAILABLE"


class PrinterAnswer(BaseModel):
    """The printer's state, and that of the job in question.

    Of a card machine also the place of the card in question, the id of the card inside (empty for none), and what is
    left: blanks in the hopper, cards in the reject bin, prints on the ribbon; null for what it does not count.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: PrinterState
    job: PrintJob = PrintJob.UNKNOWN
    place: CardPlace | None = None
    inside: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{32})?$")] = ""
    hopper: Pieces | None = None
    bin: Pieces | None = None
    ribbon: Pieces | None = None


class PrinterLink(Protocol):
    """Every call may be repeated. Raises PrinterLostError."""

    async def status(self) -> PrinterAnswer: ...

    async def job(self, job_id: str) -> PrinterAnswer: ...

    async def submit(self, job_id: str, face: CardFace) -> PrinterAnswer: ...

    async def machine(self, card_id: str) -> PrinterAnswer:
        """Where this card is, and what is left."""
        ...

    async def load(self, card_id: str) -> PrinterAnswer:
        """To the encoder: a blank from the hopper for an id not heard before, or the card itself from inside or tray.

        Nothing moves while another card is inside or lies in the tray.
        """
        ...

    async def eject(self, card_id: str) -> PrinterAnswer:
        """From inside to the tray."""
        ...

    async def reject(self, card_id: str) -> PrinterAnswer:
        """From inside or the tray to the reject bin."""
        ...


class PrinterBridge:
    """A bridge at `address`, host:port; one connection for each question."""

    def __init__(self, address: str, *, answer_s: float = ANSWER_S) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._answer_s = answer_s

    async def status(self) -> PrinterAnswer:
        return await self._ask({"act": "status"})

    async def job(self, job_id: str) -> PrinterAnswer:
        return await self._ask({"act": "job", "job_id": job_id})

    async def submit(self, job_id: str, face: CardFace) -> PrinterAnswer:
        return await self._ask({"act": "print", "job_id": job_id, "face": face.model_dump(mode="json")})

    async def machine(self, card_id: str) -> PrinterAnswer:
        return await self._move("machine", card_id)

    async def load(self, card_id: str) -> PrinterAnswer:
        return await self._move("load", card_id)

    async def eject(self, card_id: str) -> PrinterAnswer:
        return await self._move("eject", card_id)

    async def reject(self, card_id: str) -> PrinterAnswer:
        return await self._move("reject", card_id)

    async def _move(self, act: str, card_id: str) -> PrinterAnswer:
        return await self._ask({"act": act, "card_id": card_id})

    async def _ask(self, question: dict[str, Any]) -> PrinterAnswer:
        try:
            async with asyncio.timeout(self._answer_s):
                line = await self._exchange(json.dumps(question, ensure_ascii=False).encode() + b"\n")
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: a line longer than the limit
            raise PrinterLostError(type(error).__name__) from error
        return parse_answer(line)

    async def _exchange(self, question: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_LINE)
        try:
            writer.write(question)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


def parse_answer(line: bytes) -> PrinterAnswer:
    """Raises PrinterLostError for anything that is not a whole answer."""
    if not line.endswith(b"\n"):
        raise PrinterLostError("the answer was cut off")
    try:
        return PrinterAnswer.model_validate_json(line)
    except ValidationError:
        raise PrinterLostError("not an answer of a printer bridge") from None
