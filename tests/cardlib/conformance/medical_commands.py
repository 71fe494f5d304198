"""The medical account (draft P5 §7 and its tables)."""

from __future__ import annotations

from functools import partial

from simulators.card import crypto
from simulators.card.state import KeyType
from tests.cardlib.conformance.model import (
    ACCOUNT,
    PIN,
    Command,
    Scenario,
    authenticated,
    df_of,
    enter,
    send_all,
    then,
)
from tests.simulators.support import DF, Host

LOAD = "B02800010B0100002710990100000001"
PURCHASE = "B0280101130100000001" + "00" * 8 + "990100000001"
TIME = "20260316101500"
CREDIT, DEBIT = f"B02A00000B{TIME}00000000", f"B02C01000F0000002A{TIME}00000000"
TRANSACTION_FIRST = "the transaction state is checked first (6901), and no transaction begins in a blocked application"
NO_TRANSACTION_ELSEWHERE = "outside the medical application no transaction begins, which is checked first (6901)"


def _account(h: Host) -> Host:
    """In DF04 with the PIN verified."""
    enter(h, "DF04")
    assert h(PIN) == "9000"
    return h


def _with_account(h: Host, content: str) -> Host:
    df_of(h.card.state, "DF04").ef(0x0002).content = bytes.fromhex(content)
    return _account(h)


def _transact(h: Host, init: str) -> str:
    """A whole load or purchase, its MAC by the card's own checked cryptography."""
    is_load = init == LOAD
    answer = bytes.fromhex(_account(h)(init))
    sequence, random = (answer[4:6], answer[8:12]) if is_load else (answer[14:16], answer[18:22])
    kind = KeyType.LOAD if is_load else KeyType.PURCHASE
    key = df_of(h.card.state, "DF04").key({kind}, 0, 1).value
    algorithm = h.card.state.algorithm
    session = crypto.session_key(algorithm, key, random + sequence + (b"\x80\x00" if is_load else b"\x00\x2a"))
    amounts = init[12:20] if is_load else init[12:36]
    message = bytes.fromhex(amounts + ("31" if is_load else "32") + "990100000001" + TIME)
    mac = crypto.mac(algorithm, session, message).hex()
    return h(f"B02A00000B{TIME}{mac}" if is_load else f"B02C01000F0000002A{TIME}{mac}")


def _started(h: Host, init: str, command: str) -> str:
    """A command right after INITIALIZE."""
    return send_all(_account(h), init, command)


def _status_words(template: str) -> dict[str, Scenario]:
    """Refusals of every medical command outside the medical application."""
    return {"6985": lambda h: send_all(h, DF["DF01"], template)}


INITIALIZE_FOR_LOAD = Command(
    "INITIALIZE FOR LOAD",
    0x28,
    LOAD,
    lambda h: _account(h)(LOAD),
    df="DF04",
    bad_p1p2="B02800020B" + LOAD[10:],
    bad_length="B02800010A" + LOAD[10:-2],
    words=_status_words(LOAD)
    | {
        "6982": lambda h: send_all(h, DF["DF04"], LOAD),
        "9402": lambda h: _with_account(h, "FFFF" + ACCOUNT[4:])(LOAD),
        "9403": lambda h: _account(h)(LOAD.replace("0B01", "0B03", 1)),
    },
)
CREDIT_FOR_LOAD = Command(
    "CREDIT FOR LOAD",
    0x2A,
    CREDIT,
    partial(_transact, init=LOAD),
    df="DF04",
    writes=True,
    words={
        "6700": lambda h: _started(h, LOAD, "B02A00000A" + CREDIT[10:-2]),
        "6901": lambda h: _account(h)(CREDIT),
        "6A86": lambda h: _started(h, LOAD, CREDIT.replace("B02A0000", "B02A0100")),
        "9302": lambda h: _started(h, LOAD, CREDIT),
    },
    unreachable={"9303": TRANSACTION_FIRST, "6985": NO_TRANSACTION_ELSEWHERE},
)
INITIALIZE_FOR_PURCHASE = Command(
    "INITIALIZE FOR PURCHASE",
    0x28,
    PURCHASE,
    lambda h: _account(h)(PURCHASE),
    df="DF04",
    bad_p1p2="B028010213" + PURCHASE[10:],
    bad_length="B028010112" + PURCHASE[10:-2],
    words=_status_words(PURCHASE)
    | {
        "6982": lambda h: send_all(h, DF["DF04"], PURCHASE),
        "9401": lambda h: _account(h)(PURCHASE.replace("0100000001", "0100003A99", 1)),
        "9402": lambda h: _with_account(h, ACCOUNT[:4] + "FFFF" + ACCOUNT[8:])(PURCHASE),
        "9403": lambda h: _account(h)(PURCHASE.replace("1301", "1303", 1)),
    },
)
DEBIT_FOR_PURCHASE = Command(
    "DEBIT FOR PURCHASE",
    0x2C,
    DEBIT,
    partial(_transact, init=PURCHASE),
    df="DF04",
    writes=True,
    words={
        "6700": lambda h: _started(h, PURCHASE, "B02C01000E" + DEBIT[10:-2]),
        "6901": lambda h: _account(h)(DEBIT),
        "6A86": lambda h: _started(h, PURCHASE, DEBIT.replace("B02C0100", "B02C0000")),
        "9302": lambda h: _started(h, PURCHASE, DEBIT),
    },
    unreachable={"9303": TRANSACTION_FIRST, "6985": NO_TRANSACTION_ELSEWHERE},
)
GET_BALANCE = Command(
    "GET BALANCE",
    0x26,
    "B026000104",
    lambda h: _account(h)("B026000104"),
    df="DF04",
    bad_p1p2="B026000404",
    bad_length="B026000105",
    words=_status_words("B026000104")
    | {
        "6982": lambda h: send_all(h, DF["DF04"], "B026000104"),
        "6Cxx": lambda h: _account(h)("B026000100"),
    },
)
GET_TRANSACTION_PROOF = Command(
    "GET TRANSACTION PROOF",
    0x2E,
    "B02E0031020001",
    df="DF04",
    done=lambda h: then(_transact(h, LOAD), h("B02E0031020001")),
    bad_p1p2="B02E0131020001",
    bad_length="B02E00310101",
    words=_status_words("B02E0031020001") | {"9406": lambda h: send_all(h, DF["DF04"], "B02E0031020001")},
)
UPDATE_STARTING_DAY = Command(
    "UPDATE STARTING DAY",
    0x56,
    "B0560000020701",
    lambda h: authenticated(h, 0x87, "DF04")("B0560000020701"),
    df="DF04",
    writes=True,
    bad_p1p2="B0560001020701",
    bad_length="B05600000107",
    words=_status_words("B0560000020701")
    | {
        "6982": lambda h: send_all(h, DF["DF04"], "B0560000020701"),
        "6A80": lambda h: authenticated(h, 0x87, "DF04")("B0560000021332"),
    },
)
GET_STARTING_DAY = Command(
    "GET STARTING DAY",
    0x56,
    "B056010002",
    lambda h: send_all(h, DF["DF04"], "B056010002"),
    df="DF04",
    bad_p1p2="B056010102",
    words=_status_words("B056010002") | {"6Cxx": lambda h: send_all(h, DF["DF04"], "B056010000")},
)
