"""Keys loaded into the simulated PSAM, and what it remembers between runs (psam.md 4.4, 4.5, 8 and case 14)."""

import json

import pytest

from simulators.card import Algorithm, crypto
from simulators.psam import KeyRecord, PsamState, PsamStateError, PsamStore, SimPsam
from tests.simulators.support import ORIGINAL, FixedRandom, Host, vector_roots, vectors
from tests.simulators.test_psam import ADF, FACTORS, PROCESS, SELECT

MASTER = bytes.fromhex("E0E1E2E3E4E5E6E7E8E9EAEBECEDEEEF")
CHALLENGE = "5A5B5C5D"
VECTORS = [v for v in vectors("vectors_psam")["vectors"] if v["id"].startswith(("psam-create", "psam-change"))]


def algorithm_of(vector) -> Algorithm:
    return Algorithm.SM4 if "SM4" in vector["alg"] else Algorithm.TRIPLE_DES


def open_psam(algorithm: Algorithm, *randoms: str, store: PsamStore | None = None, **options) -> Host:
    """An application whose master key and KID-01 are known, with nothing but DPK in it."""
    psam = SimPsam(vector_roots(), rng=FixedRandom(*randoms), store=store, **options)
    for environment in psam.state.environments:
        environment.records = [r for r in environment.records if r.type == 2]
        for key in environment.controls:
            key.value = MASTER
    h = Host(psam)
    h(SELECT[algorithm])
    h(ADF)
    return h


def proved(h: Host, algorithm: Algorithm, kid: int = 1, key: bytes = MASTER) -> str:
    challenge = bytes.fromhex(h("0084000008"))[:8]
    value = crypto.authentication_value(algorithm, crypto.session_key(algorithm, key, challenge), ORIGINAL)
    return h(f"008200{kid:02X}10{value.hex()}{ORIGINAL.hex()}")


def loaded(h: Host, algorithm: Algorithm, plain: str, p1: int = 0, p2: int = 0x11, key: bytes = MASTER) -> str:
    """CREATE or CHANGE KEY under the application's master key."""
    iv = bytes.fromhex(h("0084000004"))[:4]
    body = bytes((len(plain) // 2,)) + bytes.fromhex(plain)
    body += (b"\x80" + bytes(16))[: -len(body) % algorithm.block]
    cipher = crypto.ecb(algorithm, key, body)
    header = bytes((0x84, 0xD4, p1, p2, len(cipher) + 4))
    return h((header + cipher + crypto.mac(algorithm, key, header + cipher, iv)).hex())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_vectors(vector):
    algorithm = algorithm_of(vector)
    h = open_psam(algorithm, CHALLENGE * 4, CHALLENGE)
    environment = next(e for e in h.card.state.environments if e.algorithm is algorithm)
    plain, is_change = bytes.fromhex(vector["plain"]), "change" in vector["id"]
    if is_change:
        environment.records.append(KeyRecord(plain[0], plain[1], bytes(16)))
    assert proved(h, algorithm) == "9000"
    assert h("0084000004") == CHALLENGE + "9000"
    assert h(vector["capdu"]) == "9000"
    stored = environment.records[-1]
    assert (stored.usage, stored.id, stored.file) == (plain[0], plain[1], 0x11)
    assert stored.value == plain[3 if is_change else 8 :]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_loaded_root_serves_at_once(algorithm):
    """The IRK of the vectors, loaded here, gives the session key of the vectors' authentication."""
    name = "SM4" if algorithm is Algorithm.SM4 else "3DES"
    vector = next(v for v in vectors("vectors_psam")["vectors"] if v["id"] == f"psam-internal-auth-IRK-{name}")
    h = open_psam(algorithm)
    assert h(vector["delivery_capdu"]) == "6A88"
    proved(h, algorithm)
    record = f"670800{int(algorithm):02X}00000000" + "101112131415161718191A1B1C1D1E1F"
    assert loaded(h, algorithm, record) == "9000"
    assert h(vector["delivery_capdu"]) == "9000"
    assert h(vector["cipher_capdu"]) == vector["cipher_response"]
    assert loaded(h, algorithm, record) == "6A80", "it is there already"


def test_control_keys_have_three_tries_each():
    h, algorithm = open_psam(Algorithm.SM4), Algorithm.SM4
    answers = [proved(h, algorithm, 2, bytes(16)) for _ in range(4)]
    assert answers == ["63C2", "63C1", "63C0", "6983"]
    assert proved(h, algorithm, 1, bytes(16)) == "63C2"
    assert proved(h, algorithm, 1) == "9000"
    assert proved(h, algorithm, 1, bytes(16)) == "63C2", "all tries were back"
    assert loaded(h, algorithm, "4812000300000000" + "55" * 16, p2=0x11) == "6982", "the failure took the permission"
    proved(h, algorithm, 1)
    assert [loaded(h, algorithm, "00" * 24, key=bytes(16)) for _ in range(4)] == ["6988"] * 3 + ["6983"]


def test_permissions_end_with_the_application_and_with_power():
    h, algorithm = open_psam(Algorithm.TRIPLE_DES), Algorithm.TRIPLE_DES
    record = "4812000000000000" + "55" * 16
    assert h("0082000110" + "00" * 16) == "6984"
    proved(h, algorithm)
    h(ADF)
    assert loaded(h, algorithm, record) == "9000", "selecting the same application again keeps it"
    h(SELECT[algorithm])
    assert proved(h, algorithm) == "6985"
    h(ADF)
    assert loaded(h, algorithm, record) == "6982"
    proved(h, algorithm)
    h.reset()
    h(ADF)
    assert loaded(h, algorithm, record) == "6982"
    assert proved(h, algorithm, 4) == "6A88"


def test_files_are_written_under_their_own_key():
    h, algorithm = open_psam(Algorithm.TRIPLE_DES), Algorithm.TRIPLE_DES
    assert h("00D69C0001" + "02") == "6982"
    proved(h, algorithm, 3)
    assert h("00D69C0001" + "02") == "9000"
    assert h("00D69A0001" + "02") == "6982", "the nation's file has its own"
    assert h("00D69C0A01" + "02") == "6B00"
    assert h("00B09C0001") == "029000"
    assert h("00D6990004" + "00" * 4) == "6982"
    h(SELECT[algorithm])
    proved(h, algorithm, 0)
    assert h("00D6960006" + "990100000077") == "9000"
    assert h("00B0960006") == "9901000000779000"


PURCHASE = next(v for v in vectors("vectors_psam")["vectors"] if v["id"] == "psam-purchase-3DES")


def test_it_goes_on_where_it_was(tmp_path):
    """Transaction numbers, keys and spent tries survive the process; session keys and permissions do not."""
    store, algorithm = PsamStore(tmp_path / "psam.json"), Algorithm.TRIPLE_DES
    h = open_psam(algorithm, store=store, counter=0x2A)
    assert h(PURCHASE["init_sam_capdu"])[:8] == "0000002A"
    proved(h, algorithm)
    loaded(h, algorithm, "6708000000000000" + "55" * 16)
    proved(h, algorithm, 2, bytes(16))
    assert oct(store.path.stat().st_mode & 0o777) == "0o600"
    again = Host(SimPsam(vector_roots(), terminal_number="000000000000", store=store))
    again(ADF)
    assert again(PURCHASE["init_sam_capdu"])[:8] == "0000002B"
    assert again("BFDE670820" + FACTORS + PROCESS) == "9000"
    assert proved(again, algorithm, 2, bytes(16)) == "63C1"
    assert loaded(again, algorithm, "4812000000000000" + "55" * 16) == "6982"
    assert PsamState.from_json(store.path.read_text()) == again.card.state


def test_a_number_is_stored_before_it_is_told(tmp_path, monkeypatch):
    store = PsamStore(tmp_path / "psam.json")
    h = open_psam(Algorithm.TRIPLE_DES, store=store, counter=7)
    with monkeypatch.context() as patch:
        patch.setattr(store, "save", lambda state: (_ for _ in ()).throw(OSError("full")))
        assert h(PURCHASE["init_sam_capdu"]) == "6581"
        assert h("00B0990004") == "6A82", "a reset PSAM"
    h(ADF)
    assert h("00B0990004") == "000000079000"


def test_a_blocked_psam_answers_nothing_else():
    h = open_psam(Algorithm.TRIPLE_DES)
    h.card.state.is_blocked = True
    assert {h(command) for command in (ADF, "0084000008", PURCHASE["init_sam_capdu"], "00C0000008")} == {"6A81"}


def test_damaged_images_are_refused(tmp_path):
    text = SimPsam(vector_roots()).state.to_json()
    image = json.loads(text)
    wrong = [
        [],
        {**image, "more": 1},
        {**image, "transit_sequence": "X"},
        {k: v for k, v in image.items() if k != "environments"},
    ]
    for damaged in (*map(json.dumps, wrong), "", "{"):
        with pytest.raises(PsamStateError) as caught:
            PsamState.from_json(damaged)
        assert caught.value.failure == "SIM_IMAGE_INVALID"
