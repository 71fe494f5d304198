"""The social security card's rules over raw ciphers, for keys at hand (backends of the key service, tests).

Card specification draft P4 §8-9 (session keys, MAC, encryption), P7 §15 (TAC), P9 §7 (diversification, key loading).
In the 3DES environment a block has 8 bytes and a key 16, or 8 for the keys the draft makes single DES (STK*);
in the SM4 environment both have 16.
"""

from __future__ import annotations

from hsm.api import Algorithm, BadInputError, CardFactors
from hsm.primitives import Engine

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
    if length != 16 and (algorithm is Algorithm.SM4 or length != 8):
        raise BadInputError(f"{algorithm} card key cannot have {length} bytes")


def region_factors(region: str) -> tuple[bytes, bytes]:
    """L1 (province) and L2 (city) of a six-digit 应用城市代码 (P9 §7.3.1, §7.3.2)."""
    return region[:2].encode("ascii") + b"0000sh", region.encode("ascii") + b"sx"


def factors_of_level(level: int, factors: CardFactors) -> list[bytes]:
    """The factors a root of `level` still has to be diversified with, in order (P9 figure 12); level 0 has none."""
    if not 0 <= level <= 3:
        raise BadInputError(f"root level must be 0 to 3, not {level}")
    return [*region_factors(factors.region), factors.card][level - 1 :] if level else []


def diversify(engine: Engine, algorithm: Algorithm, key: bytes, factor: bytes) -> bytes:
    """One diversification by an 8-byte factor (P9 §7.1.1, §7.2.1); the result is as long as the key."""
    check_key_length(algorithm, len(key))
    if len(factor) != _FACTOR:
        raise BadInputError(f"diversification factor must be {_FACTOR} bytes")
    if len(key) == _FACTOR:
        return engine.des_ecb(key, factor)
    return _ecb(engine, algorithm, key, factor + bytes(byte ^ 0xFF for byte in factor))


def diversification_chain(engine: Engine, algorithm: Algorithm, root: bytes, level: int, factors: CardFactors) -> bytes:
    """The card's own key from a root of `level`."""
    key = root
    for factor in factors_of_level(level, factors):
        key = diversify(engine, algorithm, key, factor)
    return key


def session_key(engine: Engine, algorithm: Algorithm, key: bytes, challenge: bytes) -> bytes:
    """过程密钥 (P4 §8.4): 8 bytes in the 3DES environment, 16 in the SM4 environment."""
    check_key_length(algorithm, len(key))
    return _ecb(engine, algorithm, key, _filled(algorithm, challenge))


def authentication_value(engine: Engine, algorithm: Algorithm, key: bytes, challenge: bytes, original: bytes) -> bytes:
    """鉴别数据, 8 bytes, over an 8-byte original (P4 §9.3)."""
    if len(original) != 8:
        raise BadInputError("original data of an authentication must be 8 bytes")
    session = session_key(engine, algorithm, key, challenge)
    value = _ecb(engine, algorithm, session, original.ljust(block_size(algorithm), b"\0"))
    return value if len(value) == 8 else _xor(value[:8], value[8:])


def mac(engine: Engine, algorithm: Algorithm, key: bytes, message: bytes, *, iv: bytes = b"") -> bytes:
    """4-byte MAC (P4 §8.2.4) with the key as it stands; `iv` is filled with 00 to a block.

    An 8-byte key makes every CBC step single DES (user card), a 16-byte key in the 3DES environment triple DES
    (key loading, P9 §7.1.3). Padding 80 00 is always added.
    """
    check_key_length(algorithm, len(key))
    size = block_size(algorithm)
    start, padded = iv.ljust(size, b"\0"), _padded(message + b"\x80", size)
    if algorithm is Algorithm.TDES:
        return engine.des_cbc(key, start, padded)[-8:-4]
    last = engine.sm4_cbc(key, start, padded)[-16:]
    return _xor(_xor(last[:4], last[4:8]), _xor(last[8:12], last[12:]))


def encrypt_data(engine: Engine, algorithm: Algorithm, key: bytes, plain: bytes) -> bytes:
    """ECB over LD || plain, padded with 80 00 only where that is not whole blocks (P4 §8.3.3)."""
    check_key_length(algorithm, len(key))
    if not 0 < len(plain) <= _MAX_LD:
        raise BadInputError(f"data to encrypt must have 1 to {_MAX_LD} bytes")
    data, size = bytes((len(plain),)) + plain, block_size(algorithm)
    return _ecb(engine, algorithm, key, data if len(data) % size == 0 else _padded(data + b"\x80", size))


def secured_data(
    engine: Engine,
    algorithm: Algorithm,
    key: bytes,
    challenge: bytes,
    header: bytes,
    data: bytes,
    *,
    encrypt: bool = False,
) -> bytes:
    """Data field of a secured command (P4 §8.5): `data`, encrypted where asked, and the MAC over it.

    Encryption and MAC use the one session key of `key` and `challenge` (P4 §8.2.3, §8.3.1).
    """
    _check_header(header)
    session = session_key(engine, algorithm, key, challenge)
    body = encrypt_data(engine, algorithm, session, data) if encrypt else data
    return body + mac(engine, algorithm, session, _with_length(header, body))


def key_load_data(
    engine: Engine, algorithm: Algorithm, master: bytes, challenge: bytes, header: bytes, plain: bytes
) -> bytes:
    """Data field of WRITE KEY and of the PSAM's CREATE KEY and CHANGE KEY: ECB of `plain`, then `load_mac` over it."""
    cipher = encrypt_data(engine, algorithm, master, plain)
    return cipher + load_mac(engine, algorithm, master, challenge, header, cipher)


def load_mac(
    engine: Engine, algorithm: Algorithm, master: bytes, challenge: bytes, header: bytes, data: bytes = b""
) -> bytes:
    """MAC with the full master key over CLA INS P1 P2 Lc || data, IV = challenge filled with 00 (P9 §7.1.3)."""
    _check_header(header)
    return mac(engine, algorithm, master, _with_length(header, data), iv=_filled(algorithm, challenge))


def key_record(record_header: bytes, value: bytes) -> bytes:
    """Plain block of WRITE KEY: 8-byte header, then a value of 8 or 16 bytes."""
    if len(record_header) != _RECORD_HEADER:
        raise BadInputError(f"key record header must be {_RECORD_HEADER} bytes")
    if len(value) not in (8, 16):
        raise BadInputError("key record value must be 8 or 16 bytes")
    return record_header + value


def tac(engine: Engine, algorithm: Algorithm, key: bytes, message: bytes) -> bytes:
    """Transaction certificate (P7 §15): no session key; a 3DES key is folded to single DES, left xor right."""
    if len(key) != 16:
        raise BadInputError("TAC key must be 16 bytes")
    return mac(engine, algorithm, _xor(key[:8], key[8:]) if algorithm is Algorithm.TDES else key, message)


def key_check_value(engine: Engine, algorithm: Algorithm, key: bytes) -> bytes:
    """First 3 bytes of E(K, 00 …)."""
    check_key_length(algorithm, len(key))
    return _ecb(engine, algorithm, key, bytes(block_size(algorithm)))[:KCV_LENGTH]


def _ecb(engine: Engine, algorithm: Algorithm, key: bytes, data: bytes) -> bytes:
    return engine.sm4_ecb(key, data) if algorithm is Algorithm.SM4 else engine.des_ecb(key, data)


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
