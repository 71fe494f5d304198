"""Numbers of PKCS#11 2.40 this backend uses, and what each return value means for a caller."""

from __future__ import annotations

from enum import Enum, IntEnum


class CKO(IntEnum):
    """Object classes."""

    PUBLIC_KEY = 2
    PRIVATE_KEY = 3
    SECRET_KEY = 4


class CKK(IntEnum):
    """Key types."""

    RSA = 0x00
    EC = 0x03
    DES3 = 0x15
    AES = 0x1F


class CKA(IntEnum):
    """Attributes."""

    CLASS = 0x000
    TOKEN = 0x001
    PRIVATE = 0x002
    LABEL = 0x003
    VALUE = 0x011
    KEY_TYPE = 0x100
    ID = 0x102
    SENSITIVE = 0x103
    ENCRYPT = 0x104
    DECRYPT = 0x105
    WRAP = 0x106
    UNWRAP = 0x107
    SIGN = 0x108
    VERIFY = 0x10A
    DERIVE = 0x10C
    MODULUS = 0x120
    MODULUS_BITS = 0x121
    PUBLIC_EXPONENT = 0x122
    VALUE_LEN = 0x161
    EXTRACTABLE = 0x162
    EC_PARAMS = 0x180
    EC_POINT = 0x181


class CKM(IntEnum):
    """Mechanisms; a profile may name them with the prefix `CKM_`."""

    RSA_PKCS_KEY_PAIR_GEN = 0x0000
    SHA256_RSA_PKCS = 0x0040
    DES3_KEY_GEN = 0x0131
    DES3_ECB = 0x0132
    DES3_CBC = 0x0133
    EC_KEY_PAIR_GEN = 0x1040
    ECDSA = 0x1041
    AES_KEY_GEN = 0x1080
    DES3_ECB_ENCRYPT_DATA = 0x1102
    AES_KEY_WRAP = 0x2109
    AES_KEY_WRAP_PAD = 0x210A
    AES_KEY_WRAP_KWP = 0x210B


CKF_RW_SESSION = 0x02
CKF_SERIAL_SESSION = 0x04
CKF_OS_LOCKING_OK = 0x02
CKF_USER_PIN_FINAL_TRY = 0x20000
CKF_USER_PIN_LOCKED = 0x40000
CKU_USER = 1
CKS_USER_STATES = (1, 3)
"""Session states in which the user is logged in: read-only and read-write."""

CKR_OK = 0x000
CKR_USER_ALREADY_LOGGED_IN = 0x100
CKR_CRYPTOKI_NOT_INITIALIZED = 0x190
CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191


class Verdict(Enum):
    """What a return value says about the device."""

    LOST = "token, session or library is gone; the request may be made elsewhere"
    REFUSED = "the request was refused; the session may be used again"
    DOUBTFUL = "libraries use it for both; the session is asked whether it still answers"
    ABSENT = "the token does not have the algorithm"
    PIN = "the PIN is wrong, locked or out of date"


RETURN_VALUES: dict[int, tuple[str, Verdict]] = {
    0x001: ("CKR_CANCEL", Verdict.REFUSED),
    0x002: ("CKR_HOST_MEMORY", Verdict.DOUBTFUL),
    0x003: ("CKR_SLOT_ID_INVALID", Verdict.LOST),
    0x005: ("CKR_GENERAL_ERROR", Verdict.DOUBTFUL),
    0x006: ("CKR_FUNCTION_FAILED", Verdict.DOUBTFUL),
    0x007: ("CKR_ARGUMENTS_BAD", Verdict.REFUSED),
    0x009: ("CKR_NEED_TO_CREATE_THREADS", Verdict.REFUSED),
    0x00A: ("CKR_CANT_LOCK", Verdict.REFUSED),
    0x010: ("CKR_ATTRIBUTE_READ_ONLY", Verdict.REFUSED),
    0x011: ("CKR_ATTRIBUTE_SENSITIVE", Verdict.REFUSED),
    0x012: ("CKR_ATTRIBUTE_TYPE_INVALID", Verdict.REFUSED),
    0x013: ("CKR_ATTRIBUTE_VALUE_INVALID", Verdict.REFUSED),
    0x01B: ("CKR_ACTION_PROHIBITED", Verdict.REFUSED),
    0x020: ("CKR_DATA_INVALID", Verdict.REFUSED),
    0x021: ("CKR_DATA_LEN_RANGE", Verdict.REFUSED),
    0x030: ("CKR_DEVICE_ERROR", Verdict.LOST),
    0x031: ("CKR_DEVICE_MEMORY", Verdict.REFUSED),
    0x032: ("CKR_DEVICE_REMOVED", Verdict.LOST),
    0x040: ("CKR_ENCRYPTED_DATA_INVALID", Verdict.REFUSED),
    0x041: ("CKR_ENCRYPTED_DATA_LEN_RANGE", Verdict.REFUSED),
    0x050: ("CKR_FUNCTION_CANCELED", Verdict.REFUSED),
    0x054: ("CKR_FUNCTION_NOT_SUPPORTED", Verdict.ABSENT),
    # Object numbers come from this very session: an unknown one means the session's state is gone.
    0x060: ("CKR_KEY_HANDLE_INVALID", Verdict.LOST),
    0x062: ("CKR_KEY_SIZE_RANGE", Verdict.REFUSED),
    0x063: ("CKR_KEY_TYPE_INCONSISTENT", Verdict.REFUSED),
    0x068: ("CKR_KEY_FUNCTION_NOT_PERMITTED", Verdict.REFUSED),
    0x069: ("CKR_KEY_NOT_WRAPPABLE", Verdict.REFUSED),
    0x06A: ("CKR_KEY_UNEXTRACTABLE", Verdict.REFUSED),
    0x070: ("CKR_MECHANISM_INVALID", Verdict.ABSENT),
    0x071: ("CKR_MECHANISM_PARAM_INVALID", Verdict.REFUSED),
    0x082: ("CKR_OBJECT_HANDLE_INVALID", Verdict.LOST),
    # A call that broke off half-way blocks its session for good; a new one is free of it.
    0x090: ("CKR_OPERATION_ACTIVE", Verdict.LOST),
    0x091: ("CKR_OPERATION_NOT_INITIALIZED", Verdict.LOST),
    0x0A0: ("CKR_PIN_INCORRECT", Verdict.PIN),
    0x0A1: ("CKR_PIN_INVALID", Verdict.PIN),
    0x0A2: ("CKR_PIN_LEN_RANGE", Verdict.PIN),
    0x0A3: ("CKR_PIN_EXPIRED", Verdict.PIN),
    0x0A4: ("CKR_PIN_LOCKED", Verdict.PIN),
    0x0B0: ("CKR_SESSION_CLOSED", Verdict.LOST),
    0x0B1: ("CKR_SESSION_COUNT", Verdict.REFUSED),
    0x0B3: ("CKR_SESSION_HANDLE_INVALID", Verdict.LOST),
    0x0B5: ("CKR_SESSION_READ_ONLY", Verdict.REFUSED),
    0x0C1: ("CKR_SIGNATURE_LEN_RANGE", Verdict.REFUSED),
    0x0D0: ("CKR_TEMPLATE_INCOMPLETE", Verdict.REFUSED),
    0x0D1: ("CKR_TEMPLATE_INCONSISTENT", Verdict.REFUSED),
    0x0E0: ("CKR_TOKEN_NOT_PRESENT", Verdict.LOST),
    0x0E1: ("CKR_TOKEN_NOT_RECOGNIZED", Verdict.LOST),
    0x0E2: ("CKR_TOKEN_WRITE_PROTECTED", Verdict.REFUSED),
    0x0F0: ("CKR_UNWRAPPING_KEY_HANDLE_INVALID", Verdict.LOST),
    0x0F1: ("CKR_UNWRAPPING_KEY_SIZE_RANGE", Verdict.REFUSED),
    0x0F2: ("CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", Verdict.REFUSED),
    0x101: ("CKR_USER_NOT_LOGGED_IN", Verdict.LOST),
    0x102: ("CKR_USER_PIN_NOT_INITIALIZED", Verdict.PIN),
    0x103: ("CKR_USER_TYPE_INVALID", Verdict.REFUSED),
    0x104: ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Verdict.REFUSED),
    0x105: ("CKR_USER_TOO_MANY_TYPES", Verdict.REFUSED),
    0x110: ("CKR_WRAPPED_KEY_INVALID", Verdict.REFUSED),
    0x112: ("CKR_WRAPPED_KEY_LEN_RANGE", Verdict.REFUSED),
    0x113: ("CKR_WRAPPING_KEY_HANDLE_INVALID", Verdict.LOST),
    0x114: ("CKR_WRAPPING_KEY_SIZE_RANGE", Verdict.REFUSED),
    0x115: ("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", Verdict.REFUSED),
    0x121: ("CKR_RANDOM_NO_RNG", Verdict.ABSENT),
    0x130: ("CKR_DOMAIN_PARAMS_INVALID", Verdict.ABSENT),
    0x140: ("CKR_CURVE_NOT_SUPPORTED", Verdict.ABSENT),
    0x150: ("CKR_BUFFER_TOO_SMALL", Verdict.LOST),
    CKR_CRYPTOKI_NOT_INITIALIZED: ("CKR_CRYPTOKI_NOT_INITIALIZED", Verdict.LOST),
    0x1B6: ("CKR_FIPS_SELF_TEST_FAILED", Verdict.LOST),
    0x200: ("CKR_FUNCTION_REJECTED", Verdict.REFUSED),
}
"""Name and verdict by return value; any other value is refused under its number."""
