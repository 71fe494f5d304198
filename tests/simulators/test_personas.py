"""Personas and the factory: every one builds, says what it should, and names no real division."""

import pytest

from simulators import personas
from simulators.card import CardGone, CardSilent, CardState, Life, SimCard
from simulators.factory import build_card
from simulators.ministry import RootKeys, RootKeysError
from tests.simulators.support import SSSE, Host, vector_roots

REQUIRED = {
    "adult-1.0", "adult-2.0", "adult-3.0", "child-3.0", "rare-name-3.0", "blank-2.0", "blank-3.0", "chip-2.0",
    "chip-3.0", "blocked-2.0", "garbage", "mute", "silent", "unknown-atr", "truncated-records",
}  # fmt: skip
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def card(name: str) -> SimCard:
    persona = personas.load(name)
    return SimCard(build_card(persona, vector_roots()), faults=persona.faults())


def test_all_are_there():
    assert set(personas.names()) == REQUIRED


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_builds_and_round_trips(name):
    state = build_card(personas.load(name), vector_roots())
    assert CardState.from_json(state.to_json()) == state
    for df in state.dfs:
        for ef in df.efs:
            assert sum(map(len, ef.records)) <= ef.size
            assert len(ef.records) <= max(ef.records_max, 8)


@pytest.mark.parametrize("name", sorted(n for n in REQUIRED if personas.load(n).life is Life.ISSUED))
def test_people_are_invented(name):
    """Division 9901xx does not exist; names say that they are tests; both check digits hold."""
    items = personas.load(name).items
    number, card_number = items["SSSEEF06"]["08"], items["SSSEEF05"]["07"]
    assert number.startswith("9901")
    assert number[-1] == "10X98765432"[sum(int(c) * w for c, w in zip(number, WEIGHTS, strict=False)) % 11]
    assert items["SSSEEF06"]["09"].startswith("测试")
    value = [int(c, 36) for c in card_number[:8]]
    rest = 11 - sum(v * w for v, w in zip(value, (3, 7, 9, 10, 5, 8, 4, 2), strict=True)) % 11
    assert card_number[8] == {10: "X", 11: "0"}.get(rest, str(rest))


def test_adult_2_0_reads_freely():
    h = Host(card("adult-2.0"))
    assert h(SSSE).startswith("6F16")
    assert bytes.fromhex(h("00B207280B"))[2:11] == b"A10000015"
    assert bytes.fromhex(h("00B2093020"))[2:8].decode("gbk") == "测试甲"
    assert h("0020000003123456") == "9000"
    h("00A4040006D15600000503")
    assert bytes.fromhex(h("00B281280A"))[2:10] == b"31001000"
    assert h("00B28F2803") == "8F01329000"
    assert h("B026000104") == f"{150000:08X}9000"


def test_directory_names_the_applications():
    h = Host(card("adult-2.0"))
    assert h("00B201F41A") == "61184F06D15600000500500EB9ABB9B2D3A6D3C3D0C5CFA2C7F89000"


def test_long_name_goes_on_in_the_extension():
    items = personas.load("rare-name-3.0").items["SSSEEF06"]
    assert len(items["09"].encode("gb18030")) == 30
    assert len(items["4E"].encode("gb18030")) <= 20
    with pytest.raises(UnicodeEncodeError):
        items["09"].encode("gbk")


def test_first_generation_has_no_name_extension():
    h = Host(card("adult-1.0"))
    assert h("00B24E3000") == "6A83"
    assert h("00B2033400") == "6C03", "record 3 is the sex"


def test_blanks_and_chips():
    for generation in ("2.0", "3.0"):
        blank = build_card(personas.load(f"blank-{generation}"), vector_roots())
        assert blank.life is Life.PRE_PERSONALISED
        assert not any(ef.records for df in blank.dfs for ef in df.efs if ef.fid != 0x0001)
        assert not blank.has_pin
        assert build_card(personas.load(f"chip-{generation}"), vector_roots()) == CardState()


def test_defective_cards():
    assert Host(card("blocked-2.0"))(SSSE) == "6A81"
    assert Host(card("garbage"))(SSSE) == "6F7F84FF00DEADBEEFA59000"
    assert card("unknown-atr").power_on().hex() == "3b04a1a2a3a4"
    assert Host(card("truncated-records"))("00B207280B") == "07094131303030309000"
    mute, silent = card("mute"), card("silent")
    assert mute.power_on() == b""
    assert silent.power_on()[:1] == b"\x3b"
    for dead in (mute, silent):
        with pytest.raises(CardSilent) as caught:
            dead.transmit(b"\0\xa4\0\0")
        assert caught.value.failure == "CARD_MUTE"
        assert isinstance(caught.value, CardGone)


def test_unknown_names_and_fields():
    with pytest.raises(personas.PersonaError, match="no persona"):
        personas.load("../adult-2.0")
    broken = personas.Persona("x", "", "", "2.0", Life.ISSUED, "990100", 1, items={"SSSEEF05": {"7F": "1"}})
    with pytest.raises(personas.PersonaError, match="no item 7F"):
        build_card(broken, vector_roots())
    too_long = personas.Persona("x", "", "", "2.0", Life.ISSUED, "990100", 1, items={"SSSEEF05": {"02": "12"}})
    with pytest.raises(personas.PersonaError, match="card_class"):
        build_card(too_long, vector_roots())


def test_root_keys_are_kept_and_shared(tmp_path):
    path = tmp_path / "keys" / "roots.json"
    roots = RootKeys.load_or_create(path)
    assert RootKeys.load_or_create(path) == roots
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert list(path.parent.iterdir()) == [path]
    first, second = roots.components("STK", "3DES")
    assert bytes(a ^ b for a, b in zip(first, second, strict=True)) == roots.root("STK", "3DES")
    assert len(first) == 8
    assert roots.components("STK", "3DES")[0] != first
    with pytest.raises(RootKeysError):
        roots.root("NONE", "SM4")
    for damaged in ("{}", "[]", path.read_text().replace('"IRK"', '"IRX"')):
        path.write_text(damaged)
        with pytest.raises(RootKeysError):
            RootKeys.load_or_create(path)
