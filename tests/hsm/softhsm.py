"""SoftHSM2 tokens in a folder of the test's own. The library reads its configuration when it is initialized, so a
test must let go of it before the next one begins; `SoftHsm.source` keeps a list for that."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsm.api import Algorithm
from hsm.pkcs11 import Pkcs11Source, Profile, load_profile
from hsm.pkcs11 import __file__ as package

SHIPPED = Path(package).parent / "profiles" / "softhsm2.toml"
PIN = "314159"
PIN_VARIABLE = "ONECARD_TOKEN_PIN"
WRAPPING_VALUE = bytes(range(0xA0, 0xC0))


def softhsm_problem() -> str:
    """What is missing, empty when nothing is."""
    if shutil.which("softhsm2-util") is None:
        return "softhsm2-util is not installed (package softhsm2)"
    return "" if shipped().library.exists() else f"no library at {shipped().library}"


def shipped() -> Profile:
    return load_profile(SHIPPED)


class SoftHsm:
    """Tokens of one folder; `SOFTHSM2_CONF` names its configuration."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens = folder / "tokens"
        self.tokens.mkdir()
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\n")
        monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
        monkeypatch.setenv(PIN_VARIABLE, PIN)
        self.sources: list[Pkcs11Source] = []

    def token(self, label: str = "onecard", *, value: bytes | None = WRAPPING_VALUE) -> None:
        """A new token with the wrapping key of that value, or without one."""
        words = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "27182818", "--pin", PIN]
        subprocess.run(words, check=True, capture_output=True, env=os.environ)
        if value is not None:
            source = self.source(label)
            assert source.ensure_wrapping_key(value)
            source.close()

    def source(self, label: str = "onecard", **changes: Any) -> Pkcs11Source:
        changes.setdefault("algorithms", frozenset({Algorithm.TDES}))
        source = Pkcs11Source(replace(shipped(), name=label, token_label=label, **changes))
        self.sources.append(source)
        return source

    def release(self) -> None:
        """So that the library can read another configuration."""
        for source in self.sources:
            for session in list(source._sessions):
                session.close()
            source.close()


@pytest.fixture
def softhsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    """Skips with the reason where SoftHSM2 is missing."""
    if problem := softhsm_problem():
        pytest.skip(problem)
    tokens = SoftHsm(tmp_path, monkeypatch)
    yield tokens
    tokens.release()
