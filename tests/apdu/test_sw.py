"""Status words read in the light of their command."""

from __future__ import annotations

import pytest

from apdu import errors
from apdu.errors import StatusWordError
from apdu.response import ResponseApdu
from apdu.sw import SW, Ins, Retry, check, command_name, error, meaning

# Every status word of card draft P5, table 5.
TABLE_5 = [
    *(0x6581, 0x6700, 0x6901, 0x6981, 0x6982, 0x6983, 0x6984, 0x6985, 0x6986, 0x6987, 0x6988, 0x6A80, 0x6A81, 0x6A82),
    *(0x6A83, 0x6A84, 0x6A85, 0x6A86, 0x6A88, 0x6B00, 0x6D00, 0x6E00, 0x6F00, 0x9302, 0x9303, 0x9401, 0x9402, 0x9403),
    0x9406,
]

CASES = [
    (0x63C2, Ins.VERIFY, errors.PinWrongError, "PIN_WRONG", 2),
    (0x63C0, Ins.VERIFY, errors.PinLockedError, "PIN_LOCKED", 0),
    (0x6983, Ins.VERIFY, errors.PinLockedError, "PIN_LOCKED", None),
    (0x63C1, Ins.CHANGE_PIN, errors.PinWrongError, "PIN_WRONG", 1),
    (0x63CE, Ins.EXTERNAL_AUTHENTICATION, errors.AuthenticationFailedError, "AUTHENTICATION_FAILED", 14),
    (0x63C0, Ins.EXTERNAL_AUTHENTICATION, errors.KeyLockedError, "KEY_LOCKED", 0),
    (0x6983, Ins.EXTERNAL_AUTHENTICATION, errors.KeyLockedError, "KEY_LOCKED", None),
    (0x6982, Ins.READ_RECORD, errors.AccessDeniedError, "ACCESS_DENIED", None),
    (0x6A82, Ins.SELECT, errors.NotFoundError, "FILE_NOT_FOUND", None),
    (0x6A83, Ins.READ_RECORD, errors.NotFoundError, "RECORD_NOT_FOUND", None),
    (0x6988, Ins.UPDATE_RECORD, errors.SecureMessagingError, "SECURE_MESSAGING_FAILED", None),
    (0x6A81, Ins.SELECT, errors.CardBlockedError, "CARD_BLOCKED", None),
    (0x9303, Ins.SELECT, errors.CardBlockedError, "APPLICATION_BLOCKED", None),
    (0x6A80, Ins.DELIVERY_SESSION_KEY, StatusWordError, "PSAM_KEY_LEVEL", None),
    (0x6A80, Ins.UPDATE_RECORD, StatusWordError, "COMMAND_REJECTED", None),
    (0x6C0B, Ins.READ_RECORD, StatusWordError, "COMMAND_REJECTED", None),
    (0x1234, None, StatusWordError, "COMMAND_REJECTED", None),
]


@pytest.mark.parametrize(("sw", "ins", "kind", "failure", "tries"), CASES)
def test_refusal(sw: int, ins: int | None, kind: type[StatusWordError], failure: str, tries: int | None) -> None:
    with pytest.raises(StatusWordError) as caught:
        check(ResponseApdu(b"", sw), ins)
    assert type(caught.value) is kind
    assert (caught.value.sw, caught.value.failure, caught.value.attempts_remaining) == (sw, failure, tries)
    assert caught.value.command == command_name(ins)
    assert f"{sw:04X}" in str(caught.value)


@pytest.mark.parametrize("sw", TABLE_5, ids=hex)
def test_every_status_word_of_the_draft_is_known_in_both_languages(sw: int) -> None:
    said = meaning(sw)
    assert said.failure is not None
    assert "unknown" not in said.text_en
    assert any("一" <= letter <= "鿿" for letter in said.text_zh)
    assert SW(sw) == said.sw


@pytest.mark.parametrize("sw", [0x9000, 0x6110, 0x6100])
def test_what_is_no_refusal_passes_through(sw: int) -> None:
    response = ResponseApdu(b"\x01", sw)
    assert check(response) is response
    assert meaning(sw).failure is None
    with pytest.raises(ValueError, match="no refusal"):
        error(sw)


def test_counts_are_told() -> None:
    assert "3 tries" in meaning(0x63C3, Ins.VERIFY).text_en
    assert "256" in meaning(0x6C00).text_en
    assert meaning(0x6C0B).retry is Retry.WITH_LE


def test_every_status_word_has_a_meaning() -> None:
    for sw in range(0x10000):
        said = meaning(sw, Ins.VERIFY)
        assert said.sw == sw
        assert (said.failure is None) == (sw == 0x9000 or sw >> 8 == 0x61)
