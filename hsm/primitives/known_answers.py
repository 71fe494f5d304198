"""What an engine must answer before it is used; a few milliseconds on the fast engine.

A library that lists an algorithm may still compute something else (a key made on the SM2 curve often signs plain
ECDSA), so only answers count. Values: GB/T 32905 A.1, GB/T 32907 A.1, RFC 8998 A.2 (empty message recomputed),
GB/T 32918.5 A.2 and C.2; triple DES and retail MAC recomputed with two libraries.
"""

from __future__ import annotations

from hsm.primitives.engine import DEFAULT_USER_ID, AuthenticationFailed, Engine, EngineUnavailableError

_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
_NONCE = bytes.fromhex("00001234567800000000ABCD")
_PRIVATE = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
_PUBLIC = bytes.fromhex(
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
_MESSAGE = b"message digest"
_SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
_CIPHERTEXT = bytes.fromhex(
    "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
    "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
    "21886CA989CA9C7D58087307CA93092D651EFA"
)
_PLAINTEXT = b"encryption standard"


def check(engine: Engine) -> None:
    """Raise EngineUnavailableError naming the first wrong answer."""
    for algorithm, is_right in (
        ("SM3", engine.sm3(b"abc").hex().startswith("66c7f0f462eeedd9d1f2d46bdc10e4e2")),
        ("HMAC-SM3", engine.hmac_sm3(_KEY, b"abc").hex().startswith("28d8a61be67d8bf7652c4eda7092b612")),
        ("SM4", engine.sm4_ecb(_KEY, _KEY).hex() == "681edf34d206965e86b3e94f536e4246"),
        ("SM4-GCM", engine.sm4_gcm_seal(_KEY, _NONCE, b"", _KEY).hex() == "588f450bb4e152c3459bf282540dc32f"),
        ("SM4-CMAC", engine.sm4_cmac(_KEY, b"abc").hex() == "8e75238ac2672a6aee408c1e251854d8"),
        ("3DES", engine.des_ecb(_KEY, _KEY).hex() == "1a4d672dca6cb3351fd1b02b237af9ae"),
        ("DES", engine.des_ecb(_KEY[:8], _KEY[:8]).hex() == "56cc09e7cfdc4cef"),
        ("retail MAC", engine.des_retail_mac(_KEY, _KEY).hex() == "8bbb6eb34cbfa206"),
        ("SM2 signature", _signs(engine)),
        ("SM2 encryption", _encrypts(engine)),
    ):
        if not is_right:
            raise EngineUnavailableError(f"{engine.name} engine gives a wrong answer for {algorithm}")


def _signs(engine: Engine) -> bool:
    own = engine.sm2_sign(_PRIVATE, _MESSAGE, user_id=DEFAULT_USER_ID)
    return (
        engine.sm2_public_key(_PRIVATE) == _PUBLIC
        and engine.sm2_verify(_PUBLIC, _MESSAGE, _SIGNATURE, user_id=DEFAULT_USER_ID)
        and engine.sm2_verify(_PUBLIC, _MESSAGE, own, user_id=DEFAULT_USER_ID)
        and not engine.sm2_verify(_PUBLIC, _MESSAGE, _SIGNATURE, user_id=b"")
    )


def _encrypts(engine: Engine) -> bool:
    try:
        return (
            engine.sm2_decrypt(_PRIVATE, _CIPHERTEXT) == _PLAINTEXT
            and engine.sm2_decrypt(_PRIVATE, engine.sm2_encrypt(_PUBLIC, _PLAINTEXT)) == _PLAINTEXT
        )
    except AuthenticationFailed:
        return False
