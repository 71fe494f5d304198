"""`onecard clerk` and `onecard office tree`: who works at a centre, and where."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from issuance.clerks.acts import ClerkRole
from onecard_cli.office import CENTRE_URL, ClientOption, UrlOption, ask, centre, every_page
from onecard_cli.office_stock import order
from onecard_cli.output import CommandError, print_json, reports_failures

if TYPE_CHECKING:
    import httpx

    from issuance.unit import Unit

clerk_app = typer.Typer(help="经办人员 / clerks", no_args_is_help=True, add_completion=False)
tree_app = typer.Typer(help="机构 / offices", no_args_is_help=True, add_completion=False)

LoginArgument = Annotated[str, typer.Argument(help="登录名 / log-in name")]
RolesOption = Annotated[list[ClerkRole], typer.Option("--role", help="岗位，可多个 / role, may be given several times")]
OfficeOption = Annotated[int, typer.Option("--office", help="机构编号 / office")]
ReasonOption = Annotated[str, typer.Option(help="原因 / why")]
AsOption = Annotated[str, typer.Option("--as", help="以谁登录 / whose log-in")]


# -- offices ----------------------------------------------------------------------------------------------------------


@tree_app.command("add")
@reports_failures
def add_office(
    name: Annotated[str, typer.Option(help="名称 / name")],
    region: Annotated[str, typer.Option(help="六位区划代码 / six-digit division code")],
    kind: Annotated[
        Literal["region", "office", "outlet", "depot"], typer.Option(help="region 地区, outlet 银行网点, depot 库")
    ] = "office",
    parent: Annotated[int | None, typer.Option(help="上级机构编号 / the office above")] = None,
    name_en: Annotated[str, typer.Option(help="英文名称 / name in English")] = "",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记机构 / add an office.

    \b
    Example: ./onecard office tree add --name 示例区社保中心 --region 110105 --parent 1
    """
    body = {"parent_id": parent, "kind": kind, "region": region, "name_zh": name, "name_en": name_en}
    with centre(url, client) as http:
        print_json(order(http, "/v1/offices", body))


@tree_app.command("list")
@reports_failures
def list_offices(url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """列出机构 / list offices.

    \b
    Example: ./onecard office tree list
    """
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/offices", {"limit": "500"}))


@tree_app.command("close")
@reports_failures
def close_office(
    office: Annotated[int, typer.Argument(help="机构编号 / office")],
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """撤销没有人员和下级的机构 / close an office that has no clerks and none below.

    \b
    Example: ./onecard office tree close 4
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", f"/v1/offices/{office}/close"))


# -- clerks -----------------------------------------------------------------------------------------------------------


@clerk_app.command("first")
@reports_failures
def first(
    login: LoginArgument,
    name: Annotated[str, typer.Option(help="姓名 / name")],
    region: Annotated[str, typer.Option(help="六位区划代码 / six-digit division code")],
    office: Annotated[str, typer.Option(help="最高机构的名称 / name of the top office")],
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="默认内置 SQLite / default: embedded")
    ] = None,
) -> None:
    """在服务器上设立最高机构和它的管理员 / make a top office and its administrator, on the server itself.

    \b
    Example: ./onecard clerk first wang.li --name 王丽 --region 110000 --office 示例市社保中心
    """
    from issuance.clerks.schemas import ClerkRequest
    from issuance.clerks.service import ClerkService
    from issuance.offices.schemas import OfficeRequest
    from issuance.offices.service import OfficeService

    async def make(unit: Unit) -> dict[str, Any]:
        top = await OfficeService(unit).create(OfficeRequest(kind="region", region=region, name_zh=office))
        wanted = ClerkRequest(login=login, name=name, office_id=top.id, roles=(ClerkRole.ADMINISTRATOR,))
        return (await ClerkService(unit).create(wanted)).model_dump(mode="json")

    print_json(_on_server(database_url, make))


def _on_server(database_url: str | None, do: Callable[[Unit], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """One unit of work on the database itself, for who has the server and cannot log in."""
    from issuance.app import close_services, create_services
    from issuance.settings import Settings
    from issuance.unit import system_unit
    from onecard_cli.home import Home

    home = Home.default()
    settings = Settings(
        database_url=database_url or os.environ.get("ONECARD_ISSUANCE_DATABASE_URL") or home.database_url
    )

    async def work() -> dict[str, Any]:
        with home.keys_in_use() as keys:
            services = create_services(settings, keys)
            try:
                async with system_unit(services) as unit:
                    return await do(unit)
            finally:
                await close_services(services)

    return asyncio.run(work())


@clerk_app.command("allow-password")
@reports_failures
def allow_password(
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="默认内置 SQLite / default: embedded")
    ] = None,
) -> None:
    """扫码用不了时，在服务器上恢复密码登录 / let all offices log in by password again, on the server itself.

    \b
    Example: ./onecard clerk allow-password
    """
    from issuance.offices.service import OfficeService

    async def allow(unit: Unit) -> dict[str, Any]:
        return {"offices": await OfficeService(unit).allow_passwords()}

    print_json(_on_server(database_url, allow))


@clerk_app.command("add")
@reports_failures
def add(
    login: LoginArgument,
    name: Annotated[str, typer.Option(help="姓名 / name")],
    office: OfficeOption,
    roles: RolesOption,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """登记人员，打印临时密码 / add a clerk; prints the temporary password, once.

    \b
    Example: ./onecard clerk add li.ming --name 李明 --office 4 --role collector --role issuer
    """
    body = {"login": login, "name": name, "office_id": office, "roles": list(roles)}
    with centre(url, client) as http:
        print_json(order(http, "/v1/clerks", body))


@clerk_app.command("list")
@reports_failures
def list_clerks(
    office: Annotated[int | None, typer.Option(help="只列某机构及其下级 / of an office and those below")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """列出人员 / list clerks.

    \b
    Example: ./onecard clerk list --office 4
    """
    query = {"limit": "500"} | ({} if office is None else {"office_id": str(office)})
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/clerks", query))


@clerk_app.command("change")
@reports_failures
def change(
    login: LoginArgument,
    reason: ReasonOption,
    roles: Annotated[list[ClerkRole] | None, typer.Option("--role", help="新岗位 / new roles")] = None,
    office: Annotated[int | None, typer.Option(help="调到哪个机构 / new office")] = None,
    status: Annotated[Literal["active", "suspended"] | None, typer.Option(help="suspended 停用, active 恢复")] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """调整岗位、机构，停用或恢复 / give a clerk other roles or another office, suspend or take back.

    \b
    Example: ./onecard clerk change li.ming --status suspended --reason 离岗
    """
    with centre(url, client) as http:
        known = _clerk(http, login)
        body = {"version": known["version"], "reason": reason, "roles": roles, "office_id": office, "status": status}
        body = {key: value for key, value in body.items() if value is not None}
        print_json(ask(http, "POST", f"/v1/clerks/{known['id']}/change", json=body))


@clerk_app.command("reset")
@reports_failures
def reset(login: LoginArgument, url: UrlOption = CENTRE_URL, client: ClientOption = "operator-1") -> None:
    """忘记密码或丢失动态口令设备：重新发临时密码 / new temporary password; one-time codes are set up anew.

    \b
    Example: ./onecard clerk reset li.ming
    """
    with centre(url, client) as http:
        print_json(ask(http, "POST", f"/v1/clerks/{_clerk(http, login)['id']}/reset"))


@clerk_app.command("sessions")
@reports_failures
def sessions(
    login: LoginArgument,
    end: Annotated[bool, typer.Option("--end", help="全部结束 / end all of them")] = False,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """某人的登录记录，可全部结束 / a clerk's last sessions; log the clerk out everywhere.

    \b
    Example: ./onecard clerk sessions li.ming --end
    """
    with centre(url, client) as http:
        path = f"/v1/clerks/{_clerk(http, login)['id']}/sessions"
        print_json(ask(http, "POST", f"{path}/end") if end else ask(http, "GET", path))


# -- four eyes --------------------------------------------------------------------------------------------------------


@clerk_app.command("approvals")
@reports_failures
def approvals(
    state: Annotated[
        Literal["waiting", "approved", "refused", "withdrawn"], typer.Option(help="waiting 待审批")
    ] = "waiting",
    url: UrlOption = CENTRE_URL,
    client: ClientOption = "operator-1",
) -> None:
    """待第二人审批的事项 / acts that wait for a second clerk.

    \b
    Example: ./onecard clerk approvals
    """
    with centre(url, client) as http:
        print_json(every_page(http, "/v1/approvals", {"limit": "500", "state": state}))


@clerk_app.command("decide")
@reports_failures
def decide(
    approval: Annotated[str, typer.Argument(help="事项编号 / approval")],
    decision: Annotated[Literal["approve", "refuse"], typer.Argument(help="approve 同意, refuse 不同意")],
    login: AsOption,
    reason: ReasonOption,
    url: UrlOption = CENTRE_URL,
) -> None:
    """以另一名经办登录并审批；密码和动态口令当场输入 / decide as a second clerk; password and code are typed.

    \b
    Example: ./onecard clerk decide 0d9f4f0e6b7f4a35a3b2b8a1b4a6c001 approve --as zhang.wei --reason 材料齐全
    """
    import httpx

    given = {
        "login": login,
        "password": typer.prompt("密码 / password", hide_input=True, err=True),
        "code": typer.prompt("动态口令 / one-time code", hide_input=True, err=True),
    }
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        http.headers["X-CSRF-Token"] = ask(http, "POST", "/v1/staff/log-in", json=given)["csrf"]
        try:
            print_json(ask(http, "POST", f"/v1/staff/approvals/{approval}/{decision}", json={"reason": reason}))
        finally:
            http.post("/v1/staff/log-out")


def _clerk(http: httpx.Client, login: str) -> dict[str, Any]:
    from cardlib.failures import FailureCode

    found = ask(http, "GET", "/v1/clerks", params={"login": login})["items"]
    if not found:
        raise CommandError(FailureCode.NOT_FOUND, f"no clerk {login}")
    clerk: dict[str, Any] = found[0]
    return clerk
