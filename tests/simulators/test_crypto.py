"""The card's own cryptography against the worked vectors, before any of it is used to test a command."""

import pytest

from simulators.card import crypto
from simulators.card.crypto import Algorithm
from tests.simulators.support import algorithm_of, of_kind


def ids(vector):
    return vector["id"]


@pytest.mark.parametrize("vector", of_kind("diversify"), ids=ids)
def test_diversification(vector):
    root = next(name for name in vector["steps"] if name.endswith("_root"))
    value = bytes.fromhex(vector["steps"][root])
    for level in range(int(root[5]), 4):
        value = crypto.diversify(algorithm_of(vector), value, bytes.fromhex(vector["factors"][f"L{level}"]))
    assert value.hex().upper() == vector["card_key"]


@pytest.mark.parametrize("vector", of_kind("internal_authentication") + of_kind("external_authentication"), ids=ids)
def test_authentication(vector):
    algorithm = algorithm_of(vector)
    factor = bytes.fromhex(vector.get("challenge") or vector["factor"])
    session_key = crypto.session_key(algorithm, bytes.fromhex(vector["key"]), factor)
    assert session_key.hex().upper() == vector["session_key"]
    value = crypto.authentication_value(algorithm, session_key, bytes.fromhex(vector["original"]))
    assert value.hex().upper() == vector.get("auth_data", vector.get("response", "")[:16])


SECURED = [v for kind in ("update_record_sm", "pin_reload", "pin_unblock", "card_block") for v in of_kind(kind)]


@pytest.mark.parametrize("vector", SECURED, ids=ids)
def test_mac(vector):
    algorithm = algorithm_of(vector)
    session_key = crypto.session_key(algorithm, bytes.fromhex(vector["key"]), bytes.fromhex(vector["challenge"]))
    assert crypto.mac(algorithm, session_key, bytes.fromhex(vector["mac_input"])).hex().upper() == vector["mac"]


@pytest.mark.parametrize("vector", of_kind("rcp_write_key"), ids=ids)
def test_master_key_envelope(vector):
    algorithm, master = algorithm_of(vector), bytes.fromhex(vector["master_key"])
    message, iv = bytes.fromhex(vector["mac_input"]), bytes.fromhex(vector["iv"])
    assert crypto.mac(algorithm, master, message, iv).hex().upper() == vector["mac"]
    plain = crypto.open_envelope(algorithm, master, bytes.fromhex(vector["ciphertext"]))
    assert plain is not None
    assert plain.hex().upper() == vector["plain"]


def test_envelope_that_names_more_than_it_holds():
    cipher = crypto.ecb(Algorithm.TRIPLE_DES, bytes(range(16)), b"\x08" + bytes(7))
    assert crypto.open_envelope(Algorithm.TRIPLE_DES, bytes(range(16)), cipher) is None
