"""New cards at the screen: what is asked, what is sent, each refusal once, and troubles in the middle of making."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

from apdu.serial.idcard import CardKind, IdCard, IdCardText
from cardlib.wire import VISIT_HEADER
from simulators.card_machine import InProcessLink, SimCardMachine
from simulators.portrait import Portrait
from terminal_agent.centre import CentreRefusedError, RefusedField
from terminal_agent.kiosk import photos as photos_module
from terminal_agent.kiosk.flows import making as making_module
from terminal_agent.kiosk.flows.making import grouped
from tests.terminal_agent.kiosk.making_stand import ENCODER, PATIENCE_S, OneApplication, blank, chip, hurry, settled
from tests.terminal_agent.kiosk.stand import Guest, visiting
from tests.terminal_agent.stand import APPLICATION, PRINT_JOB

RECEIPT = "2600000000000175"
PHOTO = "f0" * 16
HOLDERS = "/v1/self-service/holders"
APPLICATIONS = "/v1/applications"
NAME, NUMBER = "测试甲", "990100199001010012"
NOBODY: dict[str, Any] = {"visit": "v", "apply": {"possible": True, "fee_fen": 0}, "photo_id": None}
CARD: dict[str, Any] = {"card": "0f" * 16, "number": "A0000****", "state": "1", "region": "110000"}


class Town(OneApplication):
    """Beside the one application, which is paid when `is_paid`, `replies` by path: a body or what gives one."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: dict[str, Any] = {
            HOLDERS: NOBODY,
            "/v1/self-service": {"region": "110000"},
            APPLICATIONS: {"id": APPLICATION, "receipt_number": RECEIPT, "state": "checked"},
        }
        self.calls: list[tuple[str, Any]] = []
        self.is_paid = True

    async def exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        if path.startswith(f"{APPLICATIONS}/"):
            status = "done" if self.is_paid else "started"
            found = await super().exchange(method, path, content, headers)
            return found | {"steps": [{"step": "payment", "status": status}]}
        path = path.partition("?")[0]
        body = json.loads(content) if content and headers["Content-Type"] == "application/json" else content
        self.calls.append((path, body))
        if path in (APPLICATIONS, "/v1/photos") or path.endswith("/confirm"):
            assert headers[VISIT_HEADER] == NOBODY["visit"]
        reply = self.replies[path]
        found = reply(body) if callable(reply) else reply
        if isinstance(found, Exception):
            raise found
        return dict(found)


def id_card(kind: CardKind = CardKind.RESIDENT) -> IdCard:
    born, since = date(1990, 1, 1), date(2020, 1, 1)
    return IdCard(IdCardText(NAME, "1", "01", born, "示例路1号", NUMBER, "示例局", since, None, kind), b"")


@dataclass
class Hall:
    guest: Guest
    machine: SimCardMachine
    town: Town

    async def reaches(self, screen: str) -> str:
        return await self.guest.reaches(screen, PATIENCE_S)

    async def go(self, screen: str, act: str = "ok", **fields: str) -> None:
        """The screen is reached, and the button pressed on it."""
        await self.reaches(screen)
        await self.guest.act(act, **fields)

    async def enter(self, flow: str) -> None:
        await settled(lambda: f"start-{flow}" in self.guest.desk.screen.acts)
        await self.guest.act(f"start-{flow}")
        await self.go("id_card_read", "taken")

    async def apply(self) -> None:
        """Up to the photo."""
        await self.enter("apply")
        await self.go("apply_phone", phone="13900000000")
        await self.go("apply_phone_check", "right")
        await self.go("apply_ecard", "with")
        await self.go("apply_confirm")

    async def shoot(self) -> None:
        await self.go("photo_frame", "shoot")

    async def take(self) -> object:
        await self.reaches("take_new_card")
        return self.machine.take()


@pytest.fixture
async def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hall]:
    async with hall_with(tmp_path, monkeypatch) as found:
        yield found


@asynccontextmanager
async def hall_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: IdCard | None = None) -> AsyncIterator[Hall]:
    hurry(monkeypatch)
    monkeypatch.setattr(photos_module, "TICK_S", 0.001)
    monkeypatch.setattr(making_module, "BLINK_S", 0.05)
    monkeypatch.setattr(making_module, "FEE_LOOK_S", 0.01)
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(Portrait().jpeg())
    town, cards = Town(), [blank(serial) for serial in range(1, 4)]
    links: list[InProcessLink] = []

    def plug(found: Any) -> InProcessLink:
        links.append(InProcessLink(guest.readers, ENCODER, found))
        return links[-1]

    with SimCardMachine(tmp_path / "printed", plug, cards) as machine:
        changes: dict[str, Any] = {
            "state_dir": tmp_path / "state",
            "card_printer": machine.address,
            "encoder_reader": "Encoder",
            "camera": f"file:{folder}",
            "id_card_module": "/nowhere",
            "network_deadline_s": 0.2,
        }
        async with visiting(centre=cast(Any, town), **changes) as guest:

            async def read(wait_s: float) -> IdCard:
                return card or id_card()

            monkeypatch.setattr(guest.agent.devices, "read_id_card", read)
            monkeypatch.setattr(guest.desk.offers, "_lost", lambda kind: None)
            guest.readers.add_reader(ENCODER)
            yield Hall(guest, machine, town)


async def test_a_first_card_from_the_id_card_to_the_hand(hall: Hall) -> None:
    bad = RefusedField(reason="photo_eyes", text_zh="没有找到双眼", text_en="shows", remedy_zh="睁眼", remedy_en="Open")
    photos = iter([CentreRefusedError("PHOTO_REJECTED", "", (bad,)), {"id": PHOTO, "needs_confirmation": False}])
    hall.town.replies["/v1/photos"] = lambda _: next(photos)
    await hall.apply()
    await hall.shoot()
    page = await hall.reaches("photo_wrong")
    assert "没有看清两只眼睛" in page
    assert "摘下反光的眼镜" in page
    await hall.guest.act("retake")
    await hall.shoot()
    await hall.go("photo_good", "use")
    assert (await hall.take()).atr == blank(1).atr  # type: ignore[attr-defined]
    page = await hall.reaches("apply_done")
    assert grouped(RECEIPT) in page
    assert all(secret not in page for secret in (NUMBER, NAME))
    (order,) = [body for path, body in hall.town.calls if path == APPLICATIONS]
    assert order["person"] == {
        "social_security_number": NUMBER,
        "name": NAME,
        "sex": "1",
        "ethnic_group": "01",
        "birthplace": "990100",
        "birth_date": "19900101",
        "telephone": "13900000000",
    }
    assert (order["photo_id"], order["with_ecard"], order["channel"]) == (PHOTO, True, "kiosk")
    assert hall.machine.printed == [PRINT_JOB]
    await hall.guest.act("finish")
    assert hall.guest.desk.maker.case is None


async def test_a_wrong_number_is_said_and_changed(hall: Hall) -> None:
    hall.town.replies[HOLDERS] = NOBODY | {"photo_id": PHOTO}
    await hall.enter("apply")
    await hall.go("apply_phone", phone="23900000000")
    assert "11 位" in await hall.reaches("apply_phone")
    await hall.guest.act("ok", phone="13900000000")
    await hall.go("apply_phone_check", "change")
    await hall.go("apply_phone", phone="13900000001")
    await hall.go("apply_phone_check", "right")
    await hall.go("apply_ecard", "without")
    assert "139****0001" in await hall.reaches("apply_confirm")
    await hall.guest.act("change-ecard")
    await hall.go("apply_ecard", "with")
    await hall.go("apply_confirm", "wrong")
    await hall.go("apply_wrong_data", "understood")
    await hall.reaches("home")


async def test_who_cannot_have_a_first_card_or_another_one_is_told_why(hall: Hall) -> None:
    dead = {"possible": False, "text_zh": "已经去世"}
    for flow, screen, holder in (
        ("apply", "apply_minor", {"guardian_needed": True}),
        ("apply", "apply_not", {"apply": dead}),
        ("apply", "apply_has_card", {"apply": {"possible": False}, "cards": [CARD]}),
        ("apply", "apply_open", {"application": {"id": APPLICATION, "text_zh": "正在审核"}}),
        ("replace", "replace_no_card", {}),
        ("replace", "replace_not_possible", {"cards": [CARD]}),
    ):
        hall.town.replies[HOLDERS] = NOBODY | holder
        await hall.enter(flow)
        await hall.go(screen, "understood")
        await hall.reaches("home")


async def test_other_documents_go_to_a_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hall_with(tmp_path, monkeypatch, id_card(CardKind.HONG_KONG_MACAO_TAIWAN)) as hall:
        await settled(lambda: "start-apply" in hall.guest.desk.screen.acts)
        await hall.guest.act("start-apply")
        await hall.go("permit_read", "taken")
        await hall.reaches("apply_permit")


async def test_an_open_application_is_gone_on_with_once_its_fee_is_paid(hall: Hall) -> None:
    hall.town.replies[HOLDERS] = NOBODY | {
        "application": {
            "id": APPLICATION,
            "receipt_number": RECEIPT,
            "can_continue": True,
            "fee_fen": 1600,
            "is_paid": False,
        }
    }
    hall.town.replies["/v1/self-service/continuations"] = hall.town.replies[APPLICATIONS]
    hall.town.is_paid = False
    await hall.enter("apply")
    await hall.go("apply_go_on", "make")
    assert "16.00" in await hall.reaches("fee_wait")
    hall.town.is_paid = True
    await hall.take()
    await hall.reaches("apply_done")
    assert ("/v1/self-service/continuations", {"visit": "v", "application_id": APPLICATION}) in hall.town.calls


async def test_a_jam_is_explained_and_the_card_fetched_later_by_its_person_alone(hall: Hall) -> None:
    hall.town.replies[HOLDERS] = NOBODY | {"photo_required": False}
    hall.machine.jam_at("print")
    await hall.apply()
    await hall.go("photo_choose", "without")
    page = await hall.reaches("making_trouble")
    assert all(text in page for text in ("卡卡住了", "您的申请没有丢"))
    await hall.guest.act("later")
    await hall.go("making_later", "finish")
    hall.machine.clear()
    await settled(lambda: hall.guest.desk.maker.has_waiting_card)
    await hall.enter("collect")
    await hall.go("collect_not_yours", "understood")
    hall.town.replies[HOLDERS] = NOBODY | {"cards": [CARD | {"application_id": APPLICATION}]}
    await hall.reaches("home")
    await hall.enter("collect")
    assert await hall.take() is not None
    await hall.reaches("collect_done")
    assert len(hall.machine.blanks) == 2


async def test_what_is_mended_in_time_goes_on_before_the_persons_eyes(hall: Hall) -> None:
    hall.town.replies[HOLDERS] = NOBODY | {"photo_id": PHOTO}
    hall.town.mishap = lambda step: hall.town.cut_at("answer", step)
    await hall.apply()
    await hall.go("photo_choose", "on_file")
    await hall.reaches("making_trouble_line")
    hall.town.mishap = hall.town.demand_line
    hall.town.is_cut = False
    assert await hall.take() is not None
    await hall.reaches("apply_done")


async def test_a_card_left_in_the_tray_is_drawn_in(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making_module, "TAKE_S", 0.05)
    hall.town.replies[HOLDERS] = NOBODY | {"photo_id": PHOTO}
    await hall.apply()
    await hall.go("photo_choose", "on_file")
    await hall.reaches("making_kept")
    assert (hall.guest.desk.maker.has_waiting_card, hall.machine.tray) == (True, None)


async def test_two_bad_blanks_end_it_with_a_receipt(hall: Hall) -> None:
    hall.town.replies[HOLDERS] = NOBODY | {"photo_id": PHOTO}
    hall.town.mishap = lambda step: setattr(hall.machine, "spoil_next", True) if step == "start" else None
    await hall.apply()
    await hall.go("photo_choose", "on_file")
    assert grouped(RECEIPT) in await hall.reaches("making_failed")
    assert hall.town.written_off == [chip(blank(1)), chip(blank(2))]


async def test_a_lost_card_is_reported_and_replaced(hall: Hall) -> None:
    lose, replace = ({"act": name, "possible": True, "fee_fen": 1600} for name in ("lose", "replace_lost"))
    seen = iter([CARD | {"acts": [lose]}, CARD | {"state": "2", "acts": [replace]}])
    hall.town.replies[HOLDERS] = lambda _: NOBODY | {"cards": [next(seen)], "photo_id": PHOTO}
    hall.town.replies["/v1/self-service/acts"] = {"card": CARD}
    hall.town.replies["/v1/self-service/successions"] = hall.town.replies[APPLICATIONS]
    await hall.enter("replace")
    await hall.go("replace_report", "report")
    assert "16.00" in await hall.reaches("fee")
    await hall.guest.act("agree")
    await hall.go("photo_choose", "on_file")
    await hall.take()
    assert "16.00" in await hall.reaches("replace_done")
    bodies = {path: body for path, body in hall.town.calls if path.startswith("/v1/self-service/")}
    assert bodies["/v1/self-service/acts"]["act"] == "lose"
    assert bodies["/v1/self-service/successions"] == {
        "visit": "v",
        "card": CARD["card"],
        "act": "replace_lost",
        "photo_id": PHOTO,
    }


async def test_a_damaged_card_costs_what_is_said_before(hall: Hall) -> None:
    acts = [{"act": name, "possible": True, "fee_fen": 1600} for name in ("replace_damaged", "renew")]
    hall.town.replies[HOLDERS] = NOBODY | {"cards": [CARD | {"acts": acts}]}
    await hall.enter("replace")
    await hall.go("replace_why", "replace_damaged")
    await hall.go("replace_sure_replace_damaged")
    await hall.go("fee", "refuse")
    await hall.reaches("home")
    assert all(path != "/v1/self-service/successions" for path, _ in hall.town.calls)
