"""The tree against known answers of RFC 6962's own reference tests (Certificate Transparency, SHA-256)."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm.primitives import default_engine
from hsm.primitives.engine import DEFAULT_USER_ID
from issuance.audit import verifier
from issuance.audit.merkle import STEP, Kept, consistency_path, inclusion_path, wanted
from issuance.audit.verifier import Frontier, fold, is_consistent, is_included, leaf_hash

ENGINE = default_engine()
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A, B, C, D, E, F = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
PATHS = [
    (0, 1, []),
    (0, 8, [A, B, C]),
    (5, 8, [D, E, ROOTS[3]]),
    (2, 3, [ROOTS[1]]),
    (1, 5, [ROOTS[0], B, D]),
]
PROOFS = [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[3]]), (2, 5, [B, D])]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def kept_of(leaves: list[bytes], digest: verifier.Hash = sha256) -> Kept:
    tree, hashes = Frontier(digest), {}
    for number, leaf in enumerate(leaves):
        hashes[0, number] = leaf
        hashes |= {(level, place): value for level, place, value in tree.append(leaf) if level % STEP == 0}
    return Kept(digest, hashes)


KEPT = kept_of([leaf_hash(sha256, data) for data in LEAVES])


def test_roots() -> None:
    tree = Frontier(sha256)
    assert fold(sha256, tree.hashes).hex() == EMPTY
    for data, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(sha256, data))
        assert fold(sha256, tree.hashes).hex() == root
        assert KEPT.interval((0, tree.size)).hex() == root


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_inclusion(index: int, size: int, path: list[str]) -> None:
    made = [KEPT.interval(interval) for interval in inclusion_path(index, size)]
    assert [value.hex() for value in made] == path
    assert is_included(sha256, leaf_hash(sha256, LEAVES[index]), index, size, made, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("first", "second", "path"), PROOFS)
def test_consistency(first: int, second: int, path: list[str]) -> None:
    made = [KEPT.interval(interval) for interval in consistency_path(first, second)]
    assert [value.hex() for value in made] == path
    old, new = ((size, bytes.fromhex(ROOTS[size - 1])) for size in (first, second))
    assert is_consistent(sha256, old, new, made)


BIG = [sha256(str(number).encode()) for number in range(700)]
BIG_KEPT = kept_of(BIG)
root_of = partial(lambda size: BIG_KEPT.interval((0, size)))


@settings(max_examples=100)
@given(st.integers(1, 700), st.data())
def test_every_proof_holds_and_no_other_one(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = [BIG_KEPT.interval(interval) for interval in inclusion_path(index, size)]
    assert is_included(sha256, BIG[index], index, size, path, root_of(size))
    assert len(path) <= (size - 1).bit_length()
    other = data.draw(st.integers(-1, size + 1).filter(lambda number: number != index))
    assert not is_included(sha256, BIG[index], other, size, path, root_of(size))
    assert not is_included(sha256, BIG[index], index, size, [*path, path[0] if path else BIG[0]], root_of(size))
    if path:
        assert not is_included(sha256, BIG[index], index, size, path[:-1], root_of(size))
    first = data.draw(st.integers(1, size))
    proof = [BIG_KEPT.interval(interval) for interval in consistency_path(first, size)]
    assert is_consistent(sha256, (first, root_of(first)), (size, root_of(size)), proof)
    assert not is_consistent(sha256, (first, sha256(b"x")), (size, root_of(size)), proof)
    if proof:
        assert not is_consistent(sha256, (first, root_of(first)), (size, root_of(size)), proof[:-1])


def test_a_proof_reads_two_runs_a_kept_level() -> None:
    """At a thousand million leaves too."""
    for size in (1_000_000, 999_999_999):
        for intervals in (inclusion_path(size // 3, size), consistency_path(size // 3, size)):
            for runs in wanted(intervals).values():
                assert len(runs) <= 3
                assert sum(map(len, runs)) <= 3 * 2**STEP


@pytest.mark.parametrize("bad", [(0, 0), (5, 5), (-1, 5)])
def test_no_such_leaf(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="leaf"):
        inclusion_path(*bad)


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_the_verifiers_own_sm3(data: bytes) -> None:
    assert verifier.sm3_in_python(data) == ENGINE.sm3(data)


def test_the_verifiers_own_sm2() -> None:
    private, public = ENGINE.sm2_generate()
    assert verifier.USER_ID == DEFAULT_USER_ID
    signature = ENGINE.sm2_sign(private, b"message")
    assert verifier.sm2_verify(public, b"message", signature)
    assert not verifier.sm2_verify(public, b"massage", signature)
    for place in (0, 31, 32, 63):
        changed = bytearray(signature)
        changed[place] ^= 1
        assert not verifier.sm2_verify(public, b"message", bytes(changed))
    for bad in (b"", public[1:], b"\4" + bytes(64), public[:-1] + bytes((public[-1] ^ 1,))):
        assert not verifier.sm2_verify(bad, b"message", signature)
    assert not verifier.sm2_verify(public, b"message", bytes(64))
