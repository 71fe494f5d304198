"""The contactless face: ATR out of the ATS, UID, and the same card as over the contacts."""

import json
import os
import subprocess
import sys

import pytest

from apdu.atr import Atr
from apdu.inprocess import InProcessReaders
from cardlib.bank import read_bank_card
from cardlib.session import SocialSecurityCard
from cardlib.transit import TransitPurse
from simulators import personas
from simulators.card import CardGone, CardStore, Faults, SimCard
from simulators.contactless import ContactlessCard
from simulators.factory import build_card
from simulators.pcscd import PrivatePcscd, is_available
from simulators.vpcd import VpcdLink
from tests.simulators.support import SSSE, vector_roots


def state(name: str = "adult-3.0"):
    return build_card(personas.load(name), vector_roots())


def test_atr_is_built_from_the_ats():
    card = ContactlessCard(state())
    atr = card.power_on()
    assert card.ats.hex().upper() == "1278808002" + "00FE00000086FE990103000001"
    assert atr[:-1].hex().upper() == "3B8D8001" + "00FE00000086FE990103000001"
    assert Atr.from_bytes(atr).historical_bytes == card.state.historical
    xored = 0
    for byte in atr[1:]:
        xored ^= byte
    assert xored == 0


def test_uid_is_the_readers_answer_and_no_identity():
    card = ContactlessCard(state())
    with pytest.raises(CardGone):
        card.transmit(bytes.fromhex(SSSE))
    uids = set()
    for _ in range(4):
        card.power_on()
        answer = card.transmit(bytes.fromhex("FFCA000000"))
        assert (len(answer), answer[0], answer[-2:]) == (6, 0x08, b"\x90\0")
        uids.add(answer)
    assert len(uids) > 1
    fixed = ContactlessCard(state(), uid=bytes.fromhex("04112233445566"))
    fixed.power_on()
    answers = {"FFCA000000": "041122334455669000", "FFCA000007": "041122334455669000", "FFCA000004": "6C07",
               "FFCA00000A": "041122334455666282", "FFCA010000": fixed.state.historical.hex().upper() + "9000",
               "FFCA020000": "6A81", "FFCA0000": "6A81"}  # fmt: skip
    assert {c: fixed.transmit(bytes.fromhex(c)).hex().upper() for c in answers} == answers
    with pytest.raises(ValueError, match="UID"):
        ContactlessCard(state(), uid=b"12345")


def test_answers_come_at_once_and_le_00_means_all():
    card = ContactlessCard(state())
    card.power_on()
    fci = card.transmit(bytes.fromhex("00A4040008A00000063201010500"))
    assert fci.hex().upper().startswith("6F318408A000000632010105")
    assert len(card.transmit(bytes.fromhex("00B0950000"))) == 32
    assert card.transmit(bytes.fromhex("805C000200")).hex() == "000027109000"
    assert card.transmit(bytes.fromhex("00B201F400")).hex() == "6a83"


def test_same_card_on_both_faces(tmp_path):
    """One memory: what is paid in the field is missing on the contacts."""
    store = CardStore(tmp_path / "card.json")
    store.save(state("child-3.0"))
    readers = InProcessReaders(["field", "slot"])
    readers.insert("field", ContactlessCard(store.load(), store=store))
    with readers.connect("field") as connection:
        assert connection.protocol in ("T=0", "T=1")
        card = SocialSecurityCard(connection, connection.atr, protocol=connection.protocol)
        card.open()
        assert card.region == "990100"
        purse = TransitPurse(connection, protocol=connection.protocol)
        assert purse.open().serial == "09990100000000005678"
        assert purse.balance().available == 5000
        assert read_bank_card(connection, protocol=connection.protocol).number == "6200000000000000026"
    image = store.load()
    image.neighbours.transit.balance -= 300
    store.save(image)
    readers.insert("slot", SimCard(store.load(), store=store))
    with readers.connect("slot") as connection:
        purse = TransitPurse(connection, protocol=connection.protocol)
        purse.open()
        assert purse.balance().available == 4700


def test_leaving_the_field_loses_what_was_open():
    card = ContactlessCard(state(), faults=Faults(tear_after=2))
    card.power_on()
    card.transmit(bytes.fromhex("00A4040008A00000063201010500"))
    with pytest.raises(CardGone):
        card.transmit(bytes.fromhex("805C000204"))
    assert card.power_on()
    assert card.transmit(bytes.fromhex("805C000204")).hex() == "6d00"


READER = """
import json, sys
from apdu.pcsc import PcscReaders
from cardlib.transit import TransitPurse
readers = PcscReaders()
watch = readers.watch()
while not any(slot.is_present for slot in watch.wait(0.2).values()):
    pass
watch.close()
with readers.connect(readers.readers()[0]) as connection:
    uid = connection.transmit(bytes.fromhex("FFCA000000")).hex().upper()
    purse = TransitPurse(connection, protocol=connection.protocol)
    purse.open()
    print(json.dumps([connection.atr.hex().upper(), uid, purse.balance().available, purse.identity.serial]))
"""


@pytest.mark.pcsc
@pytest.mark.skipif(not is_available()[0], reason=is_available()[1] or "available")
def test_through_a_real_pcsc_service():
    card = ContactlessCard(state(), uid=bytes.fromhex("04112233445566"))
    with PrivatePcscd(vpcds=1) as service, VpcdLink(card, service.ports[0]):
        done = subprocess.run(
            [sys.executable, "-c", READER],
            env={**os.environ, **service.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    atr, uid, balance, serial = json.loads(done.stdout)
    assert atr.startswith("3B8D8001")
    assert (uid, balance, serial) == ("041122334455669000", 10000, "09990100000000001234")
