"""An application of its own beside the SSSE: it is selected by name, and every other command then goes to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from simulators.card.frame import SW, Check, Frame, Refused, require

CLASSES = frozenset({0x00, 0x04, 0x80, 0x84})


class Services(Protocol):
    """What an application takes from its chip. Setting `changed` commits the image before the answer leaves."""

    changed: bool
    rng: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class AppCommand:
    """How one CLA/INS pair is run. `is_outgoing`: P3 is Le, the answer is never held back by 61xx."""

    run: Callable[[Services, Frame], bytes]
    parameters: Check
    lengths: Check = lambda frame: True
    is_outgoing: bool = False


class Neighbour:
    """Base of the applications. An instance lives as long as the chip has power, its state as long as the card."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.challenge = b""
        self.commands: dict[tuple[int, int], AppCommand] = {}

    def select(self) -> bytes:
        """The FCI; volatile state starts anew. Raises Refused with the FCI for a blocked application."""
        self.challenge = b""
        self.interrupt()
        return self.fci()

    def fci(self) -> bytes:
        raise NotImplementedError

    def interrupt(self) -> None:
        """A command that is not the expected next one ends whatever was open."""

    def select_file(self, fid: int) -> bytes:
        """SELECT of an EF by identifier; most applications have none to select."""
        raise Refused(SW.FILE_NOT_FOUND)

    def admit(self, frame: Frame) -> None:
        """Raises Refused for a command this application does not take now."""

    def execute(self, services: Services, frame: Frame) -> tuple[bytes, bool]:
        """Data, and whether P3 was Le. Raises Refused. Checks in the order of card_commands.md section 3."""
        require(frame.cla in CLASSES, SW.WRONG_CLA)
        require(any(ins == frame.ins for _, ins in self.commands), SW.WRONG_INS)
        command = self.commands.get((frame.cla, frame.ins))
        if command is None:
            raise Refused(SW.WRONG_CLA)
        self.admit(frame)
        require(command.parameters(frame), SW.WRONG_P1P2)
        if command.is_outgoing:
            frame.expect()
        else:
            frame.receive()
        require(command.lengths(frame), SW.WRONG_LENGTH)
        return command.run(services, frame), command.is_outgoing

    def get_challenge(self, services: Services, frame: Frame) -> bytes:
        """Kept until a command uses it."""
        self.challenge = services.rng(frame.le)
        return self.challenge

    def take_challenge(self) -> bytes:
        """The challenge, usable once. Raises 6984 when there is none."""
        challenge, self.challenge = self.challenge, b""
        require(bool(challenge), SW.NO_CHALLENGE)
        return challenge


def tlv(tag: int, value: bytes) -> bytes:
    """One BER-TLV object of less than 128 bytes."""
    width = 2 if tag > 0xFF else 1
    return tag.to_bytes(width, "big") + bytes((len(value),)) + value


def p1p2(p1: int, p2: int) -> Check:
    return lambda frame: (frame.p1, frame.p2) == (p1, p2)


def lc(*lengths: int) -> Check:
    return lambda frame: len(frame.data) in lengths


def le(*lengths: int) -> Check:
    return lambda frame: frame.le in lengths


def read_slice(frame: Frame, content: bytes, offset: int) -> bytes:
    """READ BINARY of `content` from `offset` on, one short answer at most."""
    require(offset < len(content), SW.WRONG_OFFSET)
    return frame.fit(content[offset : offset + 256])
