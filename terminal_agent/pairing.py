"""Pairing: a person at this computer agrees once that a page may use it, and the page gets a token.

The token is bound to the page's origin and kept as its SHA-256 only: of 256 random bits nothing slower is needed.
A question waits for the page `/pair` of the agent itself, whose form carries a key that works once. Everything here
belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hsm.sealed_store import write_atomically
from terminal_agent.hub import EventHub
from terminal_agent.problems import AgentError

MAX_PAIRINGS: Final = 200
MAX_QUESTIONS: Final = 8
PAIRING_WANTED: Final = "pairing_wanted"
PAIRING_OVER: Final = "pairing_over"
PAIRING_REVOKED: Final = "pairing_revoked"
LOG = logging.getLogger("terminal_agent.pairing")


class PairingRefusedError(AgentError):
    """Somebody said no, or nobody answered."""

    failure = "PAIRING_REFUSED"


class TooManyQuestionsError(AgentError):
    """More pages ask at once than a person can judge."""

    failure = "RATE_LIMITED"


class UnknownPairingError(AgentError):
    failure = "NOT_FOUND"


class PairingFileError(AgentError):
    """The file of the pairings cannot be kept; nobody is paired by halves."""

    failure = "INTERNAL"


class Pairing(BaseModel):
    """`token_hash` is the SHA-256 of the token, in hex."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    origin: str
    name: str
    created: datetime
    token_hash: str = Field(repr=False)


_PAIRINGS: Final = TypeAdapter(tuple[Pairing, ...])


@dataclass(slots=True, eq=False)
class Question:
    """A page that waits for a person's yes. `key` makes one form of `/pair` valid once."""

    origin: str
    name: str
    answer: asyncio.Future[bool]
    key: str = ""


class Pairings:
    """`file` None: pairings last as long as the agent runs."""

    def __init__(self, hub: EventHub, file: Path | None) -> None:
        self._hub = hub
        self._file = file
        self._questions: dict[str, Question] = {}
        self._pairings = _load(file)

    @property
    def is_asked(self) -> bool:
        return bool(self._questions)

    def all(self) -> tuple[Pairing, ...]:
        return self._pairings

    def has(self, origin: str, token: str) -> bool:
        """Whether the token is one of that origin's."""
        given = _hash(token)
        found = [p for p in self._pairings if hmac.compare_digest(p.token_hash, given)]
        return any(p.origin == origin for p in found)

    async def ask(self, origin: str, name: str, wait_s: float) -> str:
        """A token for `origin` once a person has agreed. A newer question of a page replaces its older one.

        Raises PairingRefusedError, TooManyQuestionsError, PairingFileError.
        """
        self._forget(self._questions.get(origin))
        if len(self._questions) >= MAX_QUESTIONS:
            raise TooManyQuestionsError("too many pages ask to be paired")
        question = Question(origin, name, asyncio.get_running_loop().create_future())
        self._questions[origin] = question
        self._hub.publish(PAIRING_WANTED, {"origin": origin, "name": name})
        try:
            await asyncio.wait([question.answer], timeout=wait_s)
            is_agreed = question.answer.done() and question.answer.result()
        finally:
            self._forget(question)
        if not is_agreed:
            raise PairingRefusedError(origin)
        return self._add(origin, name)

    def open(self) -> Question | None:
        """The oldest question, with a new key; a page opened before is out of date."""
        question = next(iter(self._questions.values()), None)
        if question is not None:
            question.key = secrets.token_urlsafe(32)
        return question

    def answer(self, key: str, *, is_agreed: bool) -> bool:
        """Whether there still was such a question."""
        for question in self._questions.values():
            if question.key and hmac.compare_digest(question.key.encode(), key.encode()):
                question.key = ""
                if not question.answer.done():
                    question.answer.set_result(is_agreed)
                return True
        return False

    def revoke(self, pairing_id: str) -> Pairing:
        """Its token is worth nothing from now on. Raises UnknownPairingError, PairingFileError."""
        pairing = next((p for p in self._pairings if p.id == pairing_id), None)
        if pairing is None:
            raise UnknownPairingError("no such pairing")
        self._keep(tuple(p for p in self._pairings if p is not pairing))
        LOG.info("pairing with %s revoked", pairing.origin)
        return pairing

    def _add(self, origin: str, name: str) -> str:
        token = secrets.token_urlsafe(32)
        pairing = Pairing(
            id=secrets.token_hex(6), origin=origin, name=name, created=datetime.now(UTC), token_hash=_hash(token)
        )
        self._keep((*self._pairings, pairing)[-MAX_PAIRINGS:])
        LOG.info("paired with %s", origin)
        return token

    def _forget(self, question: Question | None) -> None:
        if question is None or self._questions.get(question.origin) is not question:
            return
        del self._questions[question.origin]
        if not question.answer.done():
            question.answer.set_result(False)
        self._hub.publish(PAIRING_OVER, {"origin": question.origin})

    def _keep(self, pairings: tuple[Pairing, ...]) -> None:
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_atomically(self._file, _PAIRINGS.dump_json(pairings, indent=1))
            except OSError as error:
                raise PairingFileError(f"the pairings cannot be kept: {error.strerror}") from error
        self._pairings = pairings


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _load(file: Path | None) -> tuple[Pairing, ...]:
    """A file that cannot be read pairs nobody: each page asks anew."""
    try:
        return () if file is None else _PAIRINGS.validate_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        LOG.warning("the pairings cannot be read (%s); pages must ask anew", type(error).__name__)
        return ()
