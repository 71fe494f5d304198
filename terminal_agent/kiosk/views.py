"""What the centre tells a kiosk of a person: everything masked there already. Unknown fields are let pass."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from terminal_agent.kiosk.screens import Said
from terminal_agent.kiosk.words import Lang


class _View(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    def words(self, lang: Lang, key: str = "text") -> str:
        """`<key>_zh` or `<key>_en`; empty where the centre says nothing."""
        return str(getattr(self, f"{key}_{lang}", "") or "")

    def said(self, key: str = "text") -> Said:
        """Of a row, in the language of the moment."""
        return Said(self.words("zh", key), self.words("en", key))


class ActView(_View):
    """`needs`: evidence that is still missing. The text says what the act does, or why it is not possible."""

    act: str
    possible: bool = False
    needs: tuple[str, ...] = ()
    text_zh: str = ""
    text_en: str = ""
    fee_fen: int | None = None


class AccountView(_View):
    state: str = ""
    text_zh: str = ""
    text_en: str = ""


class EcardView(_View):
    is_on_phone: bool = False
    usable: bool = False
    channels: tuple[str, ...] = ()
    text_zh: str = ""
    text_en: str = ""


class CardView(_View):
    """`card` is the handle that acts take; `number` is masked. `plain` is the state in a citizen's words."""

    card: str = Field(repr=False)
    application_id: str = ""
    number: str
    is_presented: bool = False
    region: str = ""
    state: str
    state_zh: str = ""
    state_en: str = ""
    plain_zh: str = ""
    plain_en: str = ""
    temporary_until: datetime | None = None
    expiry_date: str = ""
    account: AccountView | None = None
    ecard: EcardView | None = None
    rewrite_pending: bool = False
    acts: tuple[ActView, ...] = ()

    def act(self, name: str) -> ActView:
        """One the centre says nothing of is not possible."""
        return next((act for act in self.acts if act.act == name), ActView(act=name))

    def may(self, name: str) -> bool:
        """Possible now, or with more evidence."""
        act = self.act(name)
        return act.possible or bool(act.needs)


class StageView(_View):
    """`day` (YYYY-MM-DD) of what is done."""

    stage: str
    status: str
    text_zh: str = ""
    text_en: str = ""
    day: str | None = None


class ProgressView(_View):
    """How far a card is; `next` says what the person does, `pick_up` where the finished card lies."""

    receipt_number: str | None = None
    text_zh: str = ""
    text_en: str = ""
    next_zh: str = ""
    next_en: str = ""
    pick_up: str | None = None
    stages: tuple[StageView, ...] = ()


class ApplicationView(ProgressView):
    """`can_continue`: a kiosk may make its card now; `is_mine`: this one has begun it."""

    id: str | None = None
    kind: str = ""
    state: str = ""
    can_continue: bool = False
    is_mine: bool = False
    fee_fen: int = 0
    is_paid: bool = True


class ApplyView(_View):
    """Whether a first card may be applied for; the text says why not."""

    possible: bool = False
    needs: tuple[str, ...] = ()
    text_zh: str = ""
    text_en: str = ""
    fee_fen: int = 0


class PersonView(_View):
    name: str = ""
    social_security_number: str = ""


class HolderView(_View):
    """`visit` stands for this person and evidence at the centre, on this terminal, for some minutes."""

    visit: str = Field(repr=False)
    evidence: tuple[str, ...] = ()
    is_known: bool = False
    holder: PersonView | None = None
    cards: tuple[CardView, ...] = ()
    application: ApplicationView | None = None
    apply: ApplyView = ApplyView()
    photo_id: str | None = None
    photo_required: bool = True
    guardian_needed: bool = False
    sign_up_url: str | None = None

    def presented(self) -> CardView | None:
        return next((card for card in self.cards if card.is_presented), None)

    def with_act(self, *acts: str) -> tuple[CardView, ...]:
        """Cards on which one of the acts is possible, now or with more evidence."""
        return tuple(card for card in self.cards if any(card.may(act) for act in acts))


class RecordItem(_View):
    at: datetime
    text_zh: str = ""
    text_en: str = ""
    where: str = ""
    outcome: str = ""
    count: int = 1
    """So often that day."""


class RecordPage(_View):
    items: tuple[RecordItem, ...] = ()
    next: int | None = None


class CodeView(_View):
    code: str = Field(repr=False)
    ttl_s: int = 60


class LogInView(_View):
    """`text` is the content of the code on the screen, `number` what the phone must show too."""

    log_in: str = Field(repr=False)
    text: str = Field(repr=False)
    number: int
    ttl_s: int = 60


class LogInStage(_View):
    stage: str
    holder: HolderView | None = None
