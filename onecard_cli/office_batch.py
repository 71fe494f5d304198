"""`onecard office batch`: batch production from the roster to the outlets, over the centre's own interface."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onecard_cli.office import CENTRE_URL, POLL_S, ClientOption, UrlOption, answered, ask, centre, every_page
from onecard_cli.office_stock import order
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    import httpx

batch_app = typer.Typer(help="批量制卡 / batch production", no_args_is_help=True, add_completion=False)

BatchArgument = Annotated[str, typer.Argument(help="批次号 / batch")]
Stage = Literal["bank", "ca", "factory", "keys"]
StageArgument = Annotated[Stage, typer.Argument(help="bank 银行, ca 证书, factory 工厂, keys 密钥核验")]


FolderOption = Annotated[
    Path, typer.Option("--to", help="保存到 / folder for the file", exists=True, file_okay=False, writable=True)
]


@batch_app.command("new")
@reports_failures
def new(
    region: Annotated[str, typer.Option(help="发卡地区 / issuing region")],
    unit_code: Annotated[str, typer.Option("--unit", help="单位编号 / code of the unit or school")] = "",
    unit_name: Annotated[str, typer.Option("--unit-name", help="单位名称 / its name")] = "",
    generation: Annotated[Literal["2.0", "3.0"], typer.Option(help="2.0 或 3.0")] = "3.0",
    make_type: Annotated[Literal["01", "02", "04"], typer.Option(help="01 成品卡, 02 预制卡, 04 中心制卡")] = "01",
    certificates: Annotated[bool, typer.Option("--certificates", help="申请证书 / with certificates")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """新建批次 / make a batch.

    \b
    Example: ./onecard office batch new --region 110000 --unit SCH-0042 --unit-name 示例小学
    """
    body = {
        "region": region,
        "generation": generation,
        "make_type": make_type,
        "unit_code": unit_code,
        "unit_name": unit_name,
        "has_certificates": certificates,
    }
    with centre(url, client) as http:
        print_json(order(http, "/v1/production/batches", body))


@batch_app.command("list")
@reports_failures
def list_batches(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """列出批次 / list batches, newest first.

    \b
    Example: ./onecard office batch list
    """
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/production/batches", {"limit": 500}))


@batch_app.command("show")
@reports_failures
def show(batch: BatchArgument, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """批次状态、各环节精确计数与进行中的工作 / a batch, exact counts of every stage, its files and its work.

    \b
    Example: ./onecard office batch show 1100002601050001
    """
    path = f"/v1/production/batches/{batch}"
    with centre(url, client) as http:
        print_json(ask(http, "GET", path) | {part: ask(http, "GET", f"{path}/{part}") for part in ("files", "jobs")})


@batch_app.command("roster")
@reports_failures
def roster(
    batch: BatchArgument,
    file: Annotated[Path, typer.Argument(help="名册文件 / roster", exists=True)],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """导入名册，带进度；被拒的行逐行说明 / take a roster in, with progress; refused lines are told one by one.

    \b
    Example: ./onecard office batch roster 1100002601050001 roster.csv
    """
    _bring(url, client, batch, "roster", file)


@batch_app.command("return")
@reports_failures
def take_return(
    batch: BatchArgument,
    stage: StageArgument,
    file: Annotated[Path, typer.Argument(help="回盘文件 / return file", exists=True)],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """导入回盘，带进度；重复导入不会改变任何内容 / take a return file in; the same file again changes nothing.

    \b
    Example: ./onecard office batch return 1100002601050001 bank back.txt
    """
    _bring(url, client, batch, stage, file)


@batch_app.command("send")
@reports_failures
def send(
    batch: BatchArgument,
    stage: StageArgument,
    folder: FolderOption = Path(),
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """导出给合作方的文件并取下 / have the file of a stage written, and fetch it.

    \b
    Example: ./onecard office batch send 1100002601050001 bank
    """
    path = f"/v1/production/batches/{batch}"
    with centre(url, client) as http:
        version = ask(http, "GET", path)["version"]
        job = order(http, f"{path}/stages/{stage}/send", {"version": version})
        _follow(http, batch, job["id"])
        made = next(file for file in ask(http, "GET", f"{path}/files") if file["id"] == job["file_id"])
        print_json({"file": str(_fetch(http, made, folder)), "lines": made["accepted"], "unsent": made["refused"]})


@batch_app.command("fetch")
@reports_failures
def fetch(
    batch: BatchArgument,
    stage: StageArgument,
    folder: FolderOption = Path(),
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """再取一次已导出的文件 / fetch the file of a stage again, such as after `send` was broken off.

    \b
    Example: ./onecard office batch fetch 1100002601050001 bank
    """
    from cardlib.failures import FailureCode

    with centre(url, client) as http:
        files = ask(http, "GET", f"/v1/production/batches/{batch}/files")
        made = [file for file in files if (file["stage"], file["direction"], file["state"]) == (stage, "out", "whole")]
        if not made:
            raise CommandError(FailureCode.NOT_FOUND, f"no file was written for {stage} yet")
        print_json({"file": str(_fetch(http, made[-1], folder)), "lines": made[-1]["accepted"]})


@batch_app.command("rejects")
@reports_failures
def rejects(
    file_id: Annotated[str, typer.Argument(help="文件编号 / file")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """被拒的行：行号、列、原因、怎么办 / refused lines with line number, column, reason and remedy.

    \b
    Example: ./onecard office batch rejects 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001
    """
    with centre(url, client) as http:
        query: dict[str, Any] = {"limit": 500}
        while True:
            page = ask(http, "GET", f"/v1/production/files/{file_id}/rejects", params=query)
            for reject in page["items"]:
                words = (reject[name] for name in ("text_zh", "text_en", "remedy_zh", "remedy_en"))
                print(
                    f"{reject['line_number']}\t{reject['sequence'] or '-'}\t{reject['column'] or '-'}\t"
                    + " | ".join(words)
                )
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]


@batch_app.command("add")
@reports_failures
def add(
    batch: BatchArgument,
    application: Annotated[list[str], typer.Argument(help="申请编号 / applications that wait for a card")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """把等待制卡的申请加入批次 / put applications that wait for a card into a batch, all of them or none.

    \b
    Example: ./onecard office batch add 1100002601050001 d28fbfa6ebc643fc954783f51d9c9515
    """
    path = f"/v1/production/batches/{batch}"
    with centre(url, client) as http:
        version = ask(http, "GET", path)["version"]
        print_json(order(http, f"{path}/applications", {"version": version, "applications": application}))


@batch_app.command("lines")
@reports_failures
def lines(
    batch: BatchArgument,
    state: Annotated[str | None, typer.Option(help="只看这一状态，如 finished / only these, such as finished")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """批次的每一张卡：卡号、状态、装箱位置 / the cards of a batch: number, state, place in the boxes.

    \b
    Example: ./onecard office batch lines 1100002601050001 --state finished
    """
    query = {"limit": 500} | ({"state": state} if state else {})
    with centre(url, client) as http:
        print_json(every_page(http, f"/v1/production/batches/{batch}/lines", query))


@batch_app.command("resume")
@reports_failures
def resume(batch: BatchArgument, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """接着做卡住的工作 / go on with stuck work from where it stopped.

    \b
    Example: ./onecard office batch resume 1100002601050001
    """
    from cardlib.failures import FailureCode

    with centre(url, client) as http:
        jobs = ask(http, "GET", f"/v1/production/batches/{batch}/jobs")
        stuck = [job["id"] for job in jobs if job["state"] == "stuck"]
        if not stuck:
            raise CommandError(FailureCode.NOT_FOUND, "nothing is stuck")
        ask(http, "POST", f"/v1/production/jobs/{stuck[0]}/resume")
        print_json(_follow(http, batch, stuck[0]))


@batch_app.command("hand-out")
@reports_failures
def hand_out(
    batch: BatchArgument,
    place: Annotated[str, typer.Argument(help="网点 / outlet")],
    box: Annotated[
        list[str] | None, typer.Option(help="装箱位置，不给即全部 / place in the boxes; all without it")
    ] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """成品卡下发网点，网点用 stock receive 确认 / send finished cards to an outlet, which confirms the transfer.

    \b
    Example: ./onecard office batch hand-out 1100002601050001 chaoyang-1
    """
    path = f"/v1/production/batches/{batch}"
    with centre(url, client) as http:
        version = ask(http, "GET", path)["version"]
        print_json(order(http, f"{path}/hand-out", {"version": version, "place_id": place, "boxes": box or []}))


@batch_app.command("release")
@reports_failures
def release(batch: BatchArgument, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """失败与缺少的行退出批次，申请可另行制卡 / let the applications of failed and missing lines go.

    \b
    Example: ./onecard office batch release 1100002601050001
    """
    path = f"/v1/production/batches/{batch}"
    released = 0
    with centre(url, client) as http:
        while True:
            version = ask(http, "GET", path)["version"]
            found = order(http, f"{path}/release", {"version": version})
            released += found["released"]
            if not found["remaining"]:
                break
    print_json({"released": released})


@batch_app.command("collect")
@reports_failures
def collect(
    card_number: Annotated[str, typer.Argument(help="社保卡号 / card number")],
    place: Annotated[str, typer.Option(help="领卡网点 / outlet")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """领卡并启用 / hand a finished card to its holder and enable it.

    \b
    Example: ./onecard office batch collect A00000011 --place chaoyang-1
    """
    with centre(url, client) as http:
        print_json(order(http, f"/v1/production/cards/{card_number}/collect", {"place_id": place}))


def _bring(url: str, client: str, batch: str, stage: str, path: Path) -> None:
    """Upload in parts, follow the work, and say how many lines came of it."""
    with centre(url, client) as http:
        file = order(http, f"/v1/production/batches/{batch}/files/{stage}", {"name": _plain(path.name)})
        with path.open("rb") as source:
            number = 0
            while data := source.read(file["part_bytes"]):
                ask(http, "PUT", f"/v1/production/files/{file['id']}/parts/{number}", content=data)
                number += 1
        done = ask(http, "POST", f"/v1/production/files/{file['id']}/complete")
        if done["job"] is not None:
            _follow(http, batch, done["job"]["id"])
        files = ask(http, "GET", f"/v1/production/batches/{batch}/files")
    found = next(one for one in files if one["id"] == file["id"])
    print_json({name: found[name] for name in ("id", "state", "lines", "accepted", "known", "refused", "problem")})
    if found["state"] == "refused":
        raise typer.Exit(1)


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)[:128]


def _fetch(http: httpx.Client, file: dict[str, Any], folder: Path) -> Path:
    """The file whole or not at all, and for its owner only: it names people."""
    path = folder / Path(str(file["name"])).name
    partly = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            for number in range(file["parts"]):
                target.write(answered(http, "GET", f"/v1/production/files/{file['id']}/parts/{number}").content)
        partly.replace(path)
    finally:
        partly.unlink(missing_ok=True)
    return path


def _follow(http: httpx.Client, batch: str, job_id: str) -> dict[str, Any]:
    """Lines done, rate and time left on the terminal until the work ends. Raises CommandError when it is stuck."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from cardlib.failures import FailureCode

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, console=Console(stderr=True), disable=not os.isatty(2)) as bar:
        task = bar.add_task("…", total=None, rate="")
        while True:
            jobs = ask(http, "GET", f"/v1/production/batches/{batch}/jobs")
            job: dict[str, Any] = next(one for one in jobs if one["id"] == job_id)
            rate = f"{job['lines_per_s']:,.0f}/s" + ("" if job["eta_s"] is None else f" · {job['eta_s']} s")
            text = f"{job['kind']} {job['stage']}"
            bar.update(task, description=text, completed=job["done"], total=job["total"] or None, rate=rate)
            if job["state"] in ("stuck", "refused"):
                code = FailureCode.__members__.get(job["failure"] or "", FailureCode.INTERNAL)
                raise CommandError(code, job["detail"])
            if job["state"] == "done":
                return job
            time.sleep(POLL_S)
