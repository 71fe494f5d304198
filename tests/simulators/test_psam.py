"""The simulated PSAM against vectors_psam.json and the conformance cases of psam.md 8.1."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.card import Algorithm, CardGone
from simulators.psam import KeyRecord, SimPsam
from tests.simulators.support import Host, vector_roots, vectors

SELECT = {
    Algorithm.TRIPLE_DES: "00A404000F7378312E73682EC9E7BBE1B1A3D5CF",
    Algorithm.SM4: "00A404000F7378332E73682EC9E7BBE1B1A3D5CF",
}
ADF = "00A4040006D15600000590"
FACTORS = "86FE99010000000139393031303073783939303030307368"
PROCESS = "1122334455667788"


def psam(algorithm: Algorithm = Algorithm.TRIPLE_DES, **options) -> Host:
    card = SimPsam(vector_roots(), **options)
    stk = {Algorithm.TRIPLE_DES: 8, Algorithm.SM4: 16}
    for kind, length in stk.items():
        root = bytes.fromhex(vectors()["meta"]["root_keys"]["STK"]["key"])[:length]
        card.add_key(kind, KeyRecord(0x28, 0x09, root))
    h = Host(card)
    h(SELECT[algorithm])
    h(ADF)
    return h


def algorithm_of(vector) -> Algorithm:
    return Algorithm.SM4 if "SM4" in vector["id"] else Algorithm.TRIPLE_DES


def ids(vector):
    return vector["id"]


AUTHENTICATION = [v for v in vectors("vectors_psam")["vectors"] if "cipher_capdu" in v and "delivery_capdu" in v]


@pytest.mark.parametrize("vector", AUTHENTICATION, ids=ids)
def test_authentication_vectors(vector):
    h = psam(algorithm_of(vector))
    assert h(vector["select_env"]).endswith("9000")
    assert h(vector["select_adf"]) == "6F088406D156000005909000"
    assert h(vector["delivery_capdu"]) == "9000"
    assert h(vector["cipher_capdu"]) == vector["cipher_response"]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_reload_and_update_macs(algorithm):
    """Table of section 8: encrypt then MAC with one DELIVERY, single and chained MACs."""
    h = psam(algorithm)
    tail = "" if algorithm is Algorithm.TRIPLE_DES else "00" * 8
    process = "A1A2A3A4A5A6A7A8" + tail
    length = 8 + len(process) // 2
    assert h(f"BFDE2809{length:02X}86FE990100000001{process}") == "9000"
    if algorithm is Algorithm.TRIPLE_DES:
        assert h("80FA0000080312345680000000") == "09C0EFEA5E0523B79000"
        assert h("80FA0500180000000000000000842400010C09C0EFEA5E0523B7800000") == "F395BC6F9000"
    else:
        assert h("80FA00001003123456800000000000000000000000") == "B825C3B9CA4DB47B945A25CA33DC69A19000"
        mac = (
            "80FA0500300000000000000000000000000000000084240001"
            + "14B825C3B9CA4DB47B945A25CA33DC69A1"
            + "80"
            + "00" * 10
        )
        assert h(mac) == "640369C09000"
    assert h("80FA000008" + "00" * 8 if not tail else "80FA000010" + "00" * 16) == "6901"
    assert h(f"BFDE2609{length:02X}86FE990100000001{process}") == "9000"
    if algorithm is Algorithm.TRIPLE_DES:
        assert h("80FA010008" + "2501018000000000") == "6901", "last part without a first"
        assert h("80FA070010000000000000000004DC05280A050420") == "9000"
        assert h("80FA0100082501018000000000") == "2DAD3CB89000"
        assert h("80FA050010" + "00" * 16) == "6901", "one MAC sequence per DELIVERY"
    else:
        assert h("80FA0500200000000000000000000000000000000004DC05280A0504202501018000000000") == "051EED229000"


PURCHASES = [v for v in vectors("vectors_psam")["vectors"] if "init_sam_capdu" in v]


@pytest.mark.parametrize("vector", PURCHASES, ids=ids)
def test_purchase(vector):
    """Also cases 10 to 12: counters, unknown version, CREDIT out of turn."""
    h = psam(algorithm_of(vector), counter=0x2A)
    init = vector["init_sam_capdu"]
    assert h(vector["credit_sam_capdu"]) == "6901"
    at = 10 + 2 * 26
    assert h(init[:at] + "09" + init[at + 2 :]) == "6A88"
    assert h(init) == vector["init_sam_response"]
    assert h("8072000004" + "00" * 4) == "9302"
    assert h(vector["credit_sam_capdu"]) == "6901"
    second = h(init)
    assert second[:8] == "0000002B"
    assert h("00B0990004") == "0000002C9000"
    assert psam(algorithm_of(vector), counter=0x2A)(init) == vector["init_sam_response"]
    h = psam(algorithm_of(vector), counter=0x2A)
    h(init)
    assert h(vector["credit_sam_capdu"]) == "9000"


def test_conformance_delivery():
    h = psam()
    assert h("80FA0000080102030405060708") == "6901"
    assert h("BFDE470818" + FACTORS[:32] + PROCESS) == "6A80"
    assert h("BFDE480818" + FACTORS[:32] + PROCESS) == "6A88"
    assert h("BFDE670818" + FACTORS[:32] + PROCESS) == "6A80"
    assert h("BFDE670819" + FACTORS[:32] + PROCESS + "00") == "6700"
    assert h("BFDE677720" + FACTORS + PROCESS) == "6A88"
    assert h("BFDE670820" + FACTORS + PROCESS) == "9000"
    assert h("80FA050010" + "00" * 16) == "6985"
    assert h("80FA00000C" + "00" * 12) == "6700"
    assert h("80FA000048" + "00" * 72) == "6700"
    assert h("80FA000008" + "00" * 8).endswith("9000")
    h("BFDE260910" + FACTORS[:16] + PROCESS)
    assert h("80FA000008" + "00" * 8) == "6985"
    h(SELECT[Algorithm.TRIPLE_DES])
    assert h("BFDE670820" + FACTORS + PROCESS) == "6985", "no application selected"


def test_files():
    h = psam()
    assert h("00B09C0001") == "019000"
    assert h("00D6990004" + "00" * 4) == "6982"
    assert h("00B0960006") == "6A82", "the terminal file belongs to the environment"
    h(SELECT[Algorithm.TRIPLE_DES])
    assert h("00B0960006") == "9901000000019000"
    assert h("00B0950000") == "6C0F"
    h("00A40200020016")
    assert h("00B0000403") == "6C02"
    assert h("00B0000402") == "00019000"
    assert h("BFEC000001" + "99") == "9000"
    assert h("BFEC000001" + "9A") == "6A80"


def test_psam_without_an_algorithm_or_key():
    h = Host(SimPsam(vector_roots(), algorithms=(Algorithm.TRIPLE_DES,), without=frozenset({"RK_SSSE"})))
    assert h(SELECT[Algorithm.SM4]) == "6A82"
    h(ADF)
    assert h("BFDE670B20" + FACTORS + PROCESS) == "6A88"


def test_city_psam_gives_the_same_card_keys():
    """A root handed out two levels lower needs one factor and ends in the same session key."""
    vector = next(v for v in AUTHENTICATION if v["id"] == "psam-internal-auth-IRK-3DES")
    h = psam(levels={"IRK": 1})
    assert h(vector["delivery_capdu"]) == "6A80"
    assert h("BFDE270810" + FACTORS[:16] + PROCESS) == "9000"
    assert h(vector["cipher_capdu"]) == vector["cipher_response"]
    with pytest.raises(ValueError, match="level 3"):
        psam(levels={"STK": 2})


def test_volatile_state_and_power():
    h = psam()
    h("BFDE670820" + FACTORS + PROCESS)
    h.card.power_off()
    with pytest.raises(CardGone):
        h(ADF)
    assert h.card.power_on()[:4].hex() == "3b6d0000"
    h(ADF)
    assert h("80FA000008" + "00" * 8) == "6901"


HEADERS = ["00A40400", "00A40000", "BFDE6708", "BFDE2609", "80FA0000", "80FA0500", "80FA0700", "80FA0100"]
HEADERS += ["80700100", "80720000", "00B09600", "00840000", "00C00000", "BFEC0000"]


@st.composite
def likely_commands(draw):
    data = draw(st.binary(max_size=40))
    return bytes.fromhex(draw(st.sampled_from(HEADERS))) + bytes((len(data),)) + data


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=64) | likely_commands(), max_size=20))
def test_any_bytes_get_a_status_word(commands):
    h = psam()
    for command in commands:
        assert len(h.card.transmit(command)) >= 2
