"""`onecard agent staff-pin`: what the settings of a kiosk hold for the PIN that opens its staff's page."""

from __future__ import annotations

import getpass
import sys

from cardlib.failures import FailureCode
from onecard_cli.output import CommandError, reports_failures


@reports_failures
def staff_pin() -> None:
    """自助机工作人员密码：写进配置文件的一行 / the line for a kiosk's configuration file.

    The PIN is asked for twice, or read from standard input; it is not kept. 6 to 12 digits.

    \b
    Example: ./onecard agent staff-pin
    """
    from terminal_agent.kiosk.staff import StaffPinError
    from terminal_agent.kiosk.staff import staff_pin as kept_as

    try:
        print(f'kiosk_staff_pin = "{kept_as(_asked())}"')
    except StaffPinError as error:
        raise CommandError(FailureCode.INPUT_INVALID, f"密码要 6 到 12 位数字 / {error}") from None


def _asked() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    first = getpass.getpass("工作人员密码 / staff PIN: ")
    if getpass.getpass("再输一次 / again: ") != first:
        raise CommandError(FailureCode.INPUT_INVALID, "两次不一样 / the two differ")
    return first
