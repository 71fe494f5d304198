"""SM2 key exchange (GB/T 32918.3): the standard's sample from both sides, and against arithmetic in the open.

The other side is written here with gmssl's points and Python's integers, which is why it is a test and no engine.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import replace

import pytest

from hsm.api import BadInputError
from hsm.primitives import AuthenticationFailed, engines, libcrypto, portable, portable_engine, sm2_exchange
from hsm.primitives.fast import FastEngine
from hsm.primitives.libcrypto import Libcrypto
from hsm.primitives.sm2_exchange import MAX_KEY, OwnSide, PeerSide, agree
from hsm.primitives.sm2_forms import N, z_input
from tests.hsm.vector_files import third_party, unhex

ENGINE = portable_engine()


@pytest.fixture(scope="module")
def library() -> Libcrypto:
    if not isinstance(engines()[-1], FastEngine):
        pytest.skip("no fast engine here")
    return libcrypto.load()


def sides(case: dict[str, str] | None = None) -> tuple[OwnSide, OwnSide]:
    if case is None:
        private = [ENGINE.sm2_generate()[0] for _ in range(4)]
        return OwnSide(private[0], private[1], b"terminal"), OwnSide(private[2], private[3], b"")
    return (
        OwnSide(unhex(case["dA"]), unhex(case["rA"]), case["id_a"].encode()),
        OwnSide(unhex(case["dB"]), unhex(case["rB"]), case["id_b"].encode()),
    )


def seen(side: OwnSide) -> PeerSide:
    return PeerSide(ENGINE.sm2_public_key(side.private), ENGINE.sm2_public_key(side.ephemeral), side.user_id)


def in_the_open(own: OwnSide, peer: PeerSide, initiator: PeerSide, responder: PeerSide, length: int) -> bytes:
    factor, theirs = (
        2**127 + (int.from_bytes(point[1:33]) & (2**127 - 1)) for point in (seen(own).ephemeral, peer.ephemeral)
    )
    t = (int.from_bytes(own.private) + factor * int.from_bytes(own.ephemeral)) % N
    total = portable._add(peer.public[1:], portable._times(theirs, peer.ephemeral[1:].hex()))
    assert total is not None
    z = b"".join(ENGINE.sm3(z_input(side.public, side.user_id)) for side in (initiator, responder))
    return portable._kdf(portable._times(t, total.hex()) + z, length)


def test_standard_sample(library: Libcrypto) -> None:
    case = json.loads(third_party("sm2/gbt32918_5_kex_and_enc.json"))["key_exchange"]
    a, b = sides(case)
    for own, peer, is_initiator in ((a, b, True), (b, a, False)):
        agreed = agree(library, own, seen(peer), case["klen_bits"] // 8, is_initiator=is_initiator)
        assert agreed.key == unhex(case["K"])


@pytest.mark.parametrize("length", [1, 16, 32, 33, 100])
def test_both_sides_and_open_arithmetic(library: Libcrypto, length: int) -> None:
    a, b = sides()
    first = agree(library, a, seen(b), length, is_initiator=True)
    second = agree(library, b, seen(a), length, is_initiator=False)
    assert first.key == second.key == in_the_open(a, seen(b), seen(a), seen(b), length)
    assert hmac.compare_digest(first.peer_proof, second.own_proof)
    assert hmac.compare_digest(first.own_proof, second.peer_proof)
    assert first.own_proof != first.peer_proof
    for shown in (repr(first), repr(a)):
        assert "key=" not in shown
        assert "private=" not in shown
        if length >= 16:  # a byte or two stand in the proofs by chance
            assert first.key.hex() not in shown
            assert repr(first.key)[2:-1] not in shown
        assert repr(a.private) not in shown


def test_anything_else_gives_another_key(library: Libcrypto) -> None:
    a, b = sides()
    good = agree(library, a, seen(b), 16, is_initiator=True)
    stranger = seen(sides()[0])
    for own, peer, is_initiator in (
        (a, replace(seen(b), user_id=b"another"), True),
        (replace(a, user_id=b"another"), seen(b), True),
        (a, replace(seen(b), public=stranger.public), True),
        (a, replace(seen(b), ephemeral=stranger.ephemeral), True),
        (a, seen(b), False),
    ):
        wrong = agree(library, own, peer, 16, is_initiator=is_initiator)
        assert wrong.key != good.key
        assert wrong.peer_proof != good.peer_proof


def test_refusals(library: Libcrypto) -> None:
    a, b = sides()
    peer = seen(b)
    off = peer.public[:-1] + bytes((peer.public[-1] ^ 1,))
    for own, other, length in (
        (replace(a, private=bytes(32)), peer, 16),
        (replace(a, ephemeral=N.to_bytes(32)), peer, 16),
        (a, replace(peer, public=off), 16),
        (a, replace(peer, ephemeral=off), 16),
        (a, replace(peer, ephemeral=b"\x04" + bytes(64)), 16),
        (a, replace(peer, user_id=bytes(8192)), 16),
        (a, peer, 0),
        (a, peer, MAX_KEY + 1),
    ):
        with pytest.raises(BadInputError):
            agree(library, own, other, length, is_initiator=True)


def test_a_peer_that_cancels_itself(library: Libcrypto) -> None:
    """P = -[x̄]R: the shared point is at infinity, whatever our numbers are."""
    a, _ = sides()
    ephemeral = ENGINE.sm2_generate()[0]
    point = ENGINE.sm2_public_key(ephemeral)
    factor = int.from_bytes(sm2_exchange._factor(point))
    public = ENGINE.sm2_public_key(((-factor * int.from_bytes(ephemeral)) % N).to_bytes(32))
    with pytest.raises(AuthenticationFailed):
        agree(library, a, PeerSide(public, point, b""), 16, is_initiator=True)
