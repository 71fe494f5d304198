"""One page for one clerk: who looks, in which language and size of type, and the answer that is drawn from a template.

@router.get("/stock")
async def stock(page: Annotated[Page, page_for(Act.STOCK_READ)]) -> Response:
    async with page.desk.unit(is_reading=True) as unit:
        rows = await StockService(unit).summary()
    return page.show("stock.html", rows=rows)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from cardlib.failures import FailureCode, describe
from cardlib.money import yuan
from issuance.clerks.access import ClerkDesk, clerk_desk
from issuance.clerks.acts import Act
from issuance.clerks.models import ClerkRow, ClerkSessionRow
from issuance.clerks.schemas import SessionView
from issuance.clerks.sessions import SignedIn
from issuance.console.forms import Form, new_key
from issuance.console.nav import entries_for
from issuance.console.refusals import Refusal, refusal_of
from issuance.console.times import china, day
from issuance.console.words import Language, words
from issuance.offices.models import OfficeRow
from issuance.services import Services
from issuance.supervision.alerts import count_raised
from onecard_ui import TYPE_COOKIE, templates

HERE = Path(__file__).parent
TEMPLATES = templates(HERE / "templates")
ROOT: Final = "/console"
LANGUAGE_COOKIE: Final = "oc_lang"
_YUAN: Final = partial(yuan, is_grouped=True)
_YEAR_S: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Look:
    """How a browser wants its pages; known before anybody has logged in."""

    request: Request
    language: Language
    type: str

    @classmethod
    def of(cls, request: Request) -> Look:
        wanted = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
        is_large = request.cookies.get(TYPE_COOKIE) == "large"
        return cls(request, "en" if wanted == "en" else "zh", "large" if is_large else "normal")

    def refusal(self, error: Exception) -> Refusal:
        """For the template; raises again what is a fault of ours."""
        return refusal_of(error, self.language)

    def draw(self, template: str, *, status: int | None = None, **context: Any) -> HTMLResponse:
        refusal: Refusal | None = context.get("refusal")
        context = self._common() | context
        code = status or (refusal.status if refusal else 200)
        response = HTMLResponse(TEMPLATES.get_template(template).render(**context), code)
        self.remember(response)
        return response

    def remember(self, response: Response) -> None:
        """For the next pages, the language that the address names."""
        if "lang" in self.request.query_params:
            response.set_cookie(LANGUAGE_COOKIE, self.language, max_age=_YEAR_S, samesite="strict", path="/")

    def go(self, path: str, *, said: str = "") -> RedirectResponse:
        """`said`: the word, `area.key`, of what has been done; the next page shows it."""
        return RedirectResponse(f"{ROOT}{path}" + (f"?{urlencode({'said': said})}" if said else ""), 303)

    def _common(self) -> dict[str, Any]:
        other = "en" if self.language == "zh" else "zh"
        return {
            "w": words(self.language),
            "lang": self.language,
            "type": self.type,
            "language_path": f"{ROOT}{self._path()}?lang={other}",
            "said": self._said(),
            "refusal": None,
            "form": Form(),
            "key": new_key(),
            "here": "",
            "term": self.term,
            "failure": self.failure,
            "fault_title": self.fault_title,
            "fault_remedy": self.fault_remedy,
            "how_of": how_of,
            "china": china,
            "day": day,
            "yuan": _YUAN,
        }

    def term(self, kind: str, code: str) -> str:
        """The word for a state or code; a code that has none stands for itself."""
        return words(self.language)["terms"].get(f"{kind}_{code}", code)

    def failure(self, code: str) -> str:
        """What a step was stopped by and what to do, in a sentence each."""
        stop = "。" if self.language == "zh" else ". "
        return f"{self.fault_title(code)}{stop}{self.fault_remedy(code)}"

    def fault_title(self, code: str) -> str:
        """What happened, in words; a code that a newer terminal has stands for itself."""
        return self._told(code, "text") or code

    def fault_remedy(self, code: str) -> str:
        return self._told(code, "remedy")

    def _told(self, code: str, part: str) -> str:
        known = describe(FailureCode(code)) if code in FailureCode.__members__ else None
        return "" if known is None else str(getattr(known, f"{part}_{'zh' if self.language == 'zh' else 'en'}"))

    def _path(self) -> str:
        return self.request.url.path.removeprefix(ROOT) or "/"

    def _said(self) -> str:
        area, _, key = self.request.query_params.get("said", "").partition(".")
        return words(self.language).get(area, {}).get(key, "") if key.startswith("said_") else ""


def how_of(session: ClerkSessionRow | SessionView) -> str:
    """The word, of the area `me`, for how somebody logged in."""
    is_card = session.acr.endswith(":card")
    return "how_card" if is_card else "how_scan" if session.method == "scan" else "how_password"


@dataclass(frozen=True, slots=True)
class Viewer:
    """The clerk, as the frame shows one. `badges`: numbers at entries of the menu. `has_scan`: the clerk can unlock by
    scan; `takes_password`: by password.
    """

    login: str
    name: str
    office_name: dict[str, str]
    region: str
    acts: frozenset[Act]
    badges: dict[str, int]
    has_scan: bool
    takes_password: bool

    def may(self, act: str) -> bool:
        return act in self.acts


@dataclass(frozen=True, slots=True)
class Page(Look):
    desk: ClerkDesk
    viewer: Viewer

    @property
    def roles(self) -> str:
        """The clerk's roles in words."""
        known = words(self.language)["me"]
        return ("、" if self.language == "zh" else ", ").join(
            known[f"role_{role}"] for role in sorted(self.desk.who.roles)
        )

    def show(self, template: str, *, status: int | None = None, **context: Any) -> HTMLResponse:
        return self.draw(template, status=status, **context)

    def _common(self) -> dict[str, Any]:
        return Look._common(self) | {
            "viewer": self.viewer,
            "csrf": self.desk.who.csrf,
            "lock_s": self.desk.services.settings.clerk_lock_min * 60,
            "nav": entries_for(self.viewer.acts),
        }


async def viewer_of(services: Services, desk: ClerkDesk) -> Viewer:
    query = select(ClerkRow, OfficeRow).join(OfficeRow, OfficeRow.id == ClerkRow.office_id)
    async with services.database.look(scope=desk.caller.scope) as session:
        clerk, office = (await session.execute(query.where(ClerkRow.id == desk.who.clerk_id))).one()
        alerts = await count_raised(session) if Act.ALERT_READ in desk.who.acts else 0
    return Viewer(
        login=clerk.login,
        name=services.sealer.unseal(clerk.sealed_name, f"clerks:{clerk.id}"),
        office_name={"zh": office.name_zh, "en": office.name_en},
        region=office.region,
        acts=desk.who.acts,
        badges={"alerts": alerts} if alerts else {},
        has_scan=clerk.scan_subject is not None and services.login_provider.is_there,
        takes_password=desk.who.takes_password,
    )


async def clerk_name(services: Services, who: SignedIn) -> str:
    query = select(ClerkRow.sealed_name).where(ClerkRow.id == who.clerk_id)
    async with services.database.look(scope=who.caller.scope) as session:
        sealed = (await session.execute(query)).scalar_one()
    return str(services.sealer.unseal(sealed, f"clerks:{who.clerk_id}"))


def page_for(act: Act) -> Any:
    """Dependency: a page for clerks who may do `act`; `page.desk.unit()` opens the unit of work."""
    desk_of = clerk_desk(act)

    async def dependency(request: Request) -> Page:
        look = Look.of(request)
        desk = await desk_of(request)
        viewer = await viewer_of(desk.services, desk)
        return Page(look.request, look.language, look.type, desk, viewer)

    return Depends(dependency)
