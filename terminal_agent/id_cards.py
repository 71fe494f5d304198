"""What the ID-card module read, as a message of the API and as the string of iReadIdentityCard."""

from __future__ import annotations

import base64
import logging
from typing import Final, Literal

from apdu.errors import ReaderNotFoundError, TransportError
from apdu.serial.idcard import LONG_TERM, CardKind, IdCard
from cardlib.driver import error_answer
from cardlib.driver_session import Answer
from cardlib.spec import code_list
from terminal_agent.cards import NO_READER
from terminal_agent.device_schemas import IdCardView
from terminal_agent.devices import DeviceHall
from terminal_agent.problems import AgentError

DRIVER_WAIT_S: Final = 10.0
PHOTO_NOTE: Final = "WLT, compressed; its decoder is licensed to makers of ID-card modules"
LOG = logging.getLogger("terminal_agent.driver")


async def read_identity_card(devices: DeviceHall) -> Answer:
    """iReadIdentityCard. -2 without a card in time, -11 when the module is gone, -13 when none is configured."""
    try:
        text = driver_text(await devices.read_id_card(DRIVER_WAIT_S))
    except ReaderNotFoundError as error:
        return NO_READER, error_answer(error)[1]
    except Exception as error:
        if not isinstance(error, TransportError | AgentError | ValueError):
            LOG.error("unforeseen %s", type(error).__name__, exc_info=error)
        return error_answer(error)
    return 0, text


def driver_text(card: IdCard) -> str:
    """As headers of installed drivers describe it (card_digest.md §4.3). Sex and ethnic group are words, as printed;
    on the residence permit of Hong Kong, Macao and Taiwan residents the pass number and the count of issues, which
    are not read, stay empty."""
    text = card.text
    photo = base64.b64encode(card.photo_wlt).decode("ascii")
    start = f"{text.valid_from:%Y%m%d}"
    end = LONG_TERM if text.valid_to is None else f"{text.valid_to:%Y%m%d}"
    birth, sex = f"{text.birth_date:%Y%m%d}", sex_word(text.sex)
    if text.kind is CardKind.RESIDENT:
        items = [
            "",
            text.name,
            sex,
            nation_word(text.nation),
            birth,
            text.address,
            text.number,
            start,
            end,
            text.issuer,
        ]
    else:
        items = ["J", text.name, sex, birth, text.address, text.number, text.issuer, start, end, "", ""]
    # A separator inside a value becomes full-width, as in the other functions.
    return "".join(f"{item.replace('|', '｜')}|" for item in [*items, photo])


def id_card_view(card: IdCard) -> IdCardView:
    text = card.text
    kind: Literal["resident", "hong_kong_macao_taiwan"] = (
        "resident" if text.kind is CardKind.RESIDENT else "hong_kong_macao_taiwan"
    )
    return IdCardView(
        kind=kind,
        name=text.name,
        sex=text.sex,
        sex_text=sex_word(text.sex),
        nation=text.nation,
        nation_text=nation_word(text.nation),
        birth_date=text.birth_date,
        address=text.address,
        number=text.number,
        issuer=text.issuer,
        valid_from=text.valid_from,
        valid_to=text.valid_to,
        photo_wlt_base64=base64.b64encode(card.photo_wlt).decode("ascii"),
        photo_note=PHOTO_NOTE,
    )


def sex_word(code: str) -> str:
    return code_list("sex").codes.get(code, code)


def nation_word(code: str) -> str:
    """As printed on ID cards, without 族; a code without a name stays a code."""
    return code_list("ethnic_group").codes.get(code, code).removesuffix("族")
