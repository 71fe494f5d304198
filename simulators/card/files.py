"""SELECT, READ and UPDATE (card_commands.md sections 5, 6.1, 6.9 to 6.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulators.card.chip import Chip, Command
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require
from simulators.card.state import RECORD_TYPES, CardState, Df, Ef, FileType

if TYPE_CHECKING:
    from simulators.apps.neighbour import Neighbour

FID_MF = 0x3F00
MODE_NUMBER, MODE_TO_LAST, MODE_FROM_LAST = 4, 5, 6
MODE_FIRST, MODE_LAST, MODE_NEXT, MODE_PREVIOUS = 0, 1, 2, 3
PARTIAL_NAME_MIN = 5
NAME_MAX = 16


def fci(df: Df) -> bytes:
    """FCI template; an environment also names its DIR and, unless 3DES, its algorithm (card_files.md section 3)."""
    name = b"\x84" + bytes((len(df.name),)) + df.name
    if df.is_environment:
        issuer = b"" if df.algorithm == Algorithm.TRIPLE_DES else bytes((0x9F, 0x0C, 3, 0x86, 1, df.algorithm))
        proprietary = bytes((0x88, 1, df.dir_sfi)) + issuer
        name += b"\xa5" + bytes((len(proprietary),)) + proprietary
    return b"\x6f" + bytes((len(name),)) + name


# ---- SELECT


def select(chip: Chip, frame: Frame) -> bytes:
    neighbour = chip.session.neighbour
    if neighbour is not None:
        neighbour.interrupt()
        if frame.p1 == 0x02:
            return neighbour.select_file(int.from_bytes(frame.data, "big"))
    if frame.p1 == 0x02:
        return _select_ef(chip, frame.data)
    df = _by_name(chip, frame) if frame.p1 == 0x04 else _by_identifier(chip, frame.data)
    if isinstance(df, Ef):
        return _select_ef(chip, frame.data)
    if df is not None and not isinstance(df, Df):
        chip.session.enter(None, df)
        return df.select()
    chip.session.enter(df)
    if df is None:
        return b""
    require(not df.is_blocked, SW.APPLICATION_BLOCKED)
    return fci(df)


def _by_identifier(chip: Chip, data: bytes) -> Df | Ef | None:
    """MF (alias of the SSSE, OPEN F3), a DF, or an EF of the current DF as widespread hosts expect it."""
    state = chip.state
    fid = int.from_bytes(data, "big") if data else FID_MF
    if fid == FID_MF:
        return state.ssse
    for df in state.dfs:
        if df.fid == fid:
            return df
    ef = chip.session.df.ef(fid) if chip.session.df else None
    if ef is None:
        raise Refused(SW.FILE_NOT_FOUND)
    return ef


def _by_name(chip: Chip, frame: Frame) -> Df | Neighbour:
    """Full name first; else prefixes in order of creation, P2=02 going on from the current DF (OPEN C24)."""
    everything: list[Df | Neighbour] = [*chip.state.dfs, *chip.neighbours]
    current = chip.session.neighbour or chip.session.df
    matches = [df for df in everything if df.name.startswith(frame.data)]
    if frame.p2 == 0x00:
        matches.sort(key=lambda df: df.name != frame.data)
    elif any(df is current for df in matches):
        matches = matches[next(i for i, df in enumerate(matches) if df is current) + 1 :]
    if not matches:
        raise Refused(SW.FILE_NOT_FOUND)
    return matches[0]


def _select_ef(chip: Chip, data: bytes) -> bytes:
    df = chip.session.df
    require(df is None or not df.is_blocked, SW.APPLICATION_BLOCKED)
    ef = df.ef(int.from_bytes(data, "big")) if df else None
    if ef is None:
        raise Refused(SW.FILE_NOT_FOUND)
    chip.session.ef = ef
    chip.session.pointer = None
    return b""


def _select_parameters(frame: Frame) -> bool:
    return (frame.p1 in (0x00, 0x02) and frame.p2 == 0) or (frame.p1 == 0x04 and frame.p2 in (0x00, 0x02))


def _select_lengths(frame: Frame) -> bool:
    lc = len(frame.data)
    return lc in {0x00: (0, 2), 0x02: (2,), 0x04: range(PARTIAL_NAME_MIN, NAME_MAX + 1)}[frame.p1]


# ---- transparent files


def _binary_target(chip: Chip, frame: Frame) -> tuple[Ef, int]:
    """File and offset of READ and UPDATE BINARY (draft P5 T29, T41)."""
    by_sfi = bool(frame.p1 & 0x80)
    ef = chip.address(frame.p1 & 0x1F) if by_sfi else chip.address(0)
    require(ef.type is FileType.TRANSPARENT, SW.WRONG_STRUCTURE)
    return ef, frame.p2 if by_sfi else frame.p1 << 8 | frame.p2


def _binary_parameters(frame: Frame) -> bool:
    if not frame.p1 & 0x80:
        return True
    return not frame.p1 & 0x60 and frame.p1 & 0x1F != 0


def read_binary(chip: Chip, frame: Frame) -> bytes:
    ef, offset = _binary_target(chip, frame)
    chip.require_access(ef.read)
    require(offset < ef.size, SW.WRONG_OFFSET)
    return frame.fit(ef.content[offset : offset + 256])


def update_binary(chip: Chip, frame: Frame) -> bytes:
    ef, offset = _binary_target(chip, frame)
    body = chip.update_body(frame, ef, least=1)
    require(offset + len(body) <= ef.size, SW.WRONG_OFFSET)
    ef.content = ef.content[:offset] + body + ef.content[offset + len(body) :]
    chip.changed = True
    return b""


# ---- record files


def _record_file(chip: Chip, frame: Frame) -> Ef:
    ef = chip.address(frame.sfi)
    require(ef.type in RECORD_TYPES, SW.WRONG_STRUCTURE)
    return ef


def _find(chip: Chip, ef: Ef, frame: Frame) -> int | None:
    """Index of the record an identifier or number names; None when there is no such record (draft P3 5.3.1)."""
    pointer = chip.session.pointer
    if frame.mode >= MODE_NUMBER:
        index = pointer if frame.p1 == 0 else frame.p1 - 1
        return index if index is not None and index < len(ef.records) else None
    found = [i for i, record in enumerate(ef.records) if frame.p1 in (0, record[0])]
    if frame.mode == MODE_NEXT and pointer is not None:
        found = [i for i in found if i > pointer]
    elif frame.mode == MODE_PREVIOUS and pointer is not None:
        found = [i for i in found if i < pointer]
    if not found:
        return None
    return found[0] if frame.mode in (MODE_FIRST, MODE_NEXT) else found[-1]


def read_record(chip: Chip, frame: Frame) -> bytes:
    ef = _record_file(chip, frame)
    chip.require_access(ef.read)
    index = _find(chip, ef, frame)
    if index is None:
        raise Refused(SW.RECORD_NOT_FOUND)
    wanted = [ef.records[index]]
    if frame.mode == MODE_TO_LAST:
        wanted = ef.records[index:]
    elif frame.mode == MODE_FROM_LAST:
        wanted = ef.records[index:][::-1]
    answer = frame.fit(_whole_records(wanted))
    if frame.mode < MODE_NUMBER:
        chip.session.pointer = index
    return answer


def _whole_records(records: list[bytes]) -> bytes:
    """Concatenation that ends before the record that would pass 256 bytes (OPEN F14)."""
    answer = b""
    for record in records:
        if len(answer) + len(record) > 256:
            break
        answer += record
    return answer


def update_record(chip: Chip, frame: Frame) -> bytes:
    ef = _record_file(chip, frame)
    is_cyclic = ef.type is FileType.CYCLIC
    if is_cyclic and frame.mode != MODE_PREVIOUS:
        # card_commands.md 6.12: a log nobody may write is 6982 in every mode, one the host writes is never overwritten.
        chip.require_access(ef.write)
        raise Refused(SW.NOT_SUPPORTED if frame.mode == MODE_NUMBER else SW.WRONG_STRUCTURE)
    least = ef.record_length if is_cyclic else 2 + (frame.data[1] if len(frame.data) > 1 else 0)
    record = chip.update_body(frame, ef, least)
    if is_cyclic:
        require(len(record) == ef.record_length, SW.BAD_TLV)
        append_cyclic(ef, record)
    else:
        _put_linear(chip, ef, frame, record)
    chip.changed = True
    return b""


def append_cyclic(ef: Ef, record: bytes) -> None:
    """The newest record is number 1; the oldest one falls out."""
    ef.records = [record, *ef.records][: ef.records_max]


def _put_linear(chip: Chip, ef: Ef, frame: Frame, record: bytes) -> None:
    require(len(record) >= 2 and record[1] == len(record) - 2, SW.BAD_TLV)
    require(ef.type is not FileType.LINEAR_FIXED or len(record) == ef.record_length, SW.BAD_TLV)
    by_identifier = frame.mode < MODE_NUMBER and frame.p1 != 0
    require(not by_identifier or record[0] == frame.p1, SW.BAD_TLV)
    index = _find(chip, ef, frame)
    if index is None:
        is_next = frame.mode == MODE_NUMBER and frame.p1 == len(ef.records) + 1
        require(by_identifier or is_next, SW.RECORD_NOT_FOUND)
        require(len(ef.records) < ef.records_max, SW.NO_SPACE)
        index = len(ef.records)
    records = ef.records.copy()
    records[index : index + 1] = [record]
    require(sum(map(len, records)) <= ef.size, SW.NO_SPACE)
    ef.records = records
    if frame.mode < MODE_NUMBER:
        chip.session.pointer = index


def find_account(state: CardState, df: Df | None) -> Ef | None:
    """The medical account file of this application, if it is the medical one."""
    if df is None or df is state.ssse:
        return None
    return next((ef for ef in df.efs if ef.type is FileType.ACCOUNT), None)


def _has_data(frame: Frame) -> bool:
    return bool(frame.data)


def _always(frame: Frame) -> bool:
    return True


COMMANDS: dict[tuple[int, int], Command] = {
    (0x00, 0xA4): Command(select, _select_parameters, _select_lengths),
    (0x00, 0xB0): Command(read_binary, _binary_parameters, _always, is_outgoing=_always),
    (0x00, 0xB2): Command(read_record, lambda f: f.p1 != 0xFF and f.mode != 7, _always, is_outgoing=_always),
}
for _cla in (0x00, 0x04):
    COMMANDS[_cla, 0xD6] = Command(update_binary, _binary_parameters, _has_data)
    COMMANDS[_cla, 0xDC] = Command(update_record, lambda f: f.p1 != 0xFF and f.mode < MODE_TO_LAST, _has_data)
