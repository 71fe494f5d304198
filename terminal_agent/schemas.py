"""Messages of the local API. Unknown fields are refused: a typo must not pass as an option."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from cardlib.failures import FailureCode, describe
from cardlib.identity import mask_card_number, mask_id
from cardlib.session import BasicInformation
from cardlib.terminal_state import Lock
from cardlib.wire import HexId, RegionCode, SessionKind
from terminal_agent.catalog.blocked import EXAMPLE as BLOCK_EXAMPLE
from terminal_agent.catalog.blocked import BlockView
from terminal_agent.catalog.releases import UpdateState
from terminal_agent.levels import API_LEVEL, OLDEST_API_LEVEL
from terminal_agent.problems import problem_document
from terminal_agent.registry import Reader, ReaderRegistry, ReaderState
from terminal_agent.relay import Job, JobState

ReaderName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


_READER = "OneCard Virtual Reader 0 00 00"
_JOB = "IygZHI4PQjlZJhfk"


def _example(**fields: JsonValue) -> ConfigDict:
    """Model settings with an example for the API's description."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HolderView(Body):
    """Who has a reader: by a lease, or for as long as a session is on the card. `origin` null: no web page."""

    model_config = _example(
        owner="窗口 3 / counter 3",
        origin="https://hall.example",
        kind="lease",
        since="2026-11-22T05:00:00Z",
        waiting=1,
    )

    owner: str
    origin: str | None
    kind: Literal["lease", "session"]
    since: str
    waiting: int


class ReaderView(Body):
    """`atr` is null without a card and empty for a card that gives none; `role` psam is the terminal's own slot."""

    model_config = _example(
        name=_READER,
        state="PRESENT",
        atr="3B6D000000FE00000086FE990103000001",
        role="card",
        is_contactless=False,
        holder=None,
    )

    name: str
    state: ReaderState
    atr: str | None
    role: Literal["card", "psam"]
    is_contactless: bool
    holder: HolderView | None

    @classmethod
    def of(cls, reader: Reader, registry: ReaderRegistry) -> Self:
        holder = registry.holder_of(reader)
        return cls(
            name=reader.name,
            state=registry.state_of(reader),
            atr=None if reader.atr is None else reader.atr.hex().upper(),
            role="psam" if reader.is_psam else "card",
            is_contactless=reader.is_contactless,
            holder=HolderView(**holder.public(), waiting=registry.waiting(reader)) if holder else None,
        )


class AgentInfo(Body):
    """`terminal_number` is null without a PSAM; `is_pin_wanted`: a program waits for the PIN dialog at `/pin`.

    `lock`: the centre took this terminal out of use. `catalog_alarms` and `update`: what `/v1/catalog/state` tells more
    of; `update` is null where the centre names none.
    """

    model_config = _example(
        name="OneCard terminal agent",
        version="0.1.0",
        api_level=API_LEVEL,
        oldest_api_level=OLDEST_API_LEVEL,
        profile="counter",
        device_number="ONECARD00001",
        terminal_number="990100000001",
        has_centre=True,
        is_reader_service_lost=False,
        is_pin_wanted=False,
        is_pairing_wanted=False,
        lock=None,
        http_port=12343,
        ws_port=12342,
        jobs=[_JOB],
        catalog_alarms=[],
        update="current",
    )

    name: str
    version: str
    api_level: int
    oldest_api_level: int
    profile: str
    device_number: str
    terminal_number: str | None
    has_centre: bool
    is_reader_service_lost: bool
    is_pin_wanted: bool
    is_pairing_wanted: bool
    lock: Lock | None
    http_port: int | None
    ws_port: int | None
    jobs: list[str]
    catalog_alarms: list[FailureCode]
    update: UpdateState | None


class ReadRequest(Body):
    """`authenticate` uses the PSAM to prove the card genuine; `masked` keeps the holder's full numbers inside."""

    model_config = _example(authenticate=True, masked=True)

    authenticate: bool = True
    masked: bool = False


class BasicInformationView(Body):
    """The holder's basic information; dates YYYYMMDD; `genuine` null = not checked.

    `block`: what the block list says of the card; null where this terminal is given none.
    """

    model_config = _example(
        region="990100",
        social_security_number="990***********0048",
        card_number="A1000****",
        identification_code="990100**************************",
        name="测试丙",
        reset_information="00FE00********************",
        version="3.00",
        issue_date="20250101",
        expiry_date="20350101",
        generation="3.0",
        algorithm="SM4",
        card_class="3",
        sex="2",
        ethnic_group="01",
        birthplace="990100",
        birth_date="1988****",
        genuine=True,
        is_masked=True,
        reader=_READER,
        apdus=7,
        bytes=267,
        ms=8.3,
        block=BLOCK_EXAMPLE,
    )

    region: str
    social_security_number: str
    card_number: str
    identification_code: str
    name: str
    reset_information: str
    version: str
    issue_date: str
    expiry_date: str
    generation: str
    algorithm: str
    card_class: str
    sex: str
    ethnic_group: str
    birthplace: str
    birth_date: str
    genuine: bool | None
    is_masked: bool
    reader: str
    apdus: int
    bytes: int
    ms: float
    block: BlockView | None = None

    @classmethod
    def of(
        cls, basic: BasicInformation, *, masked: bool, id_digits: int, reader: str, apdus: int, size: int, ms: float
    ) -> Self:
        fields = basic.to_json()
        if masked:  # a clerk sees the region digits of the number as well, the public only its end (design kit §9)
            fields |= {
                "social_security_number": mask_id(basic.social_security_number, first=id_digits),
                "card_number": mask_card_number(basic.card_number),
                "identification_code": _first(basic.identification_code, 6),
                "reset_information": _first(basic.reset_information, 6),
                "birth_date": _first(basic.birth_date, 4),
            }
        return cls(**fields, is_masked=masked, reader=reader, apdus=apdus, bytes=size, ms=ms)


class CardSessionRequest(Body):
    """A remote card session, as `cardlib.wire.SessionStart` without the ATR, which the agent reads itself.

    A `pin_reset` asks the holder for the new PIN at the terminal itself. `with_print` says whether the card's face is
    printed after it was written; null: where a printer is configured.
    """

    model_config = _example(reader=_READER, kind="initialization", region="110000", generation="3.0")

    reader: ReaderName
    kind: SessionKind
    application_id: HexId | None = None
    generation: Literal["2.0", "3.0"] = "3.0"
    region: RegionCode | None = None
    with_print: bool | None = None

    @model_validator(mode="after")
    def _has_subject(self) -> Self:
        if self.kind == "personalization" and self.application_id is None:
            raise ValueError("personalization needs application_id")
        if self.kind == "initialization" and self.region is None:
            raise ValueError("initialization needs region")
        return self


class JobStarted(Body):
    model_config = _example(job_id=_JOB)

    job_id: str


def _words(code: FailureCode) -> dict[str, Any]:
    failure = describe(code)
    return {
        "code": code.value,
        "text_zh": failure.text_zh,
        "text_en": failure.text_en,
        "cause_zh": failure.cause_zh,
        "cause_en": failure.cause_en,
        "remedy_zh": failure.remedy_zh,
        "remedy_en": failure.remedy_en,
    }


class FailureView(Body):
    """A failure in words: what happened, why, and what to do now."""

    model_config = _example(**_words(FailureCode.CARD_REMOVED))

    code: FailureCode
    text_zh: str
    text_en: str
    cause_zh: str
    cause_en: str
    remedy_zh: str
    remedy_en: str

    @classmethod
    def of(cls, code: FailureCode) -> Self:
        return cls(**_words(code))


class JobView(Body):
    """`sessions` counts the starts at the centre, one more for each time the card left; counts cover all of them."""

    model_config = _example(
        job_id=_JOB,
        reader=_READER,
        kind="personalization",
        application_id="0123456789abcdef0123456789abcdef",
        state="failed",
        step=12,
        steps=31,
        text_zh=_words(FailureCode.CARD_REMOVED)["text_zh"],
        text_en=_words(FailureCode.CARD_REMOVED)["text_en"],
        apdus=40,
        bytes_sent=912,
        bytes_received=330,
        network_round_trips=13,
        sessions=1,
        started_at=1795318047.9,
        finished_at=1795318169.3,
        failure=_words(FailureCode.CARD_REMOVED),
        detail="the card was not put back in time",
        result={},
    )

    job_id: str
    reader: str
    kind: str
    application_id: str | None
    state: JobState
    step: int
    steps: int
    text_zh: str
    text_en: str
    apdus: int
    bytes_sent: int
    bytes_received: int
    network_round_trips: int
    sessions: int
    started_at: float
    finished_at: float | None
    failure: FailureView | None
    detail: str
    result: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, job: Job) -> Self:
        return cls(
            job_id=job.id,
            reader=job.reader,
            kind=job.request.kind,
            application_id=job.request.application_id,
            state=job.state,
            step=job.step,
            steps=job.steps,
            text_zh=job.text_zh,
            text_en=job.text_en,
            apdus=job.apdus,
            bytes_sent=job.bytes_sent,
            bytes_received=job.bytes_received,
            network_round_trips=job.network_round_trips,
            sessions=job.sessions,
            started_at=job.started_at,
            finished_at=job.finished_at,
            failure=FailureView.of(job.failure) if job.failure else None,
            detail=job.detail,
            result=job.outcome.result if job.outcome else {},
        )


class Health(Body):
    model_config = _example(status="ok")

    status: Literal["ok"] = "ok"


class PayloadError(BaseModel):
    """One place of a payload that has the wrong shape; its value and undeclared names are never echoed."""

    model_config = _example(loc=["body", "kind"], msg="Field required")

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """RFC 9457 with the failure's code and words as extensions; `errors` only with status 422."""

    model_config = _example(
        **problem_document(FailureCode.INPUT_INVALID, status=422),
        errors=[{"loc": ["body", "kind"], "msg": "Field required"}],
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    title_en: str
    cause_zh: str
    cause_en: str
    remedy_zh: str
    remedy_en: str
    retry: str
    errors: list[PayloadError] | None = None


def _first(text: str, kept: int) -> str:
    return text[:kept] + "*" * max(0, len(text) - kept)
