"""The one card a kiosk has in hand, kept over a loss of power: which application, which card, how far; no data."""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, Field, ValidationError

from cardlib.wire import HexId, Message
from hsm.sealed_store import write_atomically

LOG = logging.getLogger("terminal_agent.kiosk")
MAX_BYTES: Final = 4096


class CaseStep(StrEnum):
    """MAKING until the centre has enabled the card; MADE: it waits inside; GIVEN: it was put into the tray."""

    MAKING = "making"
    MADE = "made"
    GIVEN = "given"


class Case(Message):
    """`card_id` is what the machine calls the card, `reset_information` what its chip does, once it was at the encoder;
    `tries` counts blanks taken for this application."""

    application_id: HexId
    card_id: HexId
    reset_information: str | None = Field(default=None, pattern=r"^[0-9A-F]{1,66}$")
    step: CaseStep = CaseStep.MAKING
    tries: int = Field(default=1, ge=1, le=9)
    since: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def begin(cls, application_id: str, tries: int = 1) -> Case:
        return cls(application_id=application_id, card_id=secrets.token_hex(16), tries=tries)

    def at(self, step: CaseStep) -> Case:
        """`since` is when the step was reached."""
        return self if step is self.step else self.model_copy(update={"step": step, "since": datetime.now(UTC)})

    def of_chip(self, reset_information: str) -> Case:
        return self.model_copy(update={"reset_information": reset_information})


class CaseFile:
    """`path` None: nothing outlives the agent. What was written is on the disk when `write` returns."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.case = parse_case(path) if path is not None else None

    def write(self, case: Case) -> Case:
        """Raises OSError."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, case.model_dump_json().encode())
        self.case = case
        return case

    def clear(self) -> None:
        """A file that cannot be removed is found out again at the next start."""
        self.case = None
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                LOG.error("%s stays: %s", self._path.name, error.strerror)


def parse_case(path: Path) -> Case | None:
    """None without a file, and for one that cannot be read: the machine then says itself what is inside."""
    try:
        with path.open("rb") as file:
            return Case.model_validate_json(file.read(MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        LOG.error("%s cannot be read", path.name)
        return None
