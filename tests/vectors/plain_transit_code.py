"""The offline transit code once more, written from the layout table alone: own SM2 arithmetic over gmssl's SM3.

Imports nothing of the project, so that two programs must agree on every vector. It also makes the vectors
(`make_transit_code.py`). Slow, not constant time, and for test keys only.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import cache
from typing import Any

from gmssl.sm3 import sm3_hash

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
USER_ID = b"1234567812345678"
CHINA = timezone(timedelta(hours=8))
SKEW_S = 5
BLOCKED = {0xDD}
EPOCH = {"a_c": 0, "b": 946656000}


class Refused(Exception):
    """Carries the name of the failure."""


# -- SM2 (GB/T 32918) ------------------------------------------------------------------------------------------------


def sm3(data: bytes) -> bytes:
    return bytes.fromhex(sm3_hash(list(data)))


def _double(p: tuple[int, int, int]) -> tuple[int, int, int]:
    x, y, z = p
    m, s = 3 * (x - z * z) * (x + z * z) % P, 4 * x * y * y % P
    t = (m * m - 2 * s) % P
    return t, (m * (s - t) - 8 * pow(y, 4, P)) % P, 2 * y * z % P


def _add(p: tuple[int, int, int], q: tuple[int, int, int]) -> tuple[int, int, int]:
    if not p[2] or not q[2]:
        return p if p[2] else q
    u1, u2 = p[0] * q[2] ** 2 % P, q[0] * p[2] ** 2 % P
    s1, s2 = p[1] * q[2] ** 3 % P, q[1] * p[2] ** 3 % P
    if u1 == u2:
        return _double(p) if s1 == s2 else (1, 1, 0)
    h, r = u2 - u1, s2 - s1
    x = (r * r - h**3 - 2 * u1 * h * h) % P
    return x, (r * (u1 * h * h - x) - s1 * h**3) % P, h * p[2] * q[2] % P


def times(number: int, point: tuple[int, int]) -> tuple[int, int, int]:
    total, step = (1, 1, 0), (*point, 1)
    while number:
        if number & 1:
            total = _add(total, step)
        step, number = _double(step), number >> 1
    return total


def affine(point: tuple[int, int, int]) -> tuple[int, int]:
    inverse = pow(point[2], -1, P)
    return point[0] * inverse**2 % P, point[1] * inverse**3 % P


@cache
def public_of(private: int) -> bytes:
    x, y = affine(times(private, G))
    return bytes([2 + (y & 1)]) + x.to_bytes(32, "big")


def point_of(compressed: bytes) -> tuple[int, int]:
    x = int.from_bytes(compressed[1:], "big")
    square = (x**3 + A * x + B) % P
    y = pow(square, (P + 1) // 4, P)
    if compressed[0] not in (2, 3) or x >= P or y * y % P != square:
        raise Refused("TRANSIT_CODE_MALFORMED")
    return x, y if y & 1 == compressed[0] & 1 else P - y


@cache
def z_of(point: tuple[int, int]) -> bytes:
    numbers = b"".join(number.to_bytes(32, "big") for number in (A, B, *G, *point))
    return sm3((8 * len(USER_ID)).to_bytes(2, "big") + USER_ID + numbers)


def digest(point: tuple[int, int], message: bytes) -> int:
    return int.from_bytes(sm3(z_of(point) + message), "big")


@cache
def sign(private: int, message: bytes, salt: bytes = b"") -> bytes:
    """r || s with a random number that follows from key and message, so that vectors can be made again."""
    e = digest(point_of(public_of(private)), message)
    k = int.from_bytes(sm3(b"k" + private.to_bytes(32, "big") + salt + message), "big") % (N - 1) + 1
    r = (e + affine(times(k, G))[0]) % N
    s = pow(1 + private, -1, N) * (k - r * private) % N
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def is_signed(compressed: bytes, message: bytes, signature: bytes) -> bool:
    point = point_of(compressed)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % N
    if not (0 < r < N and 0 < s < N and t):
        return False
    total = _add(times(s, G), times(t, point))
    return bool(total[2]) and (digest(point, message) + affine(total)[0]) % N == r


# -- the code --------------------------------------------------------------------------------------------------------


def signed_spans(raw: bytes, profile: str) -> tuple[bytes, bytes, bytes]:
    """What root, issuer and user signed."""
    custom = len(raw) - 332 if profile == "a_c" else 0
    end = 197 + (1 + custom if profile == "a_c" else 0)
    return raw[9:56], raw[3:end], raw[:-65]


def split(raw: bytes, profile: str) -> dict[str, Any]:
    """Fields of a code by name; the digits and tags are checked. Raises Refused."""
    if raw[:1] and raw[0] != 0x81:
        raise Refused("TRANSIT_CODE_VERSION")
    custom = len(raw) - 332
    if not 0 <= custom <= 32 or int.from_bytes(raw[1:3], "big") != len(raw) - 3:
        raise Refused("TRANSIT_CODE_MALFORMED")
    certificate, tail = raw[3:120], raw[197:]
    if profile == "a_c":
        length, tail = tail[0], tail[1 + custom :]
        issuer_signature = tail[:65]
    else:
        issuer_signature, length = tail[:65], tail[65]
        tail = tail[:65] + tail[66 + custom :]
    account = raw[120:136].lstrip(b"\0")
    digits = (raw[136:146], raw[146:150], certificate[7:11], certificate[11:13])
    is_right = (
        length == custom
        and all(part.hex().isdecimal() for part in digits)
        and 1 <= int(certificate[11:12].hex()) <= 12
        and account
        and all(0x21 <= byte <= 0x7E for byte in account)
        and issuer_signature[0] == raw[-65] == 0x15
        and raw[158] in (2, 3)
        and certificate[20] in (2, 3)
    )
    if not is_right:
        raise Refused("TRANSIT_CODE_MALFORMED")
    return {
        "certificate": certificate,
        "issuer": raw[146:150],
        "type": raw[154],
        "limit": int.from_bytes(raw[155:158], "big"),
        "user_key": raw[158:191],
        "until": int.from_bytes(raw[191:195], "big") + EPOCH[profile],
        "validity": int.from_bytes(raw[195:197], "big"),
        "issuer_signature": issuer_signature[1:],
        "generated": int.from_bytes(tail[65:69], "big"),
        "user_signature": raw[-64:],
    }


def verify(raw: bytes, profile: str, anchors: dict[str, Any], now: int, amount_fen: int, seen: set[bytes]) -> None:
    """Raises Refused with the first failure in the documented order; otherwise the code is seen."""
    code = split(raw, profile)
    certificate = code["certificate"]
    by_root, by_issuer, by_user = signed_spans(raw, profile)

    def refuse_unless(is_right: bool, failure: str) -> None:
        if not is_right:
            raise Refused(f"TRANSIT_CODE_{failure}")

    marks = certificate[:5] + certificate[6:7] + certificate[16:18] + certificate[19:20]
    refuse_unless(marks == bytes.fromhex("2401010000 12 0404 21"), "CERTIFICATE")
    month, year = int(certificate[11:12].hex()), 2000 + int(certificate[12:13].hex())
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=CHINA)
    refuse_unless(now < end.timestamp(), "CERTIFICATE_EXPIRED")
    refuse_unless(certificate[7:11] == code["issuer"], "ISSUER_MISMATCH")
    roots = {each["index"]: each for each in anchors["anchors"]}
    refuse_unless(certificate[5] in roots, "ROOT_UNKNOWN")
    root = roots[certificate[5]]
    last = date.fromisoformat(root["not_after"])
    day_after = datetime(last.year, last.month, last.day, tzinfo=CHINA) + timedelta(days=1)
    refuse_unless(now < day_after.timestamp(), "ROOT_EXPIRED")
    issuer_key = certificate[20:53]
    point_of(issuer_key)
    refuse_unless(is_signed(bytes.fromhex(root["public_key"]), by_root, certificate[53:]), "ISSUER_FORGED")
    refuse_unless(now <= code["until"], "AUTHORISATION_EXPIRED")
    refuse_unless(is_signed(issuer_key, by_issuer, code["issuer_signature"]), "AUTHORISATION_FORGED")
    refuse_unless(code["generated"] <= now + SKEW_S, "FUTURE")
    refuse_unless(now - code["generated"] <= code["validity"], "EXPIRED")
    refuse_unless(is_signed(code["user_key"], by_user, code["user_signature"]), "USER_FORGED")
    refuse_unless(code["type"] not in BLOCKED, "ACCOUNT_BLOCKED")
    refuse_unless(amount_fen <= code["limit"], "AMOUNT")
    refuse_unless(by_user not in seen, "DUPLICATE")
    seen.add(by_user)
