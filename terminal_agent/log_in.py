"""Log-in by card: the terminal shows the holder what the centre's text says, asks for the PIN, and the card signs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pydantic import Field

from cardlib.driver_pki import DriverPki
from cardlib.driver_session import DriverSession
from cardlib.login_text import LONGEST, LogInText, signed_bytes
from terminal_agent.driver_desk import DriverDesk
from terminal_agent.pin_dialog import PinSubject, pin_subject
from terminal_agent.schemas import _READER, Body, ReaderName, _example

_TEXT = LogInText(
    login_id="8d0f4a3be21c4d5f9a7b6c5d4e3f2a10",
    centre="onecard-issuance",
    name="临江市就业服务网",
    client_id="jobs",
    host="job.linjiang.example.cn",
    browser="203.0.113.* Chrome, Windows",
    items=("姓名 / Name (name)",),
    time="2026-01-05 09:00:00 北京时间 (UTC+8)",
    nonce="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
)
FUNCTION = "LogIn"


class LogInRequest(Body):
    """`text` as the centre's log-in page was given it; anything else is refused before the card is asked."""

    model_config = _example(reader=_READER, text=_TEXT.encode())

    reader: ReaderName
    text: str = Field(max_length=LONGEST)


class LogInAnswer(Body):
    """The card's signing certificate (DER), and r || s over `text`, a line feed and `网页 / Page: ` with the asking
    page's origin; lower-case hex."""

    model_config = _example(certificate="3082" + "00" * 8, signature="3b" * 64)

    certificate: str
    signature: str


async def log_in(driver: DriverDesk, request: LogInRequest, page: str) -> LogInAnswer:
    """`page` is the origin that asked, as the guard let it pass.

    Raises LogInTextError, UnknownReaderError, CardAbsentError, ReaderBusyError, and what card and PIN entry do.
    """
    wanted, message = LogInText.parse(request.text), signed_bytes(request.text, page)

    def sign(session: DriverSession) -> tuple[bytes, bytes]:
        return DriverPki(session).prove(message)

    subject = partial(_subject, wanted, request.reader, page)
    certificate, signature = await driver.with_holder(request.reader, subject, sign)
    return LogInAnswer(certificate=certificate.hex(), signature=signature.hex())


def _subject(wanted: LogInText, reader: str, page: str, session: DriverSession, is_new: bool) -> PinSubject:
    site = f"{wanted.name} · {wanted.host}" if wanted.host else wanted.name
    return replace(pin_subject(FUNCTION, reader, page, session, is_new), site=site, items=wanted.items)
