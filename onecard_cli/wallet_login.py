"""`onecard wallet login`: approve or refuse the log-in whose code was scanned, or that a counter asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecard_cli.desk import ask_pin
from onecard_cli.office import CENTRE_URL, UrlOption
from onecard_cli.output import CommandError, print_json, reports_failures
from onecard_cli.wallet import ASK, CLIENT_ID, ClientOption, PhoneOption, at_centre

if TYPE_CHECKING:
    from simulators.wallet.channel import Channel

_LABELS = {
    "name": "登录到 / log in to",
    "host": "网址 / address",
    "network": "来自 / from",
    "agent": "浏览器 / browser",
    "message": "窗口说明 / counter",
}


@reports_failures
def login(
    link: Annotated[
        str, typer.Argument(metavar="[URL]", help="登录页二维码的内容 / what the log-in page's code says")
    ] = "",
    waiting: Annotated[
        bool, typer.Option("--waiting", help="窗口点名要我确认的，最新的一个 / the newest that a counter asks me for")
    ] = False,
    number: Annotated[int | None, typer.Option(min=10, max=99, help="屏幕上的数字 / the number on the screen")] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="不是我，拒绝 / not me: refuse")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """扫码登录：看清谁要登录，再确认 / log in by scan: see who asks, then approve with number and password.

    \b
    Example: ./onecard wallet login http://127.0.0.1:8400/login/link#Zx8Qk2v1mT0cR5yB7nLw3A --number 47
             ./onecard wallet login --waiting
    """
    from cardlib.failures import FailureCode
    from simulators.wallet.log_ins import code_in

    code = code_in(link)
    if waiting == bool(link) or bool(link) != bool(code):
        raise CommandError(FailureCode.LOGIN_LINK_INVALID, "one address of a log-in, or --waiting")
    asked: dict[str, Any] = at_centre(url, client, phone, _take_waiting if waiting else lambda c: c.scan(code))
    for name, label in _LABELS.items():
        print(f"{label}: {asked[name] or '-'}", flush=True)
    items = "、".join(f"{item['zh']} / {item['en']}" for item in asked["items"])
    print(f"对方得到 / it learns: {items or '只给它用的编号 / an identifier for it alone'}", flush=True)
    if refuse:
        print_json(at_centre(url, client, phone, lambda c: c.post(f"/log-ins/{asked['id']}/refuse")))
        return
    choices = " ".join(str(choice) for choice in asked["choices"])
    chosen = number or typer.prompt(f"屏幕上是哪个数字 / which number is on the screen ({choices})", type=int, err=True)
    given = ask_pin(ASK)

    async def approve(channel: Channel) -> dict[str, Any]:
        return await channel.log_in(asked, chosen, given, "")

    print_json(at_centre(url, client, phone, approve))


async def _take_waiting(channel: Channel) -> dict[str, Any]:
    """Raises CommandError when nobody asks."""
    from cardlib.failures import FailureCode

    found = (await channel.get("/log-ins"))["items"]
    if not found:
        raise CommandError(FailureCode.NOT_FOUND, "没有窗口在等您确认 / nobody asks you to log in")
    asked: dict[str, Any] = await channel.post(f"/log-ins/{found[0]['id']}/claim")
    return asked
