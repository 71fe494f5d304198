"""Every failure has words, a status and a driver code; every exception names one; the page is current."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from cardlib import failures
from cardlib.failures import (
    UNKNOWN_DRIVER_CODE,
    FailureCode,
    Retry,
    describe,
    driver_code_for_sw,
    failure_of,
    from_driver_code,
)

ROOT = Path(__file__).parents[2]
PACKAGES = ("apdu", "apps_catalog", "cardlib", "hsm", "issuance", "onecard_cli", "simulators", "terminal_agent")

# Draft P8 Annex A for -1 to -15; the rest as published programs have it.
DRIVER_TABLE = {
    -1: "CARD_UNSUPPORTED", -2: "CARD_ABSENT", -3: "CARD_MUTE", -4: "CARD_MUTE", -5: "READER_SERVICE_UNAVAILABLE",
    -11: "READER_SERVICE_UNAVAILABLE", -12: "READER_NOT_FOUND", -13: "COMMAND_REJECTED", -14: "INPUT_INVALID",
    -15: "CARD_DATA_INVALID", -20: "CARD_DATA_INVALID", -21: "CARD_NOT_GENUINE", -22: "CARD_MISMATCH",
    -23: "INPUT_INVALID", -24: "PSAM_KEY_LEVEL", -31: "PIN_ENTRY_CANCELLED", -32: "PIN_ENTRY_TIMEOUT",
    -33: "PIN_LENGTH", -34: "PIN_ENTRIES_DIFFER", -35: "PIN_INITIAL", -36: "PIN_INITIAL_REUSED",
    -41: "INPUT_INVALID", -42: "INPUT_INVALID", -51: "PIN_WRONG", -52: "PIN_LOCKED",
    -2201: "PSAM_ABSENT", -2202: "PSAM_ALGORITHM", -2203: "PSAM_RK_MISSING", -2204: "HSM_STEP_NOT_NEEDED",
    -25536: "AUTHENTICATION_FAILED", -25537: "AUTHENTICATION_FAILED", -25538: "AUTHENTICATION_FAILED",
    -26368: "APDU_MALFORMED", -26881: "CARD_STATE", -27009: "COMMAND_REJECTED", -27010: "ACCESS_DENIED",
    -27011: "KEY_LOCKED", -27012: "AUTHENTICATION_FAILED", -27013: "CARD_STATE", -27016: "SECURE_MESSAGING_FAILED",
    -27264: "COMMAND_REJECTED", -27265: "CARD_BLOCKED", -27266: "FILE_NOT_FOUND", -27267: "RECORD_NOT_FOUND",
    -27272: "KEY_NOT_FOUND", -37634: "SECURE_MESSAGING_FAILED", -37635: "APPLICATION_BLOCKED",
}  # fmt: skip


def test_words_and_members_are_the_same_set() -> None:
    tables = tomllib.loads((ROOT / "cardlib" / "failures.toml").read_text("utf-8"))
    assert list(tables) == [code.value for code in FailureCode]
    keys = {"text_zh", "text_en", "cause_zh", "cause_en", "remedy_zh", "remedy_en", "retry", "http", "driver"}
    for name, table in tables.items():
        assert keys <= table.keys() <= keys | {"driver_also"}, name


@pytest.mark.parametrize("code", FailureCode)
def test_words_follow_the_house_rules(code: FailureCode) -> None:
    failure = describe(code)
    assert not re.search(r"[。.!！]$", failure.text_zh + failure.text_en)
    for chinese in (failure.cause_zh, failure.remedy_zh):
        assert chinese.endswith("。")
        assert not re.search(r"[!！]|系统异常|未知错误|操作失败|您输错", chinese)
    for english in (failure.cause_en, failure.remedy_en):
        assert english.endswith(".")
        assert english[0].isupper()
        assert "!" not in english
    assert not failure.remedy_zh.startswith("请")  # callers write it themselves
    assert 400 <= failure.http_status <= 599
    assert failure.http_status != 422  # kept for payload shape
    assert failure.driver_code < 0
    if failure.retry is Retry.NOW:
        assert code not in (FailureCode.PIN_WRONG, FailureCode.AUTHENTICATION_FAILED), "would use up tries"


def test_driver_table_is_complete() -> None:
    assert {code: from_driver_code(code).value for code in DRIVER_TABLE} == DRIVER_TABLE
    for code in FailureCode:
        assert set(describe(code).driver_codes) <= DRIVER_TABLE.keys() | {UNKNOWN_DRIVER_CODE, -27268}, code


def test_codes_of_status_words() -> None:
    assert [driver_code_for_sw(sw) for sw in (0x6A84, 0x9401, 0x9402, 0x63C1)] == [-27268, -37889, -37890, -25537]
    assert driver_code_for_sw(0x63C2, 0x20) == -51
    assert driver_code_for_sw(0x6983, 0x5E) == -52
    assert driver_code_for_sw(0x6983, 0x82) == -27011
    assert from_driver_code(-0x6A86) is FailureCode.COMMAND_REJECTED
    assert from_driver_code(-0x63CF) is FailureCode.AUTHENTICATION_FAILED
    assert from_driver_code(-0x9000) is FailureCode.INTERNAL
    assert from_driver_code(-7777) is FailureCode.INTERNAL
    assert from_driver_code(UNKNOWN_DRIVER_CODE) is FailureCode.INTERNAL


def test_failure_of_an_exception() -> None:
    class CardGoneError(Exception):
        failure = "CARD_REMOVED"

    class MisspeltError(Exception):
        failure = "CARD_REMOVD"

    assert failure_of(CardGoneError()) is FailureCode.CARD_REMOVED
    assert failure_of(MisspeltError()) is FailureCode.INTERNAL
    assert failure_of(KeyError("x")) is FailureCode.INTERNAL
    with pytest.raises(ValueError, match="NOPE"):
        describe("NOPE")


def test_every_failure_named_in_the_source_is_a_member() -> None:
    """A class attribute `failure = "…"` anywhere must name a member; the exceptions themselves know no enum."""
    named = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Assign):
                    targets, value = node.targets, node.value
                elif isinstance(node, ast.AnnAssign) and node.value is not None:
                    targets, value = [node.target], node.value
                else:
                    continue
                is_failure = any(isinstance(target, ast.Name) and target.id == "failure" for target in targets)
                if is_failure and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    named.add((value.value, path.name))
    assert len(named) > 20
    assert [row for row in sorted(named) if row[0] not in FailureCode.__members__] == []


def test_page_is_current() -> None:
    page = (ROOT / "docs" / "failures.md").read_text("utf-8")
    assert page == "\n".join(failures.page()) + "\n", "run: python -m cardlib.failures > docs/failures.md"
    for code in FailureCode:
        assert f"\n## {code}\n" in page
