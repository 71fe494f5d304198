"""A simulated card printer behind its bridge: faults come and go, printed cards are SVG pictures in a folder.

It speaks the line protocol of docs/agent.md with code of its own. What was printed outlives the printer: a job whose
picture is in the folder is never printed again.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import escape

FAULTS = ("ribbon_empty", "hopper_empty", "jam", "paused", "cover_open")
RIBBON_LOW = 5
_LONGEST_LINE = 2 << 20
_BLANK_PHOTO = (
    '<rect x="322" y="84" width="82" height="101" rx="4" fill="#e4eaee"/><path d="M331 185c0-26 15-33 32-33s32 7 32'
    ' 33z" fill="#7f8f9d"/><ellipse cx="363" cy="126" rx="17" ry="21" fill="#b9c4cc"/>'
)


class SimCardPrinter:
    """Listens on 127.0.0.1 from construction to `close`; a context manager. `print_s` is what one card takes.

    `ribbon` and `hopper` count what is left, None for no end. While there is a fault nothing moves, and a job in work
    goes on by itself when it is cleared. `spoil_next` ruins the next card: its job fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        print_s: float = 0.0,
        ribbon: int | None = None,
        hopper: int | None = None,
    ) -> None:
        self.folder = folder
        self.ribbon, self.hopper = ribbon, hopper
        self.spoil_next = False
        self.submitted: list[str] = []
        """Job ids of every print request, repeated ones too."""
        self._print_s = print_s
        self._fault: str | None = None
        self._jobs: dict[str, str] = {}
        self._guard = threading.Condition()
        self._is_closed = False
        self._queue: list[tuple[str, dict[str, Any]]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._server = _Server(("127.0.0.1", port), self)
        self._threads = [
            threading.Thread(target=run, name="card printer", daemon=True)
            for run in (lambda: self._server.serve_forever(0.05), self._work)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def printed(self) -> list[str]:
        """Job ids of the cards that lie in the output."""
        return sorted(path.stem for path in self.folder.glob("*.svg"))

    @property
    def state(self) -> str:
        if self._fault is not None:
            return self._fault
        if self.ribbon == 0:
            return "ribbon_empty"
        if self.hopper == 0:
            return "hopper_empty"
        return "ribbon_low" if self.ribbon is not None and self.ribbon <= RIBBON_LOW else "ready"

    def fail(self, fault: str) -> None:
        if fault not in FAULTS:
            raise ValueError(f"no fault {fault!r}; there are {', '.join(FAULTS)}")
        with self._guard:
            self._fault = fault

    def clear(self, *, ribbon: int | None = None, hopper: int | None = None) -> None:
        """The operator was there: no fault, a new ribbon, cards in the hopper."""
        with self._guard:
            self._fault, self.ribbon, self.hopper = None, ribbon, hopper
            self._guard.notify_all()

    def close(self) -> None:
        with self._guard:
            self._is_closed = True
            self._guard.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def answer(self, line: bytes) -> dict[str, Any] | None:
        """None for a question that is none: the line is dropped, as a bridge does."""
        try:
            question = json.loads(line)
            act, job_id = question["act"], question.get("job_id", "")
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        with self._guard:
            if act == "print" and job_id.isalnum():
                self.submitted.append(job_id)
                if self._job(job_id) == "unknown":
                    self._jobs[job_id] = "queued"
                    self._queue.append((job_id, question["face"]))
                    self._guard.notify_all()
            return {"state": self.state, "job": self._job(job_id)}

    def _job(self, job_id: str) -> str:
        if job_id.isalnum() and (self.folder / f"{job_id}.svg").exists():
            return "printed"
        return self._jobs.get(job_id, "unknown")

    def _can_work(self) -> bool:
        return self._is_closed or (bool(self._queue) and self.state in ("ready", "ribbon_low"))

    def _work(self) -> None:
        while True:
            with self._guard:
                self._guard.wait_for(self._can_work)
                if self._is_closed:
                    return
                job_id, face = self._queue[0]
                self._jobs[job_id] = "printing"
                self._begin()
            time.sleep(self._print_s)
            with self._guard:
                self._guard.wait_for(self._can_work)
                if self._is_closed:
                    return
                if self._queue[0][0] != job_id:  # the power went, and the job with it
                    continue
                self._queue.pop(0)
                self._finish(job_id, face)

    def _begin(self) -> None:
        """A card goes to the print head."""

    def _finish(self, job_id: str, face: dict[str, Any]) -> None:
        self.ribbon = None if self.ribbon is None else self.ribbon - 1
        self.hopper = None if self.hopper is None else self.hopper - 1
        if self.spoil_next:
            self.spoil_next, self._jobs[job_id] = False, "failed"
            return
        picture = self.folder / f"{job_id}.tmp"
        picture.write_text(draw(face), encoding="utf-8")
        picture.replace(self.folder / f"{job_id}.svg")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], printer: SimCardPrinter) -> None:
        self.printer = printer
        super().__init__(address, _Line)


class _Line(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError):  # who asked is gone
            while line := self.rfile.readline(_LONGEST_LINE):
                answer = self.server.printer.answer(line)
                if answer is None:
                    return
                self.wfile.write(json.dumps(answer).encode() + b"\n")


def draw(face: dict[str, Any]) -> str:
    """The front of a printed card as SVG. The photo is embedded; without one its place is drawn."""
    text = {name: escape(str(value)) for name, value in face.items() if name != "photo_base64"}
    photo = face.get("photo_base64")
    picture = _BLANK_PHOTO
    if photo:
        source = escape(str(photo), {'"': "&quot;"})
        picture = f'<image x="322" y="84" width="82" height="101" href="data:image/jpeg;base64,{source}"/>'
    lines = (
        ("姓名", text["name"]),
        ("社会保障号码", text["social_security_number"]),
        ("卡号", text["card_number"]),
        ("有效期限", f"{_date(text['issue_date'])} 至 {_date(text['expiry_date'])}"),
    )
    rows = "".join(
        f'<text x="24" y="{150 + 29 * row}">{label}</text><text x="140" y="{150 + 29 * row}">{value}</text>'
        for row, (label, value) in enumerate(lines)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 428 270" lang="zh-CN">'
        '<rect width="428" height="270" rx="18" fill="#fff" stroke="#b9c8df"/>'
        f'<text x="24" y="46" font-size="24">社会保障卡</text><text x="404" y="46" font-size="16"'
        f' text-anchor="end">{text["issuer"]}</text><g font-size="17">{rows}</g>{picture}</svg>\n'
    )


def _date(digits: str) -> str:
    return f"{digits[:4]}.{digits[4:6]}.{digits[6:]}"
