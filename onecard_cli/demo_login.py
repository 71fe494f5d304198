"""`onecard demo --login`: a site is started for the occasion and somebody logs in to it by scan."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from cardlib.failures import FailureCode
from hsm.sealed_store import write_atomically
from onecard_cli import ROOT
from onecard_cli.demo import DEMO_DIGITS, PHONE, Demo, demand, read_qr
from onecard_cli.output import CommandError
from onecard_cli.system import START_TIMEOUT_S, die_with_parent, unused_port

EXAMPLE = ROOT / "clients" / "python" / "example_site.py"
_PATH = re.compile(r'viewBox="0 0 (\d+) \1" aria-hidden="true"><path d="(M[^"]*)"')
_NUMBER = re.compile(r"<output[^>]*>\s*<span>(\d)</span><span>(\d)</span>")
_HERE = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


class LoginDemo(Demo):
    """The card is issued and its twin on the phone first, as in the other demo."""

    def _run(self, system: Any) -> None:
        port = unused_port()
        site = f"http://127.0.0.1:{port}"
        with ExitStack() as ends:
            with self._step("site", "登记并启动一个网站 / a site is registered and starts: clients/python") as step:
                client = _register(system, site)
                step.detail = {"client_id": "hall-1"}
                running = ends.enter_context(_example(client, port))
            made = self.issue(system, system.client("terminal-1"), system.agent_client())
            self.sign_up(system, made.issued)
            _wait(running, port)
            browser = ends.enter_context(httpx.Client(follow_redirects=True, timeout=30, trust_env=False))
            self._log_in(system, browser, site)

    def _log_in(self, system: Any, browser: httpx.Client, site: str) -> None:
        with self._step("login_page", "网站转到登录页 / the site leads to the log-in page") as step:
            page = browser.get(f"{site}/enter").raise_for_status()
            link, number = _read(page.text)
            step.detail = {"link": link, "number": number}
        self._progress.print(f"   二维码 / code: {link}\n   数字 / number: {number}")
        with self._step("phone", "手机扫码，选数字，输密码 / the phone: scan, number, password"):
            said = _phone(system, link, number)
        self._progress.print("\n".join(f"   {line}" for line in said))
        with self._step("logged_in", "网站知道是谁了 / the site knows who it is") as step:
            page = browser.get(page.url).raise_for_status()
            demand(str(page.url) == f"{site}/", f"the browser is at {page.url.copy_with(query=None)}")
            step.detail = _known(page.text)
        self._progress.print("   " + "  ".join(step.detail.values()))
        with self._step("answer_replay_refused", "同一应答再用：拒绝 / the same answer again is refused") as step:
            (answer,) = (seen.url for seen in page.history if seen.url.path == "/back")
            step.detail = {"status": browser.get(answer).status_code}
            demand(step.detail["status"] == 403, "an answer was accepted twice")
        with self._step("logged_out", "退出 / logged out"):
            page = browser.get(f"{site}/leave").raise_for_status()
            demand(page.url.path == "/" and 'href="/enter"' in page.text, "still logged in")


def _register(system: Any, site: str) -> Path:
    """As an operator does; the file is what `onecard login client add` prints."""
    party = {
        "id": "hall-1",
        "name": "示例办事大厅",
        "redirect_uris": [f"{site}/back"],
        "logout_uris": [f"{site}/"],
        "scopes": ["openid", "profile"],
    }
    told = system.client("operator-1").post("/v1/relying-parties", json=party).raise_for_status()
    file: Path = system.home.path / "hall-1.json"
    write_atomically(file, told.content)
    return file


@contextmanager
def _example(client: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), str(client), str(port)],
        env=os.environ | _HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not _listens(port):
        demand(process.poll() is None and time.monotonic() < end, "the example site did not start")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def _phone(system: Any, link: str, number: int) -> list[str]:
    """What `onecard wallet login` says about who asks. Raises CommandError with its failure."""
    order = [sys.executable, "-m", "onecard_cli", "wallet", "login", link, "--number", str(number)]
    done = subprocess.run(
        [*order, "--url", system.issuance_url, "--phone", PHONE],
        env=os.environ | {"ONECARD_HOME": str(system.home.path), "PYTHONPATH": str(ROOT)},
        input=f"{DEMO_DIGITS}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    demand(done.returncode == 0, done.stderr.strip() or done.stdout.strip())
    return [line for line in done.stdout.partition("{")[0].splitlines() if not line.endswith(": -")]


def _read(text: str) -> tuple[str, int]:
    """What the code of the log-in page says, read off its picture, and the number beside it."""
    from PIL import Image, ImageDraw

    code, number = _PATH.search(text), _NUMBER.search(text)
    if code is None or number is None:
        raise CommandError(FailureCode.INTERNAL, "the page shows no code or no number")
    px, quiet, size = 4, 4, int(code[1])
    picture = Image.new("L", ((size + 2 * quiet) * px,) * 2, 255)
    pen = ImageDraw.Draw(picture)
    for bar in re.finditer(r"M(\d+) (\d+)h(\d+)v1h-\d+z", code[2]):
        left, top, length = (int(part) for part in bar.groups())
        x, y = (left + quiet) * px, (top + quiet) * px
        pen.rectangle((x, y, x + length * px - 1, y + px - 1), fill=0)
    return read_qr(picture), int(number[1] + number[2])


def _known(text: str) -> dict[str, str]:
    name, sub = re.search(r"<b>([^<]*)</b>", text), re.search(r"<code>([^<]*)</code>", text)
    if name is None or sub is None:
        raise CommandError(FailureCode.INTERNAL, "the site does not say who is logged in")
    return {"person": unescape(name[1]), "sub": unescape(sub[1])}
