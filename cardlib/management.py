"""What only the issuer may do to a card in use: PIN unblock and reload, application block, card block (P5 §6, P7 §13).

Each needs an authentication and a MAC: of the key service, or of a PSAM that holds the keys. A block is for good;
callers ask a person first.
"""

from __future__ import annotations

from apdu.command import CommandApdu
from cardlib import commands as c
from cardlib.codec import CodecError
from cardlib.session import SocialSecurityCard, encode_pin
from hsm.api import MessageKeys

_NO_PIN = b"\xff"
"""What no card takes for a PIN."""


def unblock_pin(card: SocialSecurityCard, keys: MessageKeys) -> None:
    """All tries back, the PIN stays. Raises LastKeyTryError, StatusWordError."""
    _pin_command(card, keys, c.pin_unblock())


def reload_pin(card: SocialSecurityCard, keys: MessageKeys, pin: str) -> None:
    """A new PIN and all its tries, whatever was there before. Raises CodecError, LastKeyTryError, StatusWordError."""
    _pin_command(card, keys, c.pin_unblock(encode_pin(pin)))


def remove_pin(card: SocialSecurityCard, keys: MessageKeys) -> None:
    """Reload with LD 00: the card is as before its first PIN (P5 §6.8.3). Raises LastKeyTryError, StatusWordError."""
    _pin_command(card, keys, c.pin_unblock(b""))


def rehearse_reload(card: SocialSecurityCard, keys: MessageKeys) -> None:
    """Whether `keys` can encrypt under STK, asked before the holder types. The card hears nothing of it.

    Raises PsamError for a PSAM whose STK gives MACs alone (psam.md §5).
    """
    command = c.pin_unblock(_NO_PIN)
    header = bytes((command.cla, command.ins, command.p1, command.p2))
    keys.secured_data(card.ref("STK", keys), card.factors, bytes(8), header, command.data, encrypt=True)


def block_application(card: SocialSecurityCard, df: str, keys: MessageKeys) -> None:
    """APPLICATION BLOCK of `DF03`: nothing but SELECT works there again. Raises CodecError for the environment."""
    spec = card.known_spec().df(df)
    if spec.is_environment:
        raise CodecError("the environment is blocked with the whole card")
    owner = df if spec.block_kid & 0x80 else "SSSE"
    key = next(key for key in card.known_spec().keys_of(owner) if key.kid == spec.block_kid)
    card.select(df)
    card.authenticate(key.name, keys)
    card.send(card.secured(c.application_block(), f"STK{df}", keys))


def block_card(card: SocialSecurityCard, keys: MessageKeys) -> None:
    """CARD BLOCK: every command answers 6A81 from then on."""
    card.select("SSSE")
    card.authenticate("BK", keys)
    card.send(card.secured(c.card_block(), "STK", keys))


def _pin_command(card: SocialSecurityCard, keys: MessageKeys, command: CommandApdu) -> None:
    card.select("SSSE")
    card.authenticate("PUK", keys)
    secured = card.secured(command, "STK", keys, encrypt=command.p2 == 0x01)
    # Whatever the outcome, the card asks for PUK anew; a wrong MAC has cost PUK a try (OPEN C6).
    card.forget_authentication("PUK")
    card.send(secured)
    card.forget_pin()
