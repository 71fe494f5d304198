"""Export, diff and import: only what differs is written, never onto another card, and read back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from apdu.channel import CountingChannel
from cardlib.codec import CodecError
from cardlib.errors import CardDataError, CardMismatchError
from cardlib.exchange import ExchangeConflictError, check_document, compare, export_card, import_card
from cardlib.session import SocialSecurityCard
from simulators.card import CardState, SimCard
from simulators.factory import build_card
from simulators.personas import load
from tests.cardlib.support import key_service, roots


def stored(name: str = "adult-3.0") -> CardState:
    return build_card(load(name), roots())


def opened(state: CardState) -> SocialSecurityCard:
    card = SimCard(state)
    session = SocialSecurityCard(card, card.power_on())
    session.open()
    session.verify_pin("123456")
    return session


def document(state: CardState) -> dict[str, Any]:
    """Through JSON, as a file would have it."""
    return check_document(json.loads(json.dumps(export_card(opened(state), key_service()))))


@pytest.mark.parametrize("name", ["adult-1.0", "adult-2.0", "adult-3.0"])
def test_a_card_is_the_same_as_its_export(name: str) -> None:
    state = stored(name)
    exported = document(state)
    assert exported["refused"] == {}
    assert compare(exported, document(state)) == []
    done = import_card(exported, opened(state), key_service())
    assert (done.written, done.skipped) == ((), ())


def test_only_what_differs_is_written_and_all_of_it() -> None:
    state = stored()
    before = document(state)
    wanted = copy.deepcopy(before)
    wanted["files"]["DF01EF06"]["telephone"] = "01000000000"
    wanted["files"]["SSSEEF06"]["name"] = "测试䶮·艾克拜尔·示例·阿卜杜热合曼"
    wanted["files"]["DF01EF15"]["degree"][1] = {"degree_code": "403", "field_of_study": "", "school_name": "测试"}
    wanted["files"]["SSSEEF08"]["photo"] = "FFD8FF"
    wanted["files"]["DF02EF07"].insert(0, wanted["files"]["DF02EF07"][0] | {"start_date": "20200101"})
    names = ["SSSEEF06.name", "SSSEEF08.photo", "DF01EF06.telephone", "DF01EF15.degree:2", "DF02EF07"]
    assert [f"{d.path}.{d.item}".rstrip(".") for d in compare(before, wanted)] == names
    done = import_card(wanted, opened(state), key_service())
    assert list(done.written) == names
    assert compare(document(state), wanted) == []
    assert import_card(wanted, opened(state), key_service()).written == ()


def test_what_makes_the_card_this_card_is_not_imported() -> None:
    state = stored()
    wanted = document(state)
    wanted["files"]["SSSEEF05"]["card_number"] = "B00000027"
    wanted["files"]["DF04EF08"] = [{"transaction_number": "1"}]
    done = import_card(wanted, opened(state), key_service())
    assert done.written == ()
    assert set(done.skipped) == {"SSSEEF05.card_number", "DF04EF08"}


def test_another_card_is_refused_before_anything_is_written() -> None:
    wanted = document(stored("adult-2.0"))
    session = opened(stored())
    count = CountingChannel(session._channel)
    session._channel = count  # type: ignore[assignment]
    with pytest.raises(CardMismatchError):
        import_card(wanted, session, key_service())
    assert count.apdus == 0


def test_a_log_that_does_not_meet_the_card_is_refused() -> None:
    state = stored()
    wanted = document(state)
    wanted["files"]["DF02EF07"] = [{"start_date": "19990101"}]
    with pytest.raises(ExchangeConflictError):
        import_card(wanted, opened(state), key_service())


def test_a_card_that_keeps_something_else_is_told() -> None:
    state = stored()
    wanted = document(state)
    wanted["files"]["DF01EF06"]["telephone"] = "01000000000"

    card = SimCard(state)

    class Deaf:
        def transmit(self, command: bytes) -> bytes:
            return b"\x90\x00" if command[1] == 0xDC else card.transmit(command)

    session = SocialSecurityCard(Deaf(), card.power_on())
    session.open()
    session.verify_pin("123456")
    with pytest.raises(CardDataError, match="telephone"):
        import_card(wanted, session, key_service())


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"files": []},
        {"generation": "4.0"},
        {"files": {"DF09EF05": {}}},
        {"files": {"SSSEEF06": {"price": "1"}}},
        {"files": {"SSSEEF06": []}},
        {"files": {"SSSEEF06": {"sex": ["1"]}}},
        {"files": {"DF02EF07": {}}},
        {"files": {"DF02EF07": [{"price": "1"}]}},
    ],
)
def test_what_is_no_document_is_refused(change: dict[str, Any]) -> None:
    good = {"format": "onecard-card/1", "generation": "3.0", "identification_code": "", "files": {}}
    assert check_document(good) is good
    for wrong in (good | change, [], None):
        with pytest.raises(CodecError):
            check_document(wrong)
