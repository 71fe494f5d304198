"""One truth for errors: `FailureCode`, its words in two languages, its HTTP status and its driver return code.

The words are in `failures.toml`; the page for operators is printed by `python -m cardlib.failures`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from apdu.sw import meaning

UNKNOWN_DRIVER_CODE = -99  # in no published table: installed programs show "unknown error"
_PIN_INSTRUCTIONS = (0x20, 0x5E)  # VERIFY, CHANGE PIN
_SW_KEY_LOCKED = 0x6983
_WORDS = Path(__file__).with_name("failures.toml")


class FailureCode(StrEnum):
    """Stable names; they travel in HTTP answers, events, logs and the database."""

    READER_SERVICE_UNAVAILABLE = "READER_SERVICE_UNAVAILABLE"
    READER_NOT_FOUND = "READER_NOT_FOUND"
    READER_LOST = "READER_LOST"
    CARD_ABSENT = "CARD_ABSENT"
    CARD_REMOVED = "CARD_REMOVED"
    CARD_MUTE = "CARD_MUTE"
    CARD_RESET = "CARD_RESET"
    CARD_BUSY = "CARD_BUSY"
    READER_LEASED = "READER_LEASED"
    LEASE_LOST = "LEASE_LOST"
    CARD_UNSUPPORTED = "CARD_UNSUPPORTED"
    NOT_SOCIAL_SECURITY_CARD = "NOT_SOCIAL_SECURITY_CARD"
    CARD_DATA_INVALID = "CARD_DATA_INVALID"
    CARD_NOT_GENUINE = "CARD_NOT_GENUINE"
    CARD_BLOCKED = "CARD_BLOCKED"
    CARD_LISTED = "CARD_LISTED"
    APPLICATION_BLOCKED = "APPLICATION_BLOCKED"
    CARD_STATE = "CARD_STATE"
    BALANCE_INSUFFICIENT = "BALANCE_INSUFFICIENT"
    CARD_MISMATCH = "CARD_MISMATCH"
    CARD_MEMORY = "CARD_MEMORY"
    PIN_WRONG = "PIN_WRONG"
    PIN_LOCKED = "PIN_LOCKED"
    PIN_LAST_TRY = "PIN_LAST_TRY"
    PIN_ENTRY_CANCELLED = "PIN_ENTRY_CANCELLED"
    PIN_ENTRY_TIMEOUT = "PIN_ENTRY_TIMEOUT"
    PIN_LENGTH = "PIN_LENGTH"
    PIN_ENTRIES_DIFFER = "PIN_ENTRIES_DIFFER"
    PIN_WEAK = "PIN_WEAK"
    PIN_INITIAL = "PIN_INITIAL"
    PIN_INITIAL_REUSED = "PIN_INITIAL_REUSED"
    KEY_LOCKED = "KEY_LOCKED"
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
    KEY_LAST_TRY = "KEY_LAST_TRY"
    ACCESS_DENIED = "ACCESS_DENIED"
    SECURE_MESSAGING_FAILED = "SECURE_MESSAGING_FAILED"
    PSAM_ABSENT = "PSAM_ABSENT"
    PSAM_ALGORITHM = "PSAM_ALGORITHM"
    PSAM_RK_MISSING = "PSAM_RK_MISSING"
    PSAM_KEY_LEVEL = "PSAM_KEY_LEVEL"
    HSM_STEP_NOT_NEEDED = "HSM_STEP_NOT_NEEDED"
    KEY_NOT_FOUND = "KEY_NOT_FOUND"
    KEY_PURPOSE = "KEY_PURPOSE"
    KEY_STORE_LOCKED = "KEY_STORE_LOCKED"
    KEY_STORE_CORRUPT = "KEY_STORE_CORRUPT"
    KEY_STORE_VERSION = "KEY_STORE_VERSION"
    KEY_EXPIRED = "KEY_EXPIRED"
    ALGORITHM_UNAVAILABLE = "ALGORITHM_UNAVAILABLE"
    HSM_UNAVAILABLE = "HSM_UNAVAILABLE"
    HSM_BUSY = "HSM_BUSY"
    HSM_REFUSED = "HSM_REFUSED"
    SHARE_INVALID = "SHARE_INVALID"
    OFFICERS_NEEDED = "OFFICERS_NEEDED"
    OFFICER_REFUSED = "OFFICER_REFUSED"
    ACT_LOG_BROKEN = "ACT_LOG_BROKEN"
    AUDIT_BROKEN = "AUDIT_BROKEN"
    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    RECORD_NOT_FOUND = "RECORD_NOT_FOUND"
    COMMAND_REJECTED = "COMMAND_REJECTED"
    APDU_MALFORMED = "APDU_MALFORMED"
    INPUT_INVALID = "INPUT_INVALID"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    CERTIFICATE_INVALID = "CERTIFICATE_INVALID"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    JOURNAL_FULL = "JOURNAL_FULL"
    JOURNAL_FORKED = "JOURNAL_FORKED"
    JOURNAL_DAMAGED = "JOURNAL_DAMAGED"
    REGION_UNKNOWN = "REGION_UNKNOWN"
    RULES_INVALID = "RULES_INVALID"
    NUMBER_POOL_EMPTY = "NUMBER_POOL_EMPTY"
    BLANK_UNKNOWN = "BLANK_UNKNOWN"
    ALREADY_ISSUED = "ALREADY_ISSUED"
    PHOTO_REJECTED = "PHOTO_REJECTED"
    IDENTITY_MISMATCH = "IDENTITY_MISMATCH"
    IDENTITY_UNKNOWN = "IDENTITY_UNKNOWN"
    IDENTITY_DECEASED = "IDENTITY_DECEASED"
    IDENTITY_UNAVAILABLE = "IDENTITY_UNAVAILABLE"
    APPLICATION_STATE = "APPLICATION_STATE"
    BATCH_STATE = "BATCH_STATE"
    RETURN_CHANGED = "RETURN_CHANGED"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    PAYMENT_REFUSED = "PAYMENT_REFUSED"
    CODE_UNKNOWN = "CODE_UNKNOWN"
    CODE_USED = "CODE_USED"
    CODE_USED_ELSEWHERE = "CODE_USED_ELSEWHERE"
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_SCENE = "CODE_SCENE"
    CODE_AMOUNT = "CODE_AMOUNT"
    TRANSIT_CODE_MALFORMED = "TRANSIT_CODE_MALFORMED"
    TRANSIT_CODE_VERSION = "TRANSIT_CODE_VERSION"
    TRANSIT_CODE_CERTIFICATE = "TRANSIT_CODE_CERTIFICATE"
    TRANSIT_CODE_CERTIFICATE_EXPIRED = "TRANSIT_CODE_CERTIFICATE_EXPIRED"
    TRANSIT_CODE_ISSUER_MISMATCH = "TRANSIT_CODE_ISSUER_MISMATCH"
    TRANSIT_CODE_ROOT_UNKNOWN = "TRANSIT_CODE_ROOT_UNKNOWN"
    TRANSIT_CODE_ROOT_EXPIRED = "TRANSIT_CODE_ROOT_EXPIRED"
    TRANSIT_CODE_ISSUER_FORGED = "TRANSIT_CODE_ISSUER_FORGED"
    TRANSIT_CODE_AUTHORISATION_EXPIRED = "TRANSIT_CODE_AUTHORISATION_EXPIRED"
    TRANSIT_CODE_AUTHORISATION_FORGED = "TRANSIT_CODE_AUTHORISATION_FORGED"
    TRANSIT_CODE_FUTURE = "TRANSIT_CODE_FUTURE"
    TRANSIT_CODE_EXPIRED = "TRANSIT_CODE_EXPIRED"
    TRANSIT_CODE_USER_FORGED = "TRANSIT_CODE_USER_FORGED"
    TRANSIT_CODE_ACCOUNT_BLOCKED = "TRANSIT_CODE_ACCOUNT_BLOCKED"
    TRANSIT_CODE_AMOUNT = "TRANSIT_CODE_AMOUNT"
    TRANSIT_CODE_DUPLICATE = "TRANSIT_CODE_DUPLICATE"
    TRANSIT_CODE_MEMORY_FULL = "TRANSIT_CODE_MEMORY_FULL"
    TRANSIT_CODE_CLOCK = "TRANSIT_CODE_CLOCK"
    TRANSIT_ANCHORS_INVALID = "TRANSIT_ANCHORS_INVALID"
    TRANSIT_RULES_INVALID = "TRANSIT_RULES_INVALID"
    TRANSIT_ISSUER_MISSING = "TRANSIT_ISSUER_MISSING"
    TRANSIT_ISSUER_EXPIRED = "TRANSIT_ISSUER_EXPIRED"
    DEVICE_PROOF_INVALID = "DEVICE_PROOF_INVALID"
    DEVICE_PROOF_EXPIRED = "DEVICE_PROOF_EXPIRED"
    DEVICE_PROOF_REPLAYED = "DEVICE_PROOF_REPLAYED"
    ECARD_UNLINKED = "ECARD_UNLINKED"
    ECARD_MISMATCH = "ECARD_MISMATCH"
    ECARD_PASSWORD_WRONG = "ECARD_PASSWORD_WRONG"  # noqa: S105  # a name
    ECARD_PASSWORD_LOCKED = "ECARD_PASSWORD_LOCKED"  # noqa: S105
    BUSI_SEQ_INVALID = "BUSI_SEQ_INVALID"
    ECARD_NOT_USABLE = "ECARD_NOT_USABLE"
    ECARD_LEVEL = "ECARD_LEVEL"
    FAMILY_LIMIT = "FAMILY_LIMIT"
    FAMILY_GUARDIAN = "FAMILY_GUARDIAN"
    CONSENT_REQUIRED = "CONSENT_REQUIRED"
    CONSENT_REVOKED = "CONSENT_REVOKED"
    CONSENT_EXPIRED = "CONSENT_EXPIRED"
    CONSENT_PURPOSE = "CONSENT_PURPOSE"
    CONSENT_ITEMS = "CONSENT_ITEMS"
    CONSENT_CLOSED = "CONSENT_CLOSED"
    CONSENT_LIMITED = "CONSENT_LIMITED"
    CLIENT_UNKNOWN = "CLIENT_UNKNOWN"
    CLIENT_FORBIDDEN = "CLIENT_FORBIDDEN"
    LOGIN_REFUSED = "LOGIN_REFUSED"
    LOGIN_LIMITED = "LOGIN_LIMITED"
    PROGRESS_UNKNOWN = "PROGRESS_UNKNOWN"
    PROGRESS_LIMITED = "PROGRESS_LIMITED"
    LOGIN_INSECURE = "LOGIN_INSECURE"
    LOGIN_LINK_INVALID = "LOGIN_LINK_INVALID"
    LOGIN_LINK_TAKEN = "LOGIN_LINK_TAKEN"
    LOGIN_NUMBER_WRONG = "LOGIN_NUMBER_WRONG"
    LOGIN_CLOSED = "LOGIN_CLOSED"
    LOGIN_CARD_REFUSED = "LOGIN_CARD_REFUSED"
    LOGIN_NATIONAL_UNAVAILABLE = "LOGIN_NATIONAL_UNAVAILABLE"
    LOGIN_NATIONAL_REFUSED = "LOGIN_NATIONAL_REFUSED"
    LOGIN_DENIED = "LOGIN_DENIED"
    LOGIN_UNBOUND = "LOGIN_UNBOUND"
    SESSION_ENDED = "SESSION_ENDED"
    SESSION_LOCKED = "SESSION_LOCKED"
    CSRF_REFUSED = "CSRF_REFUSED"
    CLERK_MUST_CHANGE = "CLERK_MUST_CHANGE"
    ACT_FORBIDDEN = "ACT_FORBIDDEN"
    APPROVAL_SELF = "APPROVAL_SELF"
    APPROVAL_STATE = "APPROVAL_STATE"
    REQUEST_REPLAYED = "REQUEST_REPLAYED"
    REQUEST_EXPIRED = "REQUEST_EXPIRED"
    EVIDENCE_MISSING = "EVIDENCE_MISSING"
    HOLDER_MISMATCH = "HOLDER_MISMATCH"
    REQUEST_LIMIT = "REQUEST_LIMIT"
    SERVICE_UNREACHABLE = "SERVICE_UNREACHABLE"
    TIMEOUT = "TIMEOUT"
    ORIGIN_FORBIDDEN = "ORIGIN_FORBIDDEN"
    HOST_FORBIDDEN = "HOST_FORBIDDEN"
    PAIRING_REQUIRED = "PAIRING_REQUIRED"
    PAIRING_REFUSED = "PAIRING_REFUSED"
    RATE_LIMITED = "RATE_LIMITED"
    API_LEVEL_UNSUPPORTED = "API_LEVEL_UNSUPPORTED"
    AGENT_CONFIGURATION = "AGENT_CONFIGURATION"
    TERMINAL_CODE_INVALID = "TERMINAL_CODE_INVALID"
    TERMINAL_LOCKED = "TERMINAL_LOCKED"
    AGENT_SILENT = "AGENT_SILENT"
    DEVICE_NOT_CONFIGURED = "DEVICE_NOT_CONFIGURED"
    PRINTER_UNAVAILABLE = "PRINTER_UNAVAILABLE"
    PRINTER_RIBBON_LOW = "PRINTER_RIBBON_LOW"
    PRINTER_RIBBON_EMPTY = "PRINTER_RIBBON_EMPTY"
    PRINTER_HOPPER_EMPTY = "PRINTER_HOPPER_EMPTY"
    PRINTER_JAM = "PRINTER_JAM"
    PRINTER_PAUSED = "PRINTER_PAUSED"
    PRINTER_COVER_OPEN = "PRINTER_COVER_OPEN"
    RECEIPT_PAPER_OUT = "RECEIPT_PAPER_OUT"
    RECEIPT_PRINTER_FAULT = "RECEIPT_PRINTER_FAULT"
    RECEIPT_PRINTER_LOST = "RECEIPT_PRINTER_LOST"
    CAMERA_UNAVAILABLE = "CAMERA_UNAVAILABLE"
    PRINT_FAILED = "PRINT_FAILED"
    KIOSK_CARD_INSIDE = "KIOSK_CARD_INSIDE"
    KIOSK_CARD_KEPT = "KIOSK_CARD_KEPT"
    CATALOG_INVALID = "CATALOG_INVALID"
    HANDOVER_REFUSED = "HANDOVER_REFUSED"
    CATALOG_STALE = "CATALOG_STALE"
    CATALOG_FROZEN = "CATALOG_FROZEN"
    CATALOG_ROLLED_BACK = "CATALOG_ROLLED_BACK"
    CATALOG_SIGNATURE = "CATALOG_SIGNATURE"
    CATALOG_ROOT_EXPIRED = "CATALOG_ROOT_EXPIRED"
    CATALOG_DAMAGED = "CATALOG_DAMAGED"
    CATALOG_DISK = "CATALOG_DISK"
    BLOCK_LIST_INVALID = "BLOCK_LIST_INVALID"
    BLOCK_LIST_OLDER = "BLOCK_LIST_OLDER"
    BLOCK_LIST_STALE = "BLOCK_LIST_STALE"
    PUBLICATION_INVALID = "PUBLICATION_INVALID"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    ONE_TIME_UNAVAILABLE = "ONE_TIME_UNAVAILABLE"
    SIM_IMAGE_INVALID = "SIM_IMAGE_INVALID"
    INTERNAL = "INTERNAL"


class Retry(StrEnum):
    """Whether doing the same again can help."""

    NOW = "now"
    LATER = "later"
    AFTER_REMEDY = "after_remedy"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Failure:
    """Words and numbers of one failure. The texts have no full stop; causes and remedies are sentences.

    A remedy begins with a verb: what to do now, then who helps if that fails. `driver_codes` are the return codes of
    the driver table that mean this failure, the one to return first.
    """

    code: FailureCode
    text_zh: str
    text_en: str
    cause_zh: str
    cause_en: str
    remedy_zh: str
    remedy_en: str
    retry: Retry
    http_status: int
    driver_codes: tuple[int, ...]

    @property
    def driver_code(self) -> int:
        return self.driver_codes[0]


def describe(code: FailureCode | str) -> Failure:
    """Raises ValueError for a name that is no member."""
    return _failures()[FailureCode(code)]


def failure_of(error: BaseException) -> FailureCode:
    """The failure an exception names in its attribute `failure`; INTERNAL when it names none."""
    name = getattr(error, "failure", None)
    return FailureCode.__members__.get(str(name), FailureCode.INTERNAL)


def from_driver_code(code: int) -> FailureCode:
    """The failure behind a negative return code of a driver (draft P8 Annex A and the table in use).

    A code of status word form, -(SW1*256 + SW2), is read as that status word; INTERNAL for an unknown code.
    """
    by_code = _by_driver_code()
    if code in by_code:
        return by_code[code]
    if 0x6000 <= -code <= 0x9FFF:
        return FailureCode(meaning(-code).failure or "INTERNAL")
    return FailureCode.INTERNAL


def driver_code_for_sw(sw: int, ins: int | None = None) -> int:
    """Return code for a refusing status word: -(SW1*256 + SW2); -51 and -52 where `ins` is about the PIN."""
    if ins in _PIN_INSTRUCTIONS:
        if sw >> 4 == 0x63C:
            return describe(FailureCode.PIN_WRONG).driver_code
        if sw == _SW_KEY_LOCKED:
            return describe(FailureCode.PIN_LOCKED).driver_code
    return -sw


@cache
def _failures() -> dict[FailureCode, Failure]:
    with _WORDS.open("rb") as file:
        tables = tomllib.load(file)
    return {
        code: Failure(
            code=code,
            text_zh=table["text_zh"],
            text_en=table["text_en"],
            cause_zh=table["cause_zh"],
            cause_en=table["cause_en"],
            remedy_zh=table["remedy_zh"],
            remedy_en=table["remedy_en"],
            retry=Retry(table["retry"]),
            http_status=table["http"],
            driver_codes=(table["driver"], *table.get("driver_also", ())),
        )
        for code in FailureCode
        for table in (tables[code],)
    }


@cache
def _by_driver_code() -> dict[int, FailureCode]:
    """The first failure in the order of the members wins where two return the same code."""
    found: dict[int, FailureCode] = {}
    for failure in _failures().values():
        for code in failure.driver_codes:
            if code != UNKNOWN_DRIVER_CODE:
                found.setdefault(code, failure.code)
    return found


_RETRY_WORDS = {
    Retry.NOW: ("可以马上再试", "the same again may work"),
    Retry.LATER: ("稍后会自己恢复", "mends itself after a while"),
    Retry.AFTER_REMEDY: ("处理后再试", "after the remedy"),
    Retry.NEVER: ("再试没有用", "the same again cannot work"),
}


def page() -> Iterator[str]:
    """Lines of docs/failures.md."""
    yield "# 出错代码 Failure codes"
    yield ""
    yield "<!-- Made by `python -m cardlib.failures > docs/failures.md` from cardlib/failures.toml; do not edit. -->"
    yield ""
    yield "每个代码说明三件事：出了什么事，现在怎么办，谁能帮忙。驱动返回码一列供读卡驱动的使用者对照。"
    yield ""
    yield "Each code says what happened, what to do now and who helps. Driver codes are those of the reader driver."
    for failure in _failures().values():
        codes = ", ".join(str(code) for code in failure.driver_codes)
        retry_zh, retry_en = _RETRY_WORDS[failure.retry]
        yield ""
        yield f"## {failure.code}"
        yield ""
        yield f"**{failure.text_zh}** · {failure.text_en}"
        yield ""
        yield failure.cause_zh
        yield ""
        yield from (f"{number}. {step}" for number, step in enumerate(_steps(failure.remedy_zh), start=1))
        yield ""
        yield failure.cause_en
        yield ""
        yield from (f"{number}. {step}" for number, step in enumerate(_steps(failure.remedy_en), start=1))
        yield ""
        yield f"HTTP {failure.http_status} · 驱动返回码 driver code {codes} · {retry_zh} {retry_en}"


def _steps(text: str) -> list[str]:
    """Sentences, as numbered steps."""
    return [step for step in re.split(r"(?<=。)|(?<=[.]) (?=[A-Z])", text) if step]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    print("\n".join(page()))
