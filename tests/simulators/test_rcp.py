"""The reference COS profile: life cycle, CREATE FILE, WRITE KEY, DELETE STRUCTURE, torn stage 2."""

import pytest

from cardlib.spec import Generation, load
from simulators.card import Algorithm, CardGone, CardState, Faults, Life, SimCard
from simulators.card.structure import missing_keys
from simulators.factory import activate, historical_bytes
from tests.simulators.support import BOTH, SSSE, FixedRandom, Host, of_kind, vector_state, vectors

TK = bytes(range(0x40, 0x50))
MASTER = bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF")
HISTORICAL = historical_bytes("990100", 1)


def activated(algorithm: Algorithm = Algorithm.TRIPLE_DES) -> Host:
    state = CardState()
    activate(state, TK, algorithm, HISTORICAL)
    return Host(SimCard(state, rng=FixedRandom()))


def structure(algorithm: Algorithm) -> list[dict]:
    return vectors()["rcp_structure_3_0" if algorithm is Algorithm.SM4 else "rcp_structure_2_0"]


def master_record(algorithm: Algorithm, kid: int, value: bytes = MASTER) -> str:
    return f"00{kid:02X}01{algorithm:02X}33000000{value.hex()}"


def environment(algorithm: Algorithm = Algorithm.TRIPLE_DES) -> Host:
    """A card with its SSSE and master key, proved."""
    h = activated(algorithm)
    prove_transport(h)
    assert h(next(s["apdu"] for s in structure(algorithm) if s["file"] == "DDF1")) == "9000"
    assert h.write_key(2, master_record(algorithm, 0x00), TK) == "9000"
    assert h.card.state.life is Life.STRUCTURED
    assert h.authenticate(0x00) == "9000"
    return h


def prove_transport(h: Host) -> None:
    assert h.authenticate(0x00, key=TK) == "9000"


def build_structure(h: Host) -> None:
    """Every file of the reference structure, with the master key of each application."""
    algorithm = h.card.state.algorithm
    for step in structure(algorithm)[2:]:
        answer = h(step["apdu"])
        assert answer.endswith("9000"), step
        if step["file"] in ("DF01", "DF02", "DF03", "DF04", "DF07"):
            assert h.write_key(2, master_record(algorithm, 0x80), MASTER) == "9000"


def write_keys(h: Host, *, leave_out: str = "") -> None:
    algorithm = h.card.state.algorithm
    spec = load(Generation.V3 if algorithm is Algorithm.SM4 else Generation.V2)
    for df in h.card.state.dfs:
        name = "SSSE" if df.is_environment else f"{df.fid:04X}"
        h(SSSE if df.is_environment else f"00A4000002{df.fid:04X}")
        assert h.authenticate(0x00 if df.is_environment else 0x80, name) == "9000"
        for key in spec.keys_of(name):
            length = key.length(spec.algorithm)
            kind = 0x01 if length == 8 else algorithm
            retry = key.retry * 0x11
            plain = (
                f"{key.type:02X}{key.kid:02X}01{kind:02X}{retry:02X}{int(key.is_internal_only):02X}0000{'5A' * length}"
            )
            if key.name != leave_out:
                assert h.write_key(0, plain, MASTER) == "9000", key
    h(SSSE)
    h.authenticate(0x00)


@pytest.mark.parametrize("algorithm", BOTH)
def test_whole_stage_two(algorithm):
    """The structure built by commands is the one the factory makes, and goes on to ISSUED."""
    h = environment(algorithm)
    build_structure(h)
    write_keys(h)
    assert missing_keys(h.card.state) == []
    assert h.under_master("84F40104", "", MASTER) == "6A80", "no step may be skipped"
    assert h.under_master("84F40103", "", MASTER) == "9000"
    built = vector_state(algorithm)
    assert [(d.fid, d.name, d.size, d.block_kid, d.create) for d in h.card.state.dfs] == [
        (d.fid, d.name, d.size, d.block_kid, d.create) for d in built.dfs
    ]
    for ours, theirs in zip(h.card.state.dfs, built.dfs, strict=True):
        keys = ("fid", "type", "size", "record_length", "records_max", "read", "write", "sfi")
        assert {tuple(getattr(ef, k) for k in keys) for ef in ours.efs} == {
            tuple(getattr(ef, k) for k in keys) for ef in theirs.efs
        }
    assert h("80E0EF0B0B2800100000000000000B00") == "6985"
    assert h.under_master("84F40104", "", MASTER) == "9000"
    for command in ("80E0EF0B0B2800100000000000000B00", "84D4000004" + "00" * 4, "84EE0000", "84F40104", "80F40000"):
        assert h(command) == "6D00"
    assert h("80F200000A")[:4] == f"04{algorithm:02X}"


@pytest.mark.parametrize("name", ["IRK", "DTK", "RK1DF03", "STKDF01"])
def test_issue_needs_every_key(name):
    h = environment()
    build_structure(h)
    write_keys(h, leave_out=name)
    assert missing_keys(h.card.state) == [name]
    assert h.under_master("84F40103", "", MASTER) == "6A80"
    assert h.card.state.life is Life.STRUCTURED


@pytest.mark.parametrize("vector", of_kind("rcp_write_key"), ids=lambda v: v["id"])
def test_write_key_vectors(vector):
    algorithm = Algorithm.SM4 if vector["alg"] == "SM4" else Algorithm.TRIPLE_DES
    h = environment(algorithm)
    assert h(next(s["apdu"] for s in structure(algorithm) if s["file"] == "SSSE/KEY")) == "9000"
    h.card._chip.rng = lambda n: bytes.fromhex(vector["challenge"])
    assert h("0084000004") == vector["challenge"] + "9000"
    assert h(vector["capdu"]) == "9000"
    plain = bytes.fromhex(vector["plain"])
    ssse = h.card.state.ssse
    stored = ssse.master if plain[0] == 0 else ssse.keys[-1]
    assert (stored.type, stored.kid, stored.version, stored.value) == (plain[0], plain[1], plain[2], plain[8:])
    assert h(vector["capdu"]) == "6982" if plain[0] == 0 else "6984"


def test_write_key_refusals():
    h = environment()
    record = "07040100FF000000" + "5A" * 16
    assert h.write_key(0, record, MASTER) == "6A82", "no key file yet"
    h(structure(Algorithm.TRIPLE_DES)[3]["apdu"])
    assert h.write_key(1, record, MASTER) == "6A88"
    assert h.write_key(0, record, bytes(16)) == "6988"
    assert h.write_key(0, record, MASTER) == "9000"
    assert h.write_key(0, record, MASTER) == "6A80", "already there"
    assert h.write_key(1, record, MASTER) == "9000"
    for bad in (
        "0704010033000000" + "5A" * 8,
        "07040103FF000000" + "5A" * 16,
        "07040100F0010000" + "5A" * 16,
        "07840100FF000000" + "5A" * 16,
        "0704040011000000" + "5A" * 16,
        "0704010012000000" + "5A" * 16,
        "0101000033000000" + "12345AFFFFFFFFFF",
        "0201010000000000" + "5A" * 16,
        "0000010033000000" + "5A" * 16,
    ):
        assert h.write_key(0, bad, MASTER) == "6A80", bad
    h("0084000008")
    assert h("84D4000424" + "00" * 36) == "6984", "only a 4-byte challenge makes an initial vector"
    h.reset()
    assert h.write_key(0, record, MASTER) == "6982"


def test_replaced_master_key_must_be_proved_anew():
    h = environment()
    new = bytes(range(0xE0, 0xF0))
    assert h.write_key(1, master_record(Algorithm.TRIPLE_DES, 0x00, new), MASTER) == "9000"
    assert h.under_master("84F40103", "", new) == "6982"
    assert h.authenticate(0x00, key=MASTER) == "63C2"
    assert h.authenticate(0x00, key=new) == "9000"


def test_replaced_key_must_be_proved_anew():
    h = environment()
    h(structure(Algorithm.TRIPLE_DES)[3]["apdu"])
    record = "07040100FF000000" + "5A" * 16
    h.write_key(0, record, MASTER)
    assert h("80E0EF0B0B28001000000000030400" + "00") == "9000"
    assert h.authenticate(0x04) == "9000"
    assert h("00A4020002EF0B") + h("00D6000001AA") == "90009000"
    assert h.write_key(1, record, MASTER) == "9000"
    assert h("00D6000001AA") == "6982"


def test_life_cycle_gates():
    h = Host(SimCard(CardState()))
    assert h("80F200000A") == "00FF" + f"{0x10000:08X}" + "00000001" + "9000"
    assert h("80F2000000") == "6C0A"
    for command in ("00A4000000", "0084000008", "80E0DDF10B" + "00" * 11, "0020000000"):
        assert h(command) == "6985"
    assert h("80F400001E" + TK.hex() + "01" + HISTORICAL.hex()) == "6A80"
    assert h("80F400001D" + "00" * 29) == "6700"
    assert h("80F400001E" + TK.hex() + "03" + HISTORICAL.hex()) == "9000"
    assert h.card.power_on() == bytes.fromhex(vectors()["meta"]["atr"])
    assert h("80F400001E" + TK.hex() + "03" + HISTORICAL.hex()) == "6985"
    assert h("80F200000A")[:4] == "0103"
    assert h(structure(Algorithm.SM4)[1]["apdu"]) == "6982", "transport key not proved"
    assert h("80E0EF0B0B2800100000000000000B00") == "6985", "a file needs its environment"


def test_transport_key_locks_for_good():
    h = activated()
    assert [h.authenticate(0x00, key=MASTER) for _ in range(3)] == ["63C2", "63C1", "63C0"]
    assert h.authenticate(0x00, key=TK) == "6983"
    h.reset()
    assert h.authenticate(0x00, key=TK) == "6983"
    assert h("80F200000A")[12:14] == "00"


@pytest.mark.parametrize(
    "body",
    [
        "2A00100300000003000000",  # record length times number exceeds the size
        "2C00100001060003000B00",  # access kind unknown
        "2C001000010000030005 00".replace(" ", ""),  # SFI 05 is taken
        "3F02000010010003000000",  # key file with a file identifier
        "99001000010000030007 00".replace(" ", ""),
        "28001000000000030007 02".replace(" ", ""),
        "2C00100000000003000700",  # no records
    ],
)
def test_create_file_refuses(body):
    h = environment()
    for step in structure(Algorithm.TRIPLE_DES)[2:5]:
        assert h(step["apdu"]) == "9000"
    assert h(f"80E0EF0B0B{body}") == "6A80"


def test_create_file_needs_room_and_new_names():
    h = environment()
    assert h("80E0EF0B0B28600100000000030000" + "00") == "6A84"
    assert h("80E0EF0B0B28001000000000030000" + "00") == "9000"
    assert h("80E0EF0B0B28001000000000030000" + "00") == "6A80"
    df01 = structure(Algorithm.TRIPLE_DES)[9]["apdu"]
    assert h(df01) == "9000"
    h(SSSE)
    assert h(df01) == "6A80"
    assert h(df01.replace("DF01", "DF0A", 1)) == "6A80", "the name exists"


def test_secured_update_can_be_mandatory():
    h = environment()
    h(structure(Algorithm.TRIPLE_DES)[3]["apdu"])
    stk = "5B" * 8
    assert h.write_key(0, f"0802010100000000{stk}", MASTER) == "9000"
    assert h("80E0EF0B0B28001000000000030000" + "01") == "9000"
    h("00A4020002EF0B")
    assert h("00D6000002AABB") == "6987"
    assert h.secured("04D60000", "AABB", bytes.fromhex(stk)) == "9000"
    assert h("00B0000003") == "AABB009000"


def test_deleted_structure_frees_the_card():
    h = environment()
    build_structure(h)
    h(SSSE)
    assert h.under_master("84EE0000", "", bytes(16)) == "6988"
    assert h.under_master("84EE0000", "", MASTER) == "9000"
    assert h.card.state.dfs == []
    assert h(SSSE) == "6A82"
    assert h.authenticate(0x00, key=MASTER) == "63C2"
    prove_transport(h)
    assert h(structure(Algorithm.TRIPLE_DES)[1]["apdu"]) == "9000"


def test_environment_without_master_key_is_replaced():
    h = activated()
    prove_transport(h)
    first = structure(Algorithm.TRIPLE_DES)[1]["apdu"]
    assert h(first) == "9000"
    h.reset()
    assert h("80F200000A")[:2] == "01"
    prove_transport(h)
    assert h(first) == "9000"
    assert len(h.card.state.dfs) == 1
    assert h.write_key(0, "07040100FF000000" + "5A" * 16, TK) == "6985"


@pytest.mark.parametrize("when", ["tear_before", "tear_after"])
def test_torn_stage_two_can_be_done_again(when):
    """Power lost at any command: the card says where it is, and the way back or on works."""
    algorithm = Algorithm.TRIPLE_DES
    for number in range(1, 40, 3):
        h = activated()
        h.card.faults = Faults(**{when: number})
        with pytest.raises(CardGone):
            run_stage_two(h)
        h.card.power_on()
        if h("80F200000A")[:2] == "02":
            assert h.authenticate(0x00) == "9000"
            assert h.under_master("84EE0000", "", MASTER) == "9000"
        run_stage_two(h)
        assert h.card.state.algorithm is algorithm
        assert len(h.card.state.dfs) == 6


def run_stage_two(h: Host) -> None:
    prove_transport(h)
    h(structure(Algorithm.TRIPLE_DES)[1]["apdu"])
    h.write_key(2, master_record(Algorithm.TRIPLE_DES, 0x00), TK)
    h.authenticate(0x00)
    build_structure(h)
