"""Runs a script against a card and tells, line by line, what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from apdu.channel import Channel, ResponseSecrecy, redact_command, redact_response
from apdu.errors import DecodingError, EncodingError
from apdu.response import ResponseApdu
from apdu.scripts.language import (
    Command,
    Expect,
    Let,
    Raw,
    Reset,
    Script,
    ScriptValueError,
    Statement,
    evaluate,
    part_of,
)
from apdu.sw import SW, Ins, command_name, meaning

HIDDEN: Final = "its body was left out of the recording", "录制时已略去内容"
ONCE: Final = "it holds for the recorded session only", "只在录制时的会话有效"
NO_RESET: Final = "the card cannot be reset here", "此处不能复位"


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class LineResult:
    """What came of one line. `command` and `response` are redacted unless the run was told to show personal data;
    secrets are in neither at any time. `note_*` says why a line failed or was skipped."""

    line: int
    outcome: Outcome
    name: str
    command: str = ""
    response: str = ""
    sw: int | None = None
    text_zh: str = ""
    text_en: str = ""
    note_zh: str = ""
    note_en: str = ""
    duration_ms: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "outcome": self.outcome.value,
            "name": self.name,
            "command": self.command,
            "response": self.response,
            "sw": None if self.sw is None else f"{self.sw:04X}",
            "text": self.text_zh,
            "text_en": self.text_en,
            "note": self.note_zh,
            "note_en": self.note_en,
            "duration_ms": round(self.duration_ms, 1),
        }


@dataclass(slots=True)
class Report:
    """The lines that did something, in their order. `is_complete` is False when the run stopped at a failure."""

    results: list[LineResult] = field(default_factory=list)
    is_complete: bool = True

    @property
    def is_ok(self) -> bool:
        return self.is_complete and not self.count(Outcome.FAILED)

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)


Guard = Callable[[bytes], None]
"""Asked before every command that carries a secret; raises to keep it from the card."""


@dataclass(slots=True)
class CardAccess:
    """What a script is run against. `raw` is the bare channel, `followed` the same card with 61xx and 6Cxx seen to;
    `reset` powers the card off and on and returns its ATR."""

    raw: Channel
    followed: Channel
    reset: Callable[[], bytes] | None = None
    guard: Guard | None = None


def run(
    script: Script,
    card: CardAccess,
    *,
    secrets: Mapping[str, bytes] | None = None,
    on_result: Callable[[LineResult], None] | None = None,
    keeps_going: bool = False,
    shows_personal: bool = False,
) -> Report:
    """Stops at the first failure; with `keeps_going` only at a `let` and at a command with a secret, which is never
    sent twice by itself. Raises TransportError, and what the guard raises."""
    runner = _Run(card, secrets or {}, shows_personal)
    report = Report()
    for statement in script.statements:
        result = runner.step(statement)
        if result is None:
            continue
        report.results.append(result)
        if on_result is not None:
            on_result(result)
        must_stop = isinstance(statement, Let) or (isinstance(statement, Command) and bool(statement.secrets))
        if result.outcome is Outcome.FAILED and (must_stop or not keeps_going):
            report.is_complete = statement is script.statements[-1]
            break
    return report


class _Run:
    """One run in progress."""

    def __init__(self, card: CardAccess, secrets: Mapping[str, bytes], shows_personal: bool) -> None:
        self._card = card
        self._channel = card.followed
        self._secrets = secrets
        self._shows_personal = shows_personal
        self._variables: dict[str, bytes] = {}
        self._last = b""
        self._secrecy = ResponseSecrecy()
        self._skipped_at = 0
        self._was_skipped = False

    def step(self, statement: Statement) -> LineResult | None:
        match statement:
            case Raw():
                self._channel = self._card.raw
                return None
            case Reset():
                return self._reset(statement)
            case Command():
                result = self._command(statement)
                self._was_skipped = result.outcome is Outcome.SKIPPED
                return result
            case Let():
                return self._let(statement)
            case Expect():
                return self._expect(statement)

    def _reset(self, statement: Reset) -> LineResult:
        if self._card.reset is None:
            return LineResult(statement.line, Outcome.SKIPPED, "RESET", note_zh=NO_RESET[1], note_en=NO_RESET[0])
        started = time.perf_counter()
        atr = self._card.reset()
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._last, self._skipped_at, self._was_skipped = atr, 0, False
        shown = atr.hex(" ").upper()
        if statement.expected is None or statement.expected.matches(atr, self._variables):
            return LineResult(statement.line, Outcome.PASSED, "RESET", response=shown, duration_ms=elapsed_ms)
        zh, en = "复位应答不是所期望的", f"{statement.expected.text} was expected"
        return LineResult(
            statement.line, Outcome.FAILED, "RESET", "", shown, note_zh=zh, note_en=en, duration_ms=elapsed_ms
        )

    def _command(self, statement: Command) -> LineResult:
        if (skipped := self._unsendable(statement)) is not None:
            return skipped
        name = command_name(statement.header[1])
        try:
            command = evaluate(statement.values, self._variables, self._secrets, self._last)
            shown = redact_command(command, full=self._shows_personal)
            is_secret = self._secrecy.covers(command)
            if statement.secrets and self._card.guard is not None:
                self._card.guard(command)
            started = time.perf_counter()
            response = ResponseApdu.from_bytes(self._channel.transmit(command))
            elapsed_ms = (time.perf_counter() - started) * 1000
        except (ScriptValueError, EncodingError, DecodingError) as error:
            return _failed(statement.line, name, "指令无法组成", str(error))
        self._last = response.data
        said = meaning(response.sw, command[1])
        outcome, note = self._judge(statement, response)
        return LineResult(
            statement.line,
            outcome,
            name,
            shown,
            redact_response(response.to_bytes(), full=self._shows_personal, is_secret=is_secret),
            response.sw,
            said.text_zh,
            said.text_en,
            note[1],
            note[0],
            elapsed_ms,
        )

    def _unsendable(self, statement: Command) -> LineResult | None:
        """Hidden and `once` commands, and GET RESPONSE behind one."""
        is_fetch = statement.header[1] == Ins.GET_RESPONSE and self._was_skipped
        if not (statement.is_hidden or statement.is_once or is_fetch):
            return None
        self._skipped_at = self._skipped_at or statement.line
        self._last = b""
        note = HIDDEN if statement.is_hidden else ONCE
        shown = f"{statement.header.hex(' ').upper()} …"
        return LineResult(
            statement.line,
            Outcome.SKIPPED,
            command_name(statement.header[1]),
            shown,
            note_zh=note[1],
            note_en=note[0],
        )

    def _judge(self, statement: Command, response: ResponseApdu) -> tuple[Outcome, tuple[str, str]]:
        if statement.accepts(response, self._variables):
            return Outcome.PASSED, ("", "")
        if response.sw == SW.SECURITY_STATUS and self._skipped_at:
            line = self._skipped_at
            return Outcome.SKIPPED, (f"line {line} was skipped, which opens it", f"第{line}行未执行，无权")
        wanted = statement.expected.text if statement.expected else "9000"
        return Outcome.FAILED, (f"{wanted} was expected", f"期望 {wanted}")

    def _let(self, statement: Let) -> LineResult | None:
        try:
            value = evaluate(statement.values, self._variables, self._secrets, self._last)
        except ScriptValueError as error:
            return _failed(statement.line, "let", "变量无法取值", str(error))
        self._variables[statement.name] = value
        return None

    def _expect(self, statement: Expect) -> LineResult:
        if self._was_skipped:
            return LineResult(statement.line, Outcome.SKIPPED, "expect", note_zh=ONCE[1], note_en=ONCE[0])
        try:
            raw = part_of(statement.part, self._last)
        except ScriptValueError as error:
            return _failed(statement.line, "expect", "应答中没有这一部分", str(error))
        if statement.pattern.matches(raw, self._variables):
            return LineResult(statement.line, Outcome.PASSED, "expect")
        wanted = statement.pattern.text
        return _failed(statement.line, "expect", f"期望 {wanted}", f"{wanted} was expected")


def _failed(line: int, name: str, zh: str, en: str) -> LineResult:
    return LineResult(line, Outcome.FAILED, name, note_zh=zh, note_en=en)
