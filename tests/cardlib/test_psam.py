"""The host's side of a PSAM: the vectors' commands, key levels and types, MAC answers of several lengths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apdu.errors import StatusWordError
from cardlib.management import rehearse_reload, reload_pin, unblock_pin
from cardlib.psam import PsamAuthenticator, PsamError
from cardlib.session import SocialSecurityCard
from hsm.api import Algorithm as HostAlgorithm
from hsm.api import KeyRef, KeyService, MessageKeys
from simulators.card import Algorithm, SimCard
from simulators.psam import KeyRecord, SimPsam
from tests.cardlib.driver_stand import FACTORS, add_message_key, keys
from tests.simulators.support import BOTH, CHALLENGE, FixedRandom, vector_roots, vector_state, vectors

VECTORS = {vector["id"]: vector for vector in vectors("vectors_psam")["vectors"]}
HOST = {Algorithm.TRIPLE_DES: HostAlgorithm.TDES, Algorithm.SM4: HostAlgorithm.SM4}
SUFFIX = {Algorithm.TRIPLE_DES: "3DES", Algorithm.SM4: "SM4"}


class Line:
    """What goes to the PSAM."""

    def __init__(self, **options: Any) -> None:
        self.chip = SimPsam(vector_roots(), **options)
        self.chip.power_on()
        self.sent: list[str] = []

    def transmit(self, command: bytes) -> bytes:
        self.sent.append(command.hex().upper())
        return self.chip.transmit(command)


def stk(algorithm: Algorithm) -> KeyRef:
    return KeyRef("STK", HOST[algorithm])


def opened(card: SimCard) -> SocialSecurityCard:
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    return session


def test_a_psam_secures_messages_but_is_no_key_service() -> None:
    assert isinstance(PsamAuthenticator(Line()), MessageKeys)
    assert not isinstance(PsamAuthenticator(Line()), KeyService)


@pytest.mark.parametrize("algorithm", BOTH)
def test_pin_reload_is_the_vectors(algorithm: Algorithm) -> None:
    """Encrypt, then MAC, from one DELIVERY; the card takes it."""
    vector = VECTORS[f"psam-sm-pin-reload-{SUFFIX[algorithm]}"]
    line = Line()
    add_message_key(line.chip)
    card = SimCard(vector_state(algorithm, pin="0000"), rng=FixedRandom())
    session = opened(card)
    reload_pin(session, PsamAuthenticator(line), "123456")
    steps = [vector[name] for name in ("delivery_capdu", "encrypt_capdu", "mac_capdu")]
    assert [command for command in line.sent if not command.startswith("00C0")][-3:] == steps
    session.verify_pin("123456")


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_mac_alone_takes_the_mac_key(algorithm: Algorithm) -> None:
    vector = VECTORS[f"psam-sm-update-record-{SUFFIX[algorithm]}"]
    line, data = Line(), bytes.fromhex("050420250101")
    header = bytes.fromhex("04DC0528")
    field = PsamAuthenticator(line).secured_data(stk(algorithm), FACTORS, CHALLENGE, header, data)
    assert field == data + bytes.fromhex(vector["mac"])
    commands = [command for command in line.sent if not command.startswith("00C0")]
    assert commands[-2:] == [vector["delivery_capdu"], vector["mac_single"]]


@pytest.mark.parametrize("algorithm", BOTH)
def test_long_macs_are_chained(algorithm: Algorithm) -> None:
    vector = VECTORS[f"psam-sm-update-binary-64-{SUFFIX[algorithm]}"]
    line = Line()
    field = PsamAuthenticator(line).secured_data(
        stk(algorithm), FACTORS, CHALLENGE, bytes.fromhex("04D68800"), bytes(range(64))
    )
    assert field[64:].hex().upper() == vector["mac"]
    commands = [command for command in line.sent if not command.startswith("00C0")]
    assert commands[-1 - len(vector["cipher_capdus"]) :] == [vector["delivery_capdu"], *vector["cipher_capdus"]]


@settings(max_examples=50)
@given(st.sampled_from(BOTH), st.binary(max_size=200), st.booleans())
def test_psam_and_key_service_secure_alike(algorithm: Algorithm, data: bytes, encrypt: bool) -> None:
    line = Line()
    add_message_key(line.chip)
    arguments = (stk(algorithm), FACTORS, CHALLENGE, bytes.fromhex("84240001"), data)
    by_psam = PsamAuthenticator(line).secured_data(*arguments, encrypt=encrypt)
    assert by_psam == keys().secured_data(*arguments, encrypt=encrypt)


@pytest.mark.parametrize("algorithm", BOTH)
def test_without_an_encrypting_key_a_psam_unblocks_but_does_not_reload(algorithm: Algorithm) -> None:
    card = SimCard(vector_state(algorithm))
    session, psam = opened(card), PsamAuthenticator(Line())
    for act in (lambda: rehearse_reload(session, psam), lambda: reload_pin(session, psam, "2468")):
        with pytest.raises(PsamError) as refused:
            act()
        assert refused.value.failure == "PSAM_KEY_LEVEL"
    unblock_pin(session, psam)
    session.verify_pin("123456")


def test_a_rehearsal_tells_the_card_nothing() -> None:
    line = Line()
    add_message_key(line.chip)
    session = opened(SimCard(vector_state(Algorithm.SM4)))
    before = session.pin_tries()
    session.exchange = pytest.fail  # type: ignore[assignment]
    rehearse_reload(session, PsamAuthenticator(line))
    assert before == 3


def test_a_key_of_another_level_and_type_is_found_and_remembered() -> None:
    line = Line(without=frozenset({"STK"}))
    line.chip.add_key(Algorithm.SM4, KeyRecord(0x48, 0x09, bytes(16)))
    psam = PsamAuthenticator(line)
    psam.secured_data(stk(Algorithm.SM4), FACTORS, CHALLENGE, bytes.fromhex("84240000"), b"")
    tried = [command[4:8] for command in line.sent if command.startswith("BFDE")]
    assert tried == ["2609", "6609", "4609", "2809", "6809", "4809"]
    psam.secured_data(stk(Algorithm.SM4), FACTORS, CHALLENGE, bytes.fromhex("84240000"), b"")
    assert [command[4:8] for command in line.sent if command.startswith("BFDE")][6:] == ["4809"]


@pytest.mark.parametrize(
    ("answer", "mac"),
    [("F395BC6FD43577F2", "F395BC6F"), ("08FA5012CD034C5A9D2B0A333CD17FBB", "640369C0"), ("640369C0", "640369C0")],
)
def test_macs_of_four_eight_and_sixteen_bytes(answer: str, mac: str) -> None:
    """The whole blocks of the vectors (psam.md OPEN S9)."""
    assert Scripted(answer).mac() == mac


@settings(max_examples=60)
@given(st.binary(max_size=20))
def test_whatever_a_psam_answers_to_a_mac(answer: bytes) -> None:
    try:
        assert len(Scripted(answer.hex()).mac()) == 8
    except (PsamError, StatusWordError):
        assert len(answer) not in (4, 8, 16)


class Scripted:
    """A PSAM that accepts everything and gives one answer to CIPHER DATA."""

    def __init__(self, answer: str) -> None:
        self._answer = bytes.fromhex(answer)

    def transmit(self, command: bytes) -> bytes:
        data = {0xB0: bytes.fromhex("990100000001"), 0xFA: self._answer}.get(command[1], b"")
        return data + b"\x90\x00"

    def mac(self) -> str:
        psam = PsamAuthenticator(self, protocol="T=1")
        return psam.secured_data(stk(Algorithm.SM4), FACTORS, CHALLENGE, bytes.fromhex("84240000"), b"").hex().upper()
