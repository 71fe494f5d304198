"""The de-facto driver interface of installed programs (terminal.md §11): return codes and the 11-field string."""

from __future__ import annotations

from apdu.channel import Channel
from apdu.errors import PinLockedError, PinWrongError, StatusWordError
from cardlib.failures import FailureCode, describe, driver_code_for_sw, failure_of
from cardlib.session import BasicInformation, SocialSecurityCard
from hsm.api import CardAuthenticator

OK = 0
NO_TERMINAL = "000000000000"
"""终端机编号 without a PSAM (card_digest.md §4)."""


def format_card_bas(basic: BasicInformation, *, terminal_number: str = "", device_number: str = "") -> str:
    """The 11 items of iReadCardBas, each ended by `|`."""
    items = (
        basic.region,
        basic.social_security_number,
        basic.card_number,
        basic.identification_code,
        basic.name,
        basic.reset_information,
        basic.version,
        basic.issue_date,
        basic.expiry_date,
        terminal_number or NO_TERMINAL,
        device_number,
    )
    return "".join(f"{item}|" for item in items)


def read_card_bas(
    channel: Channel,
    atr: bytes,
    *,
    authenticator: CardAuthenticator | None,
    terminal_number: str = "",
    device_number: str = "",
    protocol: str = "T=0",
) -> tuple[int, str]:
    """iReadCardBas: (0, the 11-field string) or (negative code, error text). Never raises for anything a card does."""
    try:
        basic = SocialSecurityCard(channel, atr, protocol=protocol).read_basic(authenticator)
    except Exception as error:
        return error_answer(error)
    return OK, format_card_bas(basic, terminal_number=terminal_number, device_number=device_number)


def error_answer(error: BaseException) -> tuple[int, str]:
    """Code and Chinese text for an exception: a card status word by its rule, everything else by its failure."""
    failure = describe(failure_of(error))
    is_pin = isinstance(error, PinWrongError | PinLockedError)
    code = failure.driver_code
    # A broken card can answer 0000, which the rule would turn into "ok".
    if isinstance(error, StatusWordError) and error.sw and not is_pin:
        code = driver_code_for_sw(error.sw)
    # What was wrong with its parameters is of use to the program's maker, and nothing it did not send itself.
    what = f"（{error}）" if failure.code is FailureCode.INPUT_INVALID and str(error) else ""
    return code, f"{failure.text_zh}{what}。{failure.remedy_zh}"
