"""Office work over the services' own HTTP interfaces: `onecard issuance apply`, `onecard agent issue` and their kin.

Nothing here knows more than an outside program would: signed requests to the centre, local requests to the agent.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    import httpx

CENTRE_URL = "http://127.0.0.1:8400"
AGENT_URL = "http://127.0.0.1:12343"
POLL_S = 0.1

UrlOption = Annotated[str, typer.Option("--url", envvar="ONECARD_ISSUANCE_URL", help="发卡服务地址 / the centre")]
AgentOption = Annotated[str, typer.Option("--agent", envvar="ONECARD_AGENT_URL", help="终端服务地址 / the agent")]
ClientOption = Annotated[str, typer.Option("--client", help="以谁的身份 / which registered caller")]


@contextmanager
def centre(url: str, client_id: str) -> Iterator[httpx.Client]:
    """A client that signs as `client_id`, whose key file lies in the home folder. Raises ClientKeyError."""
    import httpx

    from cardlib.client_auth import ClientAuth, ClientKey
    from onecard_cli.home import Home

    key = ClientKey.load(Home.default().client_key(client_id))
    with httpx.Client(base_url=url, auth=ClientAuth(key), timeout=30, trust_env=False) as client:
        yield client


class NoAnswerError(CommandError):
    """Nobody answers at the address."""


@contextmanager
def terminal(agent: str, timeout_s: float) -> Iterator[httpx.Client]:
    """A client of the agent; where none answers, CommandError says so instead of naming the centre."""
    import httpx

    from cardlib.failures import FailureCode

    with httpx.Client(base_url=agent, timeout=timeout_s, trust_env=False) as http:
        try:
            yield http
        except (NoAnswerError, json.JSONDecodeError) as error:
            raise CommandError(FailureCode.AGENT_SILENT, str(error)) from None


def ask(client: httpx.Client, method: str, path: str, **arguments: Any) -> Any:
    """The JSON answer. Raises what `answered` raises."""
    return answered(client, method, path, **arguments).json()


def answered(client: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
    """The answer to a request that succeeded.

    Raises CommandError with the failure a problem document names; every refused field with rule and remedy.
    """
    import httpx

    from cardlib.failures import FailureCode

    try:
        answer = client.request(method, path, **arguments)
    except httpx.TransportError as error:
        raise NoAnswerError(FailureCode.SERVICE_UNREACHABLE, f"{client.base_url}: {error}") from None
    demand_success(answer)
    return answer


def demand_success(answer: httpx.Response) -> None:
    """Raises CommandError as `answered` does."""
    from cardlib.failures import FailureCode

    if answer.is_success:
        return
    problem = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
    code = FailureCode.__members__.get(problem.get("code", ""), FailureCode.INTERNAL)
    fields = "\n  ".join(map(_words, problem.get("fields") or ()))
    raise CommandError(code, fields or problem.get("detail") or f"status {answer.status_code}")


def asked_of_agent(agent: str, method: str, path: str, **arguments: Any) -> Any:
    """The agent's JSON answer. Raises what `answered` raises."""
    with terminal(agent, 150) as http:
        return ask(http, method, path, **arguments)


def every_page(client: httpx.Client, path: str, query: dict[str, Any]) -> list[Any]:
    """The items of all pages."""
    found: list[Any] = []
    while True:
        page = ask(client, "GET", path, params=query)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        query = query | {"cursor": page["next_cursor"]}


def _words(field: dict[str, str]) -> str:
    why, remedy = (f"{field[f'{part}_zh']} / {field[f'{part}_en']}" for part in ("text", "remedy"))
    return f"{field['location']}: {why} [{field['reason']}] → {remedy}"


# -- the centre -------------------------------------------------------------------------------------------------------


@reports_failures
def stock(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """库存：白卡与卡号各状态的准确数目 / exact counts of blanks and card numbers by state.

    \b
    Example: ./onecard issuance stock
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", "/v1/stock"))


@reports_failures
def numbers(
    first: Annotated[str, typer.Option("--from", help="首个卡号主体 / first eight-character body: A0000001")],
    count: Annotated[int, typer.Option(min=1, help="数量 / how many")],
    region: Annotated[str, typer.Option(help="六位区划代码 / six-digit division code")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """向号池加入卡号 / add card numbers to the pool.

    \b
    Example: ./onecard issuance numbers --region 110000 --from A0000001 --count 100
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", "/v1/card-numbers", json={"region": region, "body_from": first, "count": count}))


@reports_failures
def blanks(
    reset_information: Annotated[list[str], typer.Argument(help="卡复位信息，26 位十六进制 / 26 hex digits each")],
    region: Annotated[str, typer.Option(help="六位区划代码 / six-digit division code")],
    delivery: Annotated[str, typer.Option(help="到货批次 / delivery note")],
    generation: Annotated[Literal["2.0", "3.0"], typer.Option(help="2.0 或 3.0")] = "3.0",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """白卡入库 / register a delivery of pre-personalised blanks.

    \b
    Example: ./onecard issuance blanks 00FE00000086FE11000300B001 --region 110000 --delivery 2026-11-22
    """
    body = {
        "delivery": delivery,
        "region": region,
        "generation": generation,
        "reset_information": [text.upper() for text in reset_information],
    }
    with centre(url, client) as http:
        print_json(ask(http, "POST", "/v1/blanks", json=body))


@reports_failures
def apply(
    person_file: Annotated[Path, typer.Argument(help="申领人或整份申请 JSON / person or request", exists=True)],
    region: Annotated[str, typer.Option(help="发卡地区 / issuing region")],
    generation: Annotated[Literal["2.0", "3.0"], typer.Option(help="2.0 或 3.0")] = "3.0",
    key: Annotated[str | None, typer.Option(help="幂等键，重试时不变 / idempotency key, kept when retrying")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记一份申领 / register an application; prints its id and steps.

    \b
    Example: ./onecard issuance apply person.json --region 110000
    """
    import secrets

    given = json.loads(person_file.read_text(encoding="utf-8"))
    request = given if "person" in given else {"person": given}
    body = request | {"region": region, "generation": generation}
    with centre(url, client) as http:
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        print_json(ask(http, "POST", "/v1/applications", json=body, headers=headers))


@reports_failures
def show(
    application_id: Annotated[str, typer.Argument(help="申领编号 / application")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """办到哪一步了 / where an application stands, step by step.

    \b
    Example: ./onecard issuance show 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001
    """
    with centre(url, client) as http:
        print_json(ask(http, "GET", f"/v1/applications/{application_id}"))


@reports_failures
def write_off(
    application_id: Annotated[str, typer.Argument(help="申领编号 / application")],
    reason: Annotated[str, typer.Option(help="原因 / why")],
    final: Annotated[bool, typer.Option("--final", help="不再换卡重做 / end the application too")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """作废坏卡：白卡记为废卡，卡号作废，可换一张重做 / write a spoiled card off; number and blank stay accounted for.

    \b
    Example: ./onecard issuance write-off 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001 --reason "chip does not answer"
    """
    import secrets

    from cardlib.failures import FailureCode

    with centre(url, client) as http:
        bound = ask(http, "GET", f"/v1/applications/{application_id}")["reset_information"]
        if bound is None:
            raise CommandError(FailureCode.APPLICATION_STATE, "there is no card to write off")
        body = {"reset_information": bound, "reason": reason, "is_final": final}
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        print_json(ask(http, "POST", f"/v1/applications/{application_id}/write-off", json=body, headers=headers))


@reports_failures
def validate(
    scanned: Annotated[str, typer.Argument(help="扫到的内容 / what was scanned")],
    scene: Annotated[str, typer.Option(help="identity, payment, login")] = "identity",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "verifier-1",
) -> None:
    """核验一个二维码 / validate a code; it is used up by this.

    \b
    Example: ./onecard issuance validate OC1.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", "/v1/ecard-codes/validate", json={"code": scanned, "scene": scene}))


# -- the agent --------------------------------------------------------------------------------------------------------


@reports_failures
def issue(
    application_id: Annotated[str, typer.Argument(help="申领编号 / application")],
    reader: Annotated[str | None, typer.Option(help="读卡器名称的一部分 / part of a reader's name")] = None,
    is_printed: Annotated[
        bool | None, typer.Option("--print/--no-print", help="打不打卡面，默认有打印机就打 / print the face")
    ] = None,
    agent: AgentOption = AGENT_URL,
) -> None:
    """给这份申领制卡：写入读卡器里的白卡 / personalise the blank in the reader for an application.

    \b
    Example: ./onecard agent issue 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001
    """
    request = {"kind": "personalization", "application_id": application_id, "with_print": is_printed}
    _session(agent, reader, request)


@reports_failures
def initialize(
    region: Annotated[str, typer.Option(help="发卡地区 / issuing region")],
    generation: Annotated[Literal["2.0", "3.0"], typer.Option(help="2.0 或 3.0")] = "3.0",
    reader: Annotated[str | None, typer.Option(help="读卡器名称的一部分 / part of a reader's name")] = None,
    agent: AgentOption = AGENT_URL,
) -> None:
    """初始化读卡器里的芯片，成为登记在库的白卡 / turn the chip in the reader into a blank on stock.

    \b
    Example: ./onecard agent initialize --region 110000
    """
    _session(agent, reader, {"kind": "initialization", "region": region, "generation": generation})


@reports_failures
def rewrite(
    reader: Annotated[str | None, typer.Option(help="读卡器名称的一部分 / part of a reader's name")] = None,
    agent: AgentOption = AGENT_URL,
) -> None:
    """把变更过的信息写入读卡器里的卡 / write the holder's changed data to the card in the reader.

    \b
    Example: ./onecard agent rewrite
    """
    _session(agent, reader, {"kind": "rewrite"})


@reports_failures
def pin_reset(
    reader: Annotated[str | None, typer.Option(help="读卡器名称的一部分 / part of a reader's name")] = None,
    agent: AgentOption = AGENT_URL,
) -> None:
    """重置社保密码，新密码在密码键盘或密码窗口输入 / set a new PIN, typed at the PIN pad or in the PIN window.

    \b
    Example: ./onecard agent pin-reset
    """
    _session(agent, reader, {"kind": "pin_reset"})


@reports_failures
def pin_unblock(
    reader: Annotated[str | None, typer.Option(help="读卡器名称的一部分 / part of a reader's name")] = None,
    agent: AgentOption = AGENT_URL,
) -> None:
    """解锁社保密码，密码不变 / give a locked PIN its tries back; the PIN stays.

    \b
    Example: ./onecard agent pin-unblock
    """
    _session(agent, reader, {"kind": "pin_unblock"})


def _session(agent: str, reader: str | None, request: dict[str, Any]) -> None:
    with terminal(agent, 30) as http:
        job_id = ask(http, "POST", "/v1/card-sessions", json=request | {"reader": _reader(http, reader)})["job_id"]
        job = _follow(http, job_id)
    if job["state"] != "done":
        from cardlib.failures import FailureCode

        failure = job["failure"] or {}
        raise CommandError(FailureCode(failure.get("code", "INTERNAL")), job["detail"])
    counted = ("apdus", "network_round_trips", "sessions")
    print_json({"ok": True} | job["result"] | {name: job[name] for name in counted})


def _reader(http: httpx.Client, wanted: str | None) -> str:
    """The first card reader that holds a card and fits `wanted`."""
    from cardlib.failures import FailureCode

    found = [r for r in ask(http, "GET", "/v1/readers") if r["role"] == "card" and (wanted or "") in r["name"]]
    if not found:
        raise CommandError(FailureCode.READER_NOT_FOUND, "the agent has no such reader")
    return str(next((r["name"] for r in found if r["atr"]), found[0]["name"]))


def _follow(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """Show the job's progress on the terminal until it ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=Console(stderr=True), disable=not os.isatty(2)) as bar:
        task = bar.add_task("…", total=None)
        while True:
            job: dict[str, Any] = ask(http, "GET", f"/v1/card-sessions/{job_id}")
            text = f"{job['text_zh']} / {job['text_en']}"
            bar.update(task, description=text, completed=job["step"], total=job["steps"] or None)
            if job["state"] in ("done", "failed", "cancelled"):
                return job
            time.sleep(POLL_S)
