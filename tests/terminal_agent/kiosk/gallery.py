"""Every screen of the kiosk with the longest facts it is likely to show, drawn without a machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

from apps_catalog import Catalog, Holder, load
from cardlib.failures import FailureCode
from cardlib.terminal_state import Lock
from terminal_agent.devices import Device, DeviceKind, DeviceState
from terminal_agent.kiosk.case import Case
from terminal_agent.kiosk.flows import apply, ecard, log_in, loss, progress, replace
from terminal_agent.kiosk.flows import load as flows
from terminal_agent.kiosk.flows.making import Wanted, stages_screen, trouble_screen
from terminal_agent.kiosk.flows.records import CHOICES
from terminal_agent.kiosk.flows.records import ICONS as RECORDS
from terminal_agent.kiosk.flows.records import SHOWN as SHOWN_RECORDS
from terminal_agent.kiosk.flows.what import SHOWN, TONES, Choice
from terminal_agent.kiosk.offers import HomeTile
from terminal_agent.kiosk.progress import Progress
from terminal_agent.kiosk.screens import Receipt, Row, Screen
from terminal_agent.kiosk.states import state_screen
from terminal_agent.kiosk.views import ApplicationView, ApplyView, CardView, EcardView, RecordItem, StageView
from tests.terminal_agent.kiosk.flow_stand import TEXT, a_card
from tests.terminal_agent.kiosk.gallery_cards import own_cards
from tests.terminal_agent.kiosk.gallery_parts import (
    CARD,
    NAME,
    NUMBER,
    PICK_UP,
    RECEIPT,
    Shown,
    cards,
    choice,
    done,
    known_card,
    tell,
    wait,
)

BAD_PHOTO: Final = ["photo_background_uneven", "photo_face_width", "photo_eyes"]


def gallery() -> list[Shown]:
    """All of them."""
    return [*_machine(), *_identity(), *_applying(), *_making(), *own_cards(), *_inquiries(), *_uses()]


def _machine() -> Iterator[Shown]:
    tiles = [HomeTile(flow.name, flow.tile) for flow in flows().values() if flow.tile]
    missing = FailureCode.PRINTER_RIBBON_EMPTY
    without = [HomeTile(t.name, t.tile, missing if t.name in ("apply", "replace") else None) for t in tiles]
    away = {"is_visit": False}
    for name, found in (
        ("home", [tile for tile in tiles if tile.name != "collect"]),
        ("home_collect", tiles),
        ("home_without", [tile for tile in without if tile.name != "collect"]),
    ):
        yield Shown(name, Screen(name="home", acts=()), machine={**away, "tiles": lambda found=found: found})
    for name in ("getting_ready", "moment", "printing"):
        yield wait(name)
    yield Shown("in_use", Screen(name="in_use", acts=()), machine=away)
    left = {"seconds": 40}
    yield Shown("still_there", Screen(name="still_there", acts=(), tone="warn", values=left))
    for name, layout in (("insert_card", "insert_card"), ("take_card", ""), ("lay_id_card", "")):
        yield Shown(name, Screen(name=name, layout=layout, acts=(), steps=apply.STEPS, step=1))
    yield Shown("card_gone", Screen(name="card_gone", acts=("finish",), tone="warn"))
    lock = Lock(reason="机器移机，换到二层大厅南侧，新的位置门口有指示牌", contact="示例市社会保险事业管理中心 12333")
    for name, closed in (
        ("out_of_service", {"lock": lock}),
        ("out_of_service_staff", {"is_closed_by_staff": True}),
        ("out_of_service_devices", {}),
    ):
        yield Shown(name, Screen(name="out_of_service", acts=()), machine=away | closed)
    for code in (FailureCode.SERVICE_UNREACHABLE, FailureCode.CARD_NOT_GENUINE, FailureCode.PIN_LOCKED):
        screen = Screen(name="trouble", refusal=code, acts=("again", "leave"), tone="bad")
        yield Shown(f"trouble_{code.lower()}", screen, machine={"help_since": 1.0})
    yield Shown(
        "staff_log_in", Screen(name="staff_log_in", acts=("open",), fields=(_STAFF_PIN,), facts={"why": "none"})
    )
    yield Shown("staff", Screen(name="staff", acts=()), extra=_staff(), machine=away | {"is_closed_by_staff": True})


def _staff() -> dict[str, Any]:
    def reader(name: str, *, has_card: bool) -> Any:
        return SimpleNamespace(name=name, has_card=has_card)

    devices = [
        Device(DeviceKind.CARD_PRINTER, "127.0.0.1:9300", DeviceState.ATTENTION, FailureCode.PRINTER_JAM),
        Device(DeviceKind.ID_CARD_MODULE, "/dev/ttyUSB1", DeviceState.READY),
        Device(DeviceKind.RECEIPT_PRINTER, "192.0.2.7:9100", DeviceState.LOST, FailureCode.RECEIPT_PAPER_OUT),
        Device(DeviceKind.CAMERA, "/dev/video0", DeviceState.READY),
    ]
    return {
        "devices": devices,
        "slot": reader("Example Systems Slot 00 00", has_card=False),
        "encoder": reader("Example Systems Encoder 01 00", has_card=True),
        "psam": reader("Example Systems SAM 02 00", has_card=True),
        "stock": SimpleNamespace(hopper=42, bin=1, ribbon=120),
        "alerts": (FailureCode.PRINTER_JAM,),
        "left_out": {"what": "catalog"},
        "missing": [],
        "case": Case.begin("0f" * 16),
        "progress": Progress(stage="print", trouble=FailureCode.PRINTER_JAM),
        "is_working": True,
        "has_visit": True,
        "help_s": 75.0,
        "staff": SimpleNamespace(note="", note_failure=None),
        "is_reachable": True,
        "version": "0.1.0",
    }


def _identity() -> Iterator[Shown]:
    ways = {"id_card": "card", "card_pin": "key", "ecard": "phone"}
    yield choice("identify", tuple(ways), ways, steps=loss.STEPS, step=1)
    for name in ("id_card_read", "permit_read"):
        yield tell(name, "ok", ("taken",), steps=apply.STEPS, step=1)
    yield tell("id_card_expired", steps=apply.STEPS, step=1)
    yield wait("looking_up")
    values = {"number": "47"}
    code = Screen(name="phone_code", acts=(), qr="x", ring_s=60, values=values, steps=loss.STEPS, step=1)
    yield Shown("phone_code", code)
    yield wait("phone_claimed", loss.STEPS, 1, **values)


def _applying() -> Iterator[Shown]:
    where: dict[str, Any] = {"steps": apply.STEPS, "step": 2}
    for name in ("apply_permit", "apply_minor"):
        yield tell(name, "info")
    why = ApplyView(
        text_zh="有一份申请正在办理，先办完。登记的信息不能在这里办，到窗口问明",
        text_en="This cannot be done here by what is registered; ask at the counter",
    )
    yield tell("apply_not", facts={"why": why})
    card = CardView.model_validate(
        a_card(
            state="0",
            plain_zh="卡还没有启用社保功能。启用后才能看病结算、领取待遇。",
            plain_en="The card is not enabled yet. Enable it to use it for medical settlement and benefits.",
        )
    )
    yield Shown("apply_has_card", state_screen(card, "apply_has_card", ("enable", "pin", "loss", "replace", "ecard")))
    open_ = ApplicationView(
        text_zh="已审核，等待制卡",
        text_en="Checked; the card is to be made",
        next_zh="可以在这里接着做卡，也可以等通知后到窗口领取。",
        next_en="It can be made here, or wait for the message and fetch it at a counter.",
        pick_up=PICK_UP.zh,
    )
    facts, values = {"application": open_}, {"receipt_number": RECEIPT}
    acts = ("progress", "understood")
    yield Shown("apply_open", Screen(name="apply_open", acts=acts, values=values, facts=facts))
    icons = {"make": "card"}
    yield Shown("apply_go_on", Screen(name="apply_go_on", acts=("make",), icons=icons, values=values, facts=facts))
    phone = Screen(name="apply_phone", layout="keypad", fields=(apply.PHONE,), **where)
    yield Shown("apply_phone", phone)
    yield Shown("apply_phone_wrong", phone, machine={"wrong": ("phone",), "help_since": 1.0})
    values = {"phone": "139 0000 0000"}
    yield Shown("apply_phone_check", Screen(name="apply_phone_check", acts=("right", "change"), values=values, **where))
    yield choice("apply_ecard", ("with", "without"), {"with": "phone", "without": "card"}, **where)
    yield Shown("apply_confirm", apply._data(_ID_CARD, apply.Wishes("13900000000", with_ecard=True)))
    yield tell("apply_wrong_data")
    yield wait("apply_sending", apply.STEPS, 3)
    yield from done("apply_waiting", _wanted("apply_waiting"), "warn")
    yield from _replacing()


def _replacing() -> Iterator[Shown]:
    where: dict[str, Any] = {"steps": replace.STEPS, "step": 2}
    yield cards("replace_which")
    yield tell("replace_no_card", "info")
    yield Shown("replace_not_possible", state_screen(known_card("2"), "replace_not_possible", ("release", "ecard")))
    yield Shown("replace_not_possible_at_all", state_screen(known_card("2"), "replace_not_possible", ("understood",)))
    yield choice("replace_why", replace.WHY, replace._ICONS, **where)
    values = {"card": CARD}
    yield tell("replace_report", "bad", ("report",), values=values, icons={"report": "lost"}, **where)
    for why in replace.WHY:
        yield tell(f"replace_sure_{why}", acts=("ok",), values=values, **where)
    yield tell("collect_none", "info")
    yield tell("collect_not_yours")


def _wanted(done: str, *rows: tuple[str, str]) -> Receipt:
    wanted = Wanted("0f" * 16, RECEIPT.replace(" ", ""), done, apply.STEPS, NAME, NUMBER, rows)
    return wanted.receipt(done, f"{done}_next")


def _making() -> Iterator[Shown]:
    where: dict[str, Any] = {"steps": apply.STEPS, "step": 3}
    ways = {"on_file": "file", "camera": "eye", "without": "card"}
    yield choice("photo_choose", tuple(ways), ways, **where)
    frame = Screen(name="photo_frame", acts=("shoot",), icons={"shoot": "eye"}, **where)
    yield Shown("photo_frame", frame)
    yield Shown("photo_count", Screen(name="photo_count", layout="photo_frame", acts=(), facts={"left": 3}, **where))
    yield wait("photo_checking", apply.STEPS, 3)
    yield tell("photo_wrong", acts=("retake",), facts={"reasons": BAD_PHOTO}, **where)
    yield tell("photo_good", "info", ("use", "retake"), icons={"use": "check"}, **where)
    values = {"yuan": "16.00", "receipt_number": RECEIPT}
    yield tell("fee", "info", ("agree", "refuse"), icons={"agree": "check"}, values=values, **where)
    yield wait("fee_wait", **values)
    wanted = Wanted("0f" * 16, RECEIPT.replace(" ", ""), "apply_done", apply.STEPS, NAME, NUMBER)
    yield Shown("making", stages_screen(Progress(stage="write", share=0.4), wanted))
    jam = Progress(stage="print", trouble=FailureCode.PRINTER_JAM, is_second=True)
    yield Shown("making_wants", stages_screen(jam, wanted), machine={"help_since": 1.0})
    for trouble in (FailureCode.PRINTER_JAM, FailureCode.PRINTER_RIBBON_EMPTY, FailureCode.SERVICE_UNREACHABLE):
        screen = trouble_screen(Progress(stage="print", trouble=trouble))
        yield Shown(f"{screen.name}_{trouble.lower()}", screen, machine={"help_since": 1.0})
    yield from done("making_later", _wanted("making_later"), "warn", refusal=FailureCode.PRINTER_JAM)
    yield from done("making_kept", _wanted("making_later"), "warn")
    yield from done("making_failed", _wanted("making_failed"), "bad", refusal=FailureCode.PRINT_FAILED)
    yield Shown("take_new_card", Screen(name="take_new_card", acts=(), tone="warn", is_making=True))
    after: dict[str, Any] = {"steps": apply.STEPS, "step": 6}
    yield from done("apply_done", _wanted("apply_done"), **after)
    yield from done("replace_done", _wanted("replace_done", ("fee", "16.00")), **after)
    yield from done("collect_done", _wanted("collect_done"), steps=("id_card", "take"), step=3)


def _inquiries() -> Iterator[Shown]:
    yield choice("progress_choice", tuple(progress.ICONS), progress.ICONS)
    yield Shown("progress_receipt", Screen(name="progress_receipt", layout="keypad", fields=(progress.NUMBER,)))
    check = Screen(name="progress_check", layout="keypad", fields=(progress.CHECK,), back=True)
    yield Shown("progress_check", check, machine={"wrong": ("check",)})
    for name in ("progress_looking", "records_looking"):
        yield wait(name)
    yield tell("progress_no_match", acts=("again",))
    yield tell("progress_unknown", "info")
    yield Shown("progress_none", state_screen(known_card(), "progress_none", ("pin", "loss", "replace", "ecard")))
    yield Shown("progress_shown", _far())
    yield choice("records_choice", CHOICES, RECORDS)
    yield tell("records_unknown", "info")
    card = known_card()
    assert card.account is not None
    assert card.ecard is not None
    rows = (
        Row("name", NAME),
        Row("number", NUMBER),
        Row("card", CARD),
        Row("state", card.said("state")),
        Row("bank", card.account.said()),
        Row("ecard", card.ecard.said()),
    )
    yield Shown("records_mine", Screen(name="records_mine", layout="check", acts=(), rows=rows, back=True))
    cards = [(card, "warn"), (known_card("2"), "bad"), (known_card("2", **_CANCELLED), "idle")]
    facts = {"cards": cards, "count": 4}
    yield Shown("records_cards", Screen(name="records_cards", acts=("next",), facts=facts, back=True))
    yield Shown("records_cards_none", Screen(name="records_cards", acts=(), facts={"cards": []}, back=True))
    for kind in ("uses", "looks", "events"):
        name = f"records_{kind}"
        for end, kept in (("", [("2026-01-05 09:24", _LOOK)] * SHOWN_RECORDS), ("_none", [])):
            acts = ("previous", "next") if kept else ()
            listed = Screen(name=name, layout="records", acts=acts, facts={"records": kept}, back=True)
            yield Shown(name + end, listed, machine={"help_since": 1.0} if kept else {})


def _far() -> Screen:
    stages = [
        ("已受理", "Received", "done", "2026-01-05"),
        ("已审核", "Checked", "done", "2026-01-05"),
        ("制卡中，写入卡内信息", "Being made and written", "current", None),
        ("已到领卡网点", "At the place of collection", "open", None),
        ("已领取、启用", "Taken and enabled", "open", None),
    ]
    far = ApplicationView(
        id="a",
        can_continue=True,
        receipt_number=RECEIPT.replace(" ", ""),
        text_zh="正在制卡",
        text_en="The card is being made",
        next_zh="做好后会发短信，请本人带身份证到下面的窗口领取。",
        next_en="You will get a message. Fetch it at the counter below with your ID card.",
        pick_up=PICK_UP.zh,
        stages=tuple(StageView(stage="x", status=s, text_zh=zh, text_en=en, day=day) for zh, en, s, day in stages),
    )
    icons = {"apply": "card"}
    return Screen(name="progress_shown", acts=("apply", "understood"), icons=icons, facts={"progress": far})


def _uses() -> Iterator[Shown]:
    catalog = load()
    yield wait("what_loading")
    places = [Choice(f"area-{region.code}", region.name) for region in catalog.regions]
    for name in ("what_origin", "what_area"):
        facts = {"tiles": places, "place": None}
        yield Shown(name, Screen(name=name, layout="tiles", acts=(), facts=facts, back=True))
    fields = [Choice(f"domain-{d.key}", d.name, "12", d.glyph) for d in catalog.domains]
    facts = {"tiles": fields, "place": catalog.name_of("130000")}
    yield Shown("what_domain", Screen(name="what_domain", layout="tiles", acts=(), facts=facts, back=True))
    yield from _answers(catalog)
    yield choice("ecard_choice", tuple(ecard.ICONS), ecard.ICONS)
    for name in ("ecard_asking", "log_in_asking"):
        yield wait(name)
    yield tell("ecard_install", "info", layout="code", qr="x")
    yield tell("ecard_install_by_name", "info", layout="how")
    yield Shown("ecard_insert", Screen(name="ecard_insert", layout="insert_card", acts=()))
    yield tell("ecard_none", "info")
    state = EcardView(
        channels=("掌上12333", "示例银行手机银行", "国家社会保险公共服务平台"),
        text_zh="卡已挂失，本人在手机上同意后可以继续用",
        text_en="The card is reported lost; allow it on the phone to go on",
    )
    acts = ("install", "understood")
    yield Shown("ecard_state", Screen(name="ecard_state", acts=acts, facts={"ecard": state}, tone="warn"))
    act = known_card("2").act("code")
    yield tell("ecard_no_code", acts=("install",), layout="reason", facts={"act": act})
    yield Shown("ecard_code", Screen(name="ecard_code", layout="code", acts=("finish",), qr="x", ring_s=60))
    yield tell("ecard_code_over", "info", ("show",))
    how: dict[str, Any] = {"layout": "how", "facts": log_in.HOW, "steps": log_in.STEPS, "step": 1}
    yield tell("log_in_how", acts=("try", "trouble"), icons={"try": "phone", "trouble": "info"}, **how)
    yield tell("log_in_trouble", acts=(), layout="how", back=True)
    yield from done("log_in_works", None, step=3, steps=log_in.STEPS)


def _answers(catalog: Catalog) -> Iterator[Shown]:
    """The lists and the items with the most words."""
    answers = catalog.what(Holder("110000"), "130000")
    longest = sorted(answers, key=lambda a: len(a.item.name.en), reverse=True)[:SHOWN]
    items = [(f"item-{n}", answer, TONES[answer.outcome]) for n, answer in enumerate(longest)]
    facts = {"domain": catalog.domains[-1].name, "items": items}
    acts = (*(act for act, *_ in items), "previous", "next")
    yield Shown("what_list", Screen(name="what_list", acts=acts, facts=facts, back=True))
    for lang in ("zh", "en"):
        answer = max(answers, key=lambda a: sum(len(getattr(r.text, lang)) + 20 for r in a.reasons))
        facts = {"answer": answer, "notice": catalog.notice}
        yield Shown(
            f"what_item_{lang}", Screen(name="what_item", acts=(), tone=TONES[answer.outcome], facts=facts, back=True)
        )


_CANCELLED = {
    "state_zh": "注销",
    "state_en": "Cancelled",
    "plain_zh": "这张卡已注销，不能再用。",
    "plain_en": "This card is cancelled and cannot be used any more.",
}
_STAFF_PIN = SimpleNamespace(most=12)
_ID_CARD = SimpleNamespace(text=TEXT)
_LOOK = RecordItem(
    at=datetime(2026, 1, 5, 1, 24, tzinfo=UTC),
    text_zh="看了卡的信息和银行账户的状态",
    text_en="Saw the card's data and how its account stands",
    where="示例市示例区社会保险事业管理中心 · 窗口受理",
    count=12,
)
