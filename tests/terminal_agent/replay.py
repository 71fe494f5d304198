"""A counter with one of everything, and requests played against it: for docs/agent and for older levels."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from apdu.inprocess import InProcessReaders
from cardlib.wire import BatchCommand
from simulators import personas
from simulators.card import SimCard
from simulators.factory import build_card
from simulators.psam import SimPsam
from simulators.serial import Person, SimIdCardModule, SimScanner
from terminal_agent.log_in import _TEXT
from terminal_agent.server import Ready, running_agent
from terminal_agent.settings import AgentSettings
from tests.cardlib.driver_stand import signing_certificate
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import APPLICATION, READER, ScriptedCard, ScriptedCentre, scan_waits

BLANK, PSAM_SLOT = "Counter Reader 01 00", "Counter Reader SAM 02 00"
HALL = "https://hall.example"
PIN = "123456"
VARIES = frozenset(
    {"lease", "token", "since", "id", "job_id", "created", "version", "http_port", "ws_port", "port", "ms", "at",
     "started_at", "finished_at", "signature", "certificate", "seconds_left", "detail", "photo_wlt_base64",
     "reset_information", "apdus", "bytes", "state", "step", "update", "successes", "failures", "last_success_at"}
)  # fmt: skip
BEFORE = frozenset({"finish", "lay"})
"""What happens before the request instead of while it waits."""
CONSTANTS = {
    "{reader}": READER.replace(" ", "%20"),
    "{blank}": BLANK.replace(" ", "%20"),
    "{application}": APPLICATION,
    "{log_in_text}": json.dumps(_TEXT.encode())[1:-1],
}


@dataclass(frozen=True, slots=True)
class Request:
    """As written on a page; `during` names what people at the counter do meanwhile."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    during: str = ""


class Counter:
    """Remembers what answers say, so that later requests can name it: `{lease}`, `{token}`, `{job_id}`, `{id}`, and of
    driver functions `{PKI_SignData}` and so on. `known` is more of the kind."""

    def __init__(
        self,
        where: Ready,
        scanner: SimScanner,
        module: SimIdCardModule,
        known: dict[str, str],
        scan_is_awaited: threading.Event,
    ) -> None:
        self.where = where
        self._scan_is_awaited = scan_is_awaited
        self._scanner, self._module = scanner, module
        self._known = CONSTANTS | known
        self._http = httpx.Client(base_url=where.url, timeout=60)
        self.events: dict[str, dict[str, Any]] = {}
        listens = threading.Event()
        threading.Thread(target=self._listen, args=(listens,), daemon=True).start()
        assert listens.wait(30)

    def _listen(self, listens: threading.Event) -> None:
        name = ""
        try:
            with httpx.stream("GET", f"{self.where.url}/v1/events", timeout=None) as stream:
                listens.set()
                for line in stream.iter_lines():
                    if line.startswith("event: "):
                        name = line[7:]
                    elif line.startswith("data: "):
                        self.events[name] = json.loads(line[6:])
        except httpx.HTTPError:
            return

    def close(self) -> None:
        self._http.close()

    def filled(self, text: str) -> str:
        for name, value in self._known.items():
            text = text.replace(name, value)
        return text

    @contextmanager
    def _meanwhile(self, during: str) -> Iterator[None]:
        if not during:
            yield
            return
        helper = threading.Thread(target=getattr(self, f"_{during}"), daemon=True)
        helper.start()
        if during in BEFORE:
            helper.join(60)
        yield
        helper.join(60)

    def play(self, request: Request) -> tuple[int, Any]:
        headers = {name: self.filled(value) for name, value in request.headers.items()}
        if request.body:
            headers.setdefault("Content-Type", "application/json")
        content = self.filled(request.body).encode()
        with self._meanwhile(request.during):
            answer = self._http.request(request.method, self.filled(request.path), headers=headers, content=content)
        body = answer.json() if answer.content else None
        if isinstance(body, dict):
            found = {name: body[name] for name in ("lease", "token", "job_id") if isinstance(body.get(name), str)}
            self._known |= {f"{{{name}}}": value for name, value in found.items()}
        if isinstance(body, list) and body and "id" in body[0]:
            self._known["{id}"] = body[0]["id"]
        return answer.status_code, body

    def speak(self, message: str, during: str = "") -> Any:
        """One message on the driver's WebSocket."""
        with self._meanwhile(during), connect(self.where.ws_url, proxy=None) as link:
            link.send(self.filled(message))
            answer = json.loads(link.recv(timeout=60))
        if answer.get("success") == "1":
            self._known[f"{{{answer['functionName']}}}"] = answer["pOutInfo"]
        return answer

    def give_back(self) -> None:
        """The card that driver functions keep for the next; this one keeps none."""
        self.speak(json.dumps({"function": "iReadCardBas", "iType": 1}))

    # -- what people do meanwhile -----------------------------------------------------------------------------------

    def _agree(self) -> None:
        own = {"Origin": self.where.url}
        page = self._until(lambda: re.search(r'name="key" value="([\w-]+)"', self._get("/pair")))
        httpx.post(f"{self.where.url}/pair", data={"key": page[1], "act": "allow"}, headers=own)

    def _pin(self) -> None:
        own = {"Origin": self.where.url}
        page = self._until(lambda: re.search(r'name="key" value="([\w-]{43})"', self._get("/pin")))
        httpx.post(f"{self.where.url}/pin", content=f"key={page[1]}&pin={PIN}&again={PIN}".encode(), headers=own)

    def _new_pin(self) -> None:
        self._pin()
        self._pin()

    def _lay(self) -> None:
        self._module.place(Person())

    def _scan(self) -> None:
        assert self._scan_is_awaited.wait(30)
        self._scan_is_awaited.clear()
        self._scanner.scan("ECARD-EXAMPLE")

    def _finish(self) -> None:
        """The card session that runs."""
        self._until(lambda: not httpx.get(f"{self.where.url}/v1/info").json()["jobs"] or None)

    def _get(self, path: str) -> str:
        return httpx.get(f"{self.where.url}{path}", follow_redirects=True).text

    @staticmethod
    def _until(look: Any) -> Any:
        until = time.monotonic() + 30
        while (found := look()) is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        return found


@contextmanager
def counter(folder: Path) -> Iterator[Counter]:
    """Reader with a card, reader with a blank, PSAM, ID-card module, scanner, centre, and a page to be paired."""
    readers = InProcessReaders([READER, BLANK, PSAM_SLOT])
    readers.insert(PSAM_SLOT, SimPsam(vector_roots(), "990100", "990100000001"))
    chip = SimCard(build_card(personas.load("adult-3.0"), vector_roots()))
    assert chip.state.neighbours is not None
    certificate = base64.b64encode(signing_certificate(chip)).decode()
    readers.insert(READER, chip)
    readers.insert(BLANK, ScriptedCard())
    with ExitStack() as stack:
        scanner = stack.enter_context(SimScanner())
        module = stack.enter_context(SimIdCardModule(Person()))
        given: dict[str, Any] = {
            "port": 0, "ws_port": 0, "operation_timeout_s": 20, "psam_readers": (PSAM_SLOT,),
            "scanner": scanner.path, "id_card_module": module.path, "allowed_origins": ("https://office.example",),
            "pairing_origins": (HALL,), "state_dir": folder,
        }  # fmt: skip
        stand = AgentSettings(**{name: value for name, value in given.items() if name in AgentSettings.model_fields})
        centre = ScriptedCentre([BatchCommand(apdu="00A4000002EF05")], [BatchCommand(apdu="0084000008")])
        where = stack.enter_context(running_agent(stand, readers, issuance=centre))
        until = time.monotonic() + 30
        while sum(one["atr"] is not None for one in httpx.get(f"{where.url}/v1/readers").json()) < 3:
            assert time.monotonic() < until
            time.sleep(0.02)
        awaited = stack.enter_context(scan_waits())
        made = Counter(where, scanner, module, {"{certificate}": certificate}, awaited)
        stack.callback(made.close)
        yield made


def differences(told: Any, seen: Any, place: str = "", *, is_exact: bool = True, may_grow: bool = False) -> list[str]:
    """Where an answer is not as told. Members that vary, and all where not `is_exact`, must only be of the same
    kind; of a text told with … beginning and end count; `may_grow` lets an answer have members that were not told."""
    key = place.rpartition(".")[2].partition("[")[0]
    if isinstance(told, dict) and isinstance(seen, dict):
        lacking = [f"{place}.{name}: missing" for name in told if name not in seen]
        extra = [] if may_grow else [f"{place}.{name}: not told" for name in seen if name not in told]
        inner = [
            line
            for name in told.keys() & seen.keys()
            for line in differences(told[name], seen[name], f"{place}.{name}", is_exact=is_exact, may_grow=may_grow)
        ]
        return lacking + extra + inner
    if isinstance(told, list) and isinstance(seen, list):
        if is_exact and key not in VARIES and len(told) != len(seen):
            return [f"{place}: {len(seen)} of them, not {len(told)}"]
        pairs = zip(told, seen, strict=False)
        return [
            line
            for number, (one, other) in enumerate(pairs)
            for line in differences(one, other, f"{place}[{number}]", is_exact=is_exact, may_grow=may_grow)
        ]
    varies = not is_exact or key in VARIES
    numbers = (int, float)
    is_same_kind = type(told) is type(seen) or (isinstance(told, numbers) and isinstance(seen, numbers))
    if isinstance(told, str) and isinstance(seen, str) and "…" in told:
        begins, _, ends = told.partition("…")
        return [] if seen.startswith(begins) and seen.endswith(ends) else [f"{place}: {seen!r}, not {told!r}"]
    if told == seen or (varies and (is_same_kind or None in (told, seen))):
        return []
    return [f"{place}: {seen!r}, not {told!r}"]
