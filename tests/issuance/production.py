"""A batch in tests: synthetic people, partners that answer, work done to its end."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from typing import Any

import httpx

from cardlib.identity import citizen_number
from issuance.production import jobs
from issuance.production.files import PART_BYTES
from simulators.production import ENCODING, Answer, Faults, Partner
from tests.issuance.conftest import REGION, Centre, ok

TITLES = "序号,社会保障号码,姓名,性别,民族,出生地,出生日期,联系电话,监护人姓名,监护人证号,监护关系,监护人电话"
Lines = list[list[str]]
_NUMERALS = str.maketrans("0123456789", "零一二三四五六七八九")


def name_of(serial: int) -> str:
    """No real name has digits."""
    return f"测试{serial}".translate(_NUMERALS)


def person_line(serial: int) -> list[str]:
    """An invented adult."""
    day = f"1990{1 + serial // 500 % 12:02d}{1 + serial // 6000 % 28:02d}"
    number = citizen_number(f"990100{day}{serial % 500 * 2 + 1:03d}")
    return [str(serial + 1), number, name_of(serial), "1", "01", "990100", day, "", "", "", "", ""]


def roster(count: int, change: Callable[[Lines], None] | None = None) -> bytes:
    lines = [person_line(serial) for serial in range(count)]
    if change is not None:
        change(lines)
    return "".join(",".join(line) + "\r\n" for line in [TITLES.split(","), *lines]).encode(ENCODING)


class BatchDesk:
    """What an operator does with one batch."""

    def __init__(self, centre: Centre, caller: str = "operator") -> None:
        self.centre = centre
        self._caller = caller
        self.id = ""

    async def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        return await self.centre.as_(self._caller).request(method, path, headers=headers, **arguments)

    async def create(self, **change: Any) -> dict[str, Any]:
        body = {"region": REGION, "unit_code": "SCH-1", "unit_name": "示例小学"} | change
        made: dict[str, Any] = ok(await self.ask("POST", "/v1/production/batches", json=body), 201)
        self.id = made["id"]
        return made

    async def view(self) -> dict[str, Any]:
        found: dict[str, Any] = ok(await self.ask("GET", f"/v1/production/batches/{self.id}"))
        return found

    async def version(self) -> int:
        return int((await self.view())["version"])

    async def work(self) -> None:
        """Every chunk of whatever runs."""
        while await jobs.step(self.centre.app.state.services) is not None:
            pass

    async def upload(self, stage: str, data: bytes, name: str = "file.txt") -> httpx.Response:
        path = f"/v1/production/batches/{self.id}/files/{stage}"
        file = ok(await self.ask("POST", path, json={"name": name}), 201)
        for number, start in enumerate(range(0, len(data), PART_BYTES)):
            part = data[start : start + PART_BYTES]
            ok(await self.ask("PUT", f"/v1/production/files/{file['id']}/parts/{number}", content=part))
        return await self.ask("POST", f"/v1/production/files/{file['id']}/complete")

    async def take(self, stage: str, data: bytes) -> dict[str, Any]:
        """Bring a file in and work it off; returns the file as it is afterwards."""
        file_id = ok(await self.upload(stage, data), 202)["file"]["id"]
        await self.work()
        return await self.file(file_id)

    async def file(self, file_id: str) -> dict[str, Any]:
        files = ok(await self.ask("GET", f"/v1/production/batches/{self.id}/files"))
        found: dict[str, Any] = next(file for file in files if file["id"] == file_id)
        return found

    async def send(self, stage: str) -> httpx.Response:
        path = f"/v1/production/batches/{self.id}/stages/{stage}/send"
        return await self.ask("POST", path, json={"version": await self.version()})

    async def sent(self, stage: str) -> bytes:
        """Have the file of a stage written, and fetch it."""
        job = ok(await self.send(stage), 202)
        await self.work()
        file = await self.file(job["file_id"])
        parts = [
            (await self.ask("GET", f"/v1/production/files/{file['id']}/parts/{number}")).content
            for number in range(file["parts"])
        ]
        return b"".join(parts)

    async def answered(self, stage: str, partner: Partner, faults: Faults | None = None) -> tuple[bytes, Answer]:
        """The partner's return file about what is sent to it."""
        target = io.BytesIO()
        answer = partner.answer(io.BytesIO(await self.sent(stage)), target, faults or Faults())
        return target.getvalue(), answer

    async def rejects(self, file_id: str) -> list[dict[str, Any]]:
        found, cursor = [], ""
        while True:
            path = f"/v1/production/files/{file_id}/rejects?limit=500" + (f"&cursor={cursor}" if cursor else "")
            page = ok(await self.ask("GET", path))
            found += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    def counts(self, view: dict[str, Any], stage: str) -> dict[str, int]:
        found: dict[str, int] = next(counts for counts in view["stages"] if counts["stage"] == stage)
        assert found["sent"] == found["ok"] + found["failed"] + found["bad"] + found["missing"]
        return found

    async def job(self, file_id: str) -> dict[str, Any]:
        jobs = ok(await self.ask("GET", f"/v1/production/batches/{self.id}/jobs"))
        found: dict[str, Any] = next(job for job in jobs if job["file_id"] == file_id)
        return found
