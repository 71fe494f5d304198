"""The photo on a card: the one on file, or a new one in front of the machine, with every reason why one will not do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from cardlib.failures import FailureCode
from cardlib.transit_code import CHINA
from terminal_agent.centre import CentreRefusedError
from terminal_agent.kiosk.screens import Need, Screen
from terminal_agent.kiosk.words import words

if TYPE_CHECKING:
    from terminal_agent.camera import Picture
    from terminal_agent.kiosk.views import HolderView
    from terminal_agent.kiosk.visit import Visit

COUNT: Final = 3
TICK_S: Final = 1.0
PICTURE: Final = "portrait"
JPEG: Final = "image/jpeg"
MOST_REASONS: Final = 3
OTHER: Final = "other"


async def choose_photo(
    visit: Visit, holder: HolderView, region: str, *, is_required: bool, steps: tuple[str, ...], step: int
) -> str | None:
    """Id of the photo that the card will bear, None where it bears none. Raises VisitOver, CameraLostError,
    CentreRefusedError, CentreUnreachableError, DeviceNotConfiguredError."""
    on_file = holder.photo_id
    has_camera = visit.desk.can(Need.CAMERA)
    acts = (*(("on_file",) if on_file else ()), *(("camera",) if has_camera else ()))
    if not is_required:
        acts = (*acts, "without")
    if len(acts) > 1:
        icons = {"on_file": "file", "camera": "eye", "without": "card"}
        screen = Screen(name="photo_choose", layout="choice", acts=acts, icons=icons, steps=steps, step=step)
        chosen = (await visit.ask(screen)).act
    else:
        chosen = acts[0] if acts else "camera"
    if chosen == "on_file":
        return on_file
    return None if chosen == "without" else await _taken(visit, holder.visit, region, steps, step)


async def _taken(visit: Visit, seen: str, region: str, steps: tuple[str, ...], step: int) -> str:
    where: dict[str, Any] = {"steps": steps, "step": step}
    while True:
        await _preview(visit)
        await visit.ask(Screen(name="photo_frame", acts=("shoot",), icons={"shoot": "eye"}, **where))
        await _count_down(visit, where)
        picture = await visit.desk.agent.counter.take_picture()
        visit.pictures[PICTURE] = (picture.jpeg, JPEG)
        checking = _checked(visit, seen, picture, region)
        try:
            photo = await visit.wait(Screen(name="photo_checking", layout="wait", acts=(), **where), checking)
        except CentreRefusedError as error:
            if error.failure != FailureCode.PHOTO_REJECTED:
                raise
            facts = {"reasons": _in_own_words(field.reason for field in error.fields)}
            await visit.ask(Screen(name="photo_wrong", acts=("retake",), facts=facts, tone="warn", **where))
            continue
        answer = await visit.ask(Screen(name="photo_good", acts=("use", "retake"), icons={"use": "check"}, **where))
        if answer.act == "use":
            if photo["needs_confirmation"]:
                path = f"/v1/photos/{photo['id']}/confirm"
                await visit.desk.centre.post(path, {"is_face_good": True}, seen=seen)
            return str(photo["id"])


def _in_own_words(reasons: Iterable[str]) -> list[str]:
    """The first of them, as keys of the table `photo_reasons`: the centre's words are for those who have a ruler."""
    known = words()["zh"]["photo_reasons"]
    return list(dict.fromkeys(reason if reason in known else OTHER for reason in reasons))[:MOST_REASONS] or [OTHER]


async def _preview(visit: Visit) -> None:
    """What the camera sees now, for the frame on the screen."""
    visit.pictures[PICTURE] = (await visit.desk.agent.counter.preview(), JPEG)


async def _count_down(visit: Visit, where: dict[str, Any]) -> None:
    """One screen whose number falls: its sentence is said once."""
    screens = [
        Screen(name="photo_count", layout="photo_frame", acts=(), facts={"left": left}, **where)
        for left in range(COUNT, 0, -1)
    ]

    async def counted() -> None:
        for screen in screens:
            visit.show(screen)
            await asyncio.sleep(TICK_S)

    await visit.wait(screens[0], counted())


async def _checked(visit: Visit, seen: str, picture: Picture, region: str) -> dict[str, Any]:
    """Kept by the centre. Raises CentreRefusedError with its reasons."""
    query = urlencode({"region": region, "taken_on": f"{datetime.now(CHINA):%Y-%m-%d}"})
    return await visit.desk.centre.post(f"/v1/photos?{query}", picture.jpeg, content_type=JPEG, seen=seen)
