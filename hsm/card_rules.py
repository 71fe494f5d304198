"""The social security card's rules over opaque keys: one place for every backend.

Card specification draft P4 §8-9 (session keys, MAC, encryption), P7 §15 (TAC), P9 §7 (diversification, key loading).
In the 3DES environment a block has 8 bytes and a key 16, or 8 for the keys the draft makes single DES (STK*);
in the SM4 environment both have 16. Only block operations are asked of a key (`hsm.device.DeviceKey`).
"""

from __future__ import annotations

from hsm.api import Algorithm, BadInputError, CardFactors
from hsm.device import DeviceKey

MAC_LENGTH = 4
KCV_LENGTH = 3
_MAX_LC = 255
_MAX_LD = 255
_RECORD_HEADER = 8
_CHALLENGES = {Algorithm.TDES: (4, 8), Algorithm.SM4: (4, 8, 16)}
_FACTOR = 8
_SECURE_MESSAGING = 0x04


def block_size(algorithm: Algorithm) -> int:
    """8 in the 3DES environment, 16 in the SM4 environment."""
    return 16 if algorithm is Algorithm.SM4 else 8


def check_key_length(algorithm: Algorithm, length: int) -> None:
    """Raises BadInputError for a key length the card does not have."""
    if length != 16 and (algorithm is not Algorithm.TDES or length != 8):
        raise BadInputError(f"{algorithm} card key cannot have {length} bytes")


def region_factors(region: str) -> tuple[bytes, bytes]:
    """L1 (province) and L2 (city) of a six-digit 应用城市代码 (P9 §7.3.1, §7.3.2)."""
    return region[:2].encode("ascii") + b"0000sh", region.encode("ascii") + b"sx"


def factors_of_level(level: int, factors: CardFactors) -> list[bytes]:
    """The factors a root of `level` still has to be diversified with, in order (P9 figure 12); level 0 has none."""
    if not 0 <= level <= 3:
        raise BadInputError(f"root level must be 0 to 3, not {level}")
    return [*region_factors(factors.region), factors.card][level - 1 :] if level else []


def diversification_data(length: int, factor: bytes) -> bytes:
    """What is encrypted under a key of `length` bytes to diversify it by an 8-byte factor (P9 §7.1.1, §7.2.1)."""
    if len(factor) != _FACTOR:
        raise BadInputError(f"diversification factor must be {_FACTOR} bytes")
    return factor if length == _FACTOR else factor + bytes(byte ^ 0xFF for byte in factor)


def diversify(key: DeviceKey, factor: bytes) -> DeviceKey:
    """One diversification; the result is as long as the key."""
    return key.derive(diversification_data(key.length, factor))


def diversified(root: DeviceKey, factors: list[bytes]) -> DeviceKey:
    """The key at the end of a chain of factors."""
    key = root
    for factor in factors:
        key = diversify(key, factor)
    return key


def diversified_value(root: DeviceKey, factors: list[bytes]) -> bytes:
    """The bytes of that key, for being put into a card. `factors` has at least one."""
    return diversified(root, factors[:-1]).ecb(diversification_data(root.length, factors[-1]))


def session_key(key: DeviceKey, challenge: bytes) -> DeviceKey:
    """过程密钥 (P4 §8.4): 8 bytes in the 3DES environment, 16 in the SM4 environment."""
    return key.derive(_filled(key.algorithm, challenge))


def authentication_value(key: DeviceKey, challenge: bytes, original: bytes) -> bytes:
    """鉴别数据, 8 bytes, over an 8-byte original (P4 §9.3)."""
    if len(original) != 8:
        raise BadInputError("original data of an authentication must be 8 bytes")
    value = session_key(key, challenge).ecb(original.ljust(block_size(key.algorithm), b"\0"))
    return value if len(value) == 8 else _xor(value[:8], value[8:])


def mac(key: DeviceKey, message: bytes, *, iv: bytes = b"") -> bytes:
    """4-byte MAC (P4 §8.2.4) with the key as it stands; `iv` is filled with 00 to a block.

    An 8-byte key makes every CBC step single DES (user card), a 16-byte key in the 3DES environment triple DES
    (key loading, P9 §7.1.3). Padding 80 00 is always added.
    """
    size = block_size(key.algorithm)
    cipher = key.cbc(iv.ljust(size, b"\0"), _padded(message + b"\x80", size))
    if key.algorithm is Algorithm.TDES:
        return cipher[-8:-4]
    last = cipher[-16:]
    return _xor(_xor(last[:4], last[4:8]), _xor(last[8:12], last[12:]))


def retail_mac(left: DeviceKey, whole: DeviceKey, message: bytes, *, iv: bytes = b"") -> bytes:
    """First 4 bytes of ISO/IEC 9797-1 algorithm 3, padding 80 00, `iv` filled with 00.

    `left` is the left half of the 16-byte 3DES key `whole`: all steps but the last are single DES.
    """
    padded = _padded(message + b"\x80", 8)
    start = iv.ljust(8, b"\0")
    if len(padded) > 8:
        start = left.cbc(start, padded[:-8])[-8:]
    return whole.ecb(_xor(start, padded[-8:]))[:4]


def encrypt_data(key: DeviceKey, plain: bytes) -> bytes:
    """ECB over LD || plain, padded with 80 00 only where that is not whole blocks (P4 §8.3.3).

    An empty `plain` is LD 00, which PIN reload reads as "no PIN" (P5 §6.8.3).
    """
    if len(plain) > _MAX_LD:
        raise BadInputError(f"data to encrypt must have at most {_MAX_LD} bytes")
    data, size = bytes((len(plain),)) + plain, block_size(key.algorithm)
    return key.ecb(data if len(data) % size == 0 else _padded(data + b"\x80", size))


def decrypt_data(key: DeviceKey, cipher: bytes) -> bytes:
    """Plaintext of `encrypt_data`; the LD byte and the padding must be right."""
    size = block_size(key.algorithm)
    if not cipher or len(cipher) % size or len(cipher) > _MAX_LD + size:
        raise BadInputError("encrypted data must be whole blocks")
    data = key.ecb(cipher, decrypt=True)
    end = 1 + data[0]
    rest = data[end:]
    if end > len(data) or (rest and (rest[0] != 0x80 or any(rest[1:]) or len(rest) >= size + 1)):
        raise BadInputError("encrypted data does not open")
    return data[1:end]


def secured_data(key: DeviceKey, challenge: bytes, header: bytes, data: bytes, *, encrypt: bool = False) -> bytes:
    """Data field of a secured command (P4 §8.5): `data`, encrypted where asked, and the MAC over it.

    Encryption and MAC use the one session key of `key` and `challenge` (P4 §8.2.3, §8.3.1).
    """
    _check_header(header)
    session = session_key(key, challenge)
    body = encrypt_data(session, data) if encrypt else data
    return body + mac(session, _with_length(header, body))


def key_load_data(master: DeviceKey, challenge: bytes, header: bytes, plain: bytes) -> bytes:
    """Data field of WRITE KEY and of the PSAM's CREATE KEY and CHANGE KEY: ECB of `plain`, then `load_mac` over it."""
    cipher = encrypt_data(master, plain)
    return cipher + load_mac(master, challenge, header, cipher)


def load_mac(master: DeviceKey, challenge: bytes, header: bytes, data: bytes = b"") -> bytes:
    """MAC with the full master key over CLA INS P1 P2 Lc || data, IV = challenge filled with 00 (P9 §7.1.3)."""
    _check_header(header)
    return mac(master, _with_length(header, data), iv=_filled(master.algorithm, challenge))


def key_record(record_header: bytes, value: bytes) -> bytes:
    """Plain block of WRITE KEY: 8-byte header, then a value of 8 or 16 bytes."""
    if len(record_header) != _RECORD_HEADER:
        raise BadInputError(f"key record header must be {_RECORD_HEADER} bytes")
    if len(value) not in (8, 16):
        raise BadInputError("key record value must be 8 or 16 bytes")
    return record_header + value


def tac_key(algorithm: Algorithm, value: bytes) -> bytes:
    """The key a TAC is computed with (P7 §15): a 3DES key is folded to single DES, left xor right."""
    if len(value) != 16:
        raise BadInputError("TAC key must be 16 bytes")
    return _xor(value[:8], value[8:]) if algorithm is Algorithm.TDES else value


def key_check_value(key: DeviceKey) -> bytes:
    """First 3 bytes of E(K, 00 …)."""
    return key.ecb(bytes(block_size(key.algorithm)))[:KCV_LENGTH]


def _filled(algorithm: Algorithm, challenge: bytes) -> bytes:
    if len(challenge) not in _CHALLENGES[algorithm]:
        raise BadInputError(f"{algorithm} challenge cannot have {len(challenge)} bytes")
    return challenge.ljust(block_size(algorithm), b"\0")


def _padded(data: bytes, size: int) -> bytes:
    return data + bytes(-len(data) % size)


def _check_header(header: bytes) -> None:
    if len(header) != 4 or header[0] & 0x0F != _SECURE_MESSAGING:
        raise BadInputError("header must be CLA INS P1 P2 with the low nibble of CLA 4")


def _with_length(header: bytes, data: bytes) -> bytes:
    length = len(data) + MAC_LENGTH
    if length > _MAX_LC:
        raise BadInputError("data of a secured command does not fit one command")
    return header + bytes((length,)) + data


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))
