"""What a PSAM keeps only under power: selection, authentications, challenge, session key, open settlement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulators.apps.transit_psam import TransitSam
from simulators.card.frame import SW, Refused, require
from simulators.psam.state import ControlKey, Environment, PsamState

Rng = Callable[[int], bytes]


@dataclass(slots=True)
class Register:
    """The temporary session key: good for one encryption and one MAC sequence (OPEN S8)."""

    session_key: bytes
    type: int
    is_encryption_done: bool = False
    is_mac_done: bool = False
    chain: bytes | None = None


@dataclass(slots=True)
class Purchase:
    """State between INIT SAM FOR PURCHASE and CREDIT SAM FOR PURCHASE."""

    session_key: bytes
    amounts: bytes


@dataclass(slots=True)
class Session:
    """`changed` asks for the image to be stored before the answer leaves."""

    state: PsamState
    transit: TransitSam
    rng: Rng
    environment: Environment
    in_application: bool = False
    in_transit: bool = False
    ef: int | None = None
    pending: bytes = b""
    challenge: bytes = b""
    authenticated: set[int] = field(default_factory=set)
    register: Register | None = None
    purchase: Purchase | None = None
    province: int | None = None
    changed: bool = False

    def enter(self, environment: Environment, *, in_application: bool, in_transit: bool = False) -> None:
        """Select a DF: what was proved to another one is forgotten, what was open is closed."""
        target = (environment, in_application, in_transit)
        if target != (self.environment, self.in_application, self.in_transit):
            self.authenticated.clear()
            self.challenge = b""
        self.environment, self.in_application, self.in_transit = target
        self.ef = None
        self.register = self.purchase = None
        self.transit.select()

    def take_challenge(self, lengths: tuple[int, ...]) -> bytes:
        """The random, usable once. Raises 6984 when there is none of a length the command takes."""
        challenge, self.challenge = self.challenge, b""
        require(len(challenge) in lengths, SW.NO_CHALLENGE)
        return challenge

    def control(self, kid: int) -> ControlKey:
        """Raises 6A88 without such a key here: the environment's own outside, the application's inside it."""
        is_here = kid == 0x00 or self.in_application
        key = self.environment.control(kid) if is_here else None
        if key is None:
            raise Refused(SW.KEY_NOT_FOUND)
        return key
