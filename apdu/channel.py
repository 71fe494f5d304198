"""One transport verb and the wrappers around it. Every wrapper is itself a `Channel`; none is thread-safe."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import ClassVar, Final, Protocol, runtime_checkable

from apdu.command import Case, CommandApdu, decode
from apdu.errors import CardProtocolError, TransportError
from apdu.response import ResponseApdu
from apdu.sw import Ins, command_name

TRAFFIC: Final = 5
MAX_FOLLOW_UPS: Final = 64  # GET RESPONSE and repeated commands after one command; 64 of them carry 16 KiB

logging.addLevelName(TRAFFIC, "TRAFFIC")
_traffic_log = logging.getLogger("apdu.traffic")

SECRET_INSTRUCTIONS: Final = frozenset(
    {
        Ins.VERIFY,
        Ins.CHANGE_PIN,
        Ins.PIN_CHANGE_UNBLOCK,
        Ins.WRITE_KEY,
        Ins.EXTERNAL_AUTHENTICATION,
        Ins.SET_STATE,  # shares F4 with ACTIVATE COS, whose body is the transport key in clear
        Ins.CIPHER_DATA,  # a PSAM encrypts new PINs with it
        0x4A,  # the certificate application takes key material in it (personalization of 3.0 cards)
    }
)
SECRET_RESPONSES: Final = frozenset(
    {
        Ins.CIPHER_DATA,  # a PSAM may be asked to decipher
        0x4E,  # the certificate application hands out what it deciphered: session keys, contents of envelopes
    }
)


@runtime_checkable
class Channel(Protocol):
    """Anything that takes one command APDU and returns data || SW1 SW2."""

    def transmit(self, command: bytes) -> bytes:
        """Exchange one APDU. Raises a `TransportError` when no complete response came back."""
        ...


def transceive(channel: Channel, command: CommandApdu) -> ResponseApdu:
    """Send a command in the narrowest form that carries it."""
    return ResponseApdu.from_bytes(channel.transmit(command.to_bytes(extended=command.needs_extended)))


class FollowUpChannel:
    """Fetches what a card announces with 61xx and repeats once what it corrects with 6Cxx.

    61xx is followed only when the caller's command had an Le; otherwise it goes back untouched. Subclasses say
    whether case 4 keeps its Le on the way down.
    """

    keeps_case_4_le: ClassVar[bool]

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def transmit(self, command: bytes) -> bytes:
        request, case = decode(command)
        first = command[:-1] if case is Case.CASE_4S and not self.keeps_case_4_le else command
        response = self._exchange(first)
        follow_ups = 0
        if response.sw1 == 0x6C and case is Case.CASE_2S:
            follow_ups += 1
            response = self._exchange(command[:-1] + bytes((response.sw2,)))
        if request.le is None or response.sw1 != 0x61 or len(response.data) >= request.le:
            return response.to_bytes()
        data = bytearray(response.data)
        get_response = bytes((_response_class(request.cla), Ins.GET_RESPONSE, 0, 0))
        wanted = min(request.le - len(data), response.sw2 or 256)
        while True:
            follow_ups += 1
            if follow_ups > MAX_FOLLOW_UPS:
                raise CardProtocolError(f"more than {MAX_FOLLOW_UPS} follow-ups to one command")
            response = self._exchange(get_response + bytes((wanted & 0xFF,)))
            data += response.data
            left = request.le - len(data)
            if response.sw1 == 0x6C:
                wanted = response.sw2 or 256
            elif response.sw1 == 0x61 and left > 0:
                wanted = min(left, response.sw2 or 256)
            else:
                return ResponseApdu(bytes(data), response.sw).to_bytes()

    def _exchange(self, command: bytes) -> ResponseApdu:
        return ResponseApdu.from_bytes(self._channel.transmit(command))


class T0Channel(FollowUpChannel):
    """APDUs over T=0 (ISO/IEC 7816-3, 12.2): case 4S goes out without its Le. Extended commands pass unchanged, for
    readers that map them themselves."""

    keeps_case_4_le = False


class T1Channel(FollowUpChannel):
    """APDUs over T=1 or a contactless link: sent as they are; cards made for T=0 still answer 61xx and 6Cxx there."""

    keeps_case_4_le = True


def follow_up(channel: Channel, protocol: str) -> FollowUpChannel:
    """The right wrapper for a connection's `protocol` ("T=0" or "T=1")."""
    return T0Channel(channel) if protocol == "T=0" else T1Channel(channel)


def _response_class(cla: int) -> int:
    """GET RESPONSE goes to the logical channel of the command (7816-4, 5.4.1) and is otherwise class 00."""
    if cla & 0xE0 == 0:
        return cla & 0x03
    if cla & 0xC0 == 0x40:
        return 0x40 | (cla & 0x0F)
    return 0


def has_secret_body(command: bytes) -> bool:
    """Whether nothing behind P2 may be shown at any log level: PINs, keys and authentication values."""
    return len(command) > 4 and command[1] in SECRET_INSTRUCTIONS


def redact_command(command: bytes, *, full: bool = False) -> str:
    """First 5 and last 2 bytes, or all of it when `full`; of a secret command the header and a length only."""
    if has_secret_body(command):
        return f"{command[:4].hex(' ').upper()} [{len(command) - 4} bytes hidden]"
    return _shorten(command, full)


def redact_response(response: bytes, *, full: bool = False, is_secret: bool = False) -> str:
    """As `redact_command`; of a secret response the status word and a length only."""
    if is_secret and len(response) > 2:
        return f"[{len(response) - 2} bytes hidden] {response[-2:].hex(' ').upper()}"
    return _shorten(response, full)


def _shorten(raw: bytes, full: bool) -> str:
    if full or len(raw) <= 7:
        return raw.hex(" ").upper()
    return f"{raw[:5].hex(' ').upper()} .. {raw[-2:].hex(' ').upper()} [{len(raw)}]"


class ResponseSecrecy:
    """Follows the commands of one channel: which of their responses may be shown at no log level. GET RESPONSE fetches
    what the command before it asked for, and its response is as secret as that one's."""

    def __init__(self) -> None:
        self._is_secret = False

    def covers(self, command: bytes) -> bool:
        """To be asked once for every command, in their order."""
        if len(command) > 1 and command[1] != Ins.GET_RESPONSE:
            self._is_secret = command[1] in SECRET_RESPONSES
        return self._is_secret


class TraceChannel:
    """Shows each exchange to the logger `apdu.traffic` at level TRAFFIC and to `sink`, redacted.

    `full` is the support switch: bodies appear, except those of secret commands and responses, which never do.
    """

    def __init__(self, channel: Channel, sink: Callable[[str], None] | None = None, *, full: bool = False) -> None:
        self._channel = channel
        self._sink = sink
        self._full = full
        self._secrecy = ResponseSecrecy()

    def transmit(self, command: bytes) -> bytes:
        is_secret = self._secrecy.covers(command)
        if self._sink is None and not _traffic_log.isEnabledFor(TRAFFIC):
            return self._channel.transmit(command)
        name = command_name(command[1]) if len(command) > 1 else "?"
        self._show(f"> {redact_command(command, full=self._full)}  {name}")
        started = time.perf_counter()
        try:
            response = self._channel.transmit(command)
        except TransportError as error:
            self._show(f"! {type(error).__name__}: {error}")
            raise
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._show(f"< {redact_response(response, full=self._full, is_secret=is_secret)}  {elapsed_ms:.1f} ms")
        return response

    def _show(self, line: str) -> None:
        _traffic_log.log(TRAFFIC, "%s", line)
        if self._sink is not None:
            self._sink(line)


class CountingChannel:
    """Counts what crosses it: put it under a `FollowUpChannel` to count what the card really sees."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.apdus = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    def transmit(self, command: bytes) -> bytes:
        self.apdus += 1
        self.bytes_sent += len(command)
        response = self._channel.transmit(command)
        self.bytes_received += len(response)
        return response


class TimingChannel:
    """Keeps the duration of every exchange in seconds, failed ones included."""

    def __init__(self, channel: Channel, clock: Callable[[], float] = time.perf_counter) -> None:
        self._channel = channel
        self._clock = clock
        self.durations_s: list[float] = []

    @property
    def total_s(self) -> float:
        return sum(self.durations_s)

    def transmit(self, command: bytes) -> bytes:
        started = self._clock()
        try:
            return self._channel.transmit(command)
        finally:
            self.durations_s.append(self._clock() - started)
