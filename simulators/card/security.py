"""Challenge, authentication, PIN and block commands (card_commands.md 6.2 to 6.8, 6.13, 6.14)."""

from __future__ import annotations

from simulators.card import crypto
from simulators.card.chip import MAC_LENGTH, Chip, Command
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require, tries_left, wrong_le
from simulators.card.state import EMPTY_PIN, KeyObject, KeyType, Life

KID_PUK = 0x06
KID_BLOCK = 0x05
PIN_BYTES_MIN, PIN_BYTES_MAX = 2, 8
PIN_DIGITS_MIN = 4


def get_response(chip: Chip, frame: Frame) -> bytes:
    """Raises 61xx through the caller's `pending` when bytes remain; nothing pending is 6F00 (OPEN C18)."""
    pending = chip.session.pending
    require(bool(pending), SW.NOTHING_PENDING)
    if (frame.le == 0 and len(pending) < 256) or frame.le > len(pending):
        raise wrong_le(len(pending))
    length = frame.le or 256
    chip.session.pending = pending[length:]
    return pending[:length]


def get_challenge(chip: Chip, frame: Frame) -> bytes:
    """4, 8 or, with 16-byte blocks only, 16 bytes (draft P4 8.4)."""
    require(frame.le != 16 or chip.algorithm is Algorithm.SM4, SW.WRONG_LENGTH)
    chip.session.challenge = chip.rng(frame.le)
    return chip.session.challenge


def internal_authentication(chip: Chip, frame: Frame) -> bytes:
    """IRK of the current DF, else of the SSSE (OPEN C21)."""
    version = frame.data[16] if len(frame.data) > 16 else None
    for df in (chip.session.df, chip.state.ssse):
        key = df.key({KeyType.AUTHENTICATION}, 0x00, version) if df else None
        if key is not None:
            session_key = crypto.session_key(chip.algorithm, key.value, frame.data[:8])
            return crypto.authentication_value(chip.algorithm, session_key, frame.data[8:16])
    raise Refused(SW.KEY_NOT_FOUND)


def external_authentication(chip: Chip, frame: Frame) -> bytes:
    version = frame.data[16] if len(frame.data) > 16 else None
    key = chip.authentication_key(frame.p2, version)
    require(not key.is_locked, SW.LOCKED)
    session_key = crypto.session_key(chip.algorithm, key.value, chip.take_challenge())
    expected = crypto.authentication_value(chip.algorithm, session_key, frame.data[8:16])
    proved = crypto.is_equal(expected, frame.data[:8])
    chip.session.set_key(frame.p2, proved=proved)
    chip.changed = True
    if not proved:
        key.fail()
        raise tries_left(key.tries)
    key.restore()
    return b""


# ---- PIN


def _digits(pin: bytes) -> int:
    """Number of digits of a packed-BCD PIN part, 0 when it is not one (draft P5 6.3.1)."""
    text = pin.hex()
    if text.endswith("f"):
        text = text[:-1]
    return len(text) if text.isdecimal() and PIN_BYTES_MIN <= len(pin) <= PIN_BYTES_MAX else 0


def _pin_object(chip: Chip) -> KeyObject:
    pin = chip.state.pin
    if pin is None:
        raise Refused(SW.KEY_NOT_FOUND)
    return pin


def _compare_pin(chip: Chip, pin: KeyObject, given: bytes) -> None:
    """Raises 6983 or 63Cx; the counter moves and an earlier success is lost on failure (OPEN C20)."""
    require(not pin.is_locked, SW.LOCKED)
    if not chip.state.has_pin:
        raise tries_left(pin.tries)
    chip.changed = True
    is_same = crypto.is_equal(given.ljust(PIN_BYTES_MAX, b"\xff"), pin.value)
    if not (is_same and _digits(given)):
        pin.fail()
        chip.session.is_pin_verified = False
        raise tries_left(pin.tries)
    pin.restore()
    chip.session.is_pin_verified = True


def verify(chip: Chip, frame: Frame) -> bytes:
    pin = _pin_object(chip)
    if frame.data:
        _compare_pin(chip, pin, frame.data)
    elif chip.state.has_pin:
        raise tries_left(pin.tries)
    return b""


def change_pin(chip: Chip, frame: Frame) -> bytes:
    old, separator, new = frame.data.partition(b"\xff")
    pin = _pin_object(chip)
    for part in (old, new):
        require(bool(separator) and (not part or _digits(part) >= PIN_DIGITS_MIN), SW.BAD_DATA)
    require(not pin.is_locked, SW.LOCKED)
    had_pin = chip.state.has_pin
    if had_pin or old:
        _compare_pin(chip, pin, old)
    pin.value = new.ljust(PIN_BYTES_MAX, b"\xff")
    pin.restore()
    chip.session.is_pin_verified = had_pin
    chip.changed = True
    return b""


def unblock_pin(chip: Chip, frame: Frame) -> bytes:
    """PIN unblock (P2 00) and reload (P2 01, exactly one cipher block) under PUK and STK (draft P5 6.8)."""
    cipher_length = chip.algorithm.block if frame.p2 == 0x01 else 0
    require(len(frame.data) == cipher_length + MAC_LENGTH, SW.WRONG_LENGTH)
    pin = _pin_object(chip)
    puk = chip.authentication_key(KID_PUK, None)
    key = chip.message_key(chip.state.ssse)
    require(not puk.is_locked, SW.LOCKED)
    require(chip.session.has_key(KID_PUK), SW.ACCESS_DENIED)
    try:
        session_key = chip.verify_mac(frame, key)
    except Refused as refusal:
        if refusal.sw == SW.MAC_WRONG:
            puk.fail()
            chip.changed = True
        raise
    value = pin.value
    if frame.p2 == 0x01:
        value = _reloaded_pin(chip, session_key, frame.data[:-MAC_LENGTH])
    pin.value = value
    pin.restore()
    chip.session.set_key(KID_PUK, proved=False)
    chip.session.is_pin_verified = False
    chip.changed = True
    return b""


def _reloaded_pin(chip: Chip, session_key: bytes, cipher: bytes) -> bytes:
    plain = crypto.open_envelope(chip.algorithm, session_key, cipher)
    if plain is None:
        raise Refused(SW.MAC_WRONG)
    require(not plain or _digits(plain) >= PIN_DIGITS_MIN, SW.BAD_DATA)
    return plain.ljust(PIN_BYTES_MAX, b"\xff") if plain else EMPTY_PIN


# ---- blocks


def block_application(chip: Chip, frame: Frame) -> bytes:
    """Permanent; repeating it on a blocked application succeeds (draft P5 6.1.5)."""
    df = chip.session.df
    if df is None or df.is_environment:
        raise Refused(SW.CONDITIONS)
    if df.is_blocked:
        return b""
    chip.authentication_key(df.block_kid, None)
    key = chip.message_key(df)
    require(chip.session.has_key(df.block_kid), SW.ACCESS_DENIED)
    chip.verify_mac(frame, key)
    df.is_blocked = True
    chip.changed = True
    return b""


def block_card(chip: Chip, frame: Frame) -> bytes:
    chip.authentication_key(KID_BLOCK, None)
    key = chip.message_key(chip.state.ssse)
    require(chip.session.has_key(KID_BLOCK), SW.ACCESS_DENIED)
    chip.verify_mac(frame, key)
    chip.state.is_blocked = True
    chip.changed = True
    return b""


def _zero(frame: Frame) -> bool:
    return frame.p1 == 0 and frame.p2 == 0


COMMANDS: dict[tuple[int, int], Command] = {
    (0x00, 0xC0): Command(get_response, _zero, lambda f: True, is_outgoing=lambda f: True, lives=frozenset(Life)),
    (0x00, 0x84): Command(get_challenge, _zero, lambda f: f.le in (4, 8, 16), is_outgoing=lambda f: True),
    (0x00, 0x88): Command(internal_authentication, _zero, lambda f: len(f.data) in (16, 17)),
    (0x00, 0x82): Command(external_authentication, lambda f: f.p1 == 0, lambda f: len(f.data) in (16, 17)),
    (0x00, 0x20): Command(verify, _zero, lambda f: len(f.data) == 0 or 2 <= len(f.data) <= PIN_BYTES_MAX),
    (0x80, 0x5E): Command(change_pin, lambda f: (f.p1, f.p2) == (1, 0), lambda f: 3 <= len(f.data) <= 17),
    (0x84, 0x24): Command(unblock_pin, lambda f: f.p1 == 0 and f.p2 in (0, 1), lambda f: bool(f.data)),
    (0x84, 0x1E): Command(block_application, lambda f: (f.p1, f.p2) == (0, 1), lambda f: len(f.data) == MAC_LENGTH),
    (0x84, 0x16): Command(block_card, _zero, lambda f: len(f.data) == MAC_LENGTH),
}
