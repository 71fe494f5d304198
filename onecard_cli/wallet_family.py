"""`onecard wallet family`: members of the family, whose codes a phone may show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onecard_cli.office import CENTRE_URL, UrlOption
from onecard_cli.output import print_json, reports_failures
from onecard_cli.wallet import (
    CLIENT_ID,
    CardOption,
    ClientOption,
    IdArgument,
    NameOption,
    NumberOption,
    PhoneOption,
    at_centre,
    confirmed,
)

if TYPE_CHECKING:
    from simulators.wallet.channel import Channel

family_app = typer.Typer(help="家人的卡 / family members", no_args_is_help=True, add_completion=False)


@family_app.command("list")
@reports_failures
def family(url: UrlOption = CENTRE_URL, client: ClientOption = CLIENT_ID, phone: PhoneOption = "cli") -> None:
    """家人，和谁想出示我的码 / members, and who asks to show my code.

    \b
    Example: ./onecard wallet family list
    """

    async def work(channel: Channel) -> Any:
        return {"members": await channel.get("/family"), "asking": (await channel.get("/family-requests"))["items"]}

    print_json(at_centre(url, client, phone, work))


@family_app.command("add")
@reports_failures
def family_add(
    relation: Annotated[Literal["parent", "child", "spouse", "other"], typer.Option(help="TA 是我的 / they are my")],
    name: NameOption,
    number: NumberOption,
    card_number: CardOption,
    portrait: Annotated[Path | None, typer.Option(help="不满 16 岁的照片 JPEG / photo of a child", exists=True)] = None,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """添加家人 / add a member; adults confirm on their own phone.

    \b
    Example: ./onecard wallet family add --relation parent --name 测试父 --number 990100198801010016 \\
                 --card-number A00000025
    """
    from base64 import b64encode

    body = {"relation": relation, "name": name, "social_security_number": number, "card_number": card_number}
    if portrait is not None:
        body["portrait"] = b64encode(portrait.read_bytes()).decode()
    confirmed(url, client, phone, "/family", "family", body)


@family_app.command("confirm")
@reports_failures
def family_confirm(
    request_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """同意家人出示我的码 / let a family member show my code.

    \b
    Example: ./onecard wallet family confirm 7c1e9a3b5d7f90123456789abcdef012
    """
    confirmed(url, client, phone, f"/family-requests/{request_id}/confirm", "family")


@family_app.command("refuse")
@reports_failures
def family_refuse(
    request_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """不同意 / refuse.

    \b
    Example: ./onecard wallet family refuse 7c1e9a3b5d7f90123456789abcdef012
    """
    print_json(at_centre(url, client, phone, lambda c: c.post(f"/family-requests/{request_id}/refuse")))


@family_app.command("end")
@reports_failures
def family_end(
    family_id: IdArgument,
    url: UrlOption = CENTRE_URL,
    client: ClientOption = CLIENT_ID,
    phone: PhoneOption = "cli",
) -> None:
    """解除，双方都可以 / end it; either side may.

    \b
    Example: ./onecard wallet family end 7c1e9a3b5d7f90123456789abcdef012
    """
    print_json(at_centre(url, client, phone, lambda c: c.post(f"/family/{family_id}/end")))
