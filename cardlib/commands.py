"""Commands of the social security card as plain values (draft P5; reference COS profile of personalization).

One function per command, named as the draft names it. Nothing here is sent; see `cardlib.session` and the scripts.
"""

from __future__ import annotations

from apdu.command import CommandApdu

AUTHENTICATION_CHALLENGE = 8
KEY_LOAD_CHALLENGE = 4


def select_name(name: bytes, *, want_fci: bool = False) -> CommandApdu:
    """SELECT by DF name or AID (P5 §6.11). Without `want_fci` a T=0 card's 61xx is left unread."""
    return CommandApdu(0x00, 0xA4, 0x04, 0x00, name, 256 if want_fci else None)


def get_challenge(length: int = AUTHENTICATION_CHALLENGE) -> CommandApdu:
    return CommandApdu(0x00, 0x84, 0x00, 0x00, b"", length)


def internal_authentication(factor: bytes, original: bytes) -> CommandApdu:
    return CommandApdu(0x00, 0x88, 0x00, 0x00, factor + original, 8)


def external_authentication(kid: int, value: bytes, original: bytes) -> CommandApdu:
    return CommandApdu(0x00, 0x82, 0x00, kid, value + original)


def read_record(sfi: int, number: int, length: int) -> CommandApdu:
    """One record by number."""
    return CommandApdu(0x00, 0xB2, number, sfi << 3 | 0x04, b"", length)


def read_record_by_tag(sfi: int, tag: int, length: int) -> CommandApdu:
    return CommandApdu(0x00, 0xB2, tag, sfi << 3, b"", length)


def read_records_from(sfi: int, number: int, length: int) -> CommandApdu:
    """All records from `number` to the last (P5 table 32, mode 101)."""
    return CommandApdu(0x00, 0xB2, number, sfi << 3 | 0x05, b"", length)


def update_record(sfi: int, number: int, record: bytes) -> CommandApdu:
    """Overwrite record `number`, or append when it is the next one (P5 §6.13.1)."""
    return CommandApdu(0x00, 0xDC, number, sfi << 3 | 0x04, record)


def update_record_by_tag(sfi: int, record: bytes) -> CommandApdu:
    """Overwrite the first record with the tag of `record`, or append it."""
    return CommandApdu(0x00, 0xDC, record[0], sfi << 3, record)


def append_record(sfi: int, record: bytes) -> CommandApdu:
    """Append to a cyclic file; the oldest record falls out (P5 §6.13, mode 011)."""
    return CommandApdu(0x00, 0xDC, 0x00, sfi << 3 | 0x03, record)


def read_binary(sfi: int, offset: int, length: int) -> CommandApdu:
    """Read a transparent file: by SFI while the offset fits one byte, else from the current EF."""
    if offset < 0x100:
        return CommandApdu(0x00, 0xB0, 0x80 | sfi, offset, b"", length)
    return CommandApdu(0x00, 0xB0, offset >> 8, offset & 0xFF, b"", length)


def update_binary(sfi: int, offset: int, data: bytes) -> CommandApdu:
    """Write a transparent file; addressing as in `read_binary`."""
    if offset < 0x100:
        return CommandApdu(0x00, 0xD6, 0x80 | sfi, offset, data)
    return CommandApdu(0x00, 0xD6, offset >> 8, offset & 0xFF, data)


def verify(pin: bytes) -> CommandApdu:
    """VERIFY; an empty `pin` asks how many tries are left (P5 §6.14.5)."""
    return CommandApdu(0x00, 0x20, 0x00, 0x00, pin)


def get_card_status() -> CommandApdu:
    return CommandApdu(0x80, 0xF2, 0x00, 0x00, b"", 10)


def write_key(mode: int, kid: int, field: bytes) -> CommandApdu:
    return CommandApdu(0x84, 0xD4, mode, kid, field)


def delete_structure(mac: bytes) -> CommandApdu:
    return CommandApdu(0x84, 0xEE, 0x00, 0x00, mac)


def set_state(state: int, mac: bytes) -> CommandApdu:
    return CommandApdu(0x84, 0xF4, 0x01, state, mac)


# -- PIN and blocks ---------------------------------------------------------------------------------------------------


def change_pin(old: bytes, new: bytes) -> CommandApdu:
    """CHANGE PIN (P5 §6.3); empty `old` sets the first PIN, empty `new` removes it."""
    return CommandApdu(0x80, 0x5E, 0x01, 0x00, old + b"\xff" + new)


def pin_unblock(new_pin: bytes | None = None) -> CommandApdu:
    """PIN CHANGE/UNBLOCK (P5 §6.8), not yet secured; with a new PIN it is a reload, an empty one removes the PIN."""
    return CommandApdu(0x84, 0x24, 0x00, int(new_pin is not None), new_pin or b"")


def application_block() -> CommandApdu:
    """APPLICATION BLOCK (P5 §6.1) of the current application, without its MAC."""
    return CommandApdu(0x84, 0x1E, 0x00, 0x01)


def card_block() -> CommandApdu:
    """CARD BLOCK (P5 §6.2) without its MAC."""
    return CommandApdu(0x84, 0x16, 0x00, 0x00)


# -- medical account (P5 §7) ------------------------------------------------------------------------------------------


def initialize_for_load(index: int, amount: bytes, terminal: bytes) -> CommandApdu:
    return CommandApdu(0xB0, 0x28, 0x00, 0x01, bytes((index,)) + amount + terminal, 0x10)


def credit_for_load(time: bytes, mac2: bytes) -> CommandApdu:
    return CommandApdu(0xB0, 0x2A, 0x00, 0x00, time + mac2, 4)


def initialize_for_purchase(index: int, amounts: bytes, terminal: bytes) -> CommandApdu:
    """`amounts`: account, self-paid and pooling amount, four bytes each."""
    return CommandApdu(0xB0, 0x28, 0x01, 0x01, bytes((index,)) + amounts + terminal, 0x16)


def debit_for_purchase(number: bytes, time: bytes, mac1: bytes) -> CommandApdu:
    """`number`: the terminal's transaction number, four bytes."""
    return CommandApdu(0xB0, 0x2C, 0x01, 0x00, number + time + mac1, 8)


def get_balance(which: int) -> CommandApdu:
    """`which`: 1 balance, 2 self-paid total, 3 pooling total; the totals come with their year."""
    return CommandApdu(0xB0, 0x26, 0x00, which, b"", 4 if which == 1 else 6)


def get_transaction_proof(kind: int, sequence: int) -> CommandApdu:
    return CommandApdu(0xB0, 0x2E, 0x00, kind, sequence.to_bytes(2, "big"), 8)


def get_starting_day() -> CommandApdu:
    return CommandApdu(0xB0, 0x56, 0x01, 0x00, b"", 2)


def update_starting_day(month_day: bytes) -> CommandApdu:
    return CommandApdu(0xB0, 0x56, 0x00, 0x00, month_day)
