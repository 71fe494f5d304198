"""The C library: built here, linked by a C program as a hospital's, and asked the documented functions."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from apdu.inprocess import InProcessReaders
from simulators.card import Algorithm
from simulators.psam import SimPsam
from simulators.serial import SimPinPad
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.server import running_agent
from tests.cardlib.driver_stand import INFO, TERMINAL, card
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import settings
from tests.terminal_agent.test_driver_socket import typing

SOURCE = Path(__file__).parents[2] / "terminal_agent" / "driver_shim"
PROGRAM = r"""
#include <stdio.h>
long iReadCardBas(int, char *);
long iReadCard(int, int, char *, char *, char *);
long iVerifyPIN(int, char *);
long iDoDebit(int, char *, char *, char *);
int main(int argc, char **argv) {
    static char out[20480];
    long code = iReadCardBas(3, out);
    printf("%ld %s\n", code, out);
    code = iReadCard(3, 2, argv[1], "SSSEEF06|08|09|$", out);
    printf("%ld %s\n", code, out);
    code = iVerifyPIN(3, out);
    printf("%ld %s\n", code, out);
    code = iDoDebit(3, argv[1], "0.1|0.2|20250316101500|", out);
    printf("%ld %s\n", code, out);
    code = iReadCard(3, 2, argv[1], "nonsense\"\\", out);
    printf("%ld %s\n", code, out[0] ? "text" : "");
    printf("%ld\n", iReadCard(3, 2, 0, "SSSEEF06|08|$", out));
    return argc - 2;
}
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler on this machine")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shim")
    library = folder / "libSSCardDriver.so"
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared"]
    subprocess.run(["gcc", "-O2", *flags, "-o", str(library), str(SOURCE / "sscard_driver.c")], check=True)
    (folder / "main.c").write_text(PROGRAM)
    link = ["-L", str(folder), "-lSSCardDriver", f"-Wl,-rpath,{folder}"]
    subprocess.run(["gcc", "-o", str(folder / "main"), str(folder / "main.c"), *link], check=True)
    return folder / "main"


def run(program: Path, port: int) -> list[str]:
    env = os.environ | {"ONECARD_AGENT_WS_PORT": str(port)}
    done = subprocess.run([program, INFO], env=env, capture_output=True, check=True, timeout=60)
    return done.stdout.decode("gb18030").splitlines()


def test_a_c_program_gets_the_documented_strings(program: Path, tmp_path: Path) -> None:
    readers = InProcessReaders(["Reader 00", "SAM 01"])
    readers.insert("SAM 01", SimPsam(vector_roots(), "990100", TERMINAL))
    readers.insert("Reader 00", card(Algorithm.SM4))
    with SimPinPad() as pad:
        stand = settings(
            port=0,
            ws_port=0,
            psam_readers=("SAM",),
            operation_timeout_s=10,
            pin_pad=pad.path,
            debit_journal=tmp_path / "debits.jsonl",
        )
        with running_agent(stand, readers) as where:
            threading.Event().wait(0.3)
            typing(pad, ("123456", None))
            lines = run(program, int(where.ws_url.rsplit(":", 1)[1].strip("/")))
    assert lines[0].startswith("0 990100|990100199001010012|A00000011|990100D15600000500000001FFFFFFFF|测试甲|")
    assert lines[1] == "0 SSSEEF06|990100199001010012|测试甲|$"
    assert lines[2] == "0 "
    assert lines[3].startswith(f"0 03|DPK|0000000A00000014|32|{TERMINAL}|")
    assert lines[4:] == ["-23 text", "-14"]


def test_without_an_agent_the_reader_is_not_connected(program: Path) -> None:
    assert [line.split()[0] for line in run(program, 9)] == ["-11"] * 5 + ["-14"]


def test_every_function_of_the_agent_is_exported(program: Path) -> None:
    command = ["nm", "-D", "--defined-only", str(program.parent / "libSSCardDriver.so")]
    symbols = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert {line.split()[-1] for line in symbols.splitlines()} == set(FUNCTIONS)
