"""The bank application and the payment directories, as far as a counter reads them: no payment is possible.

Shape of JR/T 0025 and EMV Book 1; the files a terminal finds the card number in follow card_digest.md 7.3.
"""

from __future__ import annotations

from simulators.apps.neighbour import AppCommand, Neighbour, Services, le, p1p2, tlv
from simulators.apps.state import BankState
from simulators.card.frame import SW, Frame, require, wrong_le

AID = bytes.fromhex("A000000333010101")
CONTACT_NAME, PROXIMITY_NAME = b"1PAY.SYS.DDF01", b"2PAY.SYS.DDF01"
PDOL = bytes.fromhex("9F7A019F02065F2A02")
PDOL_LENGTH = 9
PROFILE = bytes.fromhex("7C00")
SFI_DIRECTORY, SFI_CARD = 1, 2


class BankApplication(Neighbour):
    """SELECT, GET PROCESSING OPTIONS and the one record that holds the card number (tag 5A)."""

    label = b"PBOC DEBIT"

    def __init__(self, state: BankState) -> None:
        super().__init__(AID)
        digits = state.number + "F" * (len(state.number) % 2)
        sequence = tlv(0x5F34, bytes((state.sequence,)))
        self._record = tlv(0x70, tlv(0x5A, bytes.fromhex(digits)) + tlv(0x5F24, bytes.fromhex(state.expiry)) + sequence)
        self.commands = {
            (0x80, 0xA8): AppCommand(self.options, p1p2(0, 0), lambda f: bool(f.data)),
            (0x00, 0xB2): AppCommand(self.read_record, lambda f: f.p1 != 0 and f.mode == 4, is_outgoing=True),
        }

    def fci(self) -> bytes:
        shown = tlv(0x50, self.label) + tlv(0x87, b"\x01") + tlv(0x9F38, PDOL)
        return tlv(0x6F, tlv(0x84, AID) + tlv(0xA5, shown))

    def options(self, services: Services, frame: Frame) -> bytes:
        """Template 80: application interchange profile and the one file locator."""
        require(frame.data[0] == 0x83 and len(frame.data) == 2 + PDOL_LENGTH == 2 + frame.data[1], SW.BAD_DATA)
        return tlv(0x80, PROFILE + bytes((SFI_CARD << 3, 1, 1, 0)))

    def read_record(self, services: Services, frame: Frame) -> bytes:
        return _only_record(frame, SFI_CARD, self._record)


class ContactDirectory(Neighbour):
    """1PAY.SYS.DDF01 of the contact side: a directory file with the bank application."""

    def __init__(self) -> None:
        super().__init__(CONTACT_NAME)
        self._record = tlv(0x70, tlv(0x61, tlv(0x4F, AID) + tlv(0x50, BankApplication.label) + tlv(0x87, b"\x01")))
        self.commands = {
            (0x00, 0xB2): AppCommand(self.read_record, lambda f: f.p1 != 0 and f.mode == 4, is_outgoing=True)
        }

    def fci(self) -> bytes:
        return tlv(0x6F, tlv(0x84, self.name) + tlv(0xA5, tlv(0x88, bytes((SFI_DIRECTORY,)))))

    def read_record(self, services: Services, frame: Frame) -> bytes:
        return _only_record(frame, SFI_DIRECTORY, self._record)


class ProximityDirectory(Neighbour):
    """2PAY.SYS.DDF01 (PPSE): the FCI lists AID, label and priority of every payment application."""

    def __init__(self, entries: list[tuple[bytes, bytes]]) -> None:
        super().__init__(PROXIMITY_NAME)
        self._entries = b"".join(
            tlv(0x61, tlv(0x4F, aid) + tlv(0x50, label) + tlv(0x87, bytes((priority,))))
            for priority, (aid, label) in enumerate(entries, start=1)
        )
        self.commands = {(0x00, 0x84): AppCommand(self.get_challenge, p1p2(0, 0), le(4, 8), is_outgoing=True)}

    def fci(self) -> bytes:
        return tlv(0x6F, tlv(0x84, self.name) + tlv(0xA5, tlv(0xBF0C, self._entries)))


def _only_record(frame: Frame, sfi: int, record: bytes) -> bytes:
    require(frame.sfi == sfi, SW.FILE_NOT_FOUND)
    require(frame.p1 == 1, SW.RECORD_NOT_FOUND)
    if frame.le != len(record):
        raise wrong_le(len(record))
    return record
