"""Our stack against programs we did not write: the same bytes out of our cards, and a card that is not ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apdu.simple_tlv import parse_records
from cardlib.spec import AccessKind, EfSpec, Generation, Structure, load
from onecard_cli.home import Home
from onecard_cli.personas import persona_card
from simulators.card import SimCard
from simulators.pcscd import PrivatePcscd
from simulators.vpcd import VpcdLink
from tests.e2e.support import ROOT

pytestmark = [pytest.mark.pcsc, pytest.mark.slow]

SLOT = "OneCard Virtual Reader 0 00 00"
VICC = shutil.which("vicc")
READY_S = 60.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.at(tmp_path_factory.mktemp("home"))
    home.key_service().close()
    return home


@contextmanager
def in_a_reader(card: SimCard, home: Home) -> Iterator[dict[str, str]]:
    """Environment of the clients of a private service with `card` in its first reader."""
    with PrivatePcscd() as pcscd:
        link = VpcdLink(card, pcscd.ports[0])
        link.insert()
        try:
            clients = os.environ | pcscd.env | {"ONECARD_HOME": str(home.path)}
            assert is_noticed(clients)
            yield dict(clients)
        finally:
            link.remove()


def run(environment: dict[str, str], *command: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=typed, capture_output=True, text=True, timeout=60, check=False
    )


def onecard_card(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return run(environment, str(ROOT / "onecard"), "card", *words)


def is_noticed(environment: dict[str, str]) -> bool:
    look = "from apdu.pcsc import PcscReaders as P; print(any(s.is_present for s in P().watch().wait(0.5).values()))"
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if run(environment, sys.executable, "-c", look).stdout.strip() == "True":
            return True
    return False


# -- the same bytes -------------------------------------------------------------------------------------------------


def pieces(ef: EfSpec, raw: list[str]) -> Iterator[tuple[str, str]]:
    """(command, data expected): the file again, record by record or in pieces of at most 256 bytes."""
    content = [bytes.fromhex(part) for part in raw]
    if ef.structure is Structure.TRANSPARENT:
        for at in range(0, len(content[0]), 256):
            part = content[0][at : at + 256]
            place = bytes((0x80 | ef.sfi, at)) if at < 256 else at.to_bytes(2, "big")
            yield f"00B0{place.hex()}{len(part) & 0xFF:02x}".upper(), part.hex().upper()
        return
    if ef.name != "DIR" and ef.structure is not Structure.CYCLIC:
        content = [bytes((record.tag, len(record.value))) + record.value for record in parse_records(b"".join(content))]
    for number, record in enumerate(content, start=1):
        yield f"00B2{number:02X}{ef.sfi << 3 | 4:02X}{len(record):02X}", record.hex().upper()


def plan(generation: Generation, raw: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Every file that anyone may read and this card has."""
    steps: list[tuple[str, str]] = []
    for df in load(generation).dfs:
        for ef in (*((df.directory,) if df.directory else ()), *df.efs):
            if ef.read.kind is AccessKind.FREE and raw.get(ef.path):
                steps += [(f"00A40400{len(df.aid):02X}{df.aid.hex().upper()}", ""), *pieces(ef, raw[ef.path])]
    return steps


def opensc_answers(text: str) -> list[str]:
    """Data of each answer. Sixteen bytes a line and their characters; a single line is not padded."""
    answers = []
    for block in text.split("Sending:")[1:]:
        lines = block.partition("Received")[2].splitlines()[1:]
        first = lines[0][: 3 * (len(lines[0]) // 4)] if lines else ""
        answers.append("".join([first, *(line[:48] for line in lines[1:])]).replace(" ", "").strip())
    return answers


def scriptor_answers(text: str) -> list[str]:
    found = re.findall(r"^< ([0-9A-F\s]+):", text, re.MULTILINE)
    return [re.sub(r"\s", "", answer)[:-4] for answer in found]


@pytest.mark.parametrize("persona", ["adult-1.0", "adult-2.0", "adult-3.0"])
def test_other_programs_read_the_same_bytes(persona: str, home: Home) -> None:
    tools = [name for name in ("opensc-tool", "scriptor") if shutil.which(name)]
    if not tools:
        pytest.skip("neither opensc-tool (opensc) nor scriptor (pcsc-tools) is installed")
    chip = persona_card(home, persona, fresh=True)
    with chip.lock, in_a_reader(chip.card, home) as clients:
        data = json.loads(onecard_card(clients, "read", "--all", "--json", "--auth", "keys").stdout)
        steps = plan(Generation(data["generation"]), data["raw"])
        commands, wanted = [command for command, _ in steps], [answer for _, answer in steps]
        assert sum(map(len, wanted)) > 500, "a good part of the card is free to read"
        if "opensc-tool" in tools:
            sent = [word for command in commands for word in ("-s", command)]
            other = run(clients, "opensc-tool", "-c", "default", "-r", "0", *sent)
            assert opensc_answers(other.stdout) == wanted
        if "scriptor" in tools:
            other = run(clients, "scriptor", "-r", SLOT, typed="\n".join([*commands, ""]))
            assert scriptor_answers(other.stdout) == wanted


# -- a card that is not ours ------------------------------------------------------------------------------------------


def vicc_library() -> Path | None:
    """Debian puts the package where no Python looks."""
    return next(Path("/usr/lib/python3").glob("*-packages/**/virtualsmartcard/VirtualSmartcard.py"), None)


@pytest.fixture(scope="module")
def foreign_card(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of clients of a private service with vsmartcard's ISO 7816 card in its reader."""
    library = vicc_library()
    if VICC is None or library is None:
        pytest.skip("vicc is not installed (Debian package vsmartcard-vpicc)")
    log = tmp_path_factory.mktemp("vicc") / "log"
    with PrivatePcscd() as pcscd, log.open("wb") as out:
        command = [sys.executable, VICC, "--type", "iso7816", "--hostname", "127.0.0.1", "--port", str(pcscd.ports[0])]
        environment = os.environ | {"PYTHONPATH": str(library.parents[1])}
        vicc = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            clients = os.environ | pcscd.env | {"ONECARD_HOME": str(home.path)}
            if not is_noticed(clients):
                pytest.skip(f"vicc does not run here: {log.read_text(errors='replace')[-300:]}")
            yield dict(clients)
        finally:
            vicc.terminate()
            vicc.wait(30)


@pytest.mark.parametrize("words", [("read",), ("pin", "status"), ("transit", "balance")])
def test_a_foreign_card_is_told_from_ours(words: tuple[str, ...], foreign_card: dict[str, str]) -> None:
    done = onecard_card(foreign_card, *words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    if words != ("transit", "balance"):  # a transit purse may be on any card; this one just has none
        assert "这不是社会保障卡" in done.stderr
        assert "NOT_SOCIAL_SECURITY_CARD" in done.stderr
    assert "原因" in done.stderr
    assert "办法" in done.stderr


def test_our_channel_talks_to_a_foreign_card(foreign_card: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "foreign.apdu"
    script.write_text(
        """reset => 3B ..
        00A4 000C [3F00] => 9000
        0084 0000 08 => xxxxxxxxxxxxxxxx 9000
        00A40400 [7378312E73682EC9E7BBE1B1A3D5CF] => 6A82
        80F2 0000 0A => 6D00
        00B0 0000 00 => 6986
        """
    )
    done = onecard_card(foreign_card, "run", str(script), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line["outcome"] for line in json.loads(done.stdout)["lines"]] == ["passed"] * 6
