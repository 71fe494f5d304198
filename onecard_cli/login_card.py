"""`onecard login card`: a log-in by the physical card, with this command as browser and the local agent as terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from onecard_cli.desk import ReaderOption
from onecard_cli.office import demand_success
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    import httpx

AGENT_URL = "http://127.0.0.1:12343"
WAITS_S = 150.0
"""Longer than the terminal waits for the PIN."""
_TOKEN = re.compile(r'id="card"[^>]* data-csrf="([^"]+)"')


@reports_failures
def card(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="通向登录页的地址 / an address that leads to the log-in page")
    ],
    reader: ReaderOption = None,
    agent: Annotated[str, typer.Option("--agent", help="本机终端服务 / the terminal service")] = AGENT_URL,
) -> None:
    """用读卡器里的社保卡登录；密码在终端服务的密码窗口输 / log in by the card in the agent's reader.

    The command stands in for the browser; the PIN is typed in the agent's window or on its PIN pad, never here.

    \b
    Example: ./onecard login card https://hall.example/login
    """
    import asyncio

    print_json(asyncio.run(_run(url, agent, reader)))


async def _run(url: str, agent: str, reader: str | None) -> dict[str, Any]:
    import httpx

    from cardlib.failures import FailureCode

    try:
        async with (
            httpx.AsyncClient(timeout=30, trust_env=False) as browser,
            httpx.AsyncClient(base_url=agent, timeout=WAITS_S, trust_env=False) as terminal,
        ):
            return await log_in(browser, terminal, url, reader)
    except httpx.TransportError as error:
        where = error.request.url.copy_with(query=None)
        raise CommandError(FailureCode.SERVICE_UNREACHABLE, f"{where}: {error}") from None


async def log_in(
    browser: httpx.AsyncClient, agent: httpx.AsyncClient, url: str, reader: str | None = None
) -> dict[str, Any]:
    """Status and address of where the browser ends. Raises CommandError."""
    from cardlib.failures import FailureCode
    from cardlib.login_text import LogInText

    page = await browser.get(url, follow_redirects=True)
    token = _TOKEN.search(page.text)
    if token is None:
        raise CommandError(FailureCode.LOGIN_CLOSED, f"no log-in by card is offered there (status {page.status_code})")
    parts = urlsplit(str(page.url))
    origin = f"{parts.scheme}://{parts.netloc}"
    headers = {"Accept": "application/json", "Origin": origin, "X-CSRF-Token": token[1]}
    text = (await _posted(browser, f"{origin}{parts.path}/card/challenge", {}, headers))["text"]
    wanted = LogInText.parse(text)
    for label, value in (
        ("登录到 / log in to", wanted.name),
        ("网址 / address", wanted.host or "-"),
        ("对方得到 / it learns", "、".join(wanted.items) or "只给它用的编号 / an identifier for it alone"),
    ):
        print(f"{label}: {value}", flush=True)
    print("请到密码窗口输入证书密码 / enter the certificate PIN in the PIN window", flush=True)
    asked = {"reader": await _reader(agent, reader), "text": text}
    answer = await _posted(agent, "/v1/log-ins", asked, {"Origin": origin})
    await _posted(browser, f"{origin}{parts.path}/card", answer, headers)
    back = await browser.get(page.url, follow_redirects=True)
    return {"status": back.status_code, "url": str(back.url.copy_with(query=None))}


async def _reader(agent: httpx.AsyncClient, wanted: str | None) -> str:
    from cardlib.failures import FailureCode

    answer = await agent.get("/v1/readers")
    demand_success(answer)
    cards = [one["name"] for one in answer.json() if one["role"] == "card" and one["atr"] is not None]
    found = [name for name in cards if wanted is None or wanted.lower() in name.lower()]
    if not found:
        raise CommandError(FailureCode.CARD_ABSENT, "no reader of the terminal service has this card")
    return str(found[0])


async def _posted(client: httpx.AsyncClient, url: str, body: Any, headers: dict[str, str]) -> Any:
    answer = await client.post(url, json=body, headers=headers)
    demand_success(answer)
    return answer.json() if answer.content else None
