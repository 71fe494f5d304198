"""A command's modules are imported when it runs."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from onecard_cli.__main__ import COMMANDS, app

NOT_FOR_THE_AGENT = {
    "alembic",
    "Crypto",
    "gmssl",
    "httpx",
    "issuance",
    "joserfc",
    "PIL",
    "pygments",
    "rich",
    "simulators",
    "sqlalchemy",
    "stdnum",
    "tuf",
}
AGENT = (
    "import sys, onecard_cli.__main__, onecard_cli.services, onecard_cli.agent_config, terminal_agent.server;"
    "print(*{name.partition('.')[0] for name in sys.modules});"
    "terminal_agent.server._spare_httpx_command_line();"
    "import cardlib.client_auth;"
    "print(*{name.partition('.')[0] for name in sys.modules})"
)


def test_an_agent_carries_nothing_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", AGENT], capture_output=True, text=True, check=True)
    alone, registered = (NOT_FOR_THE_AGENT & set(line.split()) for line in done.stdout.splitlines())
    assert (alone, registered) == (set(), {"httpx"})


def test_every_command_is_listed_in_its_place_and_a_wrong_one_gets_the_nearest() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout.partition("Commands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "] == [*COMMANDS]
    assert "Did you mean 'doctor'?" in CliRunner().invoke(app, ["docter"]).output
