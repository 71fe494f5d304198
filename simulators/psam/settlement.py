"""INIT SAM FOR PURCHASE and CREDIT SAM FOR PURCHASE (draft P9 9.9, 9.10)."""

from __future__ import annotations

from simulators.card import crypto
from simulators.card.frame import SW, Frame, Refused, require
from simulators.psam.keys import FACTOR_LENGTH, LEVELS_MAX, diversified, find_record
from simulators.psam.session import Purchase, Session
from simulators.psam.state import FID_TERMINAL, TYPE_PURCHASE

PURCHASE_LENGTH = 0x1C


def init_purchase(session: Session, frame: Frame) -> bytes:
    """The terminal's counter has stepped, and is stored, before the answer is out (OPEN S10)."""
    environment = session.environment
    frame.receive()
    count, rest = divmod(len(frame.data) - PURCHASE_LENGTH, FACTOR_LENGTH)
    require(rest == 0 and 1 <= count <= LEVELS_MAX, SW.WRONG_LENGTH)
    require(session.in_application, SW.CONDITIONS)
    data = frame.data
    seed, amounts, kind, moment = data[:6], data[6:18], data[18:19], data[19:26]
    version, algorithm = data[26], data[27]
    record = find_record(environment.records, count << 5 | TYPE_PURCHASE, version)
    require(algorithm == environment.algorithm, SW.CONDITIONS)
    terminal = environment.file(FID_TERMINAL, in_application=False)
    if terminal is None:
        raise Refused(SW.CONDITIONS)
    card_key = diversified(environment.algorithm, record.value, data[PURCHASE_LENGTH:])
    number = environment.counter.to_bytes(4, "big")
    session_key = crypto.session_key(environment.algorithm, card_key, seed + number[2:])
    mac1 = crypto.mac(environment.algorithm, session_key, amounts + kind + terminal.content + moment)
    environment.counter = (environment.counter + 1) & 0xFFFFFFFF
    session.changed = True
    session.purchase = Purchase(session_key, amounts)
    return number + mac1


def credit_purchase(session: Session, frame: Frame) -> bytes:
    purchase = session.purchase
    if purchase is None:
        raise Refused(SW.WRONG_TRANSACTION_STATE)
    frame.receive()
    require(len(frame.data) == 4, SW.WRONG_LENGTH)
    session.purchase = None
    expected = crypto.mac(session.environment.algorithm, purchase.session_key, purchase.amounts)
    require(crypto.is_equal(expected, frame.data), SW.MEDICAL_MAC_WRONG)
    return b""
