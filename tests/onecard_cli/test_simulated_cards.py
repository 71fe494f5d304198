"""What simulated cards and PSAMs of an installation remember, and who may have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apdu.vpcd import VpcdReaders
from cardlib.failures import FailureCode
from cardlib.transit import TransitPurse
from onecard_cli import readers as chosen
from onecard_cli.__main__ import app
from onecard_cli.home import Home
from onecard_cli.output import CommandError
from onecard_cli.personas import installed_psam, persona_card
from simulators.contactless import ContactlessCard
from simulators.vpcd import StandingCard, free_ports


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ONECARD_HOME", str(tmp_path / "home"))
    return Home.at(tmp_path / "home")


def test_a_card_of_an_earlier_version_gets_what_it_lacks(home: Home) -> None:
    """Images of the first release had no applications beside the social security part."""
    persona_card(home, "child-3.0").lock.close()
    path = home.path / "cards" / "child-3.0.json"
    image = json.loads(path.read_text())
    image.pop("neighbours")
    image["dfs"][1]["efs"][1]["records"] = []
    path.write_text(json.dumps(image))
    chip = persona_card(home, "child-3.0")
    chip.lock.close()
    assert chip.state.neighbours.transit.balance == 5000
    stored = json.loads(path.read_text())
    assert stored["neighbours"]["bank"]["number"]
    assert stored["dfs"][1]["efs"][1]["records"] == [], "the rest stays as it was"


@pytest.mark.parametrize("damage", ["later", "broken"])
def test_an_image_that_cannot_be_read_says_what_to_do(damage: str, home: Home) -> None:
    persona_card(home, "adult-1.0").lock.close()
    installed_psam(home, "990100").lock.close()
    for name, open_, remedy in (
        ("adult-1.0", lambda **fresh: persona_card(home, "adult-1.0", **fresh), "sim card --persona adult-1.0 --fresh"),
        ("psam-990100-01", lambda **f: installed_psam(home, "990100", **f), "sim psam --region 990100 --fresh"),
    ):
        path = home.path / "cards" / f"{name}.json"
        text = json.dumps(json.loads(path.read_text()) | {"of_tomorrow": 1}) if damage == "later" else "{"
        path.write_text(text)
        with pytest.raises(CommandError, match=remedy) as caught:
            open_()
        assert caught.value.failure is FailureCode.SIM_IMAGE_INVALID
        assert path.read_text() == text
        open_(fresh=True).lock.close()


def test_a_card_is_in_one_place_and_every_terminal_has_its_own_psam(home: Home) -> None:
    held = persona_card(home, "adult-2.0")
    with pytest.raises(CommandError) as caught:
        persona_card(home, "adult-2.0")
    assert caught.value.failure is FailureCode.CARD_BUSY
    held.lock.close()
    first, second = installed_psam(home, "990100"), installed_psam(home, "990100")
    assert [sam.psam.state.terminal.hex() for sam in (first, second)] == ["990100000001", "990100000002"]
    first.lock.close()
    third = installed_psam(home, "990100")
    assert third.psam.state.terminal == first.psam.state.terminal
    for sam in (second, third):
        sam.lock.close()


def test_a_psam_goes_on_where_it_was(home: Home) -> None:
    """Terminal transaction numbers are given once over all runs; --fresh starts anew."""
    sam = installed_psam(home, "990100")
    sam.psam.power_on()
    for command in ("00A40000028011", f"8070000024{'00' * 18}0100{'00' * 16}"):
        sam.psam.transmit(bytes.fromhex(command))
    sam.lock.close()
    run = CliRunner().invoke
    told = json.loads(run(app, ["sim", "psam", "--json"]).output)
    assert (told["terminal_number"], told["transit_transaction_number"]) == ("990100000001", 1)
    assert told["environments"]["SM4"]["tries_left"] == {"00": 3, "01": 3, "02": 3, "03": 3, "80": 3}
    assert "67/08" in run(app, ["sim", "psam"]).output
    fresh = json.loads(run(app, ["sim", "psam", "--fresh", "--json"]).output)
    assert fresh["transit_transaction_number"] == 0


def test_the_purse_of_a_stored_card_is_the_same_on_both_faces(home: Home) -> None:
    chip = persona_card(home, "adult-3.0", is_contactless=True)
    assert isinstance(chip.card, ContactlessCard)
    chip.card.state.neighbours.transit.balance = 777
    chip.card._card._store.save(chip.state)
    chip.lock.close()
    again = persona_card(home, "adult-3.0")
    again.lock.close()
    assert again.state.neighbours.transit.balance == 777


def test_cards_lie_ready_for_a_reader_that_comes_and_goes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs one after another open their slots; power goes with each."""
    chip, ports = persona_card(home, "adult-3.0", is_contactless=True), free_ports(1)
    monkeypatch.setenv(chosen.PORTS, str(ports[0]))
    with chip.lock, StandingCard(chip.card, ports[0]):
        for _ in range(2):
            readers = chosen.card_readers()
            assert isinstance(readers, VpcdReaders)
            assert chosen.card_readers() is readers, "one program, one reader"
            with readers.connect(readers.readers()[0]) as connection:
                assert connection.atr[:4].hex().upper() == "3B8D8001"
                purse = TransitPurse(connection, protocol=connection.protocol)
                purse.open()
                assert purse.balance().available == 10000
            readers.close()
            chosen._slots.cache_clear()
    monkeypatch.setattr(chosen, "CARD_TIMEOUT_S", 0.1)
    with pytest.raises(CommandError, match="offered"):
        chosen.card_readers()
    monkeypatch.setenv(chosen.PORTS, "here")
    with pytest.raises(CommandError, match="TCP"):
        chosen.card_readers()
