"""Messages about batches, their files and the work on them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from cardlib.wire import HexId, Message
from issuance.clients.schemas import Region
from issuance.database import WITHOUT_NUL
from issuance.production.states import ApplyType, LineState, MakeType, Mark
from issuance.stock.schemas import PlaceId

BatchId = Annotated[str, StringConstraints(pattern=r"^[0-9]{16}$")]
ProfileId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
Version = Annotated[int, Field(ge=1, le=2**31, description="As last shown: whoever changed it meanwhile is heard")]
StageName = Literal["bank", "ca", "factory", "keys"]
EXAMPLE_BATCH = "1100002601050001"
EXAMPLE_FILE = "0d9f4f0e6b7f4a35a3b2b8a1b4a6c001"


class Profiles(Message):
    """Which file profile each partner of the batch has."""

    roster: ProfileId = "roster-standard"
    bank: ProfileId = "bank-standard"
    ca: ProfileId = "ca-standard"
    factory: ProfileId = "factory-standard"
    keys: ProfileId = "keys-standard"


class BatchRequest(Message):
    """A batch of one region for a unit, a school or a district. Without depot the cards come to the region's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"region": "110000", "unit_code": "SCH-0042", "unit_name": "示例小学", "has_certificates": False}
            ]
        }
    )

    region: Region
    generation: Literal["2.0", "3.0"] = "3.0"
    apply_type: ApplyType = ApplyType.NEW
    make_type: MakeType = MakeType.FINISHED
    mark: Mark = Mark.NORMAL
    unit_code: str = Field(default="", max_length=32, pattern=r"^[A-Za-z0-9._-]*$")
    unit_name: str = Field(default="", max_length=64, pattern=r"^[^\x00-\x1f|,]*$")
    depot_id: PlaceId | None = None
    has_certificates: bool = False
    profiles: Profiles = Profiles()


class StageCounts(Message):
    """Lines of one stage: sent = ok + failed + bad + missing, always."""

    stage: StageName
    sent: int
    ok: int
    failed: int = Field(description="The partner says so")
    bad: int = Field(description="Came back, but only in lines that were refused")
    missing: int = Field(description="Did not come back")
    unsent: int = Field(description="Could not be written in the partner's format")


class BatchView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_BATCH,
                    "region": "110000",
                    "generation": "3.0",
                    "apply_type": "01",
                    "make_type": "01",
                    "mark": "0",
                    "unit_code": "SCH-0042",
                    "unit_name": "示例小学",
                    "depot_id": "depot-110000",
                    "has_certificates": False,
                    "profiles": {},
                    "state": "bank_sent",
                    "state_code": "20",
                    "state_zh": "银行已导出",
                    "state_en": "sent to the bank",
                    "lines": 1,
                    "by_state": {"created": 1},
                    "stages": [{"stage": "bank", "sent": 1, "ok": 0, "failed": 0, "bad": 0, "missing": 1, "unsent": 0}],
                    "version": 2,
                    "created_by": "operator-1",
                    "updated_by": "clerk-1",
                    "created_at": "2026-01-05T01:00:00Z",
                    "updated_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: BatchId
    region: str
    generation: str
    apply_type: ApplyType
    make_type: MakeType
    mark: Mark
    unit_code: str
    unit_name: str
    depot_id: str
    has_certificates: bool
    profiles: Profiles
    state: str
    state_code: str = Field(description="批次状态: 10, 20, 21, 30, 31, 40, 41, 50")
    state_zh: str
    state_en: str
    lines: int
    by_state: dict[str, int]
    stages: list[StageCounts]
    version: int
    created_by: str
    updated_by: str
    created_at: datetime
    updated_at: datetime


class BatchSummary(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_BATCH,
                    "region": "110000",
                    "unit_name": "示例小学",
                    "state": "bank_sent",
                    "state_code": "20",
                    "state_zh": "银行已导出",
                    "lines": 1,
                    "version": 2,
                    "updated_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: BatchId
    region: str
    unit_name: str
    state: str
    state_code: str
    state_zh: str
    lines: int
    version: int
    updated_at: datetime


class Applications(Message):
    """Applications that wait for a card and shall be made in this batch."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1, "applications": [EXAMPLE_FILE]}]})

    version: Version
    applications: tuple[HexId, ...] = Field(min_length=1, max_length=1000)


class Order(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})

    version: Version


class HandOut(Order):
    """Sends finished cards to an outlet: all of the batch at its depot, or those of the boxes named."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 9, "place_id": "chaoyang-1", "boxes": []}]})

    place_id: PlaceId
    boxes: tuple[Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=WITHOUT_NUL)], ...] = Field(
        default=(), max_length=500
    )


class HandedOut(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"transfer_id": EXAMPLE_FILE, "cards": 990}]})

    transfer_id: HexId
    cards: int


class Released(Message):
    """Lines whose applications left the batch and wait for another card."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"released": 10, "remaining": 0}]})

    released: int
    remaining: int


class NewFile(Message):
    """A file that comes in. Its parts follow, then it is completed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "SH_1100002601050001_back.txt"}]})

    name: FileName


class FileView(Message):
    """`accepted` + `known` + `refused` = `lines` once the file is done. `known` lines were taken before exactly so."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_FILE,
                    "batch_id": EXAMPLE_BATCH,
                    "stage": "bank",
                    "direction": "in",
                    "profile": "bank-standard",
                    "name": "SH_1100002601050001_back.txt",
                    "state": "done",
                    "parts": 1,
                    "part_bytes": 524288,
                    "size": 91,
                    "lines": 1,
                    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "accepted": 1,
                    "known": 0,
                    "refused": 0,
                    "problem": "",
                    "created_by": "operator-1",
                    "created_at": "2026-01-05T01:00:00Z",
                }
            ]
        }
    )

    id: HexId
    batch_id: BatchId
    stage: str
    direction: Literal["out", "in"]
    profile: str
    name: str
    state: Literal["open", "whole", "done", "repeated", "refused"] = Field(
        description="repeated: the same bytes were taken in before, nothing changed"
    )
    parts: int
    part_bytes: int = Field(description="Size of every part but the last")
    size: int
    lines: int
    digest: str | None = Field(description="SHA-256 over the SHA-256 of the parts")
    accepted: int
    known: int
    refused: int
    problem: str
    created_by: str
    created_at: datetime


class PartKept(Message):
    model_config = ConfigDict(json_schema_extra={"examples": [{"number": 0, "size": 524288, "is_new": True}]})

    number: int
    size: int
    is_new: bool


class JobView(Message):
    """Work in chunks; `stuck` work waits for `failure` to be mended and is then resumed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_FILE,
                    "batch_id": EXAMPLE_BATCH,
                    "kind": "return",
                    "stage": "bank",
                    "file_id": EXAMPLE_FILE,
                    "state": "running",
                    "phase": "take",
                    "done": 2000,
                    "total": 100000,
                    "lines_per_s": 6200.0,
                    "eta_s": 16,
                    "failure": None,
                    "detail": "",
                    "started_at": "2026-01-05T01:00:00Z",
                    "updated_at": "2026-01-05T01:00:01Z",
                    "ended_at": None,
                }
            ]
        }
    )

    id: HexId
    batch_id: BatchId
    kind: Literal["roster", "send", "return"]
    stage: str
    file_id: HexId
    state: Literal["running", "stuck", "done", "refused"]
    phase: str
    done: int
    total: int
    lines_per_s: float
    eta_s: int | None
    failure: str | None
    detail: str
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None


def _completed_example(schema: dict[str, Any]) -> None:
    extra: Any = FileView.model_config.get("json_schema_extra")
    schema["examples"] = [{"file": example, "job": None} for example in extra["examples"]]


class Completed(Message):
    """The file as it came in, and the work that takes it in; none for bytes that were taken in before."""

    model_config = ConfigDict(json_schema_extra=_completed_example)

    file: FileView
    job: JobView | None


class RejectView(Message):
    """Why a line was refused. The line itself is not repeated: it is personal."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "line_number": 17,
                    "sequence": 16,
                    "column": "银行卡号",
                    "reason": "file_check_digit",
                    "text_zh": "号码形式或校验位不对",
                    "text_en": "does not have the form or the check digit of such a number",
                    "remedy_zh": "与原始资料核对后改正。",
                    "remedy_en": "Compare it with the source and correct it.",
                }
            ]
        }
    )

    line_number: int = Field(description="In the file, the titles being line 1")
    sequence: int | None
    column: str
    reason: str
    text_zh: str
    text_en: str
    remedy_zh: str
    remedy_en: str


class LineView(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "line": 16,
                    "application_id": EXAMPLE_FILE,
                    "card_number": "A00000011",
                    "state": "finished",
                    "state_code": "40",
                    "production_code": "41",
                    "state_zh": "成品卡",
                    "reset_information": "00814A444686FE9901000000A1",
                    "issue_date": "2026-01-05",
                    "expiry_date": "2036-01-05",
                    "box": "1-2",
                }
            ]
        }
    )

    line: int
    application_id: HexId
    card_number: str
    state: LineState
    state_code: str = Field(description="批次明细状态")
    production_code: str = Field(description="制卡状态")
    state_zh: str
    reset_information: str | None
    issue_date: date | None
    expiry_date: date | None
    box: str | None


class Collection(Message):
    """The holder takes the card at this place; its chip says so itself, or a clerk reads the number off it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"place_id": "chaoyang-1"}]})

    place_id: PlaceId


class Collected(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"card_number": "A00000011", "application_id": EXAMPLE_FILE, "ecard_no": EXAMPLE_FILE}]
        }
    )

    card_number: str
    application_id: HexId
    ecard_no: str | None
