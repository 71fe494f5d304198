"""Recordings: scripts written by a channel, and played back by another one.

A recording has no secret in it. What a host or a card made up for one session is marked, so that `run` can tell it from
what must be the same every time. All other responses stay as they are: a recording of a real card is personal data.
"""

from __future__ import annotations

from typing import Final, TextIO

from apdu.channel import Channel, ResponseSecrecy, has_secret_body
from apdu.errors import ReplayError
from apdu.scripts.language import HEADER, Command, Pattern, Raw, Reset, Script
from apdu.scripts.parser import parse
from apdu.sw import Ins

_SECURE_MESSAGING: Final = 0x04
_PROPRIETARY: Final = 0x80
_PSO: Final = 0x2A
_GENERATE: Final = 0x40
_EXPORT: Final = 0xC9
_UPDATE_OVERDRAFT: Final = 0x58

RANDOM_ANSWERS: Final = frozenset({Ins.GET_CHALLENGE, Ins.INITIALIZE, Ins.TRANSIT_INITIALIZE, _GENERATE, _EXPORT})
"""Instructions whose answer is another one each time: challenges, and what a card draws for a transaction or a key."""

SESSION_COMMANDS: Final = frozenset(
    {
        *(Ins.CREDIT_FOR_LOAD, Ins.DEBIT_FOR_PURCHASE, Ins.TRANSIT_CREDIT, Ins.TRANSIT_DEBIT),
        *(Ins.INIT_SAM_FOR_PURCHASE, Ins.CREDIT_SAM_FOR_PURCHASE, _UPDATE_OVERDRAFT),
    }
)
"""Instructions of a proprietary class that carry a MAC under the session's random number."""


def is_once(command: bytes) -> bool:
    """Whether a command holds for one session only: a second sending would cost a try of its key."""
    if len(command) < HEADER:
        return False
    cla, ins = command[0], command[1]
    if cla & 0x0C == _SECURE_MESSAGING:
        return True
    return bool(cla & _PROPRIETARY) and ins in SESSION_COMMANDS


def is_random(command: bytes) -> bool:
    """Whether the answer differs from session to session."""
    if len(command) < HEADER:
        return False
    return command[1] in RANDOM_ANSWERS or (command[0] & _PROPRIETARY == 0 and command[1] == _PSO)


def line_of(command: bytes, response: bytes, *, is_secret_response: bool = False) -> str:
    """One exchange as a statement of the language, without what is secret."""
    sent = command.hex().upper()
    if has_secret_body(command):
        sent = f"{command[:HEADER].hex().upper()} ?{len(command) - HEADER}"
    elif is_once(command):
        sent = f"once {sent}"
    data, sw = response[:-2].hex().upper(), response[-2:].hex().upper()
    if data and is_secret_response:
        data = f"?{len(response) - 2}"
    elif data and is_random(command):
        data = f"~{data}"
    return " ".join((sent, "=>", data, sw) if data else (sent, "=>", sw))


class RecordingChannel:
    """Writes each finished exchange to `stream`, which stays the caller's to close."""

    def __init__(self, channel: Channel, stream: TextIO) -> None:
        self._channel = channel
        self._stream = stream
        self._secrecy = ResponseSecrecy()
        self._write("raw")

    def note_reset(self, atr: bytes) -> None:
        """The card was just powered and said `atr`."""
        self._write(f"reset => {atr.hex().upper()}")

    def transmit(self, command: bytes) -> bytes:
        is_secret = self._secrecy.covers(command)
        response = self._channel.transmit(command)
        self._write(line_of(command, response, is_secret_response=is_secret))
        return response

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class ReplayChannel:
    """A card out of a recording: it answers strictly in the recording's order and raises ReplayError on any other
    command. Of a hidden or `once` command header and length must be the recorded ones."""

    def __init__(self, recording: Script | str) -> None:
        script = parse(recording) if isinstance(recording, str) else recording
        self._steps = [each for each in script.statements if not isinstance(each, Raw)]
        self._position = 0

    @property
    def is_finished(self) -> bool:
        return self._position == len(self._steps)

    def reset(self) -> bytes:
        """The recorded ATR."""
        step = self._steps[self._position] if not self.is_finished else None
        if not isinstance(step, Reset):
            raise ReplayError(self._place("no reset was recorded here"))
        self._position += 1
        return self._whole(step.expected)

    def transmit(self, command: bytes) -> bytes:
        if self.is_finished:
            raise ReplayError(f"the recording ends after {self._position} statements")
        step = self._steps[self._position]
        if not isinstance(step, Command) or not _is_same(step, command):
            raise ReplayError(self._place("another command was recorded here"))
        self._position += 1
        return self._whole(step.expected)

    def _whole(self, pattern: Pattern | None) -> bytes:
        raw = pattern.recorded() if pattern is not None else None
        if raw is None:
            raise ReplayError(self._place("no whole response was recorded", back=1))
        return raw

    def _place(self, what: str, *, back: int = 0) -> str:
        position = min(self._position - back, len(self._steps) - 1)
        return f"line {self._steps[position].line}: {what}" if position >= 0 else what


def _is_same(step: Command, command: bytes) -> bool:
    recorded = step.recorded
    if recorded is None:
        return False
    known, length = recorded
    if step.is_hidden or step.is_once:
        return known[:HEADER] == command[:HEADER] and length == len(command)
    return known == command
