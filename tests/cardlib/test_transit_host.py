"""The operator's side of the purse: cryptograms behind the key service, and the host that decides on loads."""

from dataclasses import replace

import pytest

from cardlib.errors import CardNotGenuineError
from cardlib.transit_host import LoadLedger, LoadRefusedError
from cardlib.transit_journal import JournalError, Receipt, TransitJournal
from cardlib.transit_keys import TransitKeys
from hsm.api import Algorithm, BadInputError, KeyNotFoundError, KeyPurposeError, KeyRef, Purpose
from hsm.primitives import engines
from hsm.sealed_store import ScryptCost
from hsm.soft import SoftKeyService
from hsm.transactions import CryptogramError
from hsm.transit_transactions import DLK, SoftTransitTransactionKeys, TransitTransaction
from tests.cardlib.transit import LOAD_TERMINAL, Bank, insert, keys, pending_of, stand, when

NAMES = stand.NAMES


# ---- the operator's rules, on both engines


def check_step(operator: TransitKeys, name: str, step: str, macs: dict[str, str]) -> None:
    """MACs and TAC of one worked transaction; the TAC is taken by the operator, any other is not."""
    pending = pending_of(name, step)
    moment = bytes.fromhex(pending.moment)
    if step == "load":
        pending = replace(pending, mac1=macs["MAC1"])
        assert operator.online_mac2(pending, moment).hex().upper() == macs["MAC2"]
        with pytest.raises(CryptogramError, match="MAC1"):
            operator.online_mac2(replace(pending, mac1="00000000"), moment)
    else:
        assert [mac.hex().upper() for mac in operator.purchase_macs(pending)] == [macs["MAC1"], macs["MAC2"]]
    assert operator.is_genuine(Receipt(pending, macs["TAC"], True))
    assert not operator.is_genuine(Receipt(pending, "00000000", True))


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
@pytest.mark.parametrize("name", NAMES)
def test_operator_computes_the_vectors(name, engine):
    operator, vectors = keys(name, engine), stand.of(name)
    for step in ("purchase", "entry", "exit", "torn", "load"):
        check_step(operator, name, step, vectors[step])
    issuer, factor, block = stand.ISSUER, bytes.fromhex(stand.META["serial_factor"]), vectors["app_block"]
    code, challenge = int(vectors["algorithm_id"], 16), bytes.fromhex(block["challenge"])
    for header, act in (("841E0000", "block"), ("841E0001", "block_permanent"), ("84180000", "unblock")):
        mac = operator.command_mac(code, issuer, factor, challenge, bytes.fromhex(header))
        assert mac.hex().upper() == block[act]["MAC"]


def test_operator_computes_the_other_reading_of_sm4_macs():
    operator = keys("SM4", is_mac_folded=False)
    for step in ("purchase", "entry", "exit", "torn", "load"):
        check_step(operator, "SM4", step, stand.of("SM4")[step]["alt_left4"])


@pytest.mark.parametrize(
    "values",
    [
        {"random": bytes(3)},
        {"issuer": bytes(7)},
        {"terminal": b""},
        {"terminal_sequence": bytes(2)},
        {"sequence": 1 << 16},
        {"amount": -1},
        {"limit": 1 << 24},
    ],
)
def test_values_of_no_transaction_are_refused(values):
    whole = {"kind": 2, "issuer": bytes(8), "factor": bytes(8), "random": bytes(4), "sequence": 0, "balance": 0}
    with pytest.raises(BadInputError):
        TransitTransaction(**whole | {"amount": 1, "terminal": bytes(6)} | values)


def test_the_service_keeps_to_the_purpose_of_each_root(tmp_path):
    """A root that was imported for something else approves no load."""
    service = SoftKeyService.create(tmp_path / "keys.json", "passphrase", cost=ScryptCost(n=2))
    service.generate(KeyRef(DLK, Algorithm.TDES), Purpose.AUTHENTICATION)
    operator = TransitKeys(SoftTransitTransactionKeys(service))
    with pytest.raises(KeyPurposeError):
        operator.online_mac2(pending_of("3DES", "load"), bytes(7))
    with pytest.raises(KeyNotFoundError):
        operator.check_tac(pending_of("3DES", "load"), bytes(7), bytes(4))


# ---- the load host


def test_the_host_decides_once(tmp_path):
    path, load = tmp_path / "loads", pending_of("3DES", "load")
    bank = Bank("3DES", path=path)
    leave = bank.approve(load)
    bank._clock = lambda: when("20250316100000")
    assert bank.approve(load) == leave, "the same request, the same answer"
    with pytest.raises(CardNotGenuineError, match="TAC"):
        bank.confirm(load, bytes(4))
    assert (bank.aside, bank.booked) == (5000, 0)
    for _ in range(2):
        bank.confirm(load, bytes.fromhex(stand.of("3DES")["load"]["TAC"]))
        bank = Bank("3DES", path=path)
        assert (bank.aside, bank.booked) == (0, 5000)
    for act in (bank.approve, bank.reverse):
        with pytest.raises(LoadRefusedError):
            act(load)
    with path.open("ab") as file:
        file.write(b'["torn')
    assert Bank("3DES", path=path).booked == 5000
    path.write_bytes(b"[1]\n" + path.read_bytes())
    with pytest.raises(JournalError):
        LoadLedger(path)


def test_a_reversed_load_stays_reversed():
    bank, load = Bank("3DES"), pending_of("3DES", "load")
    bank.reverse(load)
    bank.approve(load)
    bank.reverse(load)
    assert bank.account == 50000
    with pytest.raises(LoadRefusedError):
        bank.approve(load)
    with pytest.raises(LoadRefusedError):
        bank.confirm(load, b"")


def test_a_purse_is_not_filled_beyond_its_limit():
    journal, bank = TransitJournal(), Bank("3DES")
    purse = insert(stand.card("3DES", balance=99000))
    with pytest.raises(LoadRefusedError, match=r"1000\.00 yuan"):
        purse.load("L1", 1001, LOAD_TERMINAL, bank, journal)
    assert purse.load("L2", 1000, LOAD_TERMINAL, bank, journal).transaction.amount_fen == 1000
    assert (bank.booked, bank.aside, journal.unresolved) == (1000, 0, [])
