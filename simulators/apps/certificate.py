"""X.509 in DER as GM/T 0015 signs it (SM3 with SM2), for simulated cards and the office that certifies their keys."""

from __future__ import annotations

import datetime

from simulators.apps import sm2

SM2_WITH_SM3 = bytes.fromhex("300A06082A811CCF55018375")
COMMON_NAME, SERIAL_NUMBER = bytes.fromhex("0603550403"), bytes.fromhex("0603550405")
_PUBLIC_KEY_ON_SM2 = bytes.fromhex("301306072A8648CE3D020106082A811CCF5501822D")
_USER_ID = b"1234567812345678"
_CURVE_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_YEARS = 10


def certificate(subject: str, public: bytes, private: bytes, *, serial: int, year: int) -> bytes:
    """Self-signed, version 1. Valid from 1 January of `year` for ten years; issuer and subject are the same name."""
    own = name((COMMON_NAME, subject))
    start, end = (datetime.datetime(y, 1, 1, tzinfo=datetime.UTC) for y in (year, year + _YEARS))
    body = der(0x30, integer(serial) + SM2_WITH_SM3 + own + term(start, end) + own + public_key(public))
    return signed(body, private, public)


def signed(body: bytes, private: bytes, public: bytes) -> bytes:
    """What is to be signed, with its signature by the pair: a certificate, or a list of revoked ones."""
    signature = sm2.sign_digest(private, digest(public, body))
    numbers = b"".join(integer(int.from_bytes(signature[i : i + sm2.SIZE], "big")) for i in (0, sm2.SIZE))
    return der(0x30, body + SM2_WITH_SM3 + der(0x03, b"\0" + der(0x30, numbers)))


def name(*attributes: tuple[bytes, str]) -> bytes:
    return der(0x30, b"".join(der(0x31, der(0x30, kind + der(0x0C, text.encode()))) for kind, text in attributes))


def term(start: datetime.datetime, end: datetime.datetime) -> bytes:
    return der(0x30, moment(start) + moment(end))


def moment(at: datetime.datetime) -> bytes:
    """UTCTime until 2049, as RFC 5280, 4.1.2.5 wants it."""
    utc = at.astimezone(datetime.UTC)
    is_short = utc.year < 2050
    return der(0x17 if is_short else 0x18, utc.strftime("%y%m%d%H%M%SZ" if is_short else "%Y%m%d%H%M%SZ").encode())


def public_key(public: bytes) -> bytes:
    return der(0x30, _PUBLIC_KEY_ON_SM2 + der(0x03, b"\0" + public))


def digest(public: bytes, message: bytes) -> bytes:
    """e = SM3(Z || M) for the usual signer id (GM/T 0009)."""
    constants = b"".join(number.to_bytes(sm2.SIZE, "big") for number in (sm2.A, _CURVE_B, *sm2.G))
    bits = (len(_USER_ID) * 8).to_bytes(2, "big")
    z = sm2.engine().sm3(bits + _USER_ID + constants + public[1:])
    return sm2.engine().sm3(z + message)


def der(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x80:
        return bytes((tag, length)) + value
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + value


def integer(number: int) -> bytes:
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
