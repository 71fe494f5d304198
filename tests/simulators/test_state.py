"""The card image: JSON form, store, atomic updates, volatile state."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.card import Algorithm, CardGone, CardState, CardStateError, CardStore, Faults, SimCard
from tests.simulators.support import DF, FixedRandom, Host, vector_state


def test_image_round_trip():
    for algorithm in Algorithm:
        state = vector_state(algorithm)
        assert CardState.from_json(state.to_json()) == state
    assert CardState.from_json(CardState().to_json()) == CardState()


def _mutations(text):
    image = json.loads(text)
    yield {**image, "life": 9}
    yield {**image, "is_blocked": 1}
    yield {**image, "more": 0}
    yield {k: v for k, v in image.items() if k != "dfs"}
    yield {**image, "historical": "XY"}
    yield {**image, "dfs": [1]}
    yield []
    yield {**image, "dfs": [{**image["dfs"][0], "efs": "no"}]}


def test_damaged_images_are_refused():
    for image in _mutations(vector_state(Algorithm.SM4).to_json()):
        with pytest.raises(CardStateError):
            CardState.from_json(json.dumps(image))
    for text in ("", "{", "null", "\x00"):
        with pytest.raises(CardStateError):
            CardState.from_json(text)


def test_card_lives_in_its_store(tmp_path):
    store = CardStore(tmp_path / "card.json")
    h = Host(SimCard(vector_state(Algorithm.TRIPLE_DES), store=store, rng=FixedRandom()))
    assert oct(store.path.stat().st_mode & 0o777) == "0o600"
    h.authenticate(0x04)
    assert h("00DC052806050420260203") == "9000"
    h("0020000003111111")
    again = Host(SimCard.from_store(store))
    assert again("00B2052806") == "0504202602039000"
    assert again("0020000000") == "63C2", "the try is remembered"
    assert again("00DC052806050420260204") == "6982", "the authentication is not"
    assert list(tmp_path.iterdir()) == [store.path]


def test_read_only_commands_do_not_write(tmp_path):
    store = CardStore(tmp_path / "card.json")
    h = Host(SimCard(vector_state(Algorithm.TRIPLE_DES), store=store))
    before = store.path.stat().st_ino
    for command in ("00B2052806", "0084000008", DF["DF01"], "0020000000"):
        h(command)
    assert store.path.stat().st_ino == before


@pytest.mark.parametrize(("when", "expected"), [("tear_before", "050420250101"), ("tear_after", "050420260203")])
def test_torn_update_is_old_or_new(tmp_path, when, expected):
    """29: a cut during UPDATE leaves the old or the new record."""
    store = CardStore(tmp_path / "card.json")
    h = Host(SimCard(vector_state(Algorithm.TRIPLE_DES), store=store, rng=FixedRandom()))
    h.authenticate(0x04)
    h.card.faults = Faults(**{when: 2})
    assert h("00B2052806") == "0504202501019000"
    with pytest.raises(CardGone):
        h("00DC052806050420260203")
    with pytest.raises(CardGone):
        h("00B2052806")
    assert not h.card.is_powered
    assert Host(SimCard.from_store(store))("00B2052806") == expected + "9000"
    h.card.power_on()
    assert h("00B2052806") == expected + "9000", "the fault strikes once"


def test_failing_disk_keeps_the_old_image(tmp_path, monkeypatch):
    store = CardStore(tmp_path / "card.json")
    h = Host(SimCard(vector_state(Algorithm.TRIPLE_DES), store=store, rng=FixedRandom()))
    h.authenticate(0x04)

    def refuse(fd):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        assert h("00DC052806050420260203") == "6581"
    assert h("00B2052806") == "0504202501019000"
    assert Host(SimCard.from_store(store))("00B2052806") == "0504202501019000"
    assert list(tmp_path.iterdir()) == [store.path]


INSTRUCTIONS = [0xA4, 0xC0, 0x84, 0x88, 0x82, 0x20, 0x5E, 0x24, 0xB0, 0xB2, 0xD6, 0xDC, 0x1E, 0x16]
MEDICAL = [0x28, 0x2A, 0x2C, 0x26, 0x2E, 0x56]
PROFILE = [0xF4, 0xF2, 0xE0, 0xD4, 0xEE]


@st.composite
def likely_commands(draw):
    """Bytes that look like commands of this card: right classes, small parameters, mostly right lengths."""
    ins = draw(st.sampled_from(INSTRUCTIONS + MEDICAL + PROFILE))
    cla = draw(st.sampled_from([0x00, 0x04, 0x80, 0x84, 0xB0]))
    p1 = draw(st.integers(0, 3) | st.sampled_from([0x04, 0x07, 0x85, 0xEF, 0xFF]))
    p2 = draw(st.integers(0, 7) | st.sampled_from([0x28, 0x2C, 0x30, 0x44, 0x84, 0xF4]))
    data = draw(st.sampled_from([b"", b"\xef\x05", b"\xdf\x04", b"\x3f\x00", bytes(16)]) | st.binary(max_size=40))
    le = draw(st.sampled_from([b"", b"\x00", b"\x08"]))
    return bytes((cla, ins, p1, p2)) + (bytes((len(data),)) + data if data else b"") + le


def sequences():
    return st.lists(st.binary(max_size=64) | likely_commands(), min_size=1, max_size=25)


@settings(max_examples=60)
@given(st.sampled_from(["chip", "blank", "3DES", "SM4", "open"]), sequences())
def test_any_bytes_get_a_status_word(tmp_path_factory, kind, commands):
    """No input raises, and the image on disk is always the card's."""
    state = CardState()
    if kind != "chip":
        state = vector_state(
            Algorithm.SM4 if kind == "SM4" else Algorithm.TRIPLE_DES, pin="" if kind == "open" else "1234"
        )
    if kind == "open":
        for df in state.dfs:
            for ef in df.efs:
                ef.read = ef.write = b"\0\0"
    store = CardStore(tmp_path_factory.mktemp("card") / "card.json")
    card = SimCard(state, store=store)
    card.power_on()
    for command in commands:
        answer = card.transmit(command)
        assert len(answer) >= 2
        assert answer[-2] & 0xF0 in (0x60, 0x90)
        assert len(answer) <= 258
    assert store.load() == card.state
