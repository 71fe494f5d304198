"""`onecard demo`: the main job from a bare chip to a card that was read, scanned and refused a second time."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from cardlib.failures import FailureCode
from onecard_cli.office import ask
from onecard_cli.output import CommandError, print_json, reports_failures

PERSON = {
    "social_security_number": "990101199001010115",
    "name": "测试甲",
    "sex": "1",
    "ethnic_group": "01",
    "birthplace": "990100",
    "birth_date": "19900101",
}
DEMO_DIGITS = "482915"
"""Password of the invented person's electronic card, in a folder that ends with the demo."""
PHONE = "demo"
JOB_POLL_S = 0.05
SHOWS = {
    "login": ("demo_login", "LoginDemo"),
    "kiosk": ("demo_kiosk", "KioskDemo"),
    "transit": ("demo_transit", "TransitDemo"),
}
"""Other demos by their option."""
REGION = "110000"
T = TypeVar("T")


@dataclass(slots=True)
class Step:
    """One line of the table; `detail` is what the step showed, without personal data beyond the invented person's."""

    name: str
    title: str
    ok: bool = False
    ms: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "ms": round(self.ms, 1)} | self.detail


@dataclass(frozen=True, slots=True)
class Made:
    """The card that was issued, in its reader; `link` takes it out."""

    reader: str
    application_id: str
    issued: dict[str, str]
    link: Any


class Progress:
    """Says what is going on while it goes on; silent for JSON."""

    def __init__(self, *, is_silent: bool) -> None:
        from rich.console import Console

        self._console = Console(stderr=is_silent, quiet=is_silent, highlight=False)
        self._status = self._console.status("")

    def __enter__(self) -> Progress:
        self._status.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._status.stop()

    def say(self, text: str) -> None:
        self._status.update(text)

    def done(self, step: Step) -> None:
        mark = "[green]✓[/]" if step.ok else "[red]✗[/]"
        self._console.print(f" {mark} {step.title}  [dim]{step.ms:,.0f} ms[/]")

    def print(self, renderable: Any) -> None:
        self._console.print(renderable)


class Demo:
    """The steps in order; each adds itself to `steps`. A failing step raises and ends the demo."""

    def __init__(self, generation: str, *, use_pcsc: bool, tear: int, progress: Progress) -> None:
        self.generation = generation
        self.use_pcsc = use_pcsc
        self.tear = tear
        self.steps: list[Step] = []
        self.counts = {"apdus": 0, "network_round_trips": 0}
        self._progress = progress

    @contextmanager
    def _step(self, name: str, title: str) -> Iterator[Step]:
        step = Step(name, title)
        self.steps.append(step)
        self._progress.say(f"{title} …")
        started = time.perf_counter()
        try:
            yield step
            step.ok = True
        finally:
            step.ms = (time.perf_counter() - started) * 1000
            self._progress.done(step)

    def run(self) -> None:
        from onecard_cli.home import Home
        from onecard_cli.system import System

        with tempfile.TemporaryDirectory(prefix="onecard-demo-") as folder:
            with self._step("services", "启动密钥库、发卡服务、终端服务 / starting the services"):
                system = System(Home.at(Path(folder)), use_pcsc=self.use_pcsc)
                system.__enter__()
            try:
                self._run(system)
            finally:
                self._progress.say("收尾 / shutting down …")
                system.__exit__(None, None, None)

    def _run(self, system: Any) -> None:
        terminal, agent = system.client("terminal-1"), system.agent_client()
        made = self.issue(system, terminal, agent)
        with self._step("read_back", "读回核对，卡片已启用 / read back, card enabled") as step:
            self._read_back(terminal, agent, made, step)
        with self._step("driver_read", "医院程序接口 iReadCardBas / the installed base's driver call") as step:
            step.detail = asyncio.run(_driver_read(system.ws_url))
        with self._step("catalog", "这张卡能办什么 / what this card can do") as step:
            where = {"region": "120000", "holder_region": system.region}
            items = ask(terminal, "GET", "/v1/catalog", params=where)["items"]
            step.detail = {"region": "120000", "items": len(items)}
            demand(len(items) > 0, "the catalog is empty")
        self.sign_up(system, made.issued)
        self._codes(system, made.issued)
        self._loss(system, agent, made.issued)

    def issue(
        self,
        system: Any,
        terminal: Any,
        agent: Any,
        person: dict[str, str] = PERSON,
        first_number: str = "A0000001",
    ) -> Made:
        """From a bare chip to an enabled card."""
        card, link = self._insert_chip(system)
        reader = system.wait_for_card(0)
        with self._step("initialization", "初始化：芯片 → 空白卡 / chip becomes a blank card") as step:
            job = self._relay(agent, {"kind": "initialization", "reader": reader, "region": REGION})
            step.detail = _counts(job)
        with self._step("application", "申领登记与审核 / application and checks") as step:
            numbers = {"region": REGION, "body_from": first_number, "count": 10}
            ask(system.client("operator-1"), "POST", "/v1/card-numbers", json=numbers)
            application_id = ask(
                terminal,
                "POST",
                "/v1/applications",
                json={"person": person, "region": REGION, "generation": self.generation},
                headers={"Idempotency-Key": f"demo-application-{first_number}"},
            )["id"]
            step.detail = {"application_id": application_id}
        with (
            self._step("personalization", "制卡：写入并核对 / personalisation") as step,
            self._tearing(card, link) as torn,
        ):
            job = self._relay(agent, {"kind": "personalization", "reader": reader, "application_id": application_id})
            self.counts = _counts(job)
            step.detail = self.counts | ({"torn_after": self.tear, "torn": torn()} if self.tear else {})
            if self.tear and not torn():
                self._progress.print(
                    f"   第 {self.tear} 条指令没有到来，卡没有拔 / fewer than {self.tear} commands, not torn"
                )
        return Made(reader, application_id, job["result"], link)

    def _insert_chip(self, system: Any) -> tuple[Any, Any]:
        """The card maker's part: an activated chip with the transport key this key service knows."""
        from cardlib.spec import Generation, load
        from simulators.card import Algorithm, CardState, SimCard
        from simulators.factory import activate, historical_bytes

        with self._step("card_inserted", "插入芯片 / a chip goes into the reader"):
            spec = load(Generation(self.generation))
            chip = CardState()
            transport_key = system.home.roots().root("TK", spec.algorithm)
            activate(chip, transport_key, Algorithm(spec.algorithm_id), historical_bytes(REGION, 1))
            card = SimCard(chip)
            link = system.plug(0, card)
            system.wait_for_card(0)
        return card, link

    def _relay(self, agent: Any, request: dict[str, Any]) -> dict[str, Any]:
        """Start a card session at the agent and follow it to its end."""
        job_id = ask(agent, "POST", "/v1/card-sessions", json=request | {"generation": self.generation})["job_id"]
        while True:
            job: dict[str, Any] = ask(agent, "GET", f"/v1/card-sessions/{job_id}")
            self._progress.say(f"{job['text_zh']} / {job['text_en']}  {job['step']}/{job['steps']}")
            if job["state"] == "done":
                return job
            if job["state"] in ("failed", "cancelled"):
                failure = job["failure"] or {}
                raise CommandError(
                    FailureCode(failure.get("code", "INTERNAL")), f"{failure.get('remedy_zh', '')} {job['detail']}"
                )
            time.sleep(JOB_POLL_S)

    @contextmanager
    def _tearing(self, card: Any, link: Any) -> Iterator[Callable[[], bool]]:
        """Arm the card to lose power after N commands; a hand puts it back. Yields whether it happened."""
        from simulators.card import Faults

        stop, happened = threading.Event(), threading.Event()

        def hand() -> None:
            while not stop.wait(0.02):
                if not link.is_inserted:
                    happened.set()
                    card.faults = Faults()
                    link.insert()
                    return

        if not self.tear:
            yield happened.is_set
            return
        card.faults = Faults(tear_after=self.tear)
        thread = threading.Thread(target=hand, daemon=True)
        thread.start()
        try:
            yield happened.is_set
        finally:
            stop.set()
            thread.join()
            # A tear that never came must not strike a later step.
            card.faults = Faults()

    def _read_back(self, terminal: Any, agent: Any, made: Made, step: Step) -> None:
        """What the service says it verified, and what an independent read through the PSAM shows."""
        application = ask(terminal, "GET", f"/v1/applications/{made.application_id}")
        done = {entry["step"] for entry in application["steps"] if entry["status"] == "done"}
        demand({"read_back", "enable", "ecard"} <= done, f"steps done: {sorted(done)}")
        basic = ask(agent, "POST", f"/v1/readers/{made.reader}/basic-information", json={})
        demand(basic["card_number"] == made.issued["card_number"], "the card number differs")
        demand(basic["name"] == PERSON["name"], "the name differs")
        demand(basic["social_security_number"] == PERSON["social_security_number"], "the number differs")
        step.detail = {"genuine": basic["genuine"], "card_apdus": basic["apdus"], "card_number": basic["card_number"]}

    def sign_up(self, system: Any, issued: dict[str, str]) -> None:
        """The electronic card onto the demo's phone."""
        with self._step("wallet_apply", "手机领取电子社保卡 / the phone gets the electronic card") as step:
            claim = (PERSON["name"], PERSON["social_security_number"], issued["card_number"])
            signed = phone_of(system, lambda channel: channel.sign_up(*claim, DEMO_DIGITS, "demo-wallet"))
            demand(signed["ecard_no"] == issued["ecard_no"], "another electronic card")
            step.detail = {"level": signed["sign_level"]}

    def _codes(self, system: Any, issued: dict[str, str]) -> None:
        from onecard_ui.code_picture import SMALLEST_PX, picture_of

        verifier = system.client("verifier-1")
        with self._step("qr_validate", "手机出示二维码：识读并核验 / the phone's QR decoded and validated") as step:
            shown = phone_of(system, lambda channel: channel.code("identity"))["code"]
            code = decode_qr(picture_of(shown.encode()).png(SMALLEST_PX))
            demand(code == shown, "the picture holds another code")
            answer = ask(verifier, "POST", "/v1/ecard-codes/validate", json={"code": code, "scene": "identity"})
            step.detail = {"decoded": True, "accepted": answer["ecard_no"] == issued["ecard_no"]}
            demand(step.detail["accepted"], "the code is of another card")
        with self._step("qr_replay_refused", "同一二维码再用：拒绝 / the same code again is refused") as step:
            again = verifier.post("/v1/ecard-codes/validate", json={"code": code, "scene": "identity"})
            step.detail = {"status": again.status_code, "code": again.json()["code"]}
            demand(again.json()["code"] == "CODE_USED", "a used code was accepted")

    def _loss(self, system: Any, agent: Any, issued: dict[str, str]) -> None:
        """The terminal answers from the block list it holds, without asking the centre."""
        operator = system.client("operator-1")
        chip = ask(operator, "GET", f"/v1/cards/{issued['card_number']}")["identification_code"]

        def verdict_after(path: str, body: dict[str, str]) -> str:
            async def work(channel: Any) -> Any:
                busi_seq = await channel.password_given(DEMO_DIGITS, "loss")
                return await channel.post(path, body | {"busi_seq": busi_seq})

            phone_of(system, work)
            ask(operator, "POST", "/v1/publications", json={})
            ask(agent, "POST", "/v1/catalog/fetch")
            return str(ask(agent, "POST", "/v1/block-list/look", json={"kind": "card", "number": chip})["verdict"])

        for name, title, path, body, expected in (
            ("loss_refused", "挂失后终端离线拒绝 / lost: refused offline", "/loss", {"kind": "temporary"}, "blocked"),
            ("release_accepted", "取消挂失，终端恢复接受 / found: accepted again", "/loss/release", {}, "clear"),
        ):
            with self._step(name, title) as step:
                step.detail = {"verdict": verdict_after(path, body)}
                demand(step.detail["verdict"] == expected, f"the terminal says {step.detail['verdict']}")


def phone_of(system: Any, work: Callable[[Any], Awaitable[T]]) -> T:
    """What the demo's phone does at the centre."""
    from onecard_cli.wallet import CLIENT_ID, at_centre

    answer: T = at_centre(system.issuance_url, CLIENT_ID, PHONE, work, home=system.home)
    return answer


def demand(condition: bool, detail: str) -> None:
    if not condition:
        raise CommandError(FailureCode.INTERNAL, detail)


def _counts(job: dict[str, Any]) -> dict[str, int]:
    return {"apdus": job["apdus"], "network_round_trips": job["network_round_trips"]}


def decode_qr(png: bytes) -> str:
    """Text of the one QR code in a picture."""
    from PIL import Image

    return read_qr(Image.open(io.BytesIO(png)).convert("L"))


def read_qr(picture: Any) -> str:
    """By zxing-cpp, as a scanner set to QR codes would."""
    from onecard_ui.code_picture import codes_in

    found = codes_in(picture)
    demand(len(found) == 1, f"{len(found)} codes in the picture")
    return str(found[0].text)


async def _driver_read(ws_url: str) -> dict[str, Any]:
    from websockets.asyncio.client import connect

    async with connect(ws_url, proxy=None) as socket:
        await socket.send(json.dumps({"function": "iReadCardBas", "iType": 3}))
        answer = json.loads(await socket.recv())
    fields = answer["pOutInfo"].split("|")
    demand(answer["success"] == "1" and len(fields) == 12, f"driver answered {answer}")
    return {"pOutInfo": answer["pOutInfo"]}


@reports_failures
def demo(
    generation: Annotated[Literal["2.0", "3.0"], typer.Option(help="2.0 或 3.0")] = "3.0",
    no_pcsc: Annotated[bool, typer.Option("--no-pcsc", help="用内置读卡器 / built-in reader, no pcscd")] = False,
    tear: Annotated[int, typer.Option(min=0, help="第 N 条制卡指令后拔卡再插回 / pull the card after N commands")] = 0,
    login: Annotated[bool, typer.Option("--login", help="再扫码登录一个网站 / then log in to a site by scan")] = False,
    kiosk: Annotated[bool, typer.Option("--kiosk", help="在自助机上办卡、补卡 / cards made at a kiosk")] = False,
    transit: Annotated[bool, typer.Option("--transit", help="刷卡、扫码过闸机 / at the gates of a metro")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON")] = False,
) -> None:
    """从一片空白芯片到能用的社保卡，全程演示 / from a bare chip to a social security card in use.

    Real processes, real cryptography, real PC/SC; the card, the person and the keys are simulated.

    \b
    Examples: ./onecard demo
              ./onecard demo --generation 2.0 --tear 40 --json
              ./onecard demo --login
              ./onecard demo --kiosk
              ./onecard demo --transit
    """
    use_pcsc = not no_pcsc and has_pcsc(is_silent=as_json)
    progress = Progress(is_silent=as_json)
    shows = {"login": login, "kiosk": kiosk, "transit": transit}
    run = _chosen(shows)(generation, use_pcsc=use_pcsc, tear=tear, progress=progress)
    failed: Exception | None = None
    started = time.perf_counter()
    try:
        with progress:
            run.run()
    except Exception as error:
        failed = error
    total_ms = (time.perf_counter() - started) * 1000
    if as_json:
        from cardlib.failures import failure_of

        print_json(
            {
                "ok": failed is None,
                "generation": generation,
                "reader": "pcsc" if use_pcsc else "built-in",
                "ms": round(total_ms, 1),
                "steps": [step.to_json() for step in run.steps],
                **run.counts,
                **({"failure": failure_of(failed), "detail": str(failed)} if failed else {}),
            }
        )
    else:
        _print_table(run, total_ms, progress)
    if failed is not None:
        if as_json:
            raise typer.Exit(1)
        raise failed


def _chosen(shows: dict[str, bool]) -> type[Demo]:
    wanted = [show for show, is_wanted in shows.items() if is_wanted]
    if not wanted:
        return Demo
    if len(wanted) > 1:
        raise CommandError(FailureCode.INPUT_INVALID, f"一次演示一样 / one at a time: --{' --'.join(wanted)}")
    module, name = SHOWS[wanted[0]]
    found: type[Demo] = getattr(import_module(f"onecard_cli.{module}"), name)
    return found


def has_pcsc(*, is_silent: bool) -> bool:
    from apdu.pcsc import is_available as client_available
    from simulators.pcscd import is_available as daemon_available

    for available, reason in (client_available(needs_service=False), daemon_available()):
        if not available:
            if not is_silent:
                print(f"没有 PC/SC，改用内置读卡器 / no PC/SC, using the built-in reader: {reason}")
            return False
    return True


def _print_table(run: Demo, total_ms: float, progress: Progress) -> None:
    from rich.table import Table

    table = Table(title=f"OneCard 一卡通 · {run.generation} · {'PC/SC' if run.use_pcsc else 'built-in reader'}")
    table.add_column("步骤 / step", overflow="fold")  # else a space at the edge costs the word before it
    table.add_column("", justify="center")
    table.add_column("ms", justify="right")
    for step in run.steps:
        table.add_row(step.title, "✓" if step.ok else "✗", f"{step.ms:,.0f}")
    table.add_row("合计 / total", "", f"{total_ms:,.0f}")
    progress.print(table)
    if not run.counts["apdus"]:
        return
    progress.print(
        f"制卡 / personalisation: {run.counts['apdus']} 条指令 / APDUs, "
        f"{run.counts['network_round_trips']} 次网络往返 / network round trips"
    )
