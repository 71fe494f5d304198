"""Alert rules as data (`alerts.toml`)."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from issuance.supervision.schemas import Severity

_SHIPPED = Path(__file__).with_name("alerts.toml")


class Measure(StrEnum):
    """What can be measured, of every region but for `blanks`: stuck applications, hours the oldest is overdue, hours
    the oldest waits for its identity check; blanks left at every open outlet; card numbers left; per cent spoiled and
    hours that nine tenths took, both of 7 days; days the oldest batch waits for its return; found cards kept too long;
    messages given up; production jobs that stopped; minutes since any part of the publication last went well; days
    until a signature of it ends that the centre cannot renew; terminals not heard of that were not switched off;
    registration codes of the last day that a second key tried. Of every transit terminal: days of the last 7 whose
    takings differ from what it says, unexplained. Of every kiosk: cards in its hopper, cards its ribbon prints, whether
    paper is short, faults of what makes cards, minutes that somebody waits for staff.
    """

    STUCK = "stuck"
    STUCK_HOURS = "stuck_hours"
    REVIEW_HOURS = "review_hours"
    BLANKS = "blanks"
    NUMBERS = "numbers"
    SPOILED_PERCENT = "spoiled_percent"
    P90_HOURS = "p90_hours"
    BATCH_DAYS = "batch_days"
    FOUND_OVERDUE = "found_overdue"
    OUTBOX_DEAD = "outbox_dead"
    JOBS_STUCK = "jobs_stuck"
    PUBLICATION_MINUTES = "publication_minutes"
    PUBLICATION_DAYS = "publication_days"
    TERMINALS_SILENT = "terminals_silent"
    TERMINAL_CODES_AGAIN = "terminal_codes_again"
    TAKINGS_UNEXPLAINED = "takings_unexplained"
    KIOSK_CARDS = "kiosk_cards"
    KIOSK_RIBBON = "kiosk_ribbon"
    KIOSK_PAPER = "kiosk_paper"
    KIOSK_FAULTS = "kiosk_faults"
    KIOSK_HELP_MINUTES = "kiosk_help_minutes"


class AlertRulesError(Exception):
    """The file of alert rules is not one."""

    failure: ClassVar[str] = "RULES_INVALID"


class AlertRule(BaseModel):
    """`regions`: prefixes of the divisions it holds in, all when empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")
    measure: Measure
    above: float | None = None
    below: float | None = None
    severity: Severity
    regions: tuple[str, ...] = ()
    text_zh: str
    text_en: str
    remedy_zh: str
    remedy_en: str

    @model_validator(mode="after")
    def _has_one_bound(self) -> AlertRule:
        if (self.above is None) == (self.below is None):
            raise ValueError("either above or below")
        for text in (self.text_zh, self.text_en):
            try:
                text.format(value="1")
            except (KeyError, IndexError, ValueError):
                raise ValueError("words may hold {value} and nothing else in braces") from None
        return self

    @property
    def bound(self) -> float:
        return self.below if self.above is None else self.above  # type: ignore[return-value]  # one of them is given

    def is_broken_by(self, value: float) -> bool:
        return value < self.bound if self.above is None else value > self.bound

    def holds_in(self, region: str | None) -> bool:
        return not self.regions or (region is not None and region.startswith(self.regions))

    def worse(self, one: float, other: float) -> float:
        return min(one, other) if self.above is None else max(one, other)

    def words(self, value: float) -> tuple[str, str]:
        shown = f"{value:.1f}".removesuffix(".0")
        return self.text_zh.format(value=shown), self.text_en.format(value=shown)


class AlertRules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: tuple[AlertRule, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> AlertRules:
        if len({rule.name for rule in self.rule}) != len(self.rule):
            raise ValueError("a rule stands twice")
        return self

    def named(self, name: str) -> AlertRule | None:
        return next((rule for rule in self.rule if rule.name == name), None)


@cache
def alert_rules(path: Path | None = None) -> AlertRules:
    """Raises AlertRulesError."""
    file = path or _SHIPPED
    try:
        return AlertRules.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise AlertRulesError(f"{file.name}: {error}") from error
