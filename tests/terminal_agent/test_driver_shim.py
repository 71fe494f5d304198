"""The C library: built here, linked by a C program as a hospital's, and asked the documented functions."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from apdu.inprocess import InProcessReaders
from cardlib.pki_certificate import Certificate
from hsm.primitives import default_engine, signature_from_der
from simulators.card import Algorithm, SimCard
from simulators.factory import build_card
from simulators.personas import load
from simulators.psam import SimPsam
from simulators.serial import SimPinPad
from terminal_agent.driver_functions import FUNCTIONS
from terminal_agent.server import running_agent
from tests.cardlib.driver_stand import INFO, TERMINAL, card, signing_certificate
from tests.simulators.support import vector_roots
from tests.terminal_agent.stand import settings, wait_for_cards
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

CERTIFICATES = r"""
#include <stdio.h>
#include <string.h>
long iReadICCardNum(char *, char *);
long PKI_SignData(char *, char *, int, char *);
long PKI_VerifySign(char *, char *, char *, char *, int, char *);
long PKI_SealEnvelope(char *, char *, char *, int, char *);
long PKI_OpenEnvelope(char *, char *, int, char *);
int main(int argc, char **argv) {
    static char out[20480], signature[512], number[20], error[512];
    long code = iReadICCardNum(number, error);
    printf("%ld %s %s\n", code, number, error);
    code = PKI_SignData("999999", "\xb2\xce\xb1\xa3", 3, signature);
    printf("%ld %s\n", code, signature);
    code = PKI_VerifySign(0, argv[1], "\xb2\xce\xb1\xa3", signature, 3, out);
    printf("%ld %s\n", code, out);
    code = PKI_VerifySign("", argv[1], "\xb2\xce\xb1", signature, 3, out);
    printf("%ld\n", code);
    code = PKI_VerifySign("", argv[1], "other", signature, 3, out);
    printf("%ld %s\n", code, out);
    code = PKI_SealEnvelope("", argv[1], "\xb2\xce\xb1\xa3", 3, out);
    printf("%ld %s\n", code, out);
    code = PKI_OpenEnvelope("999999", "AAAA", 3, out);
    printf("%ld\n", code);
    printf("%ld %ld\n", iReadICCardNum(0, error), PKI_SignData("", 0, 3, out));
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
    link = ["-L", str(folder), "-lSSCardDriver", f"-Wl,-rpath,{folder}"]
    for name, source in (("main", PROGRAM), ("certificates", CERTIFICATES)):
        (folder / f"{name}.c").write_text(source)
        subprocess.run(["gcc", "-o", str(folder / name), str(folder / f"{name}.c"), *link], check=True)
    return folder / "main"


def run(program: Path, port: int, argument: str = INFO) -> list[str]:
    env = os.environ | {"ONECARD_AGENT_WS_PORT": str(port)}
    done = subprocess.run([program, argument], env=env, capture_output=True, check=True, timeout=60)
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
            wait_for_cards(where, readers)
            typing(pad, ("123456", None))
            lines = run(program, int(where.ws_url.rsplit(":", 1)[1].strip("/")))
    assert lines[0].startswith("0 990100|990100199001010012|A00000011|990100D15600000500000001FFFFFFFF|测试甲|")
    assert lines[1] == "0 SSSEEF06|990100199001010012|测试甲|$"
    assert lines[2] == "0 "
    assert lines[3].startswith(f"0 03|DPK|0000000A00000014|32|{TERMINAL}|")
    assert lines[4:] == ["-23 text", "-14"]


def test_a_c_program_signs_and_reads_the_bank_number(program: Path) -> None:
    """The text is signed in the program's own bytes; the PIN it passes is not the card's and does not matter."""
    readers = InProcessReaders(["Reader 00"])
    chip = SimCard(build_card(load("adult-3.0"), vector_roots()))
    readers.insert("Reader 00", chip)
    certificate = signing_certificate(chip)
    with SimPinPad() as pad:
        stand = settings(port=0, ws_port=0, operation_timeout_s=10, pin_pad=pad.path)
        with running_agent(stand, readers) as where:
            wait_for_cards(where, readers)
            typing(pad, ("123456", None))
            port = int(where.ws_url.rsplit(":", 1)[1].strip("/"))
            lines = run(program.with_name("certificates"), port, base64.b64encode(certificate).decode())
    assert lines[0].split()[0] == "0"
    assert lines[0].split()[1].isdecimal()
    code, signature = lines[1].split()
    raw = signature_from_der(base64.b64decode(signature))
    assert code == "0"
    assert default_engine().sm2_verify(Certificate.from_der(certificate).public, "参保".encode("gbk"), raw)
    assert lines[2:4] == ["0 ", "-14"]
    assert lines[4].startswith("-15 签名不对")
    assert lines[5].startswith("0 T0NFM")
    assert lines[6:] == ["-23", "-14 -14"]


def test_without_an_agent_the_reader_is_not_connected(program: Path) -> None:
    assert [line.split()[0] for line in run(program, 9)] == ["-11"] * 5 + ["-14"]


def test_every_function_of_the_agent_is_exported(program: Path) -> None:
    command = ["nm", "-D", "--defined-only", str(program.parent / "libSSCardDriver.so")]
    symbols = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert {line.split()[-1] for line in symbols.splitlines()} == set(FUNCTIONS)
