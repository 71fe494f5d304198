"""SM2 key exchange (GB/T 32918.3): both sides agree on a key, each from its static and one ephemeral pair.

Only over the system's OpenSSL: the portable engine's arithmetic is Python's, which no private number may meet here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hsm.api import BadInputError
from hsm.primitives import sm2_forms
from hsm.primitives.engine import AuthenticationFailed
from hsm.primitives.fast import FastSymmetric
from hsm.primitives.libcrypto import Libcrypto

MAX_KEY = 1 << 16
_HALF = 1 << 127
_DIGEST = 32
_sm3 = FastSymmetric().sm3


@dataclass(frozen=True, slots=True)
class OwnSide:
    """Private numbers, 32 bytes each; the ephemeral one is for one exchange."""

    private: bytes = field(repr=False)
    ephemeral: bytes = field(repr=False)
    user_id: bytes


@dataclass(frozen=True, slots=True)
class PeerSide:
    """Public points 04 || X || Y."""

    public: bytes
    ephemeral: bytes
    user_id: bytes


@dataclass(frozen=True, slots=True)
class Agreement:
    """`own_proof` is for the peer (S_B of the responder, S_A of the initiator); `peer_proof` is what must come back,
    compared with `hmac.compare_digest`."""

    key: bytes = field(repr=False)
    own_proof: bytes
    peer_proof: bytes


def agree(libcrypto: Libcrypto, own: OwnSide, peer: PeerSide, length: int, *, is_initiator: bool) -> Agreement:
    """The key of `length` bytes. Raises BadInputError for numbers, points, ids and lengths outside the standard,
    AuthenticationFailed when the shared point is at infinity."""
    for number in (own.private, own.ephemeral):
        sm2_forms.check_private(number)
    for point in (peer.public, peer.ephemeral):
        sm2_forms.check_public(point)
    if not 1 <= length <= MAX_KEY:
        raise BadInputError(f"agreed key must have 1 to {MAX_KEY} bytes")
    mine, own_ephemeral = libcrypto.public_point(own.private), libcrypto.public_point(own.ephemeral)
    shared = libcrypto.exchange_point(
        own.private, own.ephemeral, _factor(own_ephemeral), peer.public, _factor(peer.ephemeral), peer.ephemeral
    )
    if shared is None:
        raise AuthenticationFailed("SM2 key exchange gives no key")
    sides = [(mine, own.user_id, own_ephemeral), (peer.public, peer.user_id, peer.ephemeral)]
    first, second = sides if is_initiator else sides[::-1]
    z = b"".join(_sm3(sm2_forms.z_input(public, user_id)) for public, user_id, _ in (first, second))
    x, y = shared[1:33], shared[33:]
    inner = _sm3(x + z + first[2][1:] + second[2][1:])
    proofs = [_sm3(bytes((tag,)) + y + inner) for tag in (0x03, 0x02)]
    own_proof, peer_proof = proofs if is_initiator else proofs[::-1]
    return Agreement(_stretched(x + y + z, length), own_proof, peer_proof)


def _factor(ephemeral: bytes) -> bytes:
    """2^127 + (x & (2^127 - 1)) of the point's x (GB/T 32918.3, 6.1 A4)."""
    return (_HALF | (int.from_bytes(ephemeral[1:33]) & (_HALF - 1))).to_bytes(16)


def _stretched(secret: bytes, length: int) -> bytes:
    """KDF of GB/T 32918.3, 5.4.3."""
    blocks = [_sm3(secret + number.to_bytes(4)) for number in range(1, -(-length // _DIGEST) + 1)]
    return b"".join(blocks)[:length]
