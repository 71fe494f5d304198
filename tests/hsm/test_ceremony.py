"""Shares of a ceremony secret: vectors, every way to type them wrong, and what must not be made of wrong ones."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm import ceremony
from hsm.api import Algorithm, BadInputError
from hsm.ceremony import ALPHABET, Component, Scheme, Share, ShareError, ShareTextError
from hsm.primitives import default_engine, portable_engine
from tests.hsm.vector_files import own, unhex

ENGINE = default_engine()
VECTORS = own("vectors_ceremony.json")
SECRET = bytes(range(16))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["kcv"])
def test_vectors(case: dict) -> None:  # type: ignore[type-arg]
    secret = unhex(case["secret"])
    for engine in (ENGINE, portable_engine()):
        assert ceremony.ceremony_number(engine, secret) == unhex(case["number"])
        assert ceremony.secret_kcv(engine, secret) == unhex(case["kcv"])
        for root in case["roots"]:
            value = unhex(root["value"])
            found = ceremony.root_value(engine, secret, root["name"], Algorithm(root["algorithm"]), len(value))
            assert found == value
    shares = [Share.parse(" ".join(item["text"]), ENGINE) for item in case["shares"]]
    for share, item in zip(shares, case["shares"], strict=True):
        assert (share.number, share.threshold, share.total) == (item["number"], item["threshold"], item["total"])
        assert share.value == unhex(item["value"])
        assert share.text(ENGINE) == item["text"]
    assert ceremony.combine(ENGINE, shares[3:]) == secret
    for pair in combinations(shares[:3], 2):
        assert ceremony.combine(ENGINE, pair) == secret


@settings(max_examples=50)
@given(secret=st.binary(min_size=16, max_size=16), total=st.integers(2, 9), data=st.data())
def test_any_sufficient_set_gives_the_secret_and_no_smaller_one(secret: bytes, total: int, data: st.DataObject) -> None:
    scheme = data.draw(st.sampled_from(Scheme))
    threshold = total if scheme is Scheme.XOR else data.draw(st.integers(2, total))
    shares = [
        Share.parse("\n".join(s.text(ENGINE)), ENGINE) for s in ceremony.split(ENGINE, secret, total, threshold, scheme)
    ]
    chosen = data.draw(st.permutations(shares))[: data.draw(st.integers(threshold, total))]
    assert ceremony.combine(ENGINE, chosen) == secret
    with pytest.raises(ShareError, match="needed"):
        ceremony.combine(ENGINE, chosen[: threshold - 1] or shares[:1])


@settings(max_examples=100)
@given(at=st.integers(0, 49), other=st.sampled_from(ALPHABET + "01IO"), full_width=st.booleans())
def test_a_wrong_character_is_found_in_its_group(at: int, other: str, full_width: bool) -> None:
    text = "".join(" ".join(ceremony.split(ENGINE, SECRET, 3, 2)[0].text(ENGINE)).split())
    wrong = text[:at] + other + text[at + 1 :]
    if full_width:
        wrong = "".join(chr(ord(c) + 0xFEE0) for c in wrong.lower())
    if other == text[at]:
        assert Share.parse(wrong, ENGINE).number == 1
        return
    with pytest.raises(ShareTextError) as refused:
        Share.parse(wrong, ENGINE)
    assert refused.value.group == at // 5 + 1
    assert wrong not in str(refused.value)


@settings(max_examples=100)
@given(first=st.integers(0, 4), second=st.integers(0, 4), group=st.integers(0, 9), other=st.integers(0, 9))
def test_exchanged_characters_and_groups_are_found(first: int, second: int, group: int, other: int) -> None:
    groups = " ".join(ceremony.split(ENGINE, SECRET, 2, 2)[1].text(ENGINE)).split()
    swapped = list(groups)
    swapped[group], swapped[other] = groups[other], groups[group]
    letters = list(groups[group])
    letters[first], letters[second] = letters[second], letters[first]
    exchanged = [*groups[:group], "".join(letters), *groups[group + 1 :]]
    for wrong, place in ((swapped, min(group, other)), (exchanged, group)):
        if wrong != groups:
            with pytest.raises(ShareTextError) as refused:
                Share.parse(" ".join(wrong), ENGINE)
            assert refused.value.group == place + 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda groups: groups[:-1], "9 groups instead of 10"),
        (lambda groups: [*groups, "22222"], "11 groups"),
        (lambda groups: [*groups[:3], groups[3][:-1], *groups[4:]], "group 4 of 10 .line 1.: 4 characters"),
        (lambda groups: [*groups[:6], groups[6] + "2", *groups[7:]], "group 7 of 10 .line 2.: 6 characters"),
        (lambda groups: groups * 30, "longer"),
        (lambda groups: [], "0 groups"),
    ],
)
def test_missing_and_surplus_groups_are_named(change, says: str) -> None:  # type: ignore[no-untyped-def]
    groups = " ".join(ceremony.split(ENGINE, SECRET, 2, 2)[1].text(ENGINE)).split()
    with pytest.raises(ShareTextError, match=says):
        Share.parse(" ".join(change(groups)), ENGINE)


@settings(max_examples=100)
@given(text=st.text(max_size=500) | st.text(ALPHABET, min_size=50, max_size=50))
def test_nothing_else_is_a_share(text: str) -> None:
    with pytest.raises(ShareTextError):
        Share.parse(text, ENGINE)


def test_shares_of_other_ceremonies_and_forged_ones_give_nothing() -> None:
    ours, theirs = ceremony.split(ENGINE, SECRET, 3, 2), ceremony.split(ENGINE, bytes(16), 3, 2)
    forged = Share(Scheme.SHAMIR, 2, 2, 3, ours[0].ceremony, bytes(16))
    for shares, says in (
        ([ours[0], theirs[1]], "another ceremony"),
        ([ours[0], ours[0]], "twice"),
        ([ours[0], forged], "not genuine"),
        ([ours[0], ours[2], forged], "not genuine"),
        ([ours[1]], "1 of the 2"),
        ([], "no shares"),
    ):
        with pytest.raises(ShareError, match=says):
            ceremony.combine(ENGINE, shares)


@pytest.mark.parametrize(
    ("total", "threshold", "scheme"),
    [(1, 1, Scheme.SHAMIR), (3, 1, Scheme.SHAMIR), (2, 3, Scheme.SHAMIR), (10, 2, Scheme.SHAMIR), (3, 2, Scheme.XOR)],
)
def test_impossible_splits(total: int, threshold: int, scheme: Scheme) -> None:
    with pytest.raises(BadInputError):
        ceremony.split(ENGINE, SECRET, total, threshold, scheme)


def test_no_share_shows_itself() -> None:
    share = ceremony.split(ENGINE, SECRET, 2, 2)[0]
    assert share.value.hex() not in repr(share)
    assert repr(share.value) not in repr(share)
    assert repr(Component(SECRET)) == "Component()"


def test_components_are_proved_before_they_become_a_key() -> None:
    values = [bytes(range(16)), bytes(range(16, 32))]
    kcvs = [ceremony.secret_kcv(ENGINE, value).hex() for value in values]
    parts = [
        Component.parse(" ".join((v.hex()[:8], v.hex()[8:])), k, Algorithm.SM4, ENGINE)
        for v, k in zip(values, kcvs, strict=True)
    ]
    whole = bytes(a ^ b for a, b in zip(*values, strict=True))
    assert ceremony.components_kcv(ENGINE, Algorithm.SM4, parts) == ceremony.secret_kcv(ENGINE, whole)
    for text, kcv in (
        (values[0].hex(), kcvs[1]),
        (values[0].hex()[:-2] + "00", kcvs[0]),
        (values[0].hex()[:-2], kcvs[0]),
        ("xyz", kcvs[0]),
        (values[0].hex(), "12"),
    ):
        with pytest.raises(ShareTextError) as refused:
            Component.parse(text, kcv, Algorithm.SM4, ENGINE)
        assert values[0].hex()[:8] not in str(refused.value)
    with pytest.raises(ShareError):
        ceremony.components_kcv(ENGINE, Algorithm.TDES, [parts[0], Component(bytes(8))])


@settings(max_examples=60)
@given(text=st.text(max_size=60), kcv=st.text(max_size=10))
def test_the_component_parser_refuses_in_words(text: str, kcv: str) -> None:
    with pytest.raises(ShareTextError):
        Component.parse(text, kcv, Algorithm.SM4, ENGINE)
