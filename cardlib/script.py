"""Card scripts: long exchanges computed at the centre, a batch of commands at a time.

A script is a generator. It yields `ScriptStep`s and is sent the responses of each; it returns masked facts or raises
`ScriptError`. It must be deterministic given the responses (its randoms come from `derive`), so that a session
interrupted by a crash of the centre is rebuilt by replaying the stored responses.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from apdu.channel import Channel
from apdu.command import CommandApdu
from apdu.response import ResponseApdu
from apdu.sw import meaning
from cardlib.wire import BatchCommand, sw_matches

OK = ("9000", "61xx")


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """One batch: the commands and what a person waiting is told meanwhile.

    `steps` is how many batches the script expects in all, 0 while it cannot know.
    """

    commands: tuple[BatchCommand, ...]
    text_zh: str
    text_en: str
    steps: int = 0


Script = Generator[ScriptStep, list[ResponseApdu], dict[str, str]]


class ScriptError(Exception):
    """The script cannot go on with this card; `failure` names a `FailureCode`, `detail` is for the log."""

    def __init__(self, failure: str, detail: str = "") -> None:
        super().__init__(f"{failure}: {detail}" if detail else failure)
        self.failure = failure
        self.detail = detail


class Batch:
    """Collects the commands of one step; `send` yields it and checks every answer against what was expected."""

    def __init__(self) -> None:
        self._commands: list[BatchCommand] = []
        self.steps = 0

    def add(self, command: CommandApdu, *, expect: Iterable[str] = OK, is_secret: bool = False) -> int:
        """Append a command; returns its index into the responses."""
        self._commands.append(
            BatchCommand(apdu=command.to_bytes().hex().upper(), expect=tuple(expect), is_secret=is_secret)
        )
        return len(self._commands) - 1

    def send(self, text_zh: str, text_en: str) -> Generator[ScriptStep, list[ResponseApdu], list[ResponseApdu]]:
        """Run the batch and start a new one. Raises ScriptError at the first unexpected status word."""
        commands, self._commands = tuple(self._commands), []
        responses = yield ScriptStep(commands, text_zh, text_en, self.steps)
        for position, (command, response) in enumerate(zip(commands, responses, strict=False)):
            if not sw_matches(response.sw, command.expect):
                ins = int(command.apdu[2:4], 16)
                info = meaning(response.sw, ins)
                said = f"command {position + 1} (INS {ins:02X}) answered {response.sw:04X}: {info.text_en}"
                raise ScriptError(info.failure or "COMMAND_REJECTED", said)
        if len(responses) != len(commands):
            raise ScriptError("CARD_REMOVED", f"{len(responses)} answers to {len(commands)} commands")
        return responses


def derive(seed: bytes, label: str, length: int) -> bytes:
    """Reproducible random of a session, at most 32 bytes: HMAC-SHA-256 of `label` under the session's secret seed."""
    return hmac.digest(seed, label.encode(), "sha256")[:length]


@dataclass(slots=True)
class ScriptRun:
    """What a local run used."""

    result: dict[str, str]
    commands: int
    batches: int


def run(script: Script, channel: Channel, *, on_step: Callable[[ScriptStep], None] | None = None) -> ScriptRun:
    """Drive a script against a channel in this process (depot, tests); the agent's relay does the same over HTTP.

    `channel` must follow up 61xx and 6Cxx itself (`apdu.channel.T0Channel`). Raises ScriptError and TransportError.
    """
    commands = batches = 0
    try:
        step = next(script)
        while True:
            if on_step is not None:
                on_step(step)
            responses: list[ResponseApdu] = []
            batches += 1
            for command in step.commands:
                commands += 1
                response = ResponseApdu.from_bytes(channel.transmit(bytes.fromhex(command.apdu)))
                responses.append(response)
                if not sw_matches(response.sw, command.expect):
                    break
            step = script.send(responses)
    except StopIteration as done:
        return ScriptRun(done.value, commands, batches)
    finally:
        script.close()
