"""SELECT, READ and UPDATE BINARY, GET RESPONSE, GET CHALLENGE of the PSAM."""

from __future__ import annotations

from simulators.apps.transit_psam import FID_APPLICATION as FID_TRANSIT
from simulators.card.crypto import Algorithm
from simulators.card.frame import SW, Frame, Refused, require, wrong_le
from simulators.psam.session import Session
from simulators.psam.state import PsamFile

AID_APPLICATION = bytes.fromhex("D15600000590")
FID_MF, FID_APPLICATION, FID_COUNTER = 0x3F00, 0xDF01, 0x19
_SELECT_LENGTHS = {0x00: (0, 2), 0x02: (2,), 0x04: tuple(range(5, 17))}


def select(session: Session, frame: Frame) -> bytes:
    """An EF, or a DF with its FCI."""
    frame.receive()
    require(len(frame.data) in _SELECT_LENGTHS[frame.p1], SW.WRONG_LENGTH)
    if frame.p1 == 0x02:
        fid = int.from_bytes(frame.data, "big")
        _content(session, fid)
        session.ef = fid
        return b""
    name = _enter(session, frame)
    return b"\x6f" + bytes((len(name) + 2, 0x84, len(name))) + name


def _enter(session: Session, frame: Frame) -> bytes:
    """The applications of the current environment first, then environments by name or identifier (draft P9 5)."""
    by_name = frame.p1 == 0x04
    fid = int.from_bytes(frame.data, "big") if frame.data else FID_MF
    if frame.data == AID_APPLICATION if by_name else fid == FID_APPLICATION:
        session.enter(session.environment, in_application=True)
        return AID_APPLICATION
    if not by_name and fid == FID_TRANSIT:
        session.enter(session.environment, in_application=False, in_transit=True)
        return frame.data
    for environment in session.state.environments:
        if frame.data == environment.name if by_name else fid == environment.fid:
            session.enter(environment, in_application=False)
            return environment.name
    raise Refused(SW.FILE_NOT_FOUND)


def _content(session: Session, fid: int) -> tuple[bytes, PsamFile | None]:
    """The counter is a file of its own kind: free to read, never to write."""
    if fid == FID_COUNTER and session.in_application:
        return session.environment.counter.to_bytes(4, "big"), None
    file = session.environment.file(fid, in_application=session.in_application)
    if file is None:
        raise Refused(SW.FILE_NOT_FOUND)
    return file.content, file


def _address(session: Session, frame: Frame) -> tuple[bytes, PsamFile | None, int]:
    """Content, file and offset; short identifiers are the low byte of the FID (terminals read 16 and 1C so)."""
    if frame.p1 & 0x80:
        fid, offset = frame.p1 & 0x1F, frame.p2
    else:
        if session.ef is None:
            raise Refused(SW.NO_CURRENT_EF)
        fid, offset = session.ef, frame.p1 << 8 | frame.p2
    content, file = _content(session, fid)
    session.ef = fid
    return content, file, offset


def read_binary(session: Session, frame: Frame) -> bytes:
    frame.expect()
    content, _, offset = _address(session, frame)
    require(offset < len(content), SW.WRONG_OFFSET)
    return frame.fit(content[offset:])


def update_binary(session: Session, frame: Frame) -> bytes:
    """Plain, after EXTERNAL AUTHENTICATION with the file's control key."""
    frame.receive()
    require(bool(frame.data), SW.WRONG_LENGTH)
    content, file, offset = _address(session, frame)
    if file is None or file.write_kid not in session.authenticated:
        raise Refused(SW.ACCESS_DENIED)
    require(offset + len(frame.data) <= len(content), SW.WRONG_OFFSET)
    file.content = content[:offset] + frame.data + content[offset + len(frame.data) :]
    session.changed = True
    return b""


def get_response(session: Session, frame: Frame) -> bytes:
    frame.expect()
    pending = session.pending
    require(bool(pending), SW.NOTHING_PENDING)
    if not 0 < frame.le <= len(pending):
        raise wrong_le(len(pending))
    session.pending = pending[frame.le :]
    return pending[: frame.le]


def challenge_lengths(algorithm: Algorithm) -> tuple[int, ...]:
    return (4, 8, 16) if algorithm is Algorithm.SM4 else (4, 8)


def get_challenge(session: Session, frame: Frame) -> bytes:
    """Kept until a command takes it; the next one replaces it."""
    frame.expect()
    require(frame.le in challenge_lengths(session.environment.algorithm), SW.WRONG_LENGTH)
    session.challenge = session.rng(frame.le)
    return session.challenge
