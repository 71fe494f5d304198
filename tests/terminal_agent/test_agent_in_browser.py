"""The agent beside a real browser: pages that may call do, by onecard-agent.js; hostile pages get nowhere."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from apdu.inprocess import InProcessReaders
from bench.npm import npm_package
from simulators.card import Algorithm
from terminal_agent import client_failures
from terminal_agent.page import HERE
from terminal_agent.server import Ready, running_agent
from tests.cardlib.driver_stand import card
from tests.terminal_agent.stand import READER, settings
from tests.terminal_agent.test_pin_browser import CHROMIUM, FLAGS

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
STATIC = HERE / "static"
SHOTS = Path(os.environ.get("ONECARD_SCREENSHOTS") or ".")

GOOD_PAGE = """async ([url, reader, ws]) => {
  const { OneCardAgent } = await import(`${url}/onecard-agent.js`);
  const agent = new OneCardAgent(url);
  const said = {};
  said.readers = (await agent.readers()).map((one) => one.name);
  const lease = await agent.lease(reader, { owner: "窗口 1" });
  const other = new OneCardAgent(url);
  said.busy = await other.readCard(reader).catch((error) => [error.constructor.name, error.code, error.holder.owner]);
  said.read = await lease.readCard().catch((error) => error.code);
  const waiting = other.lease(reader, { owner: "窗口 2", waitS: 60 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  await lease.release();
  const second = await waiting;
  said.second = (await agent.readers())[0].holder.owner;
  await second.release();
  await second.lost;
  const driver = agent.driver(ws);
  const calls = ["iReadCardBas", "noSuch", "iReadCardBas"].map((name) => driver.call(name, { iType: 1 }));
  said.answers = (await Promise.all(calls)).map((answer) => answer.functionName);
  driver.close();
  const unreachable = (error) => error.code;
  said.late = await driver.call("iReadCardBas").catch(unreachable);
  const left = await agent.lease(reader, { owner: "窗口 3" });
  const begun = performance.now();
  dispatchEvent(new Event("pagehide"));
  await left.lost;
  await (await other.lease(reader, { owner: "窗口 4", waitS: 60 })).release();
  said.freed = performance.now() - begun < 20000;  // at once, on a busy computer; kept it would be for minutes
  const broken = new OneCardAgent(location.origin);
  said.cut = await broken.call("GET", "/cut").catch(unreachable);
  const events = broken.events();
  said.seen = [];
  await new Promise((resolve) => events.on("tick", ({ last }) => said.seen.push(last) > 1 && resolve()));
  events.close();
  said.nobody = await new OneCardAgent("http://127.0.0.1:9").info().catch((error) => error.code);
  said.found = (await OneCardAgent.find(null, [9, Number(new URL(url).port)])).url === url;
  return said;
}"""

PAIR = """async ([url]) => {
  const { OneCardAgent } = await import(`${url}/onecard-agent.js`);
  const agent = new OneCardAgent(url);
  const before = await agent.readers().catch((error) => error.code);
  window.agent = agent;
  window.paired = agent.pair("临江市政务服务").catch((error) => error.code);
  return before;
}"""

HOSTILE = """async ([url, ws, own, token]) => {
  const tried = {};
  const attempt = async (name, what) => {
    tried[name] = await what().then((value) => value ?? "through", (error) => error.name);
  };
  const ok = (answer) => {
    if (answer.type !== "opaque" && !answer.ok) throw new Error("refused");
    return answer.type;
  };
  const json = { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"owner":"x"}' };
  await attempt("fetch", () => fetch(`${url}/v1/readers`).then(ok));
  await attempt("post", () => fetch(`${url}/v1/readers/x/lease`, json).then(ok));
  const blind = { method: "POST", mode: "no-cors", body: "{}" };
  await attempt("opaque", () => fetch(`${url}/v1/log-ins`, blind).then(ok));
  await attempt("token", () => fetch(`${url}/v1/readers`, { headers: { Authorization: `Bearer ${token}` } }).then(ok));
  await attempt("redirect", () => fetch(`${own}/redirect?${url}/v1/readers`).then(ok));
  await attempt("module", () => import(`${url}/onecard-agent.js`));
  await attempt("websocket", () => new Promise((resolve, reject) => {
    const socket = new WebSocket(ws);
    socket.onopen = () => resolve("open");
    socket.onerror = () => reject(new Error("refused"));
  }));
  await attempt("events", () => new Promise((resolve, reject) => {
    const source = new EventSource(`${url}/v1/events`);
    source.onopen = () => resolve("open");
    source.onerror = () => { source.close(); reject(new Error("refused")); };
  }));
  await attempt("picture", () => new Promise((resolve, reject) => {
    const picture = document.body.appendChild(new Image());
    picture.onload = () => resolve("loaded");
    picture.onerror = () => reject(new Error("refused"));
    picture.src = `${url}/static/seal.svg`;
  }));
  await attempt("null origin", () => new Promise((resolve, reject) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script>fetch("${url}/v1/readers").then(() => parent.postMessage("through", "*"),
      () => parent.postMessage("refused", "*"))</` + "script>";
    window.onmessage = (event) => (event.data === "refused" ? reject(new Error("refused")) : resolve("through"));
    document.body.append(frame);
  }));
  return tried;
}"""

FRAME = """(url) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.onload = () => resolve(true);
  frame.src = url;
  document.body.append(frame);
})"""

FORM = """(url) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: url, enctype: "text/plain" });
  const field = document.createElement("input");
  Object.assign(field, { name: '{"owner":"x", "a', value: '"}' });
  form.append(field);
  document.body.append(form);
  form.submit();
}"""


class Site(BaseHTTPRequestHandler):
    """An empty page under every host name, a redirection to what the query says, an agent whose connections break."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path in ("/cut", "/v1/events"):
            self._break(path)
            return
        self.send_response(307 if path == "/redirect" else 200)
        if path == "/redirect":
            self.send_header("Location", query)
            self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title><body>")

    def _break(self, path: str) -> None:
        self.send_response(200)
        if path == "/cut":
            self.send_header("Content-Length", "100")
        self.end_headers()
        tick = json.dumps({"last": self.headers["Last-Event-ID"]})
        self.wfile.write(b"{" if path == "/cut" else f"id: run-1\r\nevent: tick\r\ndata: {tick}\r\n\r\n".encode())

    def log_message(self, *_: object) -> None: ...


@contextmanager
def site() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def shot(page: Any, name: str) -> None:
    if os.environ.get("ONECARD_SCREENSHOTS"):
        page.screenshot(path=str(SHOTS / f"agent-{name}.png"), full_page=True)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Ready, int, Any]]:
    readers = InProcessReaders([READER])
    readers.insert(READER, card(Algorithm.TRIPLE_DES))
    with site() as port, playwright_api.sync_playwright() as play:
        stand = settings(
            port=0,
            ws_port=0,
            state_dir=tmp_path,
            allowed_origins=(f"http://hall.example:{port}",),
            pairing_origins=(f"http://asks.example:{port}", f"http://also-asks.example:{port}"),
        )
        with running_agent(stand, readers) as where:
            names = "--host-resolver-rules=MAP *.example 127.0.0.1"
            browser = play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, names])
            yield where, port, browser
            browser.close()


def test_pages_beside_the_agent(stage: tuple[Ready, int, Any], caplog: pytest.LogCaptureFixture) -> None:
    where, port, browser = stage
    page = browser.new_page(viewport={"width": 1280, "height": 860}, locale="zh-CN")

    page.goto(f"http://hall.example:{port}/")
    assert page.evaluate(GOOD_PAGE, [where.url, READER, where.ws_url]) == {
        "readers": [READER],
        "busy": ["ReaderLeasedFailure", "READER_LEASED", "窗口 1"],
        "read": "PSAM_ABSENT",
        "second": "窗口 2",
        "answers": ["iReadCardBas", "noSuch", "iReadCardBas"],
        "late": "AGENT_UNREACHABLE",
        "freed": True,
        "cut": "AGENT_UNREACHABLE",
        "seen": [None, "run-1"],
        "nobody": "AGENT_UNREACHABLE",
        "found": True,
    }

    page.goto(f"http://asks.example:{port}/")
    assert page.evaluate(PAIR, [where.url]) == "PAIRING_REQUIRED"
    person = browser.new_page(viewport={"width": 1280, "height": 800})
    person.goto(where.url)
    person.wait_for_selector("#pairing-wanted a")
    person.wait_for_selector("#stage .oc-alert")  # the card without PSAM was asked
    shot(person, "pairing-wanted")
    person.click("#pairing-wanted a")
    person.wait_for_selector("#allow")
    assert person.inner_text("dd strong") == f"http://asks.example:{port}"
    shot(person, "pair")
    person.click("#allow")
    person.wait_for_url("**/pair/end/allowed")
    shot(person, "paired")
    token = page.evaluate("window.paired")
    assert page.evaluate("window.agent.readers().then((all) => all.length)") == 1
    person.goto(f"{where.url}/permission")
    shot(person, "permission")
    person.close()

    with caplog.at_level(logging.INFO, "terminal_agent"):
        for host in ("evil.example", "sub.hall.example", "hall.example.evil.example", "also-asks.example"):
            page.goto(f"http://{host}:{port}/")
            tried = page.evaluate(HOSTILE, [where.url, where.ws_url, f"http://{host}:{port}", token])
            through = {name: end for name, end in tried.items() if end not in ("TypeError", "Error", "opaque")}
            assert through.keys() == ({"module"} if host == "also-asks.example" else set()), (host, through)
            assert "ORIGIN_FORBIDDEN" in caplog.text
            if host == "evil.example":
                page.evaluate(FRAME, f"{where.url}/")
                assert all(not frame.url.startswith(where.url) for frame in page.frames)
                page.evaluate(FORM, f"{where.url}/v1/readers/x/lease")
                page.wait_for_url(f"{where.url}/**")
                assert "ORIGIN_FORBIDDEN" in page.content()
        assert token not in caplog.text
        rebound = page.goto(f"http://rebind.example:{where.http_port}/")
        assert rebound.status == 421

    page.goto(f"http://asks.example:{port}/")
    (pairing,) = httpx.get(f"{where.url}/v1/pairings").json()
    httpx.delete(f"{where.url}/v1/pairings/{pairing['id']}")
    again = page.evaluate(
        "([url, token]) => import(`${url}/onecard-agent.js`).then(({ OneCardAgent }) =>"
        " new OneCardAgent(url, token).readers().catch((error) => error.code))",
        [where.url, token],
    )
    assert again == "PAIRING_REQUIRED"
    assert [reader["holder"] for reader in httpx.get(f"{where.url}/v1/readers").json()] == [None]


def test_the_client_is_typed(tmp_path: Path) -> None:
    compiler = npm_package("typescript", "5.9.3")
    if compiler is None or shutil.which("node") is None:
        pytest.skip("npm or its registry is missing")
    client = tmp_path / "onecard-agent.js"
    client.write_text((STATIC / client.name).read_text("utf-8"), "utf-8")
    (tmp_path / "onecard-agent-failures.js").write_text(client_failures.script(), "utf-8")
    options = ["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "esnext",
               "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"]  # fmt: skip
    order = ["node", str(compiler / "bin" / "tsc"), *options, str(client)]
    done = subprocess.run(order, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
