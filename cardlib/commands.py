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


def select_df(fid: int) -> CommandApdu:
    return CommandApdu(0x00, 0xA4, 0x00, 0x00, fid.to_bytes(2, "big"))


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
