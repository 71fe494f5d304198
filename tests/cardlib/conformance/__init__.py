"""Every command of the card with each status word its table documents, and the shortest way to reach that word."""

from __future__ import annotations

from tests.cardlib.conformance import card_commands as c
from tests.cardlib.conformance import medical_commands as m
from tests.cardlib.conformance import profile_commands as p
from tests.cardlib.conformance.model import Command, card

COMMANDS: tuple[Command, ...] = (
    c.SELECT,
    c.GET_RESPONSE,
    c.GET_CHALLENGE,
    c.INTERNAL_AUTHENTICATION,
    c.EXTERNAL_AUTHENTICATION,
    c.VERIFY,
    c.CHANGE_PIN,
    c.PIN_CHANGE_UNBLOCK,
    c.READ_BINARY,
    c.READ_RECORD,
    c.UPDATE_BINARY,
    c.UPDATE_RECORD,
    c.APPLICATION_BLOCK,
    c.CARD_BLOCK,
    m.INITIALIZE_FOR_LOAD,
    m.CREDIT_FOR_LOAD,
    m.INITIALIZE_FOR_PURCHASE,
    m.DEBIT_FOR_PURCHASE,
    m.GET_BALANCE,
    m.GET_TRANSACTION_PROOF,
    m.UPDATE_STARTING_DAY,
    m.GET_STARTING_DAY,
    p.ACTIVATE_COS,
    p.GET_CARD_STATUS,
    p.CREATE_FILE,
    p.WRITE_KEY,
    p.DELETE_STRUCTURE,
    p.SET_STATE,
)

__all__ = ["COMMANDS", "Command", "card"]
