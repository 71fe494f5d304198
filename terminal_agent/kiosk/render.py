"""The page of a screen: its template, words, and what stands on every page."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from jinja2 import Environment, Template, TemplateNotFound

from cardlib.failures import Failure, FailureCode, describe
from cardlib.transit_code import CHINA
from terminal_agent.kiosk.desk import KioskDesk
from terminal_agent.kiosk.screens import Screen, in_words
from terminal_agent.kiosk.visit import GRACE_S
from terminal_agent.kiosk.words import SAY, ScreenWords, spoken, words

USUAL: Final = "plain"
BEEPS: Final = {"ok": 1, "info": 0, "warn": 2, "bad": 3}


class Pages:
    """`speaks`: this computer has a voice of its own."""

    def __init__(self, desk: KioskDesk, environment: Environment, *, speaks: bool) -> None:
        self._desk = desk
        wanted = desk.settings.kiosk_voice
        self._voice = wanted if speaks or wanted == "off" else {"auto": "browser", "espeak": "off"}.get(wanted, wanted)
        environment.filters["in_words"] = in_words
        self._environment = environment

    def present(self) -> str:
        """What stands there now."""
        visit = self._desk.visit
        if visit is not None and visit.is_warned:
            left = {"seconds": round(visit.stretched(GRACE_S))}
            return self.of(Screen(name="still_there", acts=(), tone="warn", values=left), number=visit.number)
        return self.of(self._desk.screen, number=self._desk.number)

    def of(self, screen: Screen, *, number: int, **extra: Any) -> str:
        """`extra` stands in the template beside what every page has."""
        desk, visit, look = self._desk, self._desk.visit, self._desk.look
        table = ScreenWords(look.lang, screen.name, screen.values)
        is_warned = screen.name == "still_there"
        shown: dict[str, Any] = {
            "s": screen,
            "t": table,
            "lang": look.lang,
            "look": look,
            "number": number,
            "revision": desk.revision,
            "failure": None if screen.refusal is None else self.failure(screen.refusal),
            "failure_words": self.failure,
            "office_words": self.office_failure,
            "wrong": visit.wrong_fields if visit else (),
            "entered": visit.entered if visit else {},
            "may_leave": visit is not None and visit.may_leave and not is_warned,
            "is_visit": visit is not None,
            "receipt": visit.receipt if visit else None,
            "tiles": desk.tiles() if screen.name == "home" else (),
            "lock": desk.agent.lock.lock,
            "is_out": desk.is_closed_by_staff,
            "place": desk.settings.kiosk_place,
            "hours": desk.settings.kiosk_hours,
            "elsewhere": desk.settings.kiosk_elsewhere,
            "prints": desk.prints_receipts,
            "help": desk.help_since is not None,
            "now": datetime.now(CHINA),
            "voice": self._voice,
            "sentence": self._sentence(screen),
            "beeps": 0 if screen.tone in ("ok", "info") else BEEPS.get(screen.tone, 0),
            "is_simulated": desk.settings.simulated,
        }
        return self._template(screen).render(shown | extra)

    def failure(self, code: FailureCode) -> dict[str, str]:
        """Cause, remedy and who helps, in the person's language: in the kiosk's own words where it has some."""
        lang = self._desk.look.lang
        own = words()[lang].get(f"failure_{code}")
        return {**(own or self.office_failure(code)), "code": code.value}

    def office_failure(self, code: FailureCode) -> dict[str, str]:
        """As members of staff are told."""
        found: Failure = describe(code)
        return {part: getattr(found, f"{part}_{self._desk.look.lang}") for part in ("text", "cause", "remedy")}

    def _sentence(self, screen: Screen) -> dict[str, Any]:
        """What is said when the screen comes, and its number among all that may be said."""
        lang = self._desk.look.lang
        text = words()[lang].get(screen.name, {}).get(SAY, "")
        return {"text": text, "index": spoken(lang).index(text) if text else -1}

    def _template(self, screen: Screen) -> Template:
        if screen.layout:
            return self._environment.get_template(f"{screen.layout}.html")
        try:
            return self._environment.get_template(f"{screen.name}.html")
        except TemplateNotFound:
            return self._environment.get_template(f"{USUAL}.html")
