"""Files to and from partners: kept in sealed parts, written and read part by part, so that size costs no memory.

The digest of a file is SHA-256 over the SHA-256 of its parts. A partner's file comes in parts of `PART_BYTES`, the last
one shorter, so the same bytes always have the same digest.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from issuance.database import add_unless_taken
from issuance.input_rules import field_error
from issuance.problems import ProblemError, bad_input
from issuance.production.models import FileRow, PartRow
from issuance.production.profiles import MAX_LINE
from issuance.sealing import Sealer
from issuance.unit import Unit

PART_BYTES: Final = 512 * 1024
MAX_PARTS: Final = 20_000
"""10 GiB, some forty million lines."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next line of a file begins; `line` counts lines from 1, the header being the first."""

    part: int = 0
    offset: int = 0
    line: int = 1

    def to_json(self) -> dict[str, int]:
        return {"part": self.part, "offset": self.offset, "line": self.line}


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line without its end; of one that is too long only the beginning."""

    number: int
    data: bytes


def new_file(unit: Unit, batch_id: str, stage: str, direction: str, profile: str, name: str) -> FileRow:
    return FileRow(
        id=uuid.uuid4().hex,
        batch_id=batch_id,
        stage=stage,
        direction=direction,
        profile=profile,
        name=name,
        state="open",
        parts=0,
        size=0,
        lines=0,
        accepted=0,
        known=0,
        refused=0,
        problem="",
        created_by=unit.by,
        created_at=unit.now,
        updated_at=unit.now,
    )


class FileStore:
    def __init__(self, session: AsyncSession, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer

    async def put(self, file: FileRow, number: int, data: bytes) -> bool:
        """Keep a part; False when the same is there already. Raises CONFLICT when another one is."""
        digest = hashlib.sha256(data).hexdigest()
        row = PartRow(
            file_id=file.id,
            number=number,
            size=len(data),
            line_ends=data.count(b"\n"),
            digest=digest,
            sealed=self._sealer.seal_bytes(data, _context(file.id, number)),
        )
        if await add_unless_taken(self._session, row):
            return True
        kept = await self._session.scalar(
            select(PartRow.digest).where(PartRow.file_id == file.id, PartRow.number == number)
        )
        if kept != digest:
            raise ProblemError("CONFLICT", f"part {number} is there with other content", subject=f"file:{file.id}")
        return False

    async def part(self, file_id: str, number: int) -> bytes:
        """Raises NOT_FOUND."""
        sealed = await self._session.scalar(
            select(PartRow.sealed).where(PartRow.file_id == file_id, PartRow.number == number)
        )
        if sealed is None:
            raise ProblemError("NOT_FOUND", "no such part", subject=f"file:{file_id}")
        return self._sealer.unseal_bytes(sealed, _context(file_id, number))

    async def measure(self, file: FileRow) -> None:
        """Set parts, size, lines (the header not counted) and digest from the parts. Raises INPUT_INVALID for gaps."""
        query = select(PartRow.number, PartRow.size, PartRow.line_ends, PartRow.digest)
        digest, size, lines, count = hashlib.sha256(), 0, 0, 0
        for number, part_size, line_ends, part_digest in await self._session.execute(
            query.where(PartRow.file_id == file.id).order_by(PartRow.number)
        ):
            if number != count:
                raise bad_input(field_error("path.file_id", "file_part_missing", expected=count))
            digest.update(bytes.fromhex(part_digest))
            count, size, lines = count + 1, size + part_size, lines + line_ends
        if not size:
            raise bad_input(field_error("path.file_id", "file_empty"))
        last = await self.part(file.id, count - 1)
        file.parts, file.size, file.digest = count, size, digest.hexdigest()
        file.lines = lines + (not last.endswith(b"\n")) - 1

    async def check_sizes(self, file_id: str) -> None:
        """Of a partner's file: every part but the last is whole. Raises INPUT_INVALID."""
        last = select(func.max(PartRow.number)).where(PartRow.file_id == file_id).scalar_subquery()
        odd = await self._session.scalar(
            select(func.min(PartRow.number)).where(
                PartRow.file_id == file_id, PartRow.number < last, PartRow.size != PART_BYTES
            )
        )
        if odd is not None:
            raise bad_input(field_error("path.file_id", "file_part_size", expected=PART_BYTES))

    async def lines(self, file: FileRow, cursor: Cursor, count: int) -> tuple[list[RawLine], Cursor]:
        """At most `count` lines from `cursor` on, and where the one after them begins; no lines at the end.

        Holds one part and one line at a time, however long a line is.
        """
        found: list[RawLine] = []
        part, offset, number = cursor.part, cursor.offset, cursor.line
        pending, is_open = b"", False
        while part < file.parts and len(found) < count:
            data = await self.part(file.id, part)
            while len(found) < count:
                end = data.find(b"\n", offset)
                piece = data[offset : end if end >= 0 else len(data)]
                if len(pending) <= MAX_LINE:
                    pending += piece[: MAX_LINE + 2]
                if end < 0:
                    part, offset, is_open = part + 1, 0, is_open or bool(piece)
                    break
                found.append(RawLine(number, pending.removesuffix(b"\r")))
                pending, is_open, offset, number = b"", False, end + 1, number + 1
        if is_open and part >= file.parts and len(found) < count:
            found.append(RawLine(number, pending.removesuffix(b"\r")))
            number += 1
        return found, Cursor(part, offset, number)


def _context(file_id: str, number: int) -> str:
    return f"production_parts:{file_id}:{number}"
