"""SM2 (GB/T 32918) as the simulated card computes it, in plain integers: no code shared with what checks it."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Protocol

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
SIZE = 32

Jacobian = tuple[int, int, int]
_INFINITY: Jacobian = (1, 1, 0)


class Decrypter(Protocol):
    def sm2_decrypt(self, private: bytes, ciphertext: bytes) -> bytes: ...

    def sm3(self, data: bytes) -> bytes: ...


@cache
def engine() -> Decrypter:
    """Hash and decryption are taken from the portable engine, which hosts do not use."""
    from hsm.primitives import portable_engine

    return portable_engine()


def _double(point: Jacobian) -> Jacobian:
    x, y, z = point
    yy = y * y % P
    s = 4 * x * yy % P
    m = 3 * (x - z * z) * (x + z * z) % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * yy * yy) % P, 2 * y * z % P


def _add(left: Jacobian, right: Jacobian) -> Jacobian:
    if not left[2] or not right[2]:
        return right if not left[2] else left
    (x1, y1, z1), (x2, y2, z2) = left, right
    zz1, zz2 = z1 * z1 % P, z2 * z2 % P
    u1, u2, s1, s2 = x1 * zz2 % P, x2 * zz1 % P, y1 * zz2 * z2 % P, y2 * zz1 * z1 % P
    if u1 == u2:
        return _double(left) if s1 == s2 else _INFINITY
    h, r = (u2 - u1) % P, (s2 - s1) % P
    hh = h * h % P
    hhh, v = hh * h % P, u1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - s1 * hhh) % P, z1 * z2 * h % P


def times_g(number: int) -> tuple[int, int]:
    """`number` times the generator, in affine coordinates; `number` is 1 to n-1."""
    point, step = _INFINITY, (*G, 1)
    while number:
        if number & 1:
            point = _add(point, step)
        step, number = _double(step), number >> 1
    inverse = pow(point[2], -1, P)
    return point[0] * inverse * inverse % P, point[1] * inverse**3 % P


def public_key(private: bytes) -> bytes:
    """04 || X || Y."""
    x, y = times_g(int.from_bytes(private, "big"))
    return b"\x04" + x.to_bytes(SIZE, "big") + y.to_bytes(SIZE, "big")


def generate() -> tuple[bytes, bytes]:
    """A new pair: private 32 bytes, public 65."""
    private = (1 + secrets.randbelow(N - 2)).to_bytes(SIZE, "big")
    return private, public_key(private)


def sign_digest(private: bytes, digest: bytes) -> bytes:
    """r || s over e = SM3(Z || M), which the host has computed (GB/T 32918.2, 6.1)."""
    d, e = int.from_bytes(private, "big"), int.from_bytes(digest, "big")
    while True:
        k = 1 + secrets.randbelow(N - 1)
        r = (e + times_g(k)[0]) % N
        s = pow(1 + d, -1, N) * (k - r * d) % N
        if r and s and r + k != N:
            return r.to_bytes(SIZE, "big") + s.to_bytes(SIZE, "big")
