"""A self-signed SM2 certificate for a simulated card: X.509 v1 in DER, as GM/T 0015 signs it (SM3 with SM2)."""

from __future__ import annotations

from simulators.apps import sm2

_SM2_WITH_SM3 = bytes.fromhex("300A06082A811CCF55018375")
_PUBLIC_KEY_ON_SM2 = bytes.fromhex("301306072A8648CE3D020106082A811CCF5501822D")
_COMMON_NAME = bytes.fromhex("0603550403")
_USER_ID = b"1234567812345678"
_CURVE_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_YEARS = 10


def certificate(subject: str, public: bytes, private: bytes, *, serial: int, year: int) -> bytes:
    """Valid from 1 January of `year` for ten years; issuer and subject are the same common name."""
    name = _der(0x30, _der(0x31, _der(0x30, _COMMON_NAME + _der(0x0C, subject.encode("utf-8")))))
    times = b"".join(_der(0x18, f"{y}0101000000Z".encode("ascii")) for y in (year, year + _YEARS))
    key = _der(0x30, _PUBLIC_KEY_ON_SM2 + _der(0x03, b"\0" + public))
    body = _der(0x30, _integer(serial) + _SM2_WITH_SM3 + name + _der(0x30, times) + name + key)
    signature = sm2.sign_digest(private, digest(public, body))
    numbers = b"".join(_integer(int.from_bytes(signature[i : i + sm2.SIZE], "big")) for i in (0, sm2.SIZE))
    return _der(0x30, body + _SM2_WITH_SM3 + _der(0x03, b"\0" + _der(0x30, numbers)))


def digest(public: bytes, message: bytes) -> bytes:
    """e = SM3(Z || M) for the usual signer id (GM/T 0009)."""
    constants = b"".join(number.to_bytes(sm2.SIZE, "big") for number in (sm2.A, _CURVE_B, *sm2.G))
    bits = (len(_USER_ID) * 8).to_bytes(2, "big")
    z = sm2.engine().sm3(bits + _USER_ID + constants + public[1:])
    return sm2.engine().sm3(z + message)


def _der(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x80:
        return bytes((tag, length)) + value
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + value


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
