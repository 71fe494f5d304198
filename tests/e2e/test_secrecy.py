"""No key byte anywhere in a whole system: every root, card and seal key is known, everything runs at its most verbose,
then logs, database, output and files are searched.

Left out: the simulated ministry's file and the simulated chips, which stand for things that hold keys by their nature.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from hsm import card_rules
from hsm.api import Algorithm, CardFactors
from hsm.primitives import default_engine
from hsm.soft_device import SoftKey
from onecard_cli.__main__ import app
from onecard_cli.demo import PERSON, Demo, Progress
from onecard_cli.home import Home
from onecard_cli.system import REGION, System
from simulators.factory import historical_bytes
from tests.hsm.seeded import Secrets, files

WORDS = "seeded passphrase 62d9f3"
pytestmark = pytest.mark.slow
OUTSIDE = ("simulated-ministry.json", "cards/")
COMMANDS = (
    ["hsm", "status"],
    ["hsm", "status", "--json"],
    ["hsm", "keygen", "IRK", "--purpose", "seal", "--algorithm", "3DES"],
    ["hsm", "keygen", "IRK", "--purpose", "nothing"],
)
NEEDED = ("keys.json", "issuance.sqlite3", "issuance.log", "agent.log")


@dataclass
class Ran:
    secrets: Secrets
    files: dict[str, bytes]
    output: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A card initialized, applied for, personalized, read, its QR validated; then the commands about keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONECARD_PASSPHRASE", WORDS)
        patch.setenv("ONECARD_LOG", "TRAFFIC")
        patch.setenv("ONECARD_DEBUG", "1")
        home = Home.at(tmp_path_factory.mktemp("home"))
        demo = Demo("3.0", use_pcsc=False, tear=0, progress=Progress(is_silent=True))
        with System(home, use_pcsc=False) as system:
            demo._run(system)
        patch.setenv("ONECARD_HOME", str(home.path))
        said = [spoken(words) for words in COMMANDS]
        patch.setenv("ONECARD_PASSPHRASE", WORDS + "?")
        said.append(spoken(COMMANDS[0]))
        assert "KeyStoreLockedError" in said[-1], "no error was provoked"
        patch.setenv("ONECARD_PASSPHRASE", WORDS)
        yield Ran(seeded(home), files(home.path), "\n".join(said))


def spoken(words: list[str]) -> str:
    """What the command prints, and with ONECARD_DEBUG its traceback."""
    done = CliRunner().invoke(app, words)
    return done.output + ("".join(traceback.format_exception(done.exception)) if done.exception else "")


def seeded(home: Home) -> Secrets:
    secrets, engine = Secrets(), default_engine()
    secrets.add("passphrase", WORDS.encode())
    factors = CardFactors(REGION, historical_bytes(REGION, 1)[5:13])
    for algorithm, roots in home.roots().keys.items():
        for name, value in roots.items():
            secrets.add(f"{algorithm} {name}", value)
            root = SoftKey(engine, Algorithm(algorithm), value)
            for level in (1, 2, 3):
                parts = card_rules.factors_of_level(level, factors)
                secrets.add(f"{algorithm} {name} of the card {level}", card_rules.diversified_value(root, parts))
    with home.key_service() as keys:
        for ref, row in keys.table.rows().items():
            secrets.add(str(ref), bytes(row.handle))
    return secrets


def test_files(ran: Ran) -> None:
    assert set(NEEDED) <= set(ran.files)
    searched = [name for name in ran.files if not name.startswith(OUTSIDE)]
    for name in searched:
        assert ran.secrets.found_in(ran.files[name]) == [], name
    assert PERSON["name"].encode() not in ran.files["issuance.sqlite3"]


def test_the_run_was_verbose_and_there_was_much_to_find(ran: Ran) -> None:
    assert len(ran.secrets.values) > 100
    log = ran.files["agent.log"].decode("utf-8", "replace")
    assert "apdu.traffic > 80 E0" in log
    assert log.count("apdu.traffic") > 300
    ministry = ran.secrets.found_in(ran.files["simulated-ministry.json"])
    assert len(ministry) > 20


def test_output_of_commands(ran: Ran) -> None:
    assert "IRK/SM4" in ran.output
    assert ran.secrets.found_in(ran.output) == []
