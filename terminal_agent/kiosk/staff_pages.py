"""`/kiosk/staff`: the PIN, then what a member of staff needs to know and can do at the machine."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from terminal_agent.kiosk.browsers import Browsers, form_of
from terminal_agent.kiosk.desk import KioskDesk
from terminal_agent.kiosk.render import Pages
from terminal_agent.kiosk.screens import Field, Screen
from terminal_agent.kiosk.staff import PIN_DIGITS, StaffRefusedError

PIN = Field("pin", f"[0-9]{{{PIN_DIGITS[0]},{PIN_DIGITS[1]}}}", PIN_DIGITS[1])


def routes(desk: KioskDesk, pages: Pages, browsers: Browsers) -> APIRouter:
    router = APIRouter(prefix="/kiosk/staff", include_in_schema=False)

    def log_in(why: str, status: HTTPStatus) -> Response:
        screen = Screen(name="staff_log_in", acts=("open",), fields=(PIN,), facts={"why": why})
        return HTMLResponse(pages.of(screen, number=0), status)

    @router.get("")
    async def show(request: Request) -> Response:
        browsers.demand(request)
        if not desk.staff.is_open:
            return log_in("" if desk.settings.kiosk_staff_pin else "none", HTTPStatus.OK)
        screen = Screen(name="staff", acts=())
        return HTMLResponse(pages.of(screen, number=0, **facts(desk)))

    @router.post("/open")
    async def open_(request: Request) -> Response:
        browsers.demand(request)
        pin = (await form_of(request)).get("pin", "")
        try:
            await desk.staff.open(pin[: PIN.most])
        except StaffRefusedError as refused:
            return log_in(refused.why, HTTPStatus.FORBIDDEN)
        return RedirectResponse("/kiosk/staff", HTTPStatus.SEE_OTHER)

    @router.post("/act")
    async def act(request: Request) -> Response:
        browsers.demand(request)
        await desk.staff.do((await form_of(request)).get("act", ""))
        return RedirectResponse("/kiosk/staff" if desk.staff.is_open else "/kiosk", HTTPStatus.SEE_OTHER)

    return router


def facts(desk: KioskDesk) -> dict[str, object]:
    """What the page shows: the machine, never who was at it."""
    case, stock = desk.maker.case, desk.maker.machine.stock
    return {
        "devices": desk.staff.devices(),
        "slot": desk.slot(),
        "encoder": desk.encoder(),
        "psam": desk.agent.registry.psam_reader(),
        "stock": stock,
        "alerts": desk.alerts(),
        "left_out": desk.offers.left_out(),
        "missing": [(tile.name, tile.missing) for tile in desk.tiles() if tile.missing],
        "case": case,
        "progress": desk.maker.progress,
        "is_working": desk.maker.is_working,
        "has_visit": desk.visit is not None,
        "help_s": desk.help_wanted_s,
        "staff": desk.staff,
        "is_reachable": desk.centre.is_reachable,
        "version": desk.agent.version,
    }
