"""Messages of the local API. Unknown fields are refused: a typo must not pass as an option."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from cardlib.failures import FailureCode, describe
from cardlib.identity import mask_card_number, mask_id
from cardlib.session import BasicInformation
from terminal_agent.registry import Reader, ReaderState
from terminal_agent.relay import Job, JobState

Region = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
ReaderName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReaderView(Body):
    """`atr` is null without a card and empty for a card that gives none; `role` psam is the terminal's own slot."""

    name: str
    state: ReaderState
    atr: str | None
    role: Literal["card", "psam"]
    is_contactless: bool

    @classmethod
    def of(cls, reader: Reader) -> Self:
        return cls(
            name=reader.name,
            state=reader.state,
            atr=None if reader.atr is None else reader.atr.hex().upper(),
            role="psam" if reader.is_psam else "card",
            is_contactless=reader.is_contactless,
        )


class AgentInfo(Body):
    """`terminal_number` is null without a PSAM."""

    name: str
    version: str
    profile: str
    device_number: str
    terminal_number: str | None
    has_centre: bool
    is_reader_service_lost: bool
    http_port: int | None
    ws_port: int | None
    jobs: list[str]


class ReadRequest(Body):
    """`authenticate` uses the PSAM to prove the card genuine; `masked` keeps the holder's full numbers inside."""

    authenticate: bool = True
    masked: bool = False


class BasicInformationView(Body):
    """The holder's basic information; dates YYYYMMDD; `genuine` null = not checked."""

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
    """A remote card session, as `cardlib.wire.SessionStart` without the ATR, which the agent reads itself."""

    reader: ReaderName
    kind: Literal["initialization", "personalization"]
    application_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    generation: Literal["2.0", "3.0"] = "3.0"
    region: Region | None = None

    @model_validator(mode="after")
    def _has_subject(self) -> Self:
        if self.kind == "personalization" and self.application_id is None:
            raise ValueError("personalization needs application_id")
        if self.kind == "initialization" and self.region is None:
            raise ValueError("initialization needs region")
        return self


class JobStarted(Body):
    job_id: str


class FailureView(Body):
    """A failure in words: what happened, why, and what to do now."""

    code: FailureCode
    text_zh: str
    text_en: str
    cause_zh: str
    cause_en: str
    remedy_zh: str
    remedy_en: str

    @classmethod
    def of(cls, code: FailureCode) -> Self:
        failure = describe(code)
        return cls(
            code=code,
            text_zh=failure.text_zh,
            text_en=failure.text_en,
            cause_zh=failure.cause_zh,
            cause_en=failure.cause_en,
            remedy_zh=failure.remedy_zh,
            remedy_en=failure.remedy_en,
        )


class JobView(Body):
    """`sessions` counts the starts at the centre, one more for each time the card left; counts cover all of them."""

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
    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    """RFC 9457 with the failure's code and words as extensions."""

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


def _first(text: str, kept: int) -> str:
    return text[:kept] + "*" * max(0, len(text) - kept)
