"""One page for one phone: who looks, in which language and size of type, and what is drawn for them."""

from __future__ import annotations

import re
import secrets
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from onecard_ui import TYPE_COOKIE, templates
from simulators.wallet.channel import UNREACHABLE, Channel, Refused
from simulators.wallet.phone import Phone
from simulators.wallet.settings import WalletSettings

Language = Literal["zh", "en"]
Words = dict[str, dict[str, str]]

HERE: Final = Path(__file__).parent
TEMPLATES: Final = templates(HERE / "templates")
PHONE_COOKIE: Final = "oc_phone"
LANGUAGE_COOKIE: Final = "oc_lang"
CHINA: Final = timezone(timedelta(hours=8))
_PHONE_ID: Final = re.compile(r"[0-9a-f]{32}")
_YEAR_S: Final = 365 * 24 * 3600


@cache
def words(language: Language) -> Words:
    """Texts by area (one file each) and key."""
    files = (HERE / "words").glob("*.toml")
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8"))[language] for path in files}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What happened and what to do."""

    title: str
    remedy: str
    code: str

    @classmethod
    def of(cls, error: Refused, language: Language) -> Refusal:
        said = words(language)["frame"]
        if error.code == UNREACHABLE or not error.problem.get("title"):
            return cls(said["unreachable"], said["unreachable_remedy"], UNREACHABLE)
        return cls(error.title(language), error.remedy(language), error.code)


@dataclass(frozen=True, slots=True)
class Page:
    request: Request
    settings: WalletSettings
    phone: Phone
    language: Language
    type: str

    @property
    def channel(self) -> Channel:
        return Channel(self.settings.http, self.settings.channel, self.phone, self.settings.clock)

    @property
    def w(self) -> Words:
        return words(self.language)

    def draw(self, template: str, *, refusal: Refused | None = None, **context: Any) -> HTMLResponse:
        """The template with `context`; of a refusal its words and, as status, 409 (which any page can show)."""
        other = "en" if self.language == "zh" else "zh"
        common: dict[str, Any] = {
            "w": self.w,
            "lang": self.language,
            "type": self.type,
            "other_language": f"{self.request.url.path}?{urlencode(self._query() | {'lang': other})}",
            "refusal": Refusal.of(refusal, self.language) if refusal else None,
            "said": self._said(),
            "key": secrets.token_urlsafe(16),
            "link": self.phone.link,
            "term": self.term,
            "moment": moment,
            "here": "",
        }
        content = TEMPLATES.get_template(template).render(**common | context)
        return HTMLResponse(content, 409 if refusal else 200)

    def go(self, path: str, *, said: str = "") -> Response:
        """To another page; `said`, `area.key`, is the word of what has been done."""
        return RedirectResponse(path + (f"?{urlencode({'said': said})}" if said else ""), 303)

    def term(self, kind: str, code: object) -> str:
        """The word for a state or code; one that has none stands for itself."""
        return self.w["terms"].get(f"{kind}_{code}", str(code))

    def _query(self) -> dict[str, str]:
        return {name: value for name, value in self.request.query_params.items() if name not in ("lang", "said")}

    def _said(self) -> str:
        area, _, key = self.request.query_params.get("said", "").partition(".")
        return self.w.get(area, {}).get(key, "") if key.startswith("said_") else ""


def moment(text: str | None) -> str:
    """A time of the centre as people here write it."""
    return datetime.fromisoformat(text).astimezone(CHINA).strftime("%Y-%m-%d %H:%M") if text else ""


def phone_id(request: Request) -> str:
    """Each browser is a phone; what it sends that is no number of one is not taken."""
    given = request.cookies.get(PHONE_COOKIE, "")
    return given if _PHONE_ID.fullmatch(given) else ""


def phone_path(request: Request) -> Path:
    settings: WalletSettings = request.app.state.settings
    return settings.folder / f"{request.state.phone}.json"


def page_of(request: Request) -> Page:
    settings: WalletSettings = request.app.state.settings
    wanted = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    is_large = request.cookies.get(TYPE_COOKIE) == "large"
    return Page(
        request,
        settings,
        Phone.open(phone_path(request)),
        "en" if wanted == "en" else "zh",
        "large" if is_large else "normal",
    )


def remember(request: Request, response: Response) -> None:
    """Whose phone this is, and the language chosen, in the browser's cookies."""
    if not phone_id(request):
        response.set_cookie(PHONE_COOKIE, request.state.phone, max_age=_YEAR_S, httponly=True, samesite="strict")
    if (chosen := request.query_params.get("lang")) in ("zh", "en"):
        response.set_cookie(LANGUAGE_COOKIE, chosen, max_age=_YEAR_S, samesite="strict")


PageOf = Annotated[Page, Depends(page_of)]
