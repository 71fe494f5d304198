"""The SM2 curve and the written forms of keys, signatures and ciphertexts (GB/T 32918, GM/T 0009).

Everything inside the project is raw: public point 04 || X || Y, signature r || s, ciphertext 04 || C1 || C3 || C2.
The functions below convert to and from what other systems write. Public values only: nothing here is constant time.
"""

from __future__ import annotations

from hsm.api import BadInputError
from hsm.primitives.engine import USER_ID_MAX, AuthenticationFailed

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0

SIZE = 32
_C1 = 1 + 2 * SIZE
_CURVE = b"".join(number.to_bytes(SIZE) for number in (A, B, GX, GY))
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30


def is_on_curve(x: int, y: int) -> bool:
    """Whether (x, y) is a point of the curve in reduced coordinates; its order is prime, so that is all to check."""
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x + A) * x - B) % P == 0


def check_public(public: bytes) -> bytes:
    """The point 04 || X || Y unchanged; raises BadInputError for any other form or a point off the curve."""
    if len(public) != _C1 or public[0] != 4:
        raise BadInputError("SM2 public key must be 65 bytes, 04 || X || Y")
    if not is_on_curve(int.from_bytes(public[1:33]), int.from_bytes(public[33:])):
        raise BadInputError("SM2 public key is not a point of the curve")
    return public


def check_private(private: bytes) -> int:
    """The private number; GB/T 32918.1 6.1 allows 1 to n-2."""
    number = int.from_bytes(private)
    if len(private) != SIZE or not 1 <= number <= N - 2:
        raise BadInputError("SM2 private key must be 32 bytes, 1 to n-2")
    return number


def compress(public: bytes) -> bytes:
    """02 or 03 || X, 33 bytes."""
    check_public(public)
    return bytes((2 + (public[-1] & 1),)) + public[1:33]


def decompress(compressed: bytes) -> bytes:
    """04 || X || Y of a compressed point; raises BadInputError when no point has that X."""
    x = int.from_bytes(compressed[1:])
    if len(compressed) != 1 + SIZE or compressed[0] not in (2, 3) or x >= P:
        raise BadInputError("compressed SM2 point must be 33 bytes, 02 or 03 || X")
    y = pow(((x * x + A) * x + B) % P, (P + 1) // 4, P)
    if y & 1 != compressed[0] & 1:
        y = P - y
    return check_public(b"\x04" + compressed[1:] + y.to_bytes(SIZE))


def check_user_id(user_id: bytes) -> None:
    """Raises BadInputError for an id whose length in bits does not fit its two bytes."""
    if len(user_id) > USER_ID_MAX:
        raise BadInputError(f"SM2 user id must not exceed {USER_ID_MAX} bytes")


def z_input(public: bytes, user_id: bytes) -> bytes:
    """ENTL || ID || a || b || G || public point, whose SM3 is Z (GB/T 32918.2 5.5)."""
    check_user_id(user_id)
    return (8 * len(user_id)).to_bytes(2) + user_id + _CURVE + public[1:]


def split_signature(signature: bytes) -> tuple[int, int] | None:
    """(r, s) of a raw signature, None unless both lie in 1 to n-1."""
    r, s = int.from_bytes(signature[:SIZE]), int.from_bytes(signature[SIZE:])
    if len(signature) != 2 * SIZE or not (1 <= r < N and 1 <= s < N):
        return None
    return r, s


def signature_to_der(signature: bytes) -> bytes:
    """SEQUENCE { r, s } of a raw signature."""
    if len(signature) != 2 * SIZE:
        raise BadInputError("raw SM2 signature must be 64 bytes")
    return _tlv(_SEQUENCE, _integer(signature[:SIZE]) + _integer(signature[SIZE:]))


def signature_from_der(der: bytes) -> bytes:
    """Raw r || s of a strict DER signature."""
    body, rest = _read(der, _SEQUENCE)
    r, body = _read(body, _INTEGER)
    s, body = _read(body, _INTEGER)
    if rest or body:
        raise BadInputError("bytes after the SM2 signature")
    return _number(r) + _number(s)


def c1c3c2_to_c1c2c3(ciphertext: bytes) -> bytes:
    """The layout older systems write, still with its leading 04."""
    c1, c3, c2 = split_ciphertext(ciphertext)
    return c1 + c2 + c3


def c1c2c3_to_c1c3c2(ciphertext: bytes) -> bytes:
    """The layout of GB/T 32918.4-2016 from the older one; both carry the leading 04."""
    c1, _, _ = split_ciphertext(ciphertext)
    return c1 + ciphertext[-SIZE:] + ciphertext[_C1:-SIZE]


def split_ciphertext(ciphertext: bytes) -> tuple[bytes, bytes, bytes]:
    """C1 (with its 04), C3 and C2 of a raw ciphertext; lengths and prefix are checked, nothing else."""
    if len(ciphertext) <= _C1 + SIZE or ciphertext[0] != 4:
        raise AuthenticationFailed("SM2 ciphertext does not verify")
    return ciphertext[:_C1], ciphertext[_C1 : _C1 + SIZE], ciphertext[_C1 + SIZE :]


def ciphertext_to_der(ciphertext: bytes) -> bytes:
    """SEQUENCE { x, y, C3, C2 } of GM/T 0009 7.2."""
    c1, c3, c2 = split_ciphertext(ciphertext)
    return _tlv(_SEQUENCE, _integer(c1[1:33]) + _integer(c1[33:]) + _tlv(_OCTETS, c3) + _tlv(_OCTETS, c2))


def ciphertext_from_der(der: bytes) -> bytes:
    """Raw 04 || C1 || C3 || C2 of a strict DER ciphertext; raises AuthenticationFailed for anything else."""
    try:
        body, rest = _read(der, _SEQUENCE)
        x, body = _read(body, _INTEGER)
        y, body = _read(body, _INTEGER)
        c3, body = _read(body, _OCTETS)
        c2, body = _read(body, _OCTETS)
        c1 = b"\x04" + _number(x) + _number(y)
    except BadInputError:
        raise AuthenticationFailed("SM2 ciphertext does not verify") from None
    if rest or body or len(c3) != SIZE or not c2:
        raise AuthenticationFailed("SM2 ciphertext does not verify")
    return c1 + c3 + c2


def _tlv(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x80:
        return bytes((tag, length)) + value
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + value


def _integer(number: bytes) -> bytes:
    value = number.lstrip(b"\0") or b"\0"
    return _tlv(_INTEGER, b"\0" + value if value[0] & 0x80 else value)


def _number(content: bytes) -> bytes:
    """32 bytes of a DER INTEGER that is positive and shortest."""
    if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and not content[1] & 0x80):
        raise BadInputError("not a positive DER INTEGER")
    value = content.lstrip(b"\0")
    if len(value) > SIZE:
        raise BadInputError("DER INTEGER exceeds 256 bits")
    return value.rjust(SIZE, b"\0")


def _read(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Value of the strict DER element at the start of `data`, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise BadInputError("DER element missing")
    length, start = data[1], 2
    if length & 0x80:
        octets = data[2 : 2 + (length & 0x7F)]
        start += len(octets)
        minimum = 0x80 if len(octets) == 1 else 1 << 8 * (len(octets) - 1) if octets else 0
        length = int.from_bytes(octets)
        if not octets or len(octets) != data[1] & 0x7F or length < minimum:
            raise BadInputError("DER length is not in its shortest form")
    if len(data) - start < length:
        raise BadInputError("DER element is cut short")
    return data[start : start + length], data[start + length :]
