"""Names and parameters of the driver functions this agent serves (terminal.md §11), and what each runs on a card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cardlib.driver_address import MAX_TEXT
from cardlib.driver_hsm import HsmSteps
from cardlib.driver_pki import DriverPki
from cardlib.driver_session import Answer, DriverSession
from terminal_agent.journal.desk import Act

I_TYPE, I_AUTH_TYPE = "iType", "iAuthType"
INFO, ADDRESS, DATA, PAY, KEY = "pCardInfo", "pFileAddr", "pWriteData", "pPayInfo", "pKey"
USER_PIN, CERTIFICATE, SIGNATURE = "pUserPin", "pCert", "pSignature"
IN_DATA, CLEAR_TEXT, ENVELOPE = "pInData", "pClearText", "pEnvelope"
CONTACT_FIRST: Final = 3
ID_CARD_FUNCTION: Final = "iReadIdentityCard"
UNKNOWN_FUNCTION: Final = -13
_I_TYPES = (1, 2, 3, 4)
_AUTH_TYPES = (1, 2)

_FOR_ANYBODY = frozenset({"PKI_VerifySign", "PKI_SealEnvelope"})

Run = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class DriverFunction:
    """`parameters` in the order of the C interface; `run(session, steps, *texts)` without iType and pUserPin.

    `assumed_type` is the iType of a function that has none. `use` is what the centre is told of it; of the steps with
    the security module it knows itself.
    """

    name: str
    parameters: tuple[str, ...]
    run: Run
    is_step: bool = False
    asks_pin: bool = False
    assumed_type: int = 0
    use: Act | None = None

    @property
    def begins(self) -> bool:
        """The function chooses a reader; a later step goes on with the card of the one before."""
        return I_TYPE in self.parameters or self.assumed_type > 0

    @property
    def serves_holder(self) -> bool:
        """A card on the block list is refused it: all that changes the card, moves money or speaks for the holder."""
        return self.begins and not self.name.startswith("iRead") and self.name not in _FOR_ANYBODY

    def arranged(self, given: Sequence[object]) -> list[int | str]:
        """Checked arguments, iType first. A PIN in them is dropped unread: the holder types it in the terminal.

        Raises ValueError with a text for the program.
        """
        pairs = zip(self.parameters, given, strict=True)
        checked = {name: argument(name, value) for name, value in pairs if name != USER_PIN}
        first = [checked.pop(I_TYPE, self.assumed_type)] if self.begins else []
        return [*first, *checked.values()]


def _plain(method: str) -> Run:
    def run(session: DriverSession, steps: HsmSteps, *arguments: Any) -> Answer:
        steps.reset()
        answer: Answer = getattr(session, method)(*arguments)
        return answer

    return run


def _step(method: str) -> Run:
    def run(_session: DriverSession, steps: HsmSteps, *arguments: Any) -> Answer:
        answer: Answer = getattr(steps, method)(*arguments)
        return answer

    return run


def _pki(method: str) -> Run:
    def run(session: DriverSession, steps: HsmSteps, *arguments: Any) -> Answer:
        steps.reset()
        answer: Answer = getattr(DriverPki(session), method)(*arguments)
        return answer

    return run


def _elsewhere(*_: object) -> Answer:
    """The desk serves it without any card reader; on a card's session it does not exist."""
    return UNKNOWN_FUNCTION, "不支持该命令"


def _functions() -> tuple[DriverFunction, ...]:
    found = [
        DriverFunction("iReadCardBas", (I_TYPE,), _plain("read_card_bas")),
        DriverFunction("iReadCard", (I_TYPE, I_AUTH_TYPE, INFO, ADDRESS), _plain("read_card"), use="read"),
        DriverFunction("iWriteCard", (I_TYPE, INFO, ADDRESS, DATA), _plain("write_card"), use="write"),
        DriverFunction("iVerifyPIN", (I_TYPE,), _plain("verify_pin"), asks_pin=True, use="pin"),
        DriverFunction("iChangePIN", (I_TYPE,), _plain("change_pin"), asks_pin=True, use="pin"),
        DriverFunction("iReloadPIN", (I_TYPE, INFO), _plain("reload_pin"), asks_pin=True, use="pin"),
        DriverFunction("iUnblockPIN", (I_TYPE, INFO), _plain("unblock_pin"), use="pin"),
        DriverFunction("iDoDebit", (I_TYPE, INFO, PAY), _plain("do_debit")),
        DriverFunction("iReadDebitRecord", (I_TYPE,), _plain("read_debit_record"), use="read"),
        DriverFunction("iReadICCardNum", (), _plain("read_ic_card_number"), assumed_type=CONTACT_FIRST, use="read"),
        DriverFunction(ID_CARD_FUNCTION, (), _elsewhere),
        DriverFunction("PKI_SignData", (USER_PIN, IN_DATA, I_TYPE), _pki("sign_data"), asks_pin=True, use="sign"),
        DriverFunction("PKI_VerifySign", (USER_PIN, CERTIFICATE, CLEAR_TEXT, SIGNATURE, I_TYPE), _pki("verify_sign")),
        DriverFunction("PKI_SealEnvelope", (USER_PIN, CERTIFICATE, IN_DATA, I_TYPE), _pki("seal_envelope")),
        DriverFunction(
            "PKI_OpenEnvelope", (USER_PIN, ENVELOPE, I_TYPE), _pki("open_envelope"), asks_pin=True, use="sign"
        ),
    ]
    for name, method, first, second in (
        ("iReadCardBas", "read_card_bas", (I_TYPE,), (KEY,)),
        ("iReadCard", "read_card", (I_TYPE, INFO, ADDRESS), (KEY,)),
        ("iWriteCard", "write_card", (I_TYPE, INFO, ADDRESS), (KEY, DATA)),
        ("iDoDebit", "do_debit", (I_TYPE, INFO, PAY), (KEY,)),
        ("iReloadPIN", "reload_pin", (I_TYPE, INFO), (KEY,)),
        ("iUnblockPIN", "unblock_pin", (I_TYPE, INFO), (KEY,)),
    ):
        steps = [first, second, (KEY,)] if name in ("iReloadPIN", "iUnblockPIN") else [first, second]
        for number, parameters in enumerate(steps, start=1):
            run = _step(f"{method}_step{number}")
            asks = name == "iReloadPIN" and number == 2
            found.append(DriverFunction(f"{name}_HSM_Step{number}", parameters, run, is_step=True, asks_pin=asks))
    return tuple(found)


FUNCTIONS: Final = {function.name: function for function in _functions()}
"""By name; one wrapper of the installed base shortens `iReadCard_HSM_Step2` to `ReadCard_HSM_Step2`."""


def function_of(name: str) -> DriverFunction | None:
    return FUNCTIONS.get(name) or (FUNCTIONS.get("i" + name) if "_HSM_Step" in name else None)


def argument(name: str, value: object) -> int | str:
    """One parameter as the function takes it. Raises ValueError with a text for the program."""
    if name in (I_TYPE, I_AUTH_TYPE):
        allowed = _I_TYPES if name == I_TYPE else _AUTH_TYPES
        # Some pages send numbers as text.
        number = int(value) if isinstance(value, str) and len(value) == 1 and value in "1234" else value
        if isinstance(number, bool) or not isinstance(number, int) or number not in allowed:
            raise ValueError(f"{name} 应为 " + "、".join(map(str, allowed)))
        return number
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"缺少 {name}，或不是文本")
    return value
