"""What every `onecard card` command works with: reader, card, PSAM or key service, and the options for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from onecard_cli.output import CommandError

if TYPE_CHECKING:
    from apdu.channel import Channel
    from apdu.readers import CardConnection, ReaderService
    from cardlib.psam import PsamAuthenticator
    from cardlib.session import SocialSecurityCard
    from hsm.api import CardAuthenticator
    from hsm.soft import SoftKeyService

ReaderOption = Annotated[str | None, typer.Option("--reader", help="读卡器名称的一部分 / part of a reader's name")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON")]
TraceOption = Annotated[bool, typer.Option("--trace", help="显示指令（已遮盖） / show commands, redacted")]
AuthOption = Annotated[
    Literal["auto", "psam", "keys", "none"], typer.Option("--auth", help="由谁认证 / who authenticates")
]
PinOption = Annotated[bool, typer.Option("--pin", help="先询问并校验密码 / ask for the PIN and verify it first")]
LastTryOption = Annotated[
    bool, typer.Option("--use-last-try", help="允许用掉密码或密钥的最后一次 / spend the last try of PIN or key")
]

recording_to: ContextVar[TextIO | None] = ContextVar("recording_to", default=None)
"""Where the exchanges of the card are written, by `card record`."""


class Seat:
    """The card in one reader, powered and in a transaction of ours until `leave`."""

    def __init__(self, readers: ReaderService, name: str) -> None:
        self._readers = readers
        self._name = name
        self._stack = ExitStack()
        self._connection = self._take()
        self.atr, self.protocol = self._connection.atr, self._connection.protocol

    def transmit(self, command: bytes) -> bytes:
        return self._connection.transmit(command)

    def reset(self) -> bytes:
        """Power off and on: no state of a card outlives its connection. The ATR."""
        self.leave()
        self._connection = self._take()
        return self._connection.atr

    def leave(self) -> None:
        self._stack.close()

    def _take(self) -> CardConnection:
        with ExitStack() as stack:
            connection = stack.enter_context(self._readers.connect(self._name))
            stack.enter_context(connection.transaction())
            self._stack = stack.pop_all()
        return connection


@dataclass(slots=True)
class Desk:
    """The powered card and who can authenticate to it."""

    channel: Channel
    atr: bytes
    protocol: str
    authenticator: CardAuthenticator | None
    psam: PsamAuthenticator | None = None
    use_last_try: bool = False
    reset: Callable[[], bytes] | None = None
    """Power the card off and on; returns the ATR."""

    def card(self) -> SocialSecurityCard:
        """A session whose guard remembers failed keys between runs of the command line."""
        from cardlib.guard import KeyTries
        from cardlib.session import SocialSecurityCard
        from onecard_cli.home import Home

        tries = KeyTries(Home.default().path / "key-tries.json")
        return SocialSecurityCard(
            self.channel, self.atr, protocol=self.protocol, tries=tries, use_last_try=self.use_last_try
        )

    def opened(self, *, pin: bool = False) -> SocialSecurityCard:
        """An open card, with the PIN asked for and verified where `pin` says so."""
        card = self.card()
        card.open()
        if pin:
            card.verify_pin(ask_pin(), use_last_try=self.use_last_try)
        return card


def ask_pin(text: str = "密码 / PIN", *, twice: bool = False) -> str:
    """From the terminal without echo; from a pipe, its next line. Never an argument, and the prompt never mixes with
    the output."""
    if sys.stdin.isatty():
        return str(typer.prompt(text, hide_input=True, err=True, confirmation_prompt=twice))
    return sys.stdin.readline().strip()


def _pick(names: list[str], wanted: str | None, *, psam: str | None) -> str:
    from cardlib.failures import FailureCode

    candidates = [n for n in names if n != psam and (wanted is None or wanted.lower() in n.lower())]
    if not candidates:
        raise CommandError(FailureCode.READER_NOT_FOUND, f"readers here: {', '.join(names) or 'none'}")
    return candidates[0]


@contextmanager
def desk(
    reader: str | None, auth: str, *, trace: bool, use_last_try: bool = False, readers: ReaderService | None = None
) -> Iterator[Desk]:
    """Connect to the reader (and the PSAM's, named by ONECARD_PSAM_READER), in one transaction. `readers` are those of
    `card_readers` where none are given."""
    from apdu.channel import TraceChannel
    from cardlib.psam import PsamAuthenticator
    from onecard_cli.readers import card_readers

    readers = readers or card_readers()
    names = readers.readers()
    psam_name = os.environ.get("ONECARD_PSAM_READER")
    psam_name = next((n for n in names if psam_name and psam_name in n), None)
    with ExitStack() as stack:
        seat = Seat(readers, _pick(names, reader, psam=psam_name))
        stack.callback(seat.leave)
        channel, reset = _recorded(seat)
        traced = TraceChannel(channel, sink=print if trace else None)
        here = Desk(traced, seat.atr, seat.protocol, None, use_last_try=use_last_try, reset=reset)
        if psam_name and auth in ("auto", "psam"):
            slot = readers.connect(psam_name)
            stack.callback(slot.close)
            here.authenticator = here.psam = PsamAuthenticator(slot, protocol=slot.protocol)
        elif auth in ("auto", "keys"):
            here.authenticator = _keys_if_any(required=auth == "keys")
        yield here


def _recorded(seat: Seat) -> tuple[Channel, Callable[[], bytes]]:
    """The card's channel and its reset, written down where `recording_to` says so."""
    from apdu.scripts.recording import RecordingChannel

    stream = recording_to.get()
    if stream is None:
        return seat, seat.reset
    recorder = RecordingChannel(seat, stream)
    recorder.note_reset(seat.atr)

    def reset() -> bytes:
        atr = seat.reset()
        recorder.note_reset(atr)
        return atr

    return recorder, reset


def _keys_if_any(*, required: bool) -> SoftKeyService | None:
    from onecard_cli.home import Home

    home = Home.default()
    return home.key_service() if required or home.key_store.exists() else None


def keys_of_home() -> SoftKeyService:
    """The key service of this installation."""
    from onecard_cli.home import Home

    return Home.default().key_service()
