"""Sites that people log in to: each is configured as docs/relying-parties.md says, served for one test, and shows who
came.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.issuance.unmodified.browser import PATIENCE_S
from tests.issuance.unmodified.manual import Client, configuration

APACHE_MODULES = Path("/usr/lib/apache2/modules")
AGENT_BACK = "http://localhost:4242"
"""oidc-agent wants an address to go back to, also where nobody goes."""
_BY_LINE = ["stdbuf", "-oL"]


def authlib_site(client: Client) -> Starlette:
    """https://docs.authlib.org/en/latest/client/starlette.html"""
    oauth = OAuth()
    exec(configuration("authlib", client), {"oauth": oauth})

    async def enter(request: Request) -> Response:
        answer: Response = await oauth.onecard.authorize_redirect(request, str(request.url_for("back")))
        return answer

    async def back(request: Request) -> Response:
        token = await oauth.onecard.authorize_access_token(request)
        return JSONResponse([token["userinfo"], await oauth.onecard.userinfo(token=token)])

    routes = [Route("/", enter), Route("/back", back, name="back")]
    return Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, secret_key=secrets.token_hex())])


def page_site(client: Client, scripts: Path) -> Starlette:
    """A page without a server: oidc-client-ts in the browser (https://authts.github.io/oidc-client-ts/)."""

    async def page(request: Request) -> Response:
        return HTMLResponse(_PAGE % configuration("oidc-client-ts", client, str(request.base_url).rstrip("/")))

    return Starlette(routes=[Mount("/oidc", StaticFiles(directory=scripts)), Route("/", page, name="page")])


_PAGE = """<!doctype html><title>Site</title><pre id="known"></pre>
<script src="/oidc/oidc-client-ts.min.js"></script><script>
%s
const show = user => document.getElementById("known").textContent = JSON.stringify(user.profile)
if (location.search) manager.signinRedirectCallback().then(show, error => document.title = error)
else manager.signinRedirect()
</script>"""


@contextmanager
def apache_site(client: Client, port: int) -> Iterator[str]:
    """Debian's mod_auth_openidc (https://github.com/OpenIDC/mod_auth_openidc); who came is told in headers."""
    modules = ("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "status", "auth_openidc")
    lines = [f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in modules]
    lines += ["User nobody", "Group nogroup"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="onecard-apache-") as folder:
        lines += [_APACHE.format(folder=folder, port=port)]
        told = configuration("apache", client, f"http://127.0.0.1:{port}")
        lines += [told.replace("PASSPHRASE", secrets.token_hex())]
        config = Path(folder) / "httpd.conf"
        config.write_text("\n".join(lines))
        with _process(["/usr/sbin/apache2", "-d", folder, "-f", str(config), "-D", "FOREGROUND"]) as process:
            _listens(process, port)
            yield f"http://127.0.0.1:{port}/inside"


_APACHE = """
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
StartServers 1
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/log
<Location /inside>
  SetHandler server-status
  Header set Came "expr=%{{REMOTE_USER}}"
  Header set Acr "expr=%{{env:OIDC_CLAIM_acr}}"
</Location>
"""


@contextmanager
def django_site(client: Client, port: int) -> Iterator[str]:
    """With a database in memory, which `testserver` makes."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.issuance.unmodified.django_settings",
        "SITE_CLIENT": json.dumps(vars(client)),
    }
    order = [sys.executable, "-m", "django", "testserver", "--noinput", "--verbosity", "0", _GROUPS]
    with _process([*order, "--addrport", f"127.0.0.1:{port}"], **settings) as process:
        _listens(process, port)
        yield f"http://127.0.0.1:{port}"


class Agent:
    """oidc-agent, a command-line client without a browser (https://indigo-dc.gitbook.io/oidc-agent/), and its user."""

    def __init__(self, folder: Path) -> None:
        self._environment = {"OIDC_CONFIG_DIR": str(folder), "PASSWORD": secrets.token_hex()}

    def start(self, process: subprocess.Popen[str]) -> None:
        line = next(line for line in _lines(process) if line.startswith("OIDC_SOCK="))
        self._environment["OIDC_SOCK"] = line.removeprefix("OIDC_SOCK=").partition(";")[0]

    @contextmanager
    def asks(self, client: Client) -> Iterator[tuple[str, str]]:
        """The address that its user opens and the code to type there; at the end it holds tokens."""
        order = ["oidc-gen", "site", "--manual", "--flow=device", "--scope=openid profile", f"--iss={client.issuer}"]
        order += [f"--client-id={client.client_id}", f"--client-secret={client.client_secret}"]
        order += [f"--redirect-uri={AGENT_BACK}", "--pw-env=PASSWORD", "--prompt=none", "--confirm-default"]
        with _process(_BY_LINE + order, **self._environment) as process:
            lines = _lines(process)
            address = next(line.strip() for line in lines if line.startswith("http"))
            yield address, next(line.split()[-1] for line in lines if "code:" in line)
            process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0

    def token(self) -> str:
        order = ["oidc-token", "site"]
        return subprocess.check_output(order, env=os.environ | self._environment, text=True).strip()


@contextmanager
def oidc_agent(folder: Path) -> Iterator[Agent]:
    agent = Agent(folder)
    with _process([*_BY_LINE, "oidc-agent", "--console", "--no-autoload"]) as process:
        agent.start(process)
        yield agent


_GROUPS = str(Path(__file__).with_name("django_groups.json"))
"""`testserver` wants data to begin with."""


@contextmanager
def _process(order: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Ended with the test."""
    with subprocess.Popen(
        order,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | environment,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def _listens(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(0.02)
