"""Acts with consequences: each on a page of its own that names the effect, most of them with the password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from simulators.wallet.channel import Refused
from simulators.wallet.page import Page, PageOf

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Act:
    """`path` below the electronic card's address; `purpose` of the password, "" where none is asked; `back`: the page
    it belongs to. Its words are `acts.<name>_title`, `_text`, `_button` and `said_<name>`."""

    path: str
    back: str
    purpose: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    is_grave: bool = False


ACTS: Final[dict[str, Act]] = {
    "unlink": Act("/links/{id}/unlink", "/card", "unlink", is_grave=True),
    "loss_temporary": Act("/loss", "/card", "loss", {"kind": "temporary"}, is_grave=True),
    "loss_formal": Act("/loss", "/card", "loss", {"kind": "formal"}, is_grave=True),
    "release": Act("/loss/release", "/card", "loss"),
    "authorise": Act("/authorisation", "/card", "authorise"),
    "level": Act("/level", "/card", "level"),
    "revoke": Act("/consents/{id}/revoke", "/consents", is_grave=True),
    "refuse": Act("/consent-requests/{id}/refuse", "/consents", is_grave=True),
    "family_confirm": Act("/family-requests/{id}/confirm", "/family", "family"),
    "family_refuse": Act("/family-requests/{id}/refuse", "/family", is_grave=True),
    "family_end": Act("/family/{id}/end", "/family", is_grave=True),
}
HERE: Final = {"/card": "card", "/consents": "records", "/family": "code"}


@router.get("/do/{name}")
@router.get("/do/{name}/{subject}")
async def confirm(page: PageOf, name: str, subject: str = "") -> Response:
    return _page(page, name, subject)


@router.post("/do/{name}")
@router.post("/do/{name}/{subject}")
async def act(
    page: PageOf,
    name: str,
    key: Annotated[str, Form(max_length=64)],
    subject: str = "",
    password: Annotated[str, Form(max_length=16)] = "",
) -> Response:
    chosen = _act(name)
    try:
        body = dict(chosen.body)
        if chosen.purpose:
            body["busi_seq"] = await page.channel.password_given(password, chosen.purpose)
        await page.channel.post(chosen.path.format(id=subject), body, key)
    except Refused as refusal:
        return _page(page, name, subject, refusal)
    if name == "unlink" and subject == page.channel.link.sign_no:
        page.phone.forget()
        return page.go("/welcome", said="acts.said_unlink_here")
    return page.go(chosen.back, said=f"acts.said_{name}")


def _act(name: str) -> Act:
    if name not in ACTS:
        raise HTTPException(404)
    return ACTS[name]


def _page(page: Page, name: str, subject: str, refusal: Refused | None = None) -> Response:
    chosen = _act(name)
    is_this_phone = subject == page.channel.link.sign_no
    return page.draw(
        "act.html",
        refusal=refusal,
        name=name,
        act=chosen,
        subject=subject,
        is_this_phone=is_this_phone,
        here=HERE[chosen.back],
    )
