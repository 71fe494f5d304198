"""Messages of the local API about devices."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Literal, Self

from pydantic import Field

from cardlib.failures import FailureCode
from terminal_agent.devices import MAX_WAIT_S, Device, DeviceKind, DeviceState
from terminal_agent.schemas import Body, _example


class HealthView(Body):
    """Since the agent's start: how often the device answered and how often not, and when last."""

    model_config = _example(
        successes=812,
        failures=1,
        last_success_at="2026-11-22T05:00:00Z",
        last_failure_at="2026-11-22T01:12:00Z",
        last_failure="READER_LOST",
    )

    successes: int
    failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_failure: FailureCode | None


class DeviceView(Body):
    """A configured device. `failure` says why it is lost; `readers` are the names of an MT3 reader's slots."""

    model_config = _example(
        kind="mt3_reader",
        port="/dev/ttyUSB0",
        state="lost",
        failure="READER_NOT_FOUND",
        readers=["MT3 ttyUSB0 00 00", "MT3 ttyUSB0 00 01"],
        name="ttyUSB0",
        is_simulated=False,
        health={
            "successes": 1,
            "failures": 1,
            "last_success_at": "2026-11-22T01:00:00Z",
            "last_failure_at": "2026-11-22T01:12:00Z",
            "last_failure": "READER_NOT_FOUND",
        },
    )

    kind: DeviceKind
    port: str
    state: DeviceState
    failure: FailureCode | None
    readers: list[str]
    name: str
    is_simulated: bool
    health: HealthView

    @classmethod
    def of(cls, device: Device, *, is_simulated: bool) -> Self:
        return cls(
            kind=device.kind,
            port=device.port,
            state=device.state,
            failure=device.failure,
            readers=list(device.readers),
            name=device.name,
            is_simulated=is_simulated,
            health=HealthView.model_validate(asdict(device.health)),
        )


class IdCardRequest(Body):
    """How long to wait for a card on the module; 0 takes one that lies there, or none."""

    model_config = _example(wait_s=10)

    wait_s: float = Field(default=10.0, ge=0, le=MAX_WAIT_S)


class IdCardView(Body):
    """An ID card (居民身份证) or residence permit. `valid_to` is null for 长期; sex GB/T 2261.1, nation GB/T 3304.

    The photo is what the module delivered, compressed (WLT).
    """

    model_config = _example(
        kind="resident",
        name="测试甲",
        sex="1",
        sex_text="男",
        nation="01",
        nation_text="汉",
        birth_date="1990-01-01",
        address="测试省测试市测试路1号",
        number="990101199001010012",
        issuer="测试市公安局",
        valid_from="2020-01-01",
        valid_to="2040-01-01",
        photo_wlt_base64="V0xm…",
        photo_note="WLT, compressed; its decoder is licensed to makers of ID-card modules",
    )

    kind: Literal["resident", "hong_kong_macao_taiwan"]
    name: str = Field(repr=False)
    sex: str
    sex_text: str
    nation: str
    nation_text: str
    birth_date: date = Field(repr=False)
    address: str = Field(repr=False)
    number: str = Field(repr=False)
    issuer: str
    valid_from: date
    valid_to: date | None
    photo_wlt_base64: str = Field(repr=False)
    photo_note: str


class ScanRequest(Body):
    model_config = _example(timeout_s=30)

    timeout_s: float = Field(default=30.0, gt=0, le=MAX_WAIT_S)


class ScanView(Body):
    """The code that was scanned; both null when nothing was in time."""

    model_config = _example(text="ECARD-EXAMPLE", at="2026-11-22T05:00:00Z")

    text: str | None = Field(repr=False)
    at: datetime | None
