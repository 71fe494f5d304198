"""hsm.toml: what it may say, what is refused, and that the device it names is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.api import Algorithm, KeyRef, Purpose
from hsm.configuration import Backend, KeyConfiguration
from hsm.device import DeviceLostError
from hsm.pkcs11 import __file__ as pkcs11_package
from hsm.primitives import default_engine
from hsm.profile_table import ProfileError
from hsm.sdf import __file__ as sdf_package
from hsm.sealed_store import ScryptCost
from hsm.service import StoreKeyService
from simulators.sdf_device import build, init_device, is_available

SDF = """
backend = "sdf"
claims = "claims"
[pool]
sessions = 3
wait_s = 2
[[machine]]
name = "a"
profile = "a.toml"
library = "a/lib.so"
[[machine]]
name = "b"
profile = "a.toml"
library = "b/lib.so"
"""


def test_no_file_means_the_embedded_service(tmp_path: Path) -> None:
    found = KeyConfiguration.load(tmp_path)
    assert found.backend is Backend.SOFT
    assert found.device(default_engine()) is None


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "hsm.toml").write_text(SDF)
    found = KeyConfiguration.load(tmp_path)
    assert (found.backend, found.sessions, found.wait_s) == (Backend.SDF, 3, 2)
    assert [machine.name for machine in found.machines] == ["a", "b"]
    assert found.machines[1].library == tmp_path / "b" / "lib.so"
    assert found.claims == tmp_path / "claims"
    assert KeyConfiguration.parse(b'backend = "remote"\nsocket = "s"', tmp_path).socket == tmp_path / "s"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("backend = 'hsm'", "backend"),
        ("backend = 'soft'\nextra = 1", "extra"),
        ("backend = 'remote'", "socket"),
        ("backend = 'sdf'\nclaims = 'c'", "machine"),
        ("backend = 'sdf'\nclaims = 'c'\nmachine = []", "machine"),
        ("backend = 'sdf'\nclaims = 'c'\n[[machine]]\nname = 'a'\nprofile = 'p'", "library"),
        ("backend = 'pkcs11'\n[[machine]]\nname = 'a'\nprofile = 'p'\npin = '1234'", "pin"),
        (SDF.replace('"b"', '"a"'), "differ"),
        (SDF.replace("sessions = 3", "sessions = 0"), "sessions"),
        ("backend = ", "TOML"),
        ("x" * 40_000, "exceeds"),
    ],
)
def test_mistakes_name_their_place(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "hsm.toml").write_text(text)
    with pytest.raises(ProfileError, match=place):
        KeyConfiguration.load(tmp_path)


@settings(max_examples=60)
@given(content=st.binary(max_size=60))
def test_anything_else_is_a_profile_error(content: bytes) -> None:
    with pytest.raises(ProfileError):
        KeyConfiguration.parse(b"backend = " + content, Path())


def test_missing_parts_are_told_before_work_begins(tmp_path: Path) -> None:
    (tmp_path / "hsm.toml").write_text(SDF)
    with pytest.raises(ProfileError):
        KeyConfiguration.load(tmp_path).device(default_engine())
    profile = Path(pkcs11_package).parent / "profiles" / "softhsm2.toml"
    text = f"backend = 'pkcs11'\n[[machine]]\nname = 'a'\nprofile = '{profile}'\nlibrary = '{tmp_path}/none.so'\n"
    configured = KeyConfiguration.parse(text.encode(), tmp_path)
    assert configured.machines[0].library == tmp_path / "none.so"


def test_a_configured_device_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_available()[0]:
        pytest.skip(is_available()[1])
    library = build(tmp_path)
    device = init_device(tmp_path / "machine", seed="configured", library=library)
    profile = Path(sdf_package).parent / "profiles" / "onecard_simulator.toml"
    monkeypatch.setenv("ONECARD_SDF_PASSWORD", device.password)
    (tmp_path / "hsm.toml").write_text(
        f'backend = "sdf"\nclaims = "claims"\n'
        f'[[machine]]\nname = "one"\nprofile = "{profile}"\nlibrary = "{device.library}"\n'
    )
    configured = KeyConfiguration.load(tmp_path).device(default_engine())
    key = KeyRef("IRK", Algorithm.SM4)
    with StoreKeyService.create(tmp_path / "store", "long passphrase", cost=ScryptCost(n=2), device=configured) as keys:
        keys.generate(key, Purpose.AUTHENTICATION, level=1)
        assert keys.device.name == "one"
        assert len(bytes(keys.table.find(key).handle)) != 16
        device.unplug()
        with pytest.raises(DeviceLostError):
            keys.generate(KeyRef("RK", Algorithm.SM4), Purpose.AUTHENTICATION, level=1)
