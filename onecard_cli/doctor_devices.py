"""`onecard doctor` on the serial devices that the agent's settings name (`ONECARD_AGENT_…`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from apdu.errors import CardBusyError, ReaderLostError, ReaderNotFoundError, TransportError
from onecard_cli.doctor import Finding, failed

if TYPE_CHECKING:
    from terminal_agent.settings import AgentSettings, Mt3Reader

IN_USE = "端口被占用，多半是终端服务正在用它 / port in use, most likely by the agent itself"
REMEDIES: tuple[tuple[type[TransportError], str], ...] = (
    (
        ReaderNotFoundError,
        "检查连线和设置里的端口名，把用户加进 dialout 组 / check cable and port name, join group dialout",
    ),
    (ReaderLostError, "检查电源、波特率和帧格式，拔下再插 / check power, baud rate and frame form, plug it in again"),
)


def device_findings() -> Iterator[Finding]:
    """One finding for each device; none where no device is configured."""
    from terminal_agent.settings import AgentSettings

    settings = AgentSettings()
    for subject, path, ask in _questions(settings):
        yield _finding(f"{subject} {path}", ask)
    if settings.card_printer:
        yield _ask_printer(settings.card_printer)


def _questions(settings: AgentSettings) -> Iterator[tuple[str, str, Callable[[], str]]]:
    for reader in settings.mt3_readers:
        yield "MT3 读写器 / MT3 reader", reader.port, lambda reader=reader: _ask_mt3(reader)  # type: ignore[misc]
    if settings.id_card_module:
        path, baud = settings.id_card_module, settings.id_card_baud
        yield "身份证阅读模块 / ID-card module", path, lambda: _ask_module(path, baud)
    for subject, port, speed in (
        ("扫码器 / QR scanner", settings.scanner, settings.scanner_baud),
        ("密码键盘 / PIN pad", settings.pin_pad, settings.pin_pad_baud),
    ):
        if port:
            yield subject, port, lambda port=port, speed=speed: _ask_port(port, speed)  # type: ignore[misc]


def _finding(subject: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, ask())
    except CardBusyError:
        return Finding(subject, True, IN_USE)
    except Exception as error:  # whatever one device does, the next is asked as well
        return failed(subject, error, next((text for kind, text in REMEDIES if isinstance(error, kind)), None))


def _ask_printer(address: str) -> Finding:
    """What the card printer's bridge says; a printer that wants a hand is a finding with its remedy."""
    import asyncio

    from cardlib.failures import FailureCode, describe
    from terminal_agent.printer_link import FAILURES, PrinterBridge, PrinterLostError

    subject = f"卡面打印机 / card printer {address}"
    try:
        state = asyncio.run(PrinterBridge(address).status()).state
    except PrinterLostError as error:
        failure, can_print, fact = FailureCode.PRINTER_UNAVAILABLE, False, f": {error}"
    else:
        if state not in FAILURES:
            return Finding(subject, True, "ok")
        failure, can_print, fact = FAILURES[state], state.can_print, ""
    words = describe(failure)
    return Finding(subject, can_print, f"{words.text_zh} / {words.text_en}{fact}", words.remedy_zh)


def _ask_mt3(reader: Mt3Reader) -> str:
    """Its version answers; its slots and cards are left alone."""
    from apdu.serial import mt3
    from apdu.serial.port import SerialPort, receive
    from apdu.serial.readers import PROBE_TIMEOUT_S

    with SerialPort(reader.port, baud=reader.baud) as line:
        line.discard()
        line.write(mt3.encode(mt3.version(reader.form), reader.form))
        body = receive(line, mt3.FrameDecoder(reader.form), PROBE_TIMEOUT_S)
    version = mt3.Reply.from_body(body, reader.form).payload.decode("ascii", "replace").strip()
    return f"ok, {version if version.isprintable() else ''}".rstrip(", ")


def _ask_module(path: str, baud: int) -> str:
    from apdu.serial.idcard_reader import IdCardReader

    with IdCardReader(path, baud=baud) as module:
        module.check()
    return "ok"


def _ask_port(path: str, baud: int) -> str:
    """These devices answer no question; that the port opens is all that can be seen."""
    from apdu.serial.port import SerialPort

    with SerialPort(path, baud=baud):
        return "端口可用 / port opens"
