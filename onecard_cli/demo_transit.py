"""`onecard demo --transit`: a day at two gates of a metro, with what goes wrong there, and the books at its end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cardlib.transit_code import CHINA
from onecard_cli.demo import DEMO_DIGITS, Demo, Step, demand, phone_of
from onecard_cli.office import ask

if TYPE_CHECKING:
    from onecard_cli.gate_stand import GateStand
    from simulators.gate_hands import Purse

OWN_SERIAL: Final = 7000
FARE: Final = 500
"""From the entry gate's station to the exit gate's, in the shipped rules."""


SOON: Final = {"TRANSIT_STATEMENT_S": "1"}
"""The sums of the day, without waiting ten minutes for them."""


class TransitDemo(Demo):
    """The card that is issued first bears a purse; its holder's phone makes the codes."""

    purse_serial = ""
    taken_fen = 0
    """Off the cards and by codes."""

    def _insert_chip(self, system: Any) -> tuple[Any, Any]:
        from onecard_cli.gate_stand import add_purse

        card, link = super()._insert_chip(system)
        self.purse_serial = add_purse(system, card.state, OWN_SERIAL, 1, 3_000)
        return card, link

    def _run(self, system: Any) -> None:
        from onecard_cli.gate_stand import GateStand, purses
        from simulators.contactless import ContactlessCard
        from simulators.gate_hands import Purse
        from simulators.panel import Both

        made = self.issue(system, system.client("terminal-1"), system.agent_client())
        self.sign_up(system, made.issued)
        made.link.remove()
        operator = system.client("operator-1")
        with ExitStack() as ends:
            with self._step(
                "gates", "两台闸机开机、登记、取目录和名单 / two gates start, register, fetch the lists"
            ) as step:
                self._tell_purse(operator, made.issued)
                ask(operator, "POST", "/v1/publications", json={})
                entry = ends.enter_context(GateStand(system, "metro-entry", name="gate-entry", settings=SOON))
                leave = ends.enter_context(GateStand(system, "metro-exit", name="gate-exit", settings=SOON))
                for gate in (entry, leave):
                    gate.wait_until(lambda seen: seen["closed"] is None)
                    gate.fetch()
                    told = gate.wait_until(
                        lambda seen: seen["closed"] is None and seen["block_list"]["standing"] == "good"
                    )
                    step.detail[gate.name] = told["psam"]
                cards = purses(system)
                cards["own"] = Purse(Both("社保卡", "social security card"), ContactlessCard(made.link.card.state))
                entry.hands.purses = leave.hands.purses = cards
            self._rides(entry, leave, cards)
            self._troubles(entry, leave, cards)
            self._codes_at_gates(system, leave)
            self._lost(system, operator, entry, leave)
            self._books(operator, entry, leave)

    # -- journeys -----------------------------------------------------------------------------------------------------

    def _rides(self, entry: GateStand, leave: GateStand, cards: dict[str, Purse]) -> None:
        with self._step("metro", "社保卡进站、出站，扣款到分 / in and out, the fare to the fen") as step:
            self._journey(entry, leave, cards, "own", FARE, step)
        with self._step("senior", "老人卡免费，目录里有这一条 / seniors ride free, as the catalog has it") as step:
            self._journey(entry, leave, cards, "senior", 0, step)
        with self._step("student", "学生半价 / students pay half") as step:
            self._journey(entry, leave, cards, "student", FARE // 2, step)

    def _journey(
        self, entry: GateStand, leave: GateStand, cards: dict[str, Purse], name: str, fare: int, step: Step
    ) -> None:
        before = cards[name].state.balance
        shown = [_said(entry.hands.tap(name), "pass"), _said(leave.hands.tap(name), "pass")]
        step.detail = {"paid_fen": before - cards[name].state.balance, "shown": shown}
        self.taken_fen += fare
        demand(step.detail["paid_fen"] == fare, f"{name} paid {step.detail['paid_fen']} fen, not {fare}")

    def _troubles(self, entry: GateStand, leave: GateStand, cards: dict[str, Purse]) -> None:
        with self._step("too_little", "余额不足：不能进 / too little money: no entry") as step:
            step.detail = {"shown": _said(entry.hands.tap("poor"), "stop")}
        with self._step("torn", "扣款后应答前拿开：再刷放行，不重复扣 / torn after paying: opens, pays once") as step:
            adult = cards["adult"]
            before = adult.state.balance
            _said(entry.hands.tap("adult"), "pass")
            torn = _said(leave.hands.tear("adult", "paid"), "again")
            taken = before - adult.state.balance
            again = _said(leave.hands.tap("adult"), "pass")
            step.detail = {"shown": [torn, again], "paid_fen": before - adult.state.balance}
            self.taken_fen += FARE
            demand(taken == FARE == step.detail["paid_fen"], f"{taken} and then {step.detail['paid_fen']} fen")
        with self._step(
            "wrong_clock", "卡上进站时间在将来：不放行、不扣款 / an entry in the future: stopped, not charged"
        ) as step:
            student = cards["student"]
            before = student.state.balance
            _said(entry.hands.tap("student"), "pass")
            kept = student.state.processes[0]
            student.state.processes[0] = kept[:67] + bytes.fromhex("20350101080000") + kept[74:]
            step.detail = {"shown": _said(leave.hands.tap("student"), "staff", "stop")}
            student.state.processes[0] = kept
            demand(student.state.balance == before, "money was taken by a wrong clock")
        with self._step(
            "network_cut", "断网照常出站，来网补传 / the line is cut: the gate goes on, records follow"
        ) as step:
            leave.hands.line.cut()
            before = student.state.balance
            _said(leave.hands.tap("student"), "pass")
            waiting = leave.wait_until(lambda seen: seen["waiting"] > 0)["waiting"]
            leave.hands.line.mend()
            leave.wait_until(lambda seen: seen["waiting"] == 0)
            step.detail = {"waited": waiting, "paid_fen": before - student.state.balance}
            self.taken_fen += FARE // 2
            demand(step.detail["paid_fen"] == FARE // 2, "another fare was taken")

    # -- phones and lost cards ----------------------------------------------------------------------------------------

    def _codes_at_gates(self, system: Any, leave: GateStand) -> None:
        with self._step("code", "手机乘车码离线验证，同一码再用不放行 / a ride code, offline; not twice") as step:
            self._code = phone_of(system, lambda channel: channel.transit_code())
            leave.hands.line.cut()
            step.detail = {"shown": [_said(leave.hands.show_code(self._code), "pass")]}
            step.detail["shown"].append(_said(leave.hands.show_code(self._code), "again", "stop"))
            leave.hands.line.mend()
            self.taken_fen += FARE

    def _tell_purse(self, operator: Any, issued: dict[str, str]) -> None:
        """Which purse the chip bears: the centre has to know whose purse goes onto the block list with a lost card."""
        chip = ask(operator, "GET", f"/v1/cards/{issued['card_number']}")["identification_code"]
        told = {"identification_code": chip, "issuer": "09990100FFFFFFFF", "serial": self.purse_serial}
        ask(operator, "PUT", f"/v1/cards/{issued['card_number']}/purse", json=told)

    def _lost(self, system: Any, operator: Any, entry: GateStand, leave: GateStand) -> None:
        with self._step(
            "lost", "挂失发布后闸机拒绝并锁卡，手机码也停 / reported lost: card and codes are refused"
        ) as step:

            async def report(channel: Any) -> Any:
                busi_seq = await channel.password_given(DEMO_DIGITS, "loss")
                return await channel.post("/loss", {"kind": "temporary", "busi_seq": busi_seq})

            code = phone_of(system, lambda channel: channel.transit_code())
            phone_of(system, report)
            ask(operator, "POST", "/v1/publications", json={})
            for gate in (entry, leave):
                gate.fetch()
            step.detail = {"shown": [_said(entry.hands.tap("own"), "stop"), _said(leave.hands.show_code(code), "stop")]}
            step.detail["locked"] = entry.hands.purses["own"].state.block == 1
            demand(step.detail["locked"], "the lost card was not locked")

    # -- the books ----------------------------------------------------------------------------------------------------

    def _books(self, operator: Any, entry: GateStand, leave: GateStand) -> None:
        with self._step("books", "中心日终对账：差额 0 / the day's reconciliation: difference 0") as step:
            day = datetime.now(CHINA).date().isoformat()
            end = time.monotonic() + 20
            while True:
                for gate in (entry, leave):
                    gate.wait_until(lambda seen: seen["waiting"] == 0)
                told = ask(operator, "GET", f"/v1/journeys/days/{day}")
                agrees = told["is_explained"] and told["difference_fen"] == 0 and told["takings_fen"] == self.taken_fen
                if agrees or time.monotonic() > end:
                    break
                time.sleep(0.3)
            step.detail = {name: told[name] for name in ("said_fen", "takings_fen", "difference_fen", "is_explained")}
            demand(agrees, f"{self.taken_fen} fen were taken, the books say {step.detail}")


def _said(shown: dict[str, Any], *signs: str) -> str:
    """The words of a picture with one of these signs."""
    words = " ".join(filter(None, (shown["zh"]["title"], shown["zh"]["text"], shown["zh"]["money"])))
    demand(shown["sign"] in signs, f"the gate showed {shown['sign']}: {words}")
    return words
