"""`onecard demo --kiosk`: people at a simulated kiosk, through its own pages, with the troubles such a machine has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onecard_cli.demo import Demo, Step, demand
from onecard_cli.kiosk_visitor import PATIENCE_S, Answer, KioskVisitor, Reply, walk, with_id_card

PHONE = "13800000000"
APPLYING: Mapping[str, Answer] = {
    "apply_phone": Reply("ok", {"phone": PHONE}),
    "apply_phone_check": "right",
    "apply_ecard": "with",
    "apply_confirm": "ok",
    "photo_choose": "camera",
    "photo_frame": "shoot",
    "photo_good": "use",
}
REPLACING: Mapping[str, Answer] = {
    **APPLYING,
    "replace_which": "card-0",
    "replace_why": "replace_lost",
    "replace_report": "report",
    "replace_sure_replace_lost": "ok",
    "fee": "agree",
    "photo_choose": "on_file",
}


class KioskDemo(Demo):
    """Nothing of it needs a browser: the pages work without scripts."""

    def run(self) -> None:
        from onecard_cli.home import Home
        from onecard_cli.kiosk_stand import KioskStand
        from onecard_cli.system import System

        with tempfile.TemporaryDirectory(prefix="onecard-demo-") as folder:
            with self._step("services", "启动密钥库、发卡服务 / starting the services"):
                system = System(Home.at(Path(folder)), use_pcsc=self.use_pcsc, with_counter=False)
                system.__enter__()
            try:
                with self._step("kiosk", "自助机开机、登记 / the kiosk starts and is registered"):
                    stand = KioskStand(system).__enter__()
                try:
                    with KioskVisitor(stand.url) as visitor:
                        visitor.reach("home")
                        self._visits(stand, visitor)
                finally:
                    self._progress.say("收尾 / shutting down …")
                    stand.__exit__(None, None, None)
            finally:
                system.__exit__(None, None, None)

    def _visits(self, stand: Any, visitor: KioskVisitor) -> None:
        hands = stand.hands
        with self._visit(
            "apply", "办新卡：身份证、照片、制卡、取卡 / a new card from ID card to hand", visitor
        ) as step:
            visitor.start("apply")
            walk(visitor, {**with_id_card(hands, "new"), **APPLYING}, "take_new_card")
            card = step.detail["card"] = hands.take_from_tray()
            visitor.reach("apply_done")
        with self._visit("enable", "启用社保功能 / a card that came by post is enabled", visitor):
            stand.seal(card)
            visitor.start("enable")
            walk(
                visitor,
                {"enable_insert": Reply(hand=lambda: hands.insert(card)), "enable_confirm": "enable"},
                "enable_done",
            )
            hands.pull_card()
        with self._visit("loss", "丢卡，马上挂失 / lost: reported at once", visitor):
            visitor.start("loss")
            answers: dict[str, Answer] = {"loss_kind": "lose", "loss_confirm_lose": "report"}
            walk(visitor, {**with_id_card(hands, "new"), **answers}, "loss_done_lose")
        with self._visit(
            "replacement", "补卡，打印时卡住，修好接着做 / replacement; a jam is cleared on the way", visitor
        ) as step:
            hands.devices.machine.jam_at("print")
            visitor.start("replace")
            answers = {"making_trouble": Reply(hand=hands.service)}
            walk(visitor, {**with_id_card(hands, "new"), **REPLACING, **answers}, "take_new_card")
            step.detail["troubles"] = [name for name in visitor.way if "trouble" in name]
            step.detail["card"] = hands.take_from_tray()
            visitor.reach("replace_done")
            demand(step.detail["troubles"] == ["making_trouble"], "the jam was not told")
        with self._visit(
            "power_cut",
            "制卡时断电，来电后做完，凭身份证取 / the power fails; the card is finished and given out",
            visitor,
        ):
            writing = hands.devices.machine.pause_writing()
            visitor.start("apply")
            walk(visitor, {**with_id_card(hands, "other"), **APPLYING}, "making")
            writing.wait(PATIENCE_S)
            hands.cut_power()
            hands.restore_power()
            visitor.reach("home")
        with self._visit("collect", "取卡 / the card is collected", visitor) as step:
            visitor.start("collect")
            walk(visitor, with_id_card(hands, "other"), "take_new_card")
            step.detail["card"] = hands.take_from_tray()
            visitor.reach("collect_done")
        with self._step("books", "账实相符：每人一张，白卡一张不差 / books and stock agree") as step:
            self._check_books(stand, step)

    @contextmanager
    def _visit(self, name: str, title: str, visitor: KioskVisitor) -> Iterator[Step]:
        """From home to home."""
        visitor.way.clear()
        with self._step(name, title) as step:
            yield step
            if "finish" in visitor.seen.acts:
                visitor.press("finish")
            visitor.reach("home")
            step.detail["screens"] = len(visitor.way)

    def _check_books(self, stand: Any, step: Step) -> None:
        """Three cards were made, none was lost, and the hopper holds what the centre has in stock."""
        stock = stand.system.client("operator-1").get("/v1/stock").raise_for_status().json()["blanks"]
        counts = {name: sum(row[name] for row in stock) for name in ("used", "spoiled", "reserved", "in_stock")}
        machine = stand.hands.devices.machine
        step.detail = counts | {"hopper": len(machine.blanks), "bin": len(machine.bin)}
        demand((counts["used"], counts["spoiled"], counts["reserved"]) == (3, 0, 0), f"blanks: {counts}")
        demand(counts["in_stock"] == len(machine.blanks) and not machine.bin, f"the machine: {step.detail}")
