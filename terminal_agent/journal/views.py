"""How the journal stands, as it is told: what waits for the centre, since when and why."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, JsonValue

from cardlib.failures import FailureCode, describe
from terminal_agent.journal.desk import JournalDesk
from terminal_agent.journal.forwarder import Sending
from terminal_agent.journal.store import Aside, JournalFullError, RecordJournal, Standing
from terminal_agent.schemas import Body, _example

_ASIDE: dict[str, JsonValue] = {
    "sequence": 17,
    "kind": "purchase",
    "at": "2026-01-05T01:00:00Z",
    "failure": "CONFLICT",
    "detail": "this settlement is in the books already",
}
_STANDING: dict[str, JsonValue] = {
    "id": "5b1e7a4c9d0f4c3f8a2b6d7e8f901234",
    "follows": None,
    "reason": None,
    "begun_at": "2026-01-05T01:00:00Z",
    "sequence": 120,
    "acknowledged": 117,
    "waiting_bytes": 960,
    "oldest_at": "2026-01-05T02:00:00Z",
    "kinds": {"card_use": 2, "purchase": 1},
}


class AsideView(Body):
    """A record that the centre has and cannot use."""

    model_config = _example(**_ASIDE)

    sequence: int
    kind: str
    at: datetime
    failure: str
    detail: str

    @classmethod
    def of(cls, aside: Aside) -> Self:
        return cls.model_validate({name: getattr(aside, name) for name in cls.model_fields})


class StandingView(Body):
    """`sequence` is the newest record, `acknowledged` the last that the centre has; `kinds` counts what is between.
    A journal that took the place of another names it in `follows`, and why in `reason`."""

    model_config = _example(**_STANDING)

    id: str
    follows: str | None = None
    reason: str | None = None
    begun_at: datetime
    sequence: int
    acknowledged: int
    waiting_bytes: int
    oldest_at: datetime | None = None
    kinds: dict[str, int]

    @classmethod
    def of(cls, standing: Standing, kinds: dict[str, int]) -> Self:
        facts = {name: getattr(standing, name) for name in cls.model_fields if name not in ("id", "kinds")}
        return cls.model_validate(facts | {"id": standing.journal_id, "kinds": kinds})


class JournalView(Body):
    """`state` none: nothing is kept here; sent: the centre has all; sending; waiting: the centre cannot be told, for
    `failure`, and is tried again at `next_try_at`; full: nothing new is begun, for `failure`.

    `aside` are the newest records that the centre cannot use.
    """

    model_config = _example(
        state="waiting",
        failure="SERVICE_UNREACHABLE",
        text_zh=describe(FailureCode.SERVICE_UNREACHABLE).text_zh,
        text_en=describe(FailureCode.SERVICE_UNREACHABLE).text_en,
        remedy_zh=describe(FailureCode.SERVICE_UNREACHABLE).remedy_zh,
        remedy_en=describe(FailureCode.SERVICE_UNREACHABLE).remedy_en,
        detail="ConnectError on /v1/terminals/records",
        attempts=4,
        next_try_at="2026-01-05T02:00:30Z",
        told_at="2026-01-05T01:59:58Z",
        journal=_STANDING,
        aside=[_ASIDE],
    )

    state: Literal["none", "sent", "sending", "waiting", "full"]
    failure: str | None = None
    text_zh: str = ""
    text_en: str = ""
    remedy_zh: str = ""
    remedy_en: str = ""
    detail: str = ""
    attempts: int = 0
    next_try_at: datetime | None = None
    told_at: datetime | None = None
    journal: StandingView | None = None
    aside: list[AsideView] = Field(default_factory=list)


def view_of(desk: JournalDesk) -> JournalView:
    try:
        journal = desk.journal()
        if journal is None:
            return JournalView(state="none")
        sending = desk.forwarder.state if desk.forwarder else Sending()
        return _view(journal, sending)
    except JournalFullError as error:
        return _with(JournalView(state="full"), FailureCode.JOURNAL_FULL, str(error))


def _view(journal: RecordJournal, sending: Sending) -> JournalView:
    standing = journal.standing()
    view = JournalView(
        state="sent" if not standing.waiting else "waiting" if sending.failure else "sending",
        attempts=sending.attempts,
        next_try_at=sending.next_try_at,
        told_at=sending.told_at,
        journal=StandingView.of(standing, journal.waiting_kinds()),
        aside=[AsideView.of(aside) for aside in journal.aside()],
    )
    try:
        journal.admit(is_money=True)
    except JournalFullError as error:
        return _with(view.model_copy(update={"state": "full"}), FailureCode.JOURNAL_FULL, str(error))
    return view if sending.failure is None else _with(view, sending.failure, sending.detail)


def _with(view: JournalView, failure: FailureCode, detail: str) -> JournalView:
    found = describe(failure)
    words = {name: getattr(found, name) for name in ("text_zh", "text_en", "remedy_zh", "remedy_en")}
    return view.model_copy(update=words | {"failure": failure.value, "detail": detail})
