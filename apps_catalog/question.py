"""One question to the catalog as it travels, and its answer: the same JSON from service, agent, wallet and command."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from apps_catalog.catalog import Catalog
from apps_catalog.eligibility import Holder, Outcome
from apps_catalog.model import Carrier
from apps_catalog.reasons import Ground
from apps_catalog.rule import CardState, Category, Opened

AreaCode = Annotated[str, Field(pattern=r"^[0-9]{6}$")]

_NAME: Final = {"zh": "北京电子社保卡借书", "en": "Borrowing with the electronic card in Beijing"}
_REASON: Final = {"ground": "place", "met": True, "text": {"zh": "在北京市可用", "en": "Offered in Beijing"}}
_ANSWER: Final = {
    "id": "110000-culture-ecard-library",
    "name": _NAME,
    "domain": "culture",
    "outcome": "yes",
    "reasons": [_REASON],
}


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class CatalogQuestion(BaseModel):
    """What can I do with my card there? `from` is where the card was issued, `in` where it is to be used.

    What is left out is not known and makes an answer `depends`; an empty list says none of them. `on` defaults to today
    in China; `offline`: the accepting side has no network.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True) | _example(
        **{"from": "130000", "in": "110000", "on": "2026-12-01", "carrier": "qr"}
    )

    card_from: AreaCode = Field(alias="from")
    region: AreaCode = Field(alias="in")
    on: date | None = None
    carrier: Carrier | None = None
    offline: bool = False
    age: int | None = Field(default=None, ge=0, le=150)
    state: CardState | None = None
    generation: Literal["1.0", "2.0", "3.0"] | None = None
    ecard_level: int | None = Field(default=None, ge=0, le=2)
    categories: frozenset[Category] | None = None
    opened: frozenset[Opened] | None = None

    def answer(self, catalog: Catalog) -> dict[str, Any]:
        """The form of `CatalogAnswers`, every item of the catalog. Raises QueryError, RegionUnknownError."""
        holder = Holder(
            self.card_from,
            age=self.age,
            card_state=self.state,
            generation=self.generation,
            ecard_level=self.ecard_level,
            categories=self.categories,
            opened=self.opened,
        )
        answers = catalog.what(holder, self.region, on=self.on, carrier=self.carrier, offline=self.offline)
        return {
            "version": catalog.version,
            "notice": catalog.notice.to_json(),
            "answers": [answer.to_json() for answer in answers],
        }


class Words(BaseModel):
    model_config = _example(**_NAME)

    zh: str
    en: str


class ReasonView(BaseModel):
    """`met` null: not known, or for a person to judge."""

    model_config = _example(**_REASON)

    ground: Ground
    met: bool | None
    text: Words


class AnswerView(BaseModel):
    model_config = _example(**_ANSWER)

    id: str
    name: Words
    domain: str
    outcome: Outcome
    reasons: list[ReasonView]


class CatalogAnswers(BaseModel):
    """Describes what `CatalogQuestion.answer` returns; every screen and print shows `notice`."""

    model_config = _example(
        version="2026.47.3",
        notice={"zh": "办事条件以当地规定为准。", "en": "Local rules in force decide."},
        answers=[_ANSWER],
    )

    version: str
    notice: Words
    answers: list[AnswerView]
