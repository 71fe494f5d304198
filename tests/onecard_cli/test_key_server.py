"""`onecard hsm serve` and a service that uses its keys from another home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cardlib.failures import FailureCode
from hsm.api import Algorithm, KeyExistsError, KeyPurposeError, KeyRef, Purpose
from hsm.remote import KeyServer
from onecard_cli.home import Home
from onecard_cli.output import CommandError

ROOT = Path(__file__).resolve().parents[2]


def test_keys_from_their_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, web = tmp_path / "keys", tmp_path / "web"
    environment = os.environ | {"ONECARD_HOME": str(keys)}
    command = [sys.executable, "-m", "onecard_cli", "hsm", "serve"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            socket = Path(server.stdout.readline().strip())
            assert socket.stat().st_mode & 0o077 == 0
            home = Home.at(web)
            (web / "hsm.toml").write_text(f'backend = "remote"\nsocket = "{socket}"\n')
            with home.keys_in_use() as service:
                assert any(info.ref.name == "IRK" for info in service.keys())  # noqa: SIM118
                seal = KeyRef("PERSON_SEAL", Algorithm.SM4)
                service.generate(seal, Purpose.SEAL)
                assert service.unseal(seal, service.seal(seal, b"x")) == b"x"
                with pytest.raises(KeyPurposeError):
                    service.destroy(seal)
            assert not home.key_store.exists()
            with pytest.raises(CommandError) as refused:
                home.key_service()
            assert refused.value.failure is FailureCode.KEY_PURPOSE
            with Home.at(keys).key_service() as other, pytest.raises(KeyExistsError):
                KeyServer(socket, other)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
    assert not socket.exists()
